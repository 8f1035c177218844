"""export, predict: what was found, used."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

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

Source = Annotated[
    Path,
    typer.Argument(
        metavar="RUN[:TRIAL]|DIR",
        help="A run (its ensemble), one network of it, or an ensemble folder.",
    ),
]


@command
def export(
    source: Source,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="all|python|onnx|torch",
            help="What to write; commas between several.",
        ),
    ] = "all",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write (default: RUN-trialN or RUN-ensemble, here)."),
    ] = None,
    check_on: Annotated[
        int,
        typer.Option(
            metavar="N", help="Test rows on which each format is compared with the original.", min=1
        ),
    ] = 256,
    views: Annotated[
        str,
        typer.Option(
            metavar="run|1",
            help="Views of an image over which answers are averaged: those of the run, as "
            "`predict` does, or 1, the image as it is, which takes less time.",
        ),
    ] = "run",
    plugin: Plugins = None,
    data: DataNow = None,
    ledger: LedgerNow = None,
    json_: Json = False,
) -> None:
    """Write a network or an ensemble as source, ONNX and torch.export, to be run without nasgen."""
    from nasgen.ensembles.exporting import default_name
    from nasgen.errors import ConfigError, EvaluationError, typed
    from nasgen.runs import loading
    from nasgen.runs.results import Run

    if loading.is_export(source):
        raise ConfigError(f"{source} is an export already; name the run that it comes from.")
    found = loading.load(source, plugin or (), data, ledger, said)
    given = {"--format": format_, "--check-on": check_on, "--views": views, "--out": out}
    given |= {"--data": data}
    options = [word for n, v in given.items() if v is not None for word in (n, str(v))]
    options += [word for file in plugin or () for word in ("--plugin", str(file))]
    line = typed("export", source, *options).strip("`")
    own = f"{found.path.resolve().name}-export"
    if isinstance(found, Run):
        own = default_name(found.name, found.named)
    place, about = out or Path(own), {"command": line}
    answering = loading.answering(found)
    written = answering.export(place, formats=format_, check_on=check_on, views=views, about=about)
    formats = written.record["formats"]
    if json_:
        on = written.record["compared_on"]
        dump(
            {
                "export": str(written.path),
                "files": written.files,
                "formats": formats,
                "compared_on": on,
            }
        )
    else:
        rows = [
            [name, of["file"], f"{of['largest_difference']:.1e}", of["rows"]]
            for name, of in formats.items()
            if "file" in of
        ]
        part = written.record["compared_on"]["part"]
        names = ["format", "file", "largest difference", f"{part} rows compared"]
        table_of("", names, rows)
        print(f"export: {written.path}")
    is_asked = format_ != "all"
    for name, reason in written.refused.items():
        if not is_asked:
            print(f"warning: {name} is not written: {reason}", file=sys.stderr)
    if written.refused and is_asked:
        reasons = "; ".join(
            f"{name} is not written: {why}" for name, why in written.refused.items()
        )
        raise EvaluationError(f"{reasons}. The other formats are in {written.path}.")


@command
def predict(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN[:TRIAL]|DIR",
            help="A run (its ensemble), one network of it, an ensemble folder, or an export.",
        ),
    ],
    given: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A folder of images, an image, a .csv, an .npz with x, or a data source, of which "
            "the test part is answered.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write: .csv, .parquet or .npz (default: CSV, printed)."),
    ] = None,
    threads: Threads = None,
    plugin: Plugins = None,
    data: DataNow = None,
    ledger: LedgerNow = None,
    json_: Json = False,
) -> None:
    """Answer rows: names and probabilities of classes, or values, in the order of the input."""
    from contextlib import closing, nullcontext

    import numpy as np
    from rich.progress import Progress

    from nasgen.errors import DataError
    from nasgen.runs import answers, loading, predicting
    from nasgen.runs.progress import value

    if out is not None:
        predicting.check_out(out)
    found = loading.load(source, plugin or (), data, ledger, said, threads_of(threads))
    service = predicting.Service.of(loading.answering(found))
    rows = service.given(given)
    task = service.transform.task
    named = answers.Answers(rows.label, service.transform.classes, task.decided)
    console = console_of(stderr=True)
    n_rows, known = 0, []
    writing = nullcontext() if json_ and out is None else answers.writing(out, named)
    shown = Progress(
        console=console, transient=True, disable=not console.is_terminal or out is None
    )
    answered = closing(predicting.predicted(given, rows, service.predict_proba))
    with writing as writer, shown as bars, answered as parts:
        bar = bars.add_task("rows", total=rows.n)
        for part in parts:
            if writer is None:
                for row in named.rows(part.names, part.predictions):
                    dump(row)
            else:
                writer.add(part.names, part.predictions)
            n_rows += len(part.names)
            bars.update(bar, completed=n_rows)
            if part.targets is not None:
                known.append((part.predictions, part.targets))
        if n_rows == 0:
            raise DataError(f"{given} holds no rows.")
    measured: dict[str, float] = {}
    if known:
        both = [np.concatenate(arrays) for arrays in zip(*known, strict=True)]
        measured = task.measured(both[0], both[1])
    if json_ and out is not None:
        dump({"out": str(out), "rows": n_rows, **measured})
    figure = f"; {task.metric} {value(task.metric, measured[task.metric])}" if measured else ""
    if out is not None and not json_:
        print(f"{out}: {n_rows} rows{figure}")
    elif figure and not json_:
        print(f"{n_rows} rows{figure}", file=sys.stderr)
