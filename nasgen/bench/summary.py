"""Sums up what searches found on a bench: means, paired differences, queries to the optimum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from nasgen.bench.base import find
from nasgen.bench.play import Floats, Played, operators_of
from nasgen.errors import ConfigError

CONFIDENCE: Final = 0.95
BASELINE: Final = "local"  # what the others are compared with, seed by seed
# Tables are in single precision, and values are divided and multiplied by 100 on the way.
TOLERANCE: Final = 1e-4


def summary(
    bench: str,
    runs: Mapping[str, Played],
    queries: Sequence[int],
    n_seeds: int,
    signal: str | None = None,
) -> dict[str, Any]:
    """Return what `nasgen bench --json` prints, scores in per cent.

    Of each algorithm: the best so far at each number of `queries` ("val", "test"), the share of
    seeds that have met the optimum ("p_optimum"), the queries that took ("queries_to_optimum"),
    beside `BASELINE` the mean difference to it on the same seeds ("minus_local"), and how many
    queries were spent ("n_asked"): what is said of more queries than its "min" repeats, for some
    seeds, what was found before ("padded" lists these numbers). "n_holes" counts the networks of
    which the table says nothing, a query each, "n_trials" the trainings that were begun, parts of
    one too. "unscored" says of each seed that met no network with a score what came of it: it has
    not met the optimum, and means are those of the others (None: there are none).
    """
    found = find(bench)
    searched, reported = found.signal(signal)
    optimum = found.optimum(searched)
    hits = {name: run.val >= optimum - TOLERANCE for name, run in runs.items()}
    algorithms: dict[str, dict[str, Any]] = {
        name: {
            "val": {str(q): _of_scored(run.val[:, q - 1]) for q in queries},
            "test": {str(q): _of_scored(run.test[:, q - 1]) for q in queries},
            "p_optimum": {str(q): float(hits[name][:, q - 1].mean()) for q in queries},
            "queries_to_optimum": to_optimum(hits[name]),
            "n_asked": {"min": int(run.n_asked.min()), "mean": round(float(run.n_asked.mean()), 2)},
            "padded": _padded(run, queries),
            "n_holes": counts(run.n_holes),
            "n_trials": counts(run.n_trials),
            "unscored": {str(seed): why for seed, why in sorted(run.unscored.items())},
        }
        for name, run in runs.items()
    }
    baseline = runs.get(BASELINE)
    for name, run in runs.items():
        if baseline is None or name == BASELINE:
            continue
        algorithms[name][f"minus_{BASELINE}"] = {
            part: {str(q): _of_scored(a[:, q - 1] - b[:, q - 1]) for q in queries}
            for part, a, b in (("val", run.val, baseline.val), ("test", run.test, baseline.test))
        }
        own, other = (algorithms[n]["queries_to_optimum"]["median"] for n in (name, BASELINE))
        ratio = None if own is None or other is None else round(own / other, 4)
        algorithms[name]["queries_to_optimum"][f"of_{BASELINE}"] = ratio
    return {
        "bench": bench,
        "seeds": n_seeds,
        "signal": searched,
        "reported": reported,
        "optimum": round(optimum, 4),
        "operators": operators_of(bench),
        "algorithms": algorithms,
    }


def _of_scored(values: Floats) -> dict[str, float | None]:
    """Return the spread of the seeds that are not NaN."""
    scored = values[np.isfinite(values)]
    return spread(scored) if len(scored) else {"mean": None, "sd": None, "ci95": None}


def _padded(run: Played, queries: Sequence[int]) -> list[int]:
    """Return the numbers of queries that some curve does not reach by itself."""
    asked = run.n_asked[np.isfinite(run.val[:, 0])]
    return [q for q in queries if len(asked) and q > asked.min()]


def counts(values: Any) -> dict[str, float]:
    """Return {"mean", "max"} of counts, one a seed; 0 without any."""
    if not len(values):
        return {"mean": 0.0, "max": 0}
    return {"mean": round(float(values.mean()), 2), "max": int(values.max())}


def to_optimum(hits: Any) -> dict[str, Any]:
    """Return {"median", "n_reached", "n_seeds", "within"} for hits (n_seeds, n_queries).

    Seeds that have not met the optimum count as later than all others; the median is None when it
    falls among them.
    """
    n_seeds, within = hits.shape
    needed = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1.0, np.inf)
    median = float(np.median(needed))
    return {
        "median": median if np.isfinite(median) else None,
        "n_reached": int(hits.any(axis=1).sum()),
        "n_seeds": n_seeds,
        "within": within,
    }


def spread(values: Floats) -> dict[str, float | None]:
    """Return mean, standard deviation and half the width of the confidence interval (Student).

    The last two are None for a single value, which says nothing about them.
    """
    mean = round(float(values.mean()), 4)
    if len(values) < 2:
        return {"mean": mean, "sd": None, "ci95": None}
    sd, half = float(values.std(ddof=1)), float(half_width(values))
    return {"mean": mean, "sd": round(sd, 4), "ci95": round(half, 4)}


def half_width(values: Floats) -> Floats:
    """Return half the width of the interval of each mean over axis 0; 0 for a single value."""
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return np.zeros(values.shape[1:])
    factor = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) / n**0.5
    half: Floats = factor * np.asarray(values.std(axis=0, ddof=1))
    return half


def checked_queries(queries: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of queries in ascending order; ConfigError for one below 1 or none."""
    if not queries or min(queries) < 1:
        raise ConfigError(f"--queries: expected numbers such as 25,50,100, got {list(queries)}.")
    return tuple(sorted(set(queries)))
