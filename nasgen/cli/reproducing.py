"""reproduce: the comparison of a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nasgen.cli.app import Json, command, console_of, table_of, threads_of
from nasgen.cli.output import dump
from nasgen.papers import REPRODUCTIONS


@command
def reproduce(
    paper: Annotated[
        str, typer.Argument(metavar="PAPER", help=f"One of: {', '.join(REPRODUCTIONS)}.")
    ],
    scale: Annotated[
        str | None,
        typer.Option(
            help="Size of the experiment: tiny, quick or paper; stier2021-rnn and stier2021-priors "
            "have goals too (default: quick, or tiny on digits where no data are found)."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set: mnist:DIR, cifar10:DIR, digits, ... (default: the paper's, from the "
            "folder that the environment variable NASGEN_DATA names)."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Output folder (default: runs/reproduce-PAPER).")
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(
            help="Random seed (default: 0, several at scale paper); may be repeated.", min=0
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="CPU threads of each training; auto (default): as the experiment has them.",
        ),
    ] = None,
    json_: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Run a paper's experiment beside its controls. Rows that were measured are kept."""
    from nasgen.papers.base import Request, find
    from nasgen.runs.progress import PlainLog

    run, n_threads = find(paper), threads_of(threads)
    console = console_of(stderr=True)
    request = Request(
        scale=scale or "",
        data=data,
        out=out or Path("runs") / f"reproduce-{paper}",
        seeds=tuple(seed or ()),
        overrides=() if n_threads is None else ({"execution": {"threads_per_trial": n_threads}},),
        listeners=() if quiet else (PlainLog(console),),
        note=lambda text: None if quiet else console.print(text, style="bold", highlight=False),
    )
    found = run(request)
    if json_:
        for row in found.rows:
            dump(row)
        dump(found.summary(paper))
        return
    for table in found.tables:
        table_of(table.title, table.columns, table.rows)
    for text in found.notes:
        print(text)
    print(f"figure: {found.page}")
