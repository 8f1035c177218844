"""tune: better training recipes for a found network, better settings for the search itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

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
    seconds_of,
    table_of,
    threads_of,
)
from nasgen.cli.output import dump

BENCH = "nasbench201:c10_valid_12ep"  # `nasgen.bench.tuning`, which is read when it is needed
N_RECIPES, N_TRIALS, N_SEEDS = 20, 50, 20  # when they are not given


@command
def tune(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN[:TRIAL]|CONFIG.toml", help="Run or config whose network is tuned."
        ),
    ] = None,
    search: Annotated[
        bool, typer.Option("--search", help="Tune the settings of the search, on a bench.")
    ] = False,
    trials: Annotated[
        int | None,
        typer.Option(
            help="Number of recipes to try, including the current one (default: 20; "
            "with --search 50 settings).",
            min=1,
        ),
    ] = None,
    budget: Annotated[str | None, typer.Option(help="Wall time in total: 90s, 10m, 1h.")] = None,
    epochs: Annotated[
        float | None,
        typer.Option(
            help="Epochs for each training (default: as the network was trained).", min=1e-3
        ),
    ] = None,
    networks: Annotated[
        int | None,
        typer.Option(help="Number of best networks to average over (default: 1).", min=1),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.", min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="Output folder (only for a CONFIG).")] = None,
    bench: Annotated[
        str | None,
        typer.Option(
            help="With --search: NAME, NAME:COLUMN, FILE.py, FILE.py:NAME or FILE.py:NAME:COLUMN "
            f"(default: {BENCH})."
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="With --search: searches for each setting (default: 20).", min=1),
    ] = None,
    threads: Threads = None,
    plugin: Plugins = None,
    data: DataNow = None,
    ledger: LedgerNow = None,
    json_: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Tune the training recipe of a run's best networks, on validation rows."""
    from nasgen.errors import ConfigError

    given = {
        "--budget": budget, "--epochs": epochs, "--networks": networks, "--out": out, "RUN": source,
        "--plugin": plugin, "--data": data, "--ledger": ledger, "--threads": threads,
    }  # fmt: skip
    if search:
        wrong = [name for name, value in given.items() if value is not None]
        if wrong:
            raise ConfigError(f"--search runs on a bench and takes no {', '.join(wrong)}.")
        _tune_search(bench or BENCH, trials or N_TRIALS, seeds or N_SEEDS, seed, json_, quiet)
        return
    wrong = [n for n, v in {"--bench": bench, "--seeds": seeds}.items() if v is not None]
    if wrong:
        raise ConfigError(f"{', '.join(wrong)}: only with --search.")
    if source is None:
        raise ConfigError("nothing to tune; name a run folder, a config.toml, or --search.")
    time_s = seconds_of("--budget", budget)
    named = {"plugins": plugin or (), "data": data, "ledger": ledger}
    n_recipes = trials or N_RECIPES
    _tune_recipe(
        source, named, n_recipes, time_s, epochs, networks, seed, out, json_, quiet,
        threads_of(threads),
    )  # fmt: skip


def _tune_recipe(
    source: Path,
    named: Mapping[str, Any],
    trials: int,
    time_s: float | None,
    epochs: float | None,
    networks: int | None,
    seed: int,
    out: Path | None,
    json_: bool,
    quiet: bool,
    n_threads: int | None,
) -> None:
    from nasgen.errors import ConfigError, typed
    from nasgen.runs import reading, tuning
    from nasgen.runs.progress import duration, value
    from nasgen.runs.progress import epochs as of_epochs
    from nasgen.runs.session import load
    from nasgen.runs.trust import check_config
    from nasgen.settings.config import read_toml

    is_config = source.suffix == ".toml" and not source.is_dir()
    if is_config:
        if networks is not None:
            raise ConfigError("--networks: a config has one network; name a run with more of them.")
        if wrong := [f"--{name.removesuffix('s')}" for name, value in named.items() if value]:
            raise ConfigError(f"{', '.join(wrong)}: only for a RUN; a config names its own.")
        tables = read_toml(source)
        check_config(source, tables)
        subject = tuning.first_of(reading.resolved(tables, str(source)), epochs)
        folder = out or Path("runs") / f"tune-{source.stem}"
    elif out is not None:
        raise ConfigError("--out is for a CONFIG only; the results for a RUN go to its own folder.")
    else:
        run = load(source, say=said, **named)
        subject, folder = tuning.best_of(run, epochs, networks or 1), run.path
        which = () if run.named is not None else ("--best",)
    console, metric = console_of(stderr=True), f"val_{subject.resolved.task.metric}"

    def told(row: Mapping[str, Any]) -> None:
        what = {
            "COMPLETE": value(metric, row.get(metric)),
            "PRUNED": f"stopped early at {value(metric, row['screened'])}",
        }.get(row["state"], f"failed: {row['failure']}")
        after = "" if row["train_s"] is None else f" ({duration(row['train_s'])})"
        console.print(
            f"recipe {row['number']}: {what}{after}, {_words(row['recipe'])}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip

    def progress(row: Mapping[str, Any]) -> None:
        if console.is_terminal:
            text = f"recipe {row['number']}: {of_epochs(row)}"
            console.print(f"{text}, loss {row['train_loss']:.4f}", end="\r", highlight=False)

    if not quiet:
        console.print(
            f"{subject.name}: {subject.epochs:g} epoch{'' if subject.epochs == 1 else 's'} "
            "for each recipe",
            markup=False,
            highlight=False,
        )
    quietly: dict[str, Any] = {} if quiet else {"told": told, "progress": progress}
    tuned = tuning.tune(subject, folder, trials, seed, time_s, **quietly, n_threads=n_threads)
    if json_:
        dump(tuned.to_json())
        return
    names = list(tuned.best["recipe"])
    rows = [
        [name, row["number"], value(metric, row[metric])] + [row["recipe"][key] for key in names]
        for name, row in (("current", tuned.baseline), ("best", tuned.best))
    ]
    # One row a setting: side by side they would not fit a terminal.
    columns = ["recipe", *(str(row[0]) for row in rows)]
    n = len(subject.genotypes)
    mean = f"validation {metric.removeprefix('val_')}"
    mean += "" if n == 1 else f", mean of {n}"
    labels = ["number", mean, *names]
    table_of(
        f"{len(tuned.rows)} recipe{'' if len(tuned.rows) == 1 else 's'} for {subject.name}",
        columns,
        [[label, *(row[1 + i] for row in rows)] for i, label in enumerate(labels)],
    )
    print(f"recipe: {tuned.fragment}")
    if tuned.best["number"] == 0:
        print("the current recipe is the best one found")
        return
    changed = {k: v for k, v in tuned.best["recipe"].items() if v != tuned.baseline["recipe"][k]}
    settings = [w for k, v in changed.items() for w in ("--set", f"training.{k}={_toml(v)}")]
    if is_config:
        print(f"use it: {typed('search', source, *settings)}")
    else:
        length = ("--epochs", f"{subject.epochs:g}")
        print(f"use it: {typed('train', source, *which, *length, *settings)}")


def _tune_search(bench: str, trials: int, seeds: int, seed: int, json_: bool, quiet: bool) -> None:
    from rich.progress import Progress

    from nasgen.bench.tuning import tune as tune_search

    console = console_of(stderr=True)
    with Progress(console=console, disable=quiet or not console.is_terminal) as bars:
        task = bars.add_task(f"searches on {bench}", total=trials)
        found = tune_search(bench, trials, seeds, seed, lambda: bars.advance(task))
    if json_:
        dump(found)
        return
    print(f"current settings: {found['baseline']:.3f} %")
    print(
        f"best of {found['n_trials']} settings: {found['value']:.3f} %, on the searches that chose "
        "it, so that this is optimistic"
    )
    other = found["other_seeds"]
    gain = other["best_minus_baseline"]
    half = "" if gain["ci95"] is None else f" ± {gain['ci95']:.3f}"
    print(
        f"on {other['n']} other seed{'' if other['n'] == 1 else 's'}: best minus current "
        f"{gain['mean']:+.3f}{half} points"
    )
    print(found["toml"])


def _words(recipe: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_toml(value)}" for key, value in recipe.items())


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
