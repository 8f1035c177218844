"""ensemble, distill: commands that combine trained networks, and make one of several."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from nasgen.cli.app import (
    DataNow,
    Json,
    LedgerNow,
    Plugins,
    Threads,
    command,
    console_of,
    said,
    table_of,
    threads_of,
)
from nasgen.cli.output import dump

if TYPE_CHECKING:
    from nasgen.settings.prediction import Views

# Views of an image -> [prediction] views
VIEWS: Final[dict[int, Views]] = {1: "none", 2: "mirror", 6: "auto"}
NO_SOUP: Final = (
    "no weights were averaged: no candidate shares the descent of the best network's weights (as "
    "children do with training.inherit_weights), or none made the mean better."
)


@command
def ensemble(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN[:TRIAL]...",
            help="Folders of one or more runs, single trials of them, or folders of ensembles.",
        ),
    ],
    method: Annotated[
        str | None,
        typer.Option(help="See `nasgen list ensembles` (default: that of the first run)."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Largest number of different members.", min=1)
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(
            metavar="accuracy|nll",
            help="What the selection improves: accuracy (or the task's own metric) or the loss.",
        ),
    ] = None,
    mean_of: Annotated[
        str | None,
        typer.Option(metavar="probabilities|logits", help="What is averaged."),
    ] = None,
    max_latency: Annotated[
        float | None,
        typer.Option(metavar="MS", help="Most milliseconds for one row, all members together."),
    ] = None,
    max_params: Annotated[
        int | None, typer.Option(metavar="N", help="Most parameters of all members together.")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(help="Selection rounds (default: those of the first run).", min=1),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(help="Number of best networks of each run to select from.", min=1)
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(
            metavar="1|2|6",
            help="Views of each image over which predictions are averaged: 1: as it is; 2: "
            "mirrored too, where training mirrors; 6: shifted too, where training shifts.",
        ),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Fit a temperature on the validation rows, so that probabilities come true.",
        ),
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="ensemble.KEY=VALUE",
            help="Override a setting of \\[ensemble], such as an option of the method.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="New folder for the ensemble: its members' weights and a report."),
    ] = None,
    threads: Threads = None,
    plugin: Plugins = None,
    data: DataNow = None,
    ledger: LedgerNow = None,
    json_: Json = False,
) -> None:
    """Choose an ensemble from the trained networks of one or more runs, and test it.

    Members and shares are chosen on validation rows. With --out the ensemble becomes a folder that
    needs the runs no more.
    """
    from nasgen.errors import ConfigError
    from nasgen.runs import combining, describing, ensembled, opening
    from nasgen.settings.config import assignments

    if views is not None and views not in VIEWS:
        raise ConfigError(f"--views: expected 1, 2 or 6, got {views}.")
    if out is not None:
        ensembled.check_free(out)
    given = {
        "name": method,
        "size": size,
        "select": select,
        "mean_of": mean_of,
        "max_latency_ms": max_latency,
        "max_params": max_params,
        "rounds": rounds,
        "candidates": candidates,
    }
    asked = opening.Asked(
        {k: v for k, v in given.items() if v is not None},
        assignments(set_ or ()),
        None if views is None else VIEWS[views],
    )
    named = {"plugins": plugin or (), "data": data, "ledger": ledger, "say": said}
    sources, section = opening.opened(runs, asked, threads_of(threads), **named)
    chosen = combining.combine_runs(sources, section, left_out, cross_fit=True)
    if calibrate:
        chosen = chosen.calibrated()
    summary = combining.ensemble_summary(chosen)
    if out is not None:
        from_runs = combining.runs_of(sources, chosen)
        networks = combining.gathered(sources, lambda sentence: None)  # said above
        with combining.run_of(sources[0]).resolved.scope.active():
            page = describing.page(chosen, networks, from_runs[0], summary)
        summary["out"] = str(ensembled.write(out, chosen, from_runs, summary, page))
    if json_:
        dump(summary)
        return
    _print(summary, chosen.inference.task.metric)
    n_views = summary.get("views", 1)
    if views is not None and views > n_views:
        print(f"note: {_fewer(n_views, views, chosen.inference.transform.form == 'image')}")


@command
def distill(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|ENSEMBLE",
            help="What is learnt from: a run (its ensemble), RUN:TRIAL, or the folder of an "
            "ensemble.",
        ),
    ],
    trial: Annotated[
        int | None,
        typer.Option(help="Number of the trial whose network learns (default: heaviest member)."),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE|RUN:TRIAL",
            help="Another network that learns; see `nasgen list networks`.",
        ),
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(help="Epochs (default: those of the longest training of a member).", min=1e-3),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            help="Share of the loss that compares with the ensemble instead of the labels "
            "(default: 0.9).",
            min=0,
            max=1,
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="What the logits of both are divided by (default: 2).")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="New folder for the network (default: SOURCE-distilled)."),
    ] = None,
    threads: Threads = None,
    plugin: Plugins = None,
    data: DataNow = None,
    ledger: LedgerNow = None,
    json_: Json = False,
) -> None:
    """Train one network on an ensemble's answers, and test it beside the ensemble.

    The result is a folder like that of an ensemble, with one member.
    """
    from nasgen.runs import distilling, opening
    from nasgen.runs.combining import run_of
    from nasgen.runs.progress import epochs as of_epochs
    from nasgen.store.folder import new_run_path

    console = console_of(stderr=True)

    def note(row: Mapping[str, Any]) -> None:
        text = f"{of_epochs(row)}, loss {row['train_loss']:.4f}"
        console.print(text, end="\r" if console.is_terminal else "\n", highlight=False)

    named = {"plugins": plugin or (), "data": data, "ledger": ledger, "say": said}
    (found,), _ = opening.opened([source], opening.Asked(), threads_of(threads), **named)
    path = found.path.resolve()
    made = out or new_run_path(path.parent, f"{path.name}-distilled")
    given = {"share": share, "temperature": temperature}
    wanted = distilling.Wanted(
        trial, network, epochs, **{k: v for k, v in given.items() if v is not None}
    )
    summary = distilling.distil(found, wanted, made, note)
    if json_:
        dump(summary)
        return
    _print_distilled(summary, run_of(found).task.metric)


def left_out(text: str) -> None:
    """Print what takes no part, and why."""
    print(f"warning: {text}", file=sys.stderr)


def _print(summary: Mapping[str, Any], metric: str) -> None:
    from nasgen.report.numbers import change
    from nasgen.runs.progress import plain, share, value

    def trials(member: Mapping[str, Any]) -> str:
        averaged = member.get("averaged")
        if averaged:
            return f"mean of {' '.join(map(str, averaged))}"
        return "distilled" if member.get("distilled") else str(member["trial"])

    def place(member: Mapping[str, Any]) -> str:
        return "/".join(filter(None, (member.get("folder"), member["run"])))

    rows = [[place(m), trials(m), share(m["weight"])] for m in summary["members"]]
    table_of("", ["run", "trial", "weight"], rows)
    on = summary["selected_on"]
    why = f"the {on['rows']} rows that chose the members, by {on['by']}"
    print(f"val {metric}: {value(metric, summary[f'val_{metric}'])} ({why})")
    if f"cross_fitted_{metric}" in summary:
        found = value(metric, summary[f"cross_fitted_{metric}"])
        print(f"cross-fitted {metric}: {found} (chosen on other rows, five folds)")
    n_views = summary.get("views", 1)
    over = f" (mean over {n_views} views)" if n_views > 1 else ""
    if summary[f"test_{metric}"] is not None:
        print(f"test {metric}: {value(metric, summary[f'test_{metric}'])}{over}")
    if n_views > 1:
        print(f"test {metric}, one view: {value(metric, summary[f'test_{metric}_one_view'])}")
    if summary["gap"] is not None:
        gap = plain(change(metric, summary["gap"]))
        each = ", one view each" if n_views > 1 else ""
        print(f"gap: {gap} (the rows that chose against test rows{each})")
    if summary.get("temperature", 1.0) != 1.0:
        found = f"{summary['temperature']:.3g}"
        print(f"temperature: {found} (fitted on {on['rows']} rows; the fewer, the nearer to 1)")
    print(f"parameters: {value('n_params', summary['n_params'])}")
    if "latency_ms" in summary:
        print(f"latency: {value('latency_ms', summary['latency_ms'])} (one row, all members)")
    if summary["method"] == "soup" and not any(m.get("averaged") for m in summary["members"]):
        print(f"note: {NO_SOUP}")
    if "out" in summary:
        print(f"ensemble: {summary['out']}")


def _fewer(n_views: int, asked: int, is_image: bool) -> str:
    if not is_image:
        return f"views are of images alone; {asked} were asked for"
    return f"{n_views} of {asked} views: those that the networks' training showed them"


def _print_distilled(summary: Mapping[str, Any], metric: str) -> None:
    from nasgen.runs.progress import value

    teacher = summary["distilled"]["ensemble"]
    n = teacher["members"]
    columns = [f"val_{metric}", f"test_{metric}", "n_params"]
    rows = [
        [name, *(value(column.removeprefix("val_"), found[column]) for column in columns)]
        for name, found in (
            ("distilled network", summary),
            (f"ensemble of {n} network{'' if n == 1 else 's'}", teacher),
        )
    ]
    table_of("", ["", *columns[:2], "params"], rows)
    epochs = f"{summary['distilled']['epochs']:.3g}"
    print(f"trained for {epochs} epoch{'' if epochs == '1' else 's'}")
    print(f"folder: {summary['out']}")
