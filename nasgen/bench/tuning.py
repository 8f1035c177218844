"""Tunes the settings of a search itself on a bench, where a search takes a second.

Tune on one bench or column and report another: what was chosen on a column flatters itself there.
So every column that docs/benchmarks.md has figures of is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from nasgen import registry
from nasgen.bench import play
from nasgen.bench.base import find
from nasgen.errors import ConfigError
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

    `bench` is NAME or NAME:SIGNAL. Each of `n_trials` settings plays `seeds` searches, worth the
    mean over seeds of the best so far at `QUERIES`, in per cent; the settings in use are among them
    ("baseline"). `tick` is called after each trial. The answer is {"bench", "best", "value",
    "baseline", "n_trials", "toml"}; "best" holds the tables [algorithm] and [predictor], which
    "toml" is the text of. Raises ConfigError for a column that is reported.
    """
    name, _, column = bench.partition(SEPARATOR)
    searched, _ = find(name).signal(column or None)
    if searched in REPORTED.get(Path(name).name, ()):
        raise ConfigError(
            f"--bench: settings tuned on {searched} of {name} would flatter themselves, because "
            f"that is part of what is reported; expected another bench, such as {BENCH}, or a "
            "table of your own."
        )
    if seeds < 1:
        raise ConfigError(f"--seeds: expected at least 1 search of each trial, got {seeds}.")
    values: dict[int, float] = {}

    def worth(settings: Mapping[str, Any], draw: Draw) -> float:
        parts = [part for part in np.array_split(np.arange(seeds), N_REPORTS) if len(part)]
        scores: list[float] = []
        for step, part in enumerate(parts):
            runs = play.played(
                name, [ALGORITHM], [int(s) + seed for s in part], QUERIES[-1], searched,
                workers=workers, settings=settings,
            )  # fmt: skip
            looks = runs[ALGORITHM].val[:, [q - 1 for q in QUERIES]]
            scores += looks.mean(axis=1).tolist()
            draw.report(float(np.mean(scores)), step)
            if step + 1 < len(parts):
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
    return {
        "bench": f"{name}{SEPARATOR}{searched}",
        "best": found,
        "value": round(best.value, 4),
        "baseline": round(values[0], 4),  # the settings in use are tried first and never pruned
        "n_trials": best.n_trials,
        "toml": toml(found),
    }


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
