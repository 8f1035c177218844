"""study: populations of networks that nobody selects, and what their structure tells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nasgen.cli.app import Json, command, console_of, table_of, threads_of
from nasgen.cli.output import dump

STUDIES = ("priors",)


@command
def study(
    name: Annotated[str, typer.Argument(metavar="priors", help="The study.")],
    cells: Annotated[
        str, typer.Option(help="Kinds of recurrent units, some of rnn_tanh,rnn_relu,gru,lstm.")
    ] = "rnn_tanh,rnn_relu,gru,lstm",
    graphs: Annotated[
        int, typer.Option(help="Random graphs of each prior, the same for all kinds.", min=1)
    ] = 100,
    priors: Annotated[
        str,
        typer.Option(
            help="Priors, some of barabasi-albert,watts-strogatz,small-world,small-world-ring,"
            "barabasi-albert-star; see `nasgen list priors`."
        ),
    ] = "barabasi-albert,watts-strogatz",
    data: Annotated[
        str, typer.Option(help="Data set of sequences: reber, reber-embedded, reber:n=2000, ...")
    ] = "reber",
    epochs: Annotated[float, typer.Option(help="Epochs of each training.", min=1e-3)] = 15.0,
    repeats: Annotated[
        int, typer.Option(help="Repetitions of the 10-fold cross-validation.", min=1)
    ] = 3,
    seed: Annotated[
        list[int] | None,
        typer.Option(help="Random seed (default: 0); graphs of several are put together.", min=0),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Output folder (default: runs/study-priors).")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Override any setting, such as training.lr=0.01. May be repeated.",
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(metavar="N|auto", help="CPU threads of each training; auto (default): 1."),
    ] = None,
    json_: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Train random graphs and test what their structure tells. Graphs that were trained are kept.

    Writes a data set of properties and accuracies for each kind of units, OUT/CELL.csv.gz, which
    `nasgen predictors evaluate` reads.
    """
    from nasgen.errors import UnknownNameError, suggest
    from nasgen.papers import priors as random_graphs
    from nasgen.papers.base import Request
    from nasgen.papers.populations import PAPERS_TRAINING, Plan
    from nasgen.runs.progress import PlainLog
    from nasgen.settings.config import assignments, merge

    if name not in STUDIES:
        raise UnknownNameError(f"there is no study '{name}'{suggest(name, STUDIES)}")
    settings = assignments(set_ or [])
    if (n_threads := threads_of(threads)) is not None:
        settings = merge(settings, {"execution": {"threads_per_trial": n_threads}})
    plan = Plan(
        cells=tuple(cells.split(",")),
        priors=tuple(priors.split(",")),
        graphs=graphs,
        data=data,
        seeds=tuple(dict.fromkeys(seed or (0,))),
        training={**PAPERS_TRAINING, "epochs": epochs},
        settings=settings,
    )
    console = console_of(stderr=True)
    request = Request(
        scale="",
        data=data,
        out=out or Path("runs") / f"study-{name}",
        listeners=() if quiet else (PlainLog(console),),
        note=lambda text: None if quiet else console.print(text, style="bold", highlight=False),
    )
    found = random_graphs.study(plan, request, repeats)
    page = request.out / f"{name}.html"
    random_graphs.write(found, page, f"Random-graph priors on {data}")
    if json_:
        for row in found.rows:
            dump(row)
        dump({**found.summary(), "page": str(page)})
        return
    for table in found.tables:
        table_of(table.title, table.columns, table.rows)
    print(found.text)
    for cell, file in found.files.items():
        print(f"data set of {cell}: {file}")
    print(f"figure: {page}")
