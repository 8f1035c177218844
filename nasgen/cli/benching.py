"""bench: searches in seconds where every score is known, through the loop of real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nasgen.cli.app import Json, command, console_of, said, table_of, within
from nasgen.cli.output import dump

PADDED = "*"


@command
def bench(
    name: Annotated[
        str,
        typer.Argument(
            metavar="BENCH|FILE.py",
            help="A name of `nasgen list benches`, or a file that registers one with @nasgen.bench "
            "(FILE.py:NAME where it has several).",
        ),
    ] = "nasbench201",
    algorithms: Annotated[
        str | None,
        typer.Option(
            help="Algorithms to compare: local,aging,... genetic+rank adds the predictor "
            "'rank', genetic+rank:paths one that reads the features 'paths', genetic/path uses the "
            "operator 'path' alone. Default: depends on the bench."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Searches for each algorithm.", min=1)] = 10,
    queries: Annotated[
        str, typer.Option(help="Numbers of evaluations at which to compare.")
    ] = "25,50,100",
    signal: Annotated[
        str | None,
        typer.Option(help="Table column used as the score (default: depends on the bench)."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes (default: one per core); they do not change results.", min=1),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="SVG file for a plot of the curves.")] = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            help="File (JSON lines) that keeps each search as it ends; what stands there is not "
            "played again, so a long comparison may be stopped at any time."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting of all searches, such as stopping.stopper=median or (without aging) "
            "algorithm.rungs=3 for a bench with learning curves. May be repeated.",
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Compare search algorithms on tables of known accuracies, with 95 % confidence intervals."""
    from rich.progress import Progress

    from nasgen.bench import play
    from nasgen.bench.base import find
    from nasgen.bench.finished import Kept
    from nasgen.bench.plot import svg
    from nasgen.bench.summary import checked_queries, summary
    from nasgen.errors import ConfigError, StoreError
    from nasgen.settings.config import assignments
    from nasgen.settings.fidelity import n_cores

    searched, reported = find(name).signal(signal)
    try:
        numbers = [int(q) for q in queries.split(",")]
    except ValueError:
        raise ConfigError(f"--queries: expected 25,50,100, got '{queries}'.") from None
    looks = checked_queries(numbers)
    given = assignments(set_ or [])
    if strange := [section for section in given if section not in play.SECTIONS]:
        raise ConfigError(
            f"--set: expected a setting of {', '.join(play.SECTIONS)}, which a table leaves open, "
            f"got one of '{strange[0]}'."
        )
    for section, option in (("algorithm", "NAME"), ("predictor", "NAME+PREDICTOR")):
        if isinstance(given.get(section), dict) and "name" in given[section]:
            raise ConfigError(
                f"--set {section}.name: what is compared is named by --algorithms {option}; leave "
                "this out."
            )
    chosen = algorithms.split(",") if algorithms else list(play.algorithms_of(name))
    if plot is not None and not plot.parent.is_dir():  # said before an hour has been played
        raise StoreError(f"--plot: {plot.parent} is no folder; make it, or name another file.")
    console = console_of(stderr=True)
    kept = None if rows is None else Kept(rows)
    if kept is not None and kept.n_older:
        said(
            f"{rows} has {kept.n_older} search{'' if kept.n_older == 1 else 'es'} of an older "
            "version, which counted holes otherwise; they stay there and are not used."
        )
    with Progress(console=console, disable=not console.is_terminal) as bars:
        tasks = {algorithm: bars.add_task(algorithm, total=seeds) for algorithm in chosen}
        runs = play.played(
            name, chosen, range(seeds), looks[-1], signal,
            tick=lambda algorithm: bars.advance(tasks[algorithm]),
            workers=workers or n_cores(),
            settings=given or None,
            kept=kept,
        )  # fmt: skip
    found = summary(name, runs, looks, seeds, signal)
    if kept is not None:
        made = kept.codes
        found["code"] = {"present": kept.code, "searches": made}
        if others := [code for code in made if code != kept.code]:
            said(
                f"{sum(made[code] for code in others)} of {sum(made.values())} searches are rows "
                f"that other code has made: {', '.join(others)}; the present is {kept.code}. Name "
                "another file of rows to have all of one."
            )
    if plot is not None:
        try:
            plot.write_text(svg(name, runs, searched), encoding="utf-8")
        except OSError as error:
            raise StoreError(f"{plot} cannot be written ({error.strerror or error}).") from None
    if json_:
        dump(found)
        return
    # What is reported is shown where it is not what was searched; the optimum once an algorithm.
    parts = ("val",) if searched == reported else ("val", "test")
    lines = []
    for algorithm, values in found["algorithms"].items():
        share = f"{values['p_optimum'][str(looks[-1])]:.2f}"
        once = [share, _queries(values["queries_to_optimum"]["median"], looks[-1])]
        for i, part in enumerate(parts):
            scores = [
                f"{_mean(v)}{PADDED * (int(q) in values['padded'])}"
                for q, v in values[part].items()
            ]
            first = i == 0
            lines.append(
                [algorithm if first else "", part, *scores, *(once if first else ["", ""])]
            )
    columns = [
        "algorithm",
        "",
        *(f"@{q}" for q in looks),
        f"share at optimum @{looks[-1]}",
        "queries to it",
    ]
    title = f"{name}, {seeds} seeds: searched {searched} (optimum {found['optimum']}), "
    table_of(f"{title}reported {reported}, mean % ± 95 %; queries: medians", columns, lines)
    if any(values["padded"] for values in found["algorithms"].values()):
        print(
            f"{PADDED} some searches ended earlier, because they found no new network; their last "
            "best is repeated"
        )
    holes = {a: v["n_holes"] for a, v in found["algorithms"].items() if v["n_holes"]["max"]}
    if holes:
        means = ", ".join(f"{a} {n['mean']:g}" for a, n in holes.items())
        print(
            "networks of which the table says nothing (holes; each has cost a query), mean a "
            f"search: {means}"
        )
    for algorithm, values in found["algorithms"].items():
        if unscored := values["unscored"]:
            seed, why = next(iter(unscored.items()))
            print(
                f"{algorithm}: {len(unscored)} of {seeds} searches met no network with a score; "
                f"the means leave them out. Seeds: {', '.join(unscored)}. Seed {seed} {why}"
            )
    operators = (f"{group} {', '.join(names)}" for group, names in found["operators"].items())
    print(f"operators that apply: {'; '.join(operators)}")


def _mean(found: dict[str, Any]) -> str:
    return "–" if found["mean"] is None else within(found["mean"], found["ci95"], 2)


def _queries(median: float | None, within: int) -> str:
    return f"> {within}" if median is None else f"{median:g}"
