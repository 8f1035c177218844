"""bench: searches on tables in seconds, through the same loop as real ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nasgen.cli.app import Json, command, console_of, dump, table_of


@command
def bench(
    name: Annotated[
        str, typer.Argument(metavar="BENCH", help="nasbench201 or nasbench-macro.")
    ] = "nasbench201",
    algorithms: Annotated[
        str | None,
        typer.Option(help="local,aging,...; genetic+ridge adds a predictor. Default: all."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Searches of each algorithm.", min=1)] = 10,
    queries: Annotated[str, typer.Option(help="Where to look: 25,50,100.")] = "25,50,100",
    signal: Annotated[str | None, typer.Option(help="Column that searches see.")] = None,
    plot: Annotated[Path | None, typer.Option(help="SVG file to write the curves to.")] = None,
    json_: Json = False,
) -> None:
    """Compare algorithms on a table of all accuracies, with 95 % confidence intervals."""
    from rich.progress import Progress

    from nasgen.bench import play
    from nasgen.bench.plot import svg
    from nasgen.bench.table import load
    from nasgen.errors import ConfigError, StoreError

    searched, reported = load(name).signal(signal)
    try:
        numbers = [int(q) for q in queries.split(",")]
    except ValueError:
        raise ConfigError(f"--queries: expected 25,50,100, got '{queries}'.") from None
    looks = play.checked_queries(numbers)
    chosen = algorithms.split(",") if algorithms else list(play.ALGORITHMS)
    for algorithm in chosen:
        play.config_of(name, algorithm, 0)  # a wrong name shows before anything is played
    runs = {}
    console = console_of(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bars:
        for algorithm in chosen:
            task = bars.add_task(algorithm, total=seeds)
            tick = partial(bars.advance, task)
            runs[algorithm] = play.played(name, algorithm, range(seeds), looks[-1], signal, tick)
    found = play.summary(name, runs, looks, seeds, signal)
    if plot is not None:
        try:
            plot.write_text(svg(name, runs, searched), encoding="utf-8")
        except OSError as error:
            raise StoreError(f"{plot} cannot be written ({error.strerror or error}).") from None
    if json_:
        dump(found)
        return
    rows = [
        [
            algorithm,
            part,
            *(f"{v['mean']:.2f} ± {v['ci95']:.2f}" for v in values[part].values()),
            f"{values['p_optimum'][str(looks[-1])]:.2f}",
        ]
        for algorithm, values in found["algorithms"].items()
        for part in ("val", "test")
    ]
    columns = ["algorithm", "accuracy, %", *(f"@{q}" for q in looks), f"P(optimum @{looks[-1]})"]
    title = f"{name}, {seeds} seeds: searched {searched} (optimum {found['optimum']}), "
    table_of(f"{title}reported {reported}, mean ± 95 %", columns, rows)
