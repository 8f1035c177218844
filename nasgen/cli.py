"""The command line: parse, call one room, print. Nothing here decides anything.

Libraries are imported inside the commands, so that `nasgen --help` is quick and loads no torch.
Exit codes: 0 done, 1 a bug in nasgen, 2 the user's mistake, 3 nothing completed, 130 interrupted.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="nasgen",
    help="Evolve neural networks: search, train what is worth training, ensemble, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

F = TypeVar("F", bound=Callable[..., Any])
EXIT_BUG, EXIT_USER, EXIT_NOTHING, EXIT_INTERRUPTED = 1, 2, 3, 130

Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
Trials = Annotated[str | None, typer.Option(help="More trials: +100 (or a new total: 140).")]


def command(function: F) -> F:
    """Register a command whose errors become one line and an exit code."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        from nasgen.errors import NasgenError

        try:
            function(*args, **kwargs)
        except (NasgenError, typer.Exit, typer.BadParameter) as error:
            if not isinstance(error, NasgenError) or _debug():
                raise
            for line in str(error).splitlines():
                print(f"error: {line}", file=sys.stderr)
            raise typer.Exit(EXIT_USER) from None
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:  # the reader of our output went away, as `| head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except Exception as error:
            if _debug():
                raise
            print(
                f"error: nasgen met a bug ({type(error).__name__}: {error}). "
                "Run again with `nasgen --debug ...` for the traceback and report it.",
                file=sys.stderr,
            )
            raise typer.Exit(EXIT_BUG) from None

    app.command(name=function.__name__.strip("_"))(guarded)
    return function


@app.callback()
def main(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Evolve neural networks: search, train what is worth training, ensemble, report."""
    if debug:
        os.environ["NASGEN_DEBUG"] = "1"
    if version:
        from nasgen import __version__

        print(__version__)
        raise typer.Exit


def _debug() -> bool:
    return os.environ.get("NASGEN_DEBUG", "") not in ("", "0")


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr)


def _dump(data: Any) -> None:
    print(json.dumps(data))


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    _console().print(table)


# ---- searching -----------------------------------------------------------------------------------


@command
def search(
    config: Annotated[Path | None, typer.Argument(metavar="[CONFIG.toml]")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Start from a preset; see list presets.")
    ] = None,
    space: Annotated[str | None, typer.Option(help="Search space.")] = None,
    data: Annotated[str | None, typer.Option(help="digits, mnist:DIR, cifar10:DIR, ...")] = None,
    algorithm: Annotated[str | None, typer.Option(help="random, genetic, aging, ...")] = None,
    trials: Annotated[int | None, typer.Option(help="Trainings in all.")] = None,
    budget: Annotated[str | None, typer.Option(help="Wall time: 90s, 10m, 1h.")] = None,
    seed: Annotated[int | None, typer.Option(help="Root of every random draw.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N.")] = None,
    out: Annotated[Path | None, typer.Option(help="New run folder.")] = None,
    plugin: Annotated[list[Path] | None, typer.Option(help="Python file with operators.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any setting.")
    ] = None,
    json_: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Search for networks: evolve, train, ensemble, report."""
    from nasgen import build
    from nasgen.config import assignments, merge, read_toml
    from nasgen.run import run

    tables: dict[str, Any] = {}
    if preset is not None:
        tables = read_toml(build.preset(preset))
    if config is not None:
        tables = merge(tables, read_toml(config))
    flags: dict[str, Any] = {}
    for path, given in {
        "space.name": space,
        "data.source": data,
        "algorithm.name": algorithm,
        "budget.trials": trials,
        "budget.time": budget,
        "execution.workers": workers,
        "execution.device": device,
    }.items():
        if given is not None:
            section, key = path.split(".")
            flags.setdefault(section, {})[key] = given
    if seed is not None:
        flags["seed"] = seed
    if plugin:
        files = [*tables.get("plugins", {}).get("files", []), *(str(p.resolve()) for p in plugin)]
        flags["plugins"] = {"files": files}
    where = str(config) if config is not None else "settings"
    overrides = [flags, assignments(set_ or [])]
    _search(
        lambda listeners: run(
            tables, out=out, overrides=overrides, listeners=listeners, where=where
        ),
        json_,
        quiet,
    )


@command
def resume(
    run: RunPath,
    trials: Trials = None,
    budget: Annotated[str | None, typer.Option(help="More wall time: 10m.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.", min=1)] = None,
    json_: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Continue a run that was interrupted, or give a finished one more trials."""
    from nasgen.config import seconds
    from nasgen.errors import ConfigError
    from nasgen.run import resume as continue_run

    try:
        time_s = None if budget is None else float(seconds(budget.removeprefix("+")))
    except ValueError as error:
        raise ConfigError(f"--budget: {error}.") from None
    _search(
        lambda listeners: continue_run(
            run, trials=trials, time_s=time_s, workers=workers, listeners=listeners
        ),
        json_,
        quiet,
    )


def _search(start: Callable[[tuple[Any, ...]], Any], json_: bool, quiet: bool) -> None:
    from contextlib import nullcontext

    from nasgen.progress import listener

    console = _console(stderr=True)
    view = None if quiet else listener(console)
    path: list[Path] = []

    def remember(event: str, data: Mapping[str, Any]) -> None:
        if event == "run":
            path.append(data["path"])

    listeners = (remember,) if view is None else (remember, view)
    try:
        with view or nullcontext():
            finished = start(listeners)
    except KeyboardInterrupt:
        where = f"; continue with `nasgen resume {path[0]}`" if path else ""
        print(f"interrupted, nothing told is lost{where}", file=sys.stderr)
        raise
    summary = finished.summary
    if json_:
        _dump(summary)
    else:
        _print_summary(summary, finished)
    if summary["best"] is None:
        print("error: no trial completed; `nasgen show` lists why.", file=sys.stderr)
        raise typer.Exit(EXIT_NOTHING)


def _print_summary(summary: Mapping[str, Any], run: Any) -> None:
    from nasgen.progress import duration, value

    rows = []
    best, ensemble = summary["best"], summary["ensemble"]
    if best is not None:
        size = (
            f"{value('n_params', best['n_params'])} params, {value('flops', best['flops'])} FLOPs"
        )
        accuracies = [value("accuracy", best[f"{part}_accuracy"]) for part in ("val", "test")]
        rows.append([f"best network: trial {best['trial']}", *accuracies, size])
    if ensemble is not None:
        accuracies = [value("accuracy", ensemble[f"{part}_accuracy"]) for part in ("val", "test")]
        rows.append(["ensemble", *accuracies, f"{len(ensemble['members'])} networks"])
    if rows:
        _table("", ["", "validation", "test", "size"], rows)
    counts = ", ".join(f"{n} {state}" for state, n in summary["trials"].items() if n)
    print(f"trials: {counts or 'none'}; {duration(summary['wall_s'])}")
    print(f"run:    {summary['run']}")
    print(f"report: {run.report_path}")


@command
def train(
    run: RunPath,
    trial: Annotated[int | None, typer.Option(help="Number of the trial.")] = None,
    best: Annotated[bool, typer.Option("--best", help="The best trial (default).")] = False,
    epochs: Annotated[float | None, typer.Option(help="Default: 4 x the trial's.", min=0)] = None,
    with_validation: Annotated[
        bool, typer.Option("--with-validation", help="Train on validation images too.")
    ] = False,
    json_: Json = False,
) -> None:
    """Train one architecture into a finished network and test it."""
    from nasgen.errors import ConfigError
    from nasgen.progress import value
    from nasgen.run import load

    if trial is not None and best:
        raise ConfigError("--trial and --best exclude each other; give one of them.")
    console = _console(stderr=True)

    def note(row: Mapping[str, Any]) -> None:
        text = f"epoch {row['epoch']:.1f}/{row['n_epochs']:g}, loss {row['train_loss']:.4f}"
        console.print(text, end="\r" if console.is_terminal else "\n")

    record = load(run).train(trial, epochs, with_validation, note)
    if json_:
        _dump(record)
        return
    for part in ("val", "test"):
        print(f"{part} accuracy: {value('accuracy', record[f'{part}_accuracy'])}")
    print(f"weights: {record['weights']}")


@command
def ensemble(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="One or more runs.")],
    method: Annotated[str | None, typer.Option(help="See list ensembles.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Selection rounds.", min=1)] = None,
    json_: Json = False,
) -> None:
    """Choose an ensemble from the trained networks of one or more runs, and test it."""
    from nasgen.progress import value
    from nasgen.results import combine_runs, ensemble_summary
    from nasgen.run import load

    summary = ensemble_summary(combine_runs([load(r) for r in runs], method, rounds))
    if json_:
        _dump(summary)
        return
    rows = [[m["run"], m["trial"], f"{m['weight']:.2f}"] for m in summary["members"]]
    _table("", ["run", "trial", "weight"], rows)
    for part in ("val", "test"):
        print(f"{part} accuracy: {value('accuracy', summary[f'{part}_accuracy'])}")


# ---- looking -------------------------------------------------------------------------------------


@command
def status(run: RunPath, json_: Json = False) -> None:
    """Tell how far a run is and what it found."""
    from nasgen.run import load

    found = load(run)
    summary = found.summary
    legs = found.record["legs"]
    done = all(leg["done"] for leg in legs)
    state = {"state": "complete" if done and found.record["summary"] else "unfinished", **summary}
    if json_:
        _dump(state)
        return
    print(f"{found.path}: {state['state']}")
    _print_summary(summary, found)
    if state["state"] == "unfinished":
        print(f"continue with `nasgen resume {found.path}`")


@command
def show(
    run: RunPath,
    trial: Annotated[int | None, typer.Option(help="One trial in detail.")] = None,
    history: Annotated[bool, typer.Option("--history", help="Every trial.")] = False,
    top: Annotated[int, typer.Option(help="How many of the best.", min=1)] = 10,
    json_: Json = False,
) -> None:
    """Show the best trials of a run, its whole history, or one trial."""
    from nasgen.progress import value
    from nasgen.run import load

    found = load(run)
    if trial is not None:
        _show_trial(found.trial(trial), json_)
        return
    trials = found.trials if history else found.ranked[:top]
    if json_:
        for item in trials:
            _dump(item.history_row())
        return
    names = [o.name for o in found.objectives]
    rows = [
        [
            t.seq,
            t.generation,
            t.operator,
            " ".join(map(str, t.parents)),
            t.state if t.failure is None else f"{t.state}: {t.failure}",
            *(value(n, t.objectives.get(n)) for n in names),
            value("n_params", t.metrics.get("n_params")),
        ]
        for t in trials
    ]
    columns = ["trial", "generation", "operator", "parents", "state", *names, "params"]
    _table("", columns, rows)


def _show_trial(trial: Any, json_: bool) -> None:
    import dataclasses

    if json_:
        _dump(dataclasses.asdict(trial))
        return
    from nasgen.genotypes import Dag

    dag = Dag.from_json(trial.genotype)
    numbers = {v.tag: i for i, v in enumerate(dag.order)}
    rows = [
        [
            numbers[v.tag],
            v.op,
            ", ".join(f"{k} {x}" for k, x in v.params),
            " ".join(str(numbers[s]) for s in dag.inputs(v.tag)),
        ]
        for v in dag.order
    ]
    _table(f"trial {trial.seq}: {trial.key}", ["vertex", "operation", "settings", "from"], rows)
    for name, measured in {**trial.metrics, **trial.objectives}.items():
        print(f"{name}: {measured}")


@command
def compare(first: RunPath, second: RunPath, json_: Json = False) -> None:
    """Put two runs side by side."""
    from nasgen.progress import duration, value
    from nasgen.run import load

    runs = [load(first), load(second)]
    summaries = [r.summary for r in runs]
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
        _dump({"runs": summaries, "settings": differing})
        return

    def cell(summary: Mapping[str, Any], section: str, key: str) -> str:
        return value(key, (summary[section] or {}).get(key))

    rows = [
        [f"{section} {key}", *(cell(s, section, key) for s in summaries)]
        for section, keys in {
            "best": ("val_accuracy", "test_accuracy", "n_params", "flops", "latency_ms"),
            "ensemble": ("val_accuracy", "test_accuracy"),
        }.items()
        for key in keys
    ]
    rows += [[f"trials {k}", *(s["trials"][k] for s in summaries)] for k in summaries[0]["trials"]]
    rows += [["wall time", *(duration(s["wall_s"]) for s in summaries)]]
    rows += [[f"setting {k}", *v] for k, v in differing.items()]
    _table("", ["", str(first), str(second)], rows)


@command
def report(run: RunPath, json_: Json = False) -> None:
    """Write the HTML report of a run again."""
    from nasgen.run import load

    path = load(run).report()
    _dump({"report": str(path)}) if json_ else print(path)


@command
def gc(run: RunPath, json_: Json = False) -> None:
    """Delete the artifacts that store.keep_weights does not keep."""
    from nasgen.results import collect_garbage
    from nasgen.run import load

    freed = collect_garbage(load(run))
    _dump({"freed_bytes": freed}) if json_ else print(f"freed {freed / 2**20:.1f} MiB")


# ---- names, configs, plug-ins --------------------------------------------------------------------


@command
def list_(
    group: Annotated[str | None, typer.Argument(help="mutations, algorithms, presets, ...")] = None,
    plugin: Annotated[list[Path] | None, typer.Option(help="Python file with operators.")] = None,
    json_: Json = False,
) -> None:
    """List what is registered: operators, algorithms, layers, data sets, presets."""
    from nasgen import build, registry

    for path in plugin or []:
        registry.load_file(path)
    if group == "presets":
        rows = [{"name": n, "summary": build.preset_summary(p)} for n, p in build.presets().items()]
    elif group is not None:
        rows = [
            {"name": e.name, "summary": e.summary, "origin": e.origin, "reference": e.reference}
            for e in registry.described(group)
        ]
    else:
        rows = [
            {"name": g, "summary": ", ".join(registry.names(g))}
            for g in registry.GROUPS
            if registry.names(g)
        ]
        rows.append({"name": "presets", "summary": ", ".join(build.presets())})
    if json_:
        for row in rows:
            _dump(row)
        return
    columns = list(rows[0]) if rows else ["name", "summary"]
    _table(group or "", columns, [[r[c] for c in columns] for r in rows])


@command
def new(
    path: Annotated[Path, typer.Argument(metavar="FILE.toml", help="Config to write.")],
    preset: Annotated[str | None, typer.Option(help="Start from a preset.")] = None,
    json_: Json = False,
) -> None:
    """Write a commented config with every setting."""
    from nasgen import build
    from nasgen.config import parse, read_toml, to_toml
    from nasgen.errors import StoreError

    tables = read_toml(build.preset(preset)) if preset else {}
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(to_toml(parse(tables), comments=True))
    except FileExistsError:
        raise StoreError(f"{path} exists; choose another name, nothing was written.") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror or error}).") from None
    _dump({"config": str(path)}) if json_ else print(
        f"{path}: edit it, then `nasgen search {path}`"
    )


@command
def check(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A config (.toml) or plug-in (.py).")
    ],
    json_: Json = False,
) -> None:
    """Check a config or a plug-in file without running a search."""
    if file.suffix == ".toml":
        from nasgen import build
        from nasgen.config import read_toml

        build.config_of(read_toml(file), str(file))
        _dump({"file": str(file), "ok": True}) if json_ else print(f"{file}: fine")
        return
    from nasgen.testing.check import check_file

    findings = check_file(file)
    if json_:
        for finding in findings:
            _dump(finding.to_json())
    else:
        rows = [
            [f.group, f.name, "fine" if f.ok else "BROKEN", f.n_checked, f.message]
            for f in findings
        ]
        _table("", ["group", "name", "verdict", "checked", "note"], rows)
    if not all(f.ok for f in findings):
        print(f"error: {file} breaks a contract; see above.", file=sys.stderr)
        raise typer.Exit(EXIT_USER)


@command
def doctor(json_: Json = False) -> None:
    """Check the installation: versions, cores, devices, a tiny training."""
    from nasgen.doctor import examine

    findings = examine()
    if json_:
        _dump(findings)
    else:
        _table("", ["what", "found"], [[k, v] for k, v in findings.items()])
    if not findings["ok"]:
        raise typer.Exit(EXIT_BUG)


if __name__ == "__main__":
    app()
