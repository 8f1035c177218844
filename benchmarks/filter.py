"""How many trainings a filter saves: python benchmarks/filter.py [--seeds 500] [--workers 2]

The search with the tuned settings of `genetic+rank` is played on NAS-Bench-201 without its filter,
and with it. What the one reaches at 300 queries, on average over seeds, is the goal; the other's
mean curve tells when it gets there. The interval comes from resampling seeds, the same in both.
Settings were not chosen on this column (docs/benchmarks.md).
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from nasgen.bench.play import PREDICTOR, SCREENED, played
from nasgen.bench.summary import spread

N_RESAMPLES = 2000
WITHOUT, WITH = "genetic", "genetic+rank"


def trainings(curve: np.ndarray, goal: float) -> float:
    """Return the first query at which a mean curve has reached the goal; inf if it does not."""
    reached = curve >= goal
    return float(reached.argmax() + 1) if reached.any() else float("inf")


def main() -> None:
    """Play both searches and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", default="nasbench201")
    parser.add_argument("--signal", default=None)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    # The same search twice: only the filter is taken away.
    without = played(
        given.bench, [WITHOUT], range(given.seeds), given.queries, given.signal,
        workers=given.workers, settings={"algorithm": dict(SCREENED["genetic"])},
    )[WITHOUT].val  # fmt: skip
    screened = played(
        given.bench, [WITH], range(given.seeds), given.queries, given.signal, workers=given.workers
    )[WITH].val
    goal = float(without[:, -1].mean())
    needed = trainings(screened.mean(axis=0), goal)
    rng = np.random.default_rng(0)
    factors = []
    for _ in range(N_RESAMPLES):
        rows = rng.integers(given.seeds, size=given.seeds)
        own_goal = float(without[rows, -1].mean())
        factors.append(given.queries / trainings(screened[rows].mean(axis=0), own_goal))
    low, high = np.percentile(factors, [2.5, 97.5])
    print(
        json.dumps(
            {
                "bench": given.bench,
                "signal": given.signal,
                "seeds": given.seeds,
                "search": dict(SCREENED["genetic"]),
                "filter": dict(PREDICTOR),
                "queries": given.queries,
                "without_filter": spread(without[:, -1]),
                "with_filter": spread(screened[:, -1]),
                "trainings_with_filter": needed if np.isfinite(needed) else None,
                "fewer_trainings": round(given.queries / needed, 3),
                "fewer_trainings_95": [round(float(low), 3), round(float(high), 3)],
            }
        )
    )


if __name__ == "__main__":
    main()
