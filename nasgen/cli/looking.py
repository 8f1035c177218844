"""status, show, compare, report, gc: commands that read a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from nasgen.cli.app import (
    Json,
    LedgerNow,
    RunPath,
    command,
    one_trial,
    table_of,
)
from nasgen.cli.output import dump
from nasgen.cli.searching import print_summary

MEANINGS = {
    "n_synapses": "weights of layers but the classifier",
    "n_living": "weights, the classifier's among them",
    "n_living_parents": "weights of its parents, the classifier's among them",
    "n_kept": "what the pruning left; what then reads or feeds nothing living is gone as well",
    "over_shrunk": "whether its parents share less than should be left, so that all of it stayed",
    "repaired": "layers that were given a weight back",
    "saliency": "of all that could leave",
    "saliency_gone": "of what left",
}
# Stands below every table of them.
COUNTED = "Synapses and kernels are those of all layers but the classifier; biases are not counted."


@command
def status(run: RunPath, ledger: LedgerNow = None, json_: Json = False) -> None:
    """Show how far a run has come and what it found."""
    from nasgen.errors import typed
    from nasgen.runs.progress import plan_lines
    from nasgen.runs.session import load

    found = load(run, ledger=ledger)
    if found.named is not None:
        trial = found.trial()
        if json_:
            dump({"run": str(found.path), **trial.history_row(), "metrics": dict(trial.metrics)})
        else:
            print(f"{found.path}, trial {trial.seq}: {_state(trial)}")
            _print_measured(trial)
        return
    summary = found.summary
    state = {"state": "complete" if found.is_complete else "unfinished", **summary}
    if json_:
        dump(state)
        return
    print(f"{found.path}: {state['state']}")
    print_summary(summary, found)
    if state["state"] == "unfinished":
        for line in plan_lines(summary["plan"]) if summary.get("plan") else ():
            print(line)
        print(f"continue with {typed('resume', found.path)}")


@command
def show(
    run: RunPath,
    trial: Annotated[
        int | None, typer.Option(help="Number of one trial, to show it in detail.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="Show every trial, in order.")] = False,
    generations: Annotated[
        bool,
        typer.Option(
            "--generations",
            help="Show how small and how alike the networks of each generation are, where they are "
            "made of their parents' weights.",
        ),
    ] = False,
    top: Annotated[int, typer.Option(help="Number of best trials to show.", min=1)] = 10,
    ledger: LedgerNow = None,
    json_: Json = False,
) -> None:
    """Show the best trials of a run, its whole history, its generations, or one trial."""
    from nasgen.runs.generations import rows as of_generations
    from nasgen.runs.progress import value
    from nasgen.runs.session import load

    found = load(run, ledger=ledger)
    if trial is not None or found.named is not None:
        _show_trial(found, found.trial(one_trial(found, trial)), json_)
        return
    if generations:
        _show_generations(found, json_)
        return
    trials = found.trials if history else found.ranked[:top]
    if json_:
        for item in trials:
            dump(item.history_row())
        return
    columns: dict[str, list[Any]] = {
        "trial": [t.seq for t in trials],
        "generation": [t.generation for t in trials],
        "operator": [t.source for t in trials],
        "parents": [" ".join(map(str, t.parents)) for t in trials],
        "state": [_state(t) for t in trials],
    }
    if set(columns["state"]) <= {"complete"}:
        del columns["state"]
    sizes = ("n_params", *(("n_synapses",) if any(t.is_sparse for t in trials) else ()))
    for name in dict.fromkeys((*(o.name for o in found.objectives), *sizes)):
        columns[name] = [value(name, {**t.metrics, **t.objectives}.get(name)) for t in trials]
    table_of("", list(columns), list(zip(*columns.values(), strict=True)))
    if not history and (rows := of_generations(found)):
        _generations_table("means of the generations", found, rows)
    elif "n_synapses" in columns:
        print(COUNTED)


def _show_generations(run: Any, json_: bool) -> None:
    from nasgen.runs.generations import rows

    found = rows(run)
    if json_:
        for row in found:
            dump(row)
    elif found:
        _generations_table("", run, found)
    else:
        print("no network of this run was made of its parents' weights.")


def _generations_table(title: str, run: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print how small and how alike the networks of each generation are."""
    from nasgen.runs.progress import value

    columns: dict[str, list[Any]] = {
        "generation": [row["generation"] for row in rows],
        "networks": [len(row["trials"]) for row in rows],
    }
    for name in ("collapsed", "over_shrunk"):
        if any(row[name] for row in rows):
            columns[name] = [row[name] for row in rows]
    metric = f"val_{run.task.metric}"
    for name in (metric, "n_synapses", "synaptic_efficiency", "n_kernels", "cluster_efficiency"):
        columns[name] = [value(name, row[name]) for row in rows]
    for by, name in (("tags", "overlap"), ("places", "overlap by place")):
        overlaps = [row["similarity"]["kernel"][by]["overlap"] for row in rows]
        if any(overlap is not None for overlap in overlaps):
            columns[name] = [value("share", overlap) for overlap in overlaps]
    table_of(title, list(columns), list(zip(*columns.values(), strict=True)))
    print(COUNTED)


def _state(trial: Any) -> str:
    if trial.failure is not None:
        return f"{trial.state.lower()}: {trial.failure}"
    return "infeasible" if trial.violation > 0 else str(trial.state.lower())


def _show_trial(run: Any, trial: Any, json_: bool) -> None:
    import dataclasses

    if json_:
        dump(dataclasses.asdict(trial))
        return
    from nasgen.genotypes import Outline
    from nasgen.runs.descent import descent

    outline = Outline.from_json(trial.outline)
    rows = [
        [
            place,
            node.label or node.op,
            ", ".join(f"{k} {x}" for k, x in node.params.items()),
            " ".join(str(source) for source, target in outline.edges if target == place),
        ]
        for place, node in enumerate(outline.nodes)
    ]
    table_of(f"trial {trial.seq}: {trial.key}", ["vertex", "operation", "settings", "from"], rows)
    for line in descent(run, trial):
        print(line)
    _print_measured(trial)


def _print_measured(trial: Any) -> None:
    from nasgen.runs.progress import value

    measured = {**trial.metrics, **trial.objectives, **trial.constraints}
    if measured.get("epochs_done") == 0:  # there was no training to measure
        measured = {k: v for k, v in measured.items() if k not in ("train_loss", "images_per_s")}
    for name, found in measured.items():
        several = found if isinstance(found, list) else [found]
        numbers = [one for one in several if isinstance(one, int | float)]
        is_shown = numbers == several and not any(isinstance(one, bool) for one in several)
        text = ", ".join(value(name, one) for one in several) if is_shown else str(found)
        means = f" ({MEANINGS[name]})" if name in MEANINGS else ""
        print(f"{name}: {text or 'none'}{means}")
    if trial.violation > 0:
        print(f"violation of the constraints: {trial.violation:g}")


@command
def compare(first: RunPath, second: RunPath, ledger: LedgerNow = None, json_: Json = False) -> None:
    """Compare the results and the settings of two runs, or of two networks of runs."""
    from nasgen.runs.progress import duration, value
    from nasgen.runs.session import load

    runs = [load(path, ledger=ledger) for path in (first, second)]
    summaries = [_compared(r) for r in runs]
    settings = [r.config.model_dump(mode="json") for r in runs]
    differing = {
        f"{section}.{key}": [s[section].get(key) for s in settings]
        for section in settings[0]
        if isinstance(settings[0][section], dict)
        for key in sorted({*settings[0][section], *settings[1][section]})
        if settings[0][section].get(key) != settings[1][section].get(key)
    }
    if settings[0]["seed"] != settings[1]["seed"]:
        differing["seed"] = [s["seed"] for s in settings]
    if json_:
        dump({"runs": summaries, "settings": differing})
        return

    def cell(summary: Mapping[str, Any], section: str, key: str) -> str:
        return value(key, (summary[section] or {}).get(key))

    metrics = dict.fromkeys(r.task.metric for r in runs)
    measured = [f"{part}_{metric}" for metric in metrics for part in ("val", "test")]
    rows = [
        [f"{section} {key}", *(cell(s, section, key) for s in summaries)]
        for section, keys in {
            "best": (*measured, "n_params", "flops", "latency_ms"),
            "ensemble": measured,
        }.items()
        for key in keys
    ]
    if all("trials" in s for s in summaries):
        states = summaries[0]["trials"]
        rows += [[f"trials {k}", *(s["trials"][k] for s in summaries)] for k in states]
        rows += [["wall time", *(duration(s["wall_s"]) for s in summaries)]]
    else:  # of networks
        rows = [
            [row[0].removeprefix("best "), *row[1:]] for row in rows if "ensemble" not in row[0]
        ]
    rows += [[f"setting {k}", *v] for k, v in differing.items()]
    table_of("", ["", str(first), str(second)], rows)


def _compared(run: Any) -> dict[str, Any]:
    """Return the summary of a run, or the measured figures of the trial that is named."""
    if run.named is None:
        return dict(run.summary)
    trial = run.trial()
    figures = {"trial": trial.seq, **trial.metrics, **trial.objectives}
    best = run.summary.get("best") or {}
    if best.get("trial") == trial.seq:  # whose test is known
        figures |= {key: figure for key, figure in best.items() if key.startswith("test_")}
    return {"run": str(run.path), "best": figures, "ensemble": None}


@command
def report(run: RunPath, ledger: LedgerNow = None, json_: Json = False) -> None:
    """Write the HTML report of a run again."""
    from nasgen.runs.session import load

    found = load(run, ledger=ledger)
    place = "" if found.named is None else f"#trial-{found.trial().seq}"
    path = f"{found.report()}{place}"
    dump({"report": path}) if json_ else print(path)


@command
def gc(run: RunPath, ledger: LedgerNow = None, json_: Json = False) -> None:
    """Delete stored weights that `store.keep_weights` does not keep."""
    from nasgen.runs.garbage import collect_garbage
    from nasgen.runs.session import load

    freed = collect_garbage(load(run, ledger=ledger))
    dump({"freed_bytes": freed}) if json_ else print(f"freed {freed / 2**20:.1f} MiB")
