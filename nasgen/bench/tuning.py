"""Tunes the settings of a search itself on a bench, where a search takes a second.

Tune on one bench or column and report another: what was chosen on a column flatters itself there.
So every column that docs/benchmarks.md has figures of is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from nasgen import registry
from nasgen.bench import play
from nasgen.bench.base import FILE, find, parts
from nasgen.bench.summary import spread
from nasgen.errors import ConfigError, EvaluationError, UnknownNameError, suggest
from nasgen.predictors.acquisition import ACQUISITIONS
from nasgen.store.tuning import Draw, Value, optimise

# By bench (a file by its name): what figures were searched on, and what they report. The first of
# three runs of NAS-Bench-Macro is a part of the mean that is reported.
REPORTED: Final[Mapping[str, frozenset[str]]] = {
    "nasbench201": frozenset({
        "c10v_valid_200", "c10_test_200", "c100_valid_12ep", "c100_test_200", "in16_valid_12ep",
        "in16_test_200",
    }),
    "nasbench-macro": frozenset({"mean_acc", "test_acc1"}),
    "synthetic-dag": frozenset({"score"}),
    "mlp_digits.py": frozenset({"val_accuracy", "test_accuracy"}),
}  # fmt: skip
BENCH: Final = "nasbench201:c10_valid_12ep"  # what no figure is of
SEPARATOR: Final = ":"  # between a bench and its signal
FORMS: Final = "NAME, NAME:COLUMN, FILE.py, FILE.py:NAME or FILE.py:NAME:COLUMN"
QUERIES: Final = (25, 50, 100)  # the score of a search is its mean best so far at these
ALGORITHM: Final = "genetic+rank"  # whose settings are in use, and tried first
# Those that fit in milliseconds; the others would make each trial minutes long.
PREDICTORS: Final = ("ridge", "rank")
N_REPORTS: Final = 4  # times that a trial is looked at, to be stopped when it does badly


def tune(
    bench: str = BENCH,
    n_trials: int = 50,
    seeds: int = 20,
    seed: int = 0,
    tick: Callable[[], None] = lambda: None,
    workers: int = 1,
) -> dict[str, Any]:
    """Look for settings of the genetic search with a predictor; return JSON-able findings.

    `bench` is one of `FORMS`. Each of `n_trials` settings plays `seeds` searches, worth the mean
    over seeds of the best so far at `QUERIES`, in per cent; the settings in use are among them
    ("baseline"). `tick` is called after each trial. The answer is {"bench", "best", "value",
    "baseline", "n_trials", "toml", "other_seeds"}; "best" holds the tables [algorithm] and
    [predictor], which "toml" is the text of. "value" is that of the searches that chose, of which
    it is the greatest, so it is optimistic. What the choice gains stands in "other_seeds", as many
    that chose nothing: {"n", "best", "baseline", "best_minus_baseline": mean, deviation, half the
    95 % interval}, paired by seed, in points. Raises ConfigError for a column that is reported, and
    for a bench with too few networks.
    """
    name, column = _named(bench)
    searched, _ = find(name).signal(column)
    if searched in REPORTED.get(Path(parts(name)[0] or name).name, ()):
        raise ConfigError(
            f"--bench: settings tuned on {searched} of {name} would flatter themselves, because "
            f"that is part of what is reported; expected another bench, such as {BENCH}, or a "
            "table of your own."
        )
    n_networks = find(name).n_networks
    if n_networks is not None and n_networks < QUERIES[-1]:
        raise ConfigError(
            f"--bench: expected a table of {QUERIES[-1]} networks or more, since a search asks for "
            f"so many, but {name} has {n_networks}; name a larger one."
        )
    if seeds < 1:
        raise ConfigError(f"--seeds: expected at least 1 search of each trial, got {seeds}.")
    values: dict[int, float] = {}

    def scored(settings: Mapping[str, Any], seeds: Sequence[int]) -> play.Floats:
        """Return what a search with each of the seeds is worth."""
        runs = play.played(
            name, [ALGORITHM], seeds, QUERIES[-1], searched, workers=workers, settings=settings
        )
        if unscored := runs[ALGORITHM].unscored:
            seed, why = min(unscored.items())
            raise EvaluationError(f"{name}: {ALGORITHM} with seed {seed} {why}")
        looks: play.Floats = runs[ALGORITHM].val[:, [q - 1 for q in QUERIES]].mean(axis=1)
        return looks

    def worth(settings: Mapping[str, Any], draw: Draw) -> float:
        shares = np.array_split(np.arange(seed, seed + seeds), min(seeds, N_REPORTS))
        scores: list[float] = []
        for step, share in enumerate(shares):
            scores += scored(settings, share.tolist()).tolist()
            draw.report(float(np.mean(scores)), step)
            if step + 1 < len(shares):
                draw.prune()
        return float(np.mean(scores))

    def suggest_and_score(draw: Draw) -> float:
        try:
            value = worth(tables(drawn(draw)), draw)
            values[len(values)] = value
            return value
        finally:
            tick()

    in_use = current()
    best = optimise(
        suggest_and_score, n_trials=n_trials, seed=seed, direction="maximize", first=[in_use]
    )
    found = tables(best.params)
    others = range(seed + seeds, seed + 2 * seeds)
    ours, before = (scored(settings, others) for settings in (found, tables(in_use)))
    return {
        "bench": f"{name}{SEPARATOR}{searched}",
        "best": found,
        "value": round(best.value, 4),
        "baseline": round(values[0], 4),  # the settings in use are tried first and never pruned
        "n_trials": best.n_trials,
        "toml": toml(found),
        "other_seeds": {
            "n": seeds,
            "best": round(float(ours.mean()), 4),
            "baseline": round(float(before.mean()), 4),
            "best_minus_baseline": spread(ours - before),
        },
    }


def _named(bench: str) -> tuple[str, str | None]:
    """Return the bench and the column (None: the first) of one of `FORMS`.

    One word behind a file is the name of a bench of it, else a column of the only one.
    """
    file, ends, words = bench.rpartition(FILE + SEPARATOR)
    name, column = bench, ""
    if ends or not bench.endswith(FILE):
        name, _, column = words.partition(SEPARATOR)
    if ends:
        file += FILE
        name = f"{file}{SEPARATOR}{name}"
        if not column:
            try:
                find(name)
            except UnknownNameError:
                name, column = file, words
    signals = find(name).signals
    if column and column not in signals:
        raise ConfigError(
            f"--bench: '{column}' is no signal of {name}{suggest(column, signals)} Expected "
            f"{FORMS}, with a column of {', '.join(signals)}."
        )
    return name, column or None


def drawn(draw: Draw) -> dict[str, Value]:
    """Draw one set of settings, under flat names."""
    population = draw.suggest_int("population", 4, 40, log=True)
    return {
        "population": population,
        "offspring": draw.suggest_int("offspring", 1, 16, log=True),
        # As a share, because there is no larger tournament than the population.
        "pressure": draw.suggest_float("pressure", 0.05, 1.0),
        "crossover_prob": draw.suggest_float("crossover_prob", 0.0, 0.9),
        "predictor": draw.suggest_categorical("predictor", PREDICTORS),
        "warmup": draw.suggest_int("warmup", 4, 40, log=True),
        "oversample": draw.suggest_int("oversample", 2, 64, log=True),
        "unscreened": draw.suggest_float("unscreened", 0.02, 0.4),
        "acquisition": draw.suggest_categorical("acquisition", sorted(ACQUISITIONS)),
    }


def current() -> dict[str, Value]:
    """Return the settings in use, under the names of `drawn`."""
    name, _, predictor = ALGORITHM.partition("+")
    algorithm, screen = play.SCREENED[name], play.PREDICTOR
    return {
        "population": algorithm["population"],
        "offspring": algorithm["offspring"],
        "pressure": algorithm["tournament"] / algorithm["population"],
        "crossover_prob": algorithm["crossover_prob"],
        "predictor": predictor,
        **{key: screen[key] for key in ("warmup", "oversample", "unscreened", "acquisition")},
    }


def tables(drawn: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return drawn settings as the tables of a config."""
    population = int(drawn["population"])
    return {
        "algorithm": {
            "name": ALGORITHM.partition("+")[0],
            "population": population,
            "offspring": int(drawn["offspring"]),
            "tournament": min(population, max(1, round(drawn["pressure"] * population))),
            "crossover_prob": round(float(drawn["crossover_prob"]), 3),
        },
        "predictor": {
            "name": registry.get("predictors", str(drawn["predictor"])).name,
            "warmup": int(drawn["warmup"]),
            "oversample": int(drawn["oversample"]),
            "unscreened": round(float(drawn["unscreened"]), 3),
            "acquisition": str(drawn["acquisition"]),
        },
    }


def toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return tables of plain values as TOML, ready for a config file."""
    return "\n".join(
        f"[{table}]\n" + "".join(f"{key} = {json.dumps(v)}\n" for key, v in settings.items())
        for table, settings in tables.items()
    )
