"""Plays searches on a table and sums them up as curves with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nasgen import build, reading
from nasgen.bench.table import load
from nasgen.budget import Budget
from nasgen.config import SearchConfig, merge
from nasgen.engine.breeding import Proposal
from nasgen.errors import ConfigError
from nasgen.execution.serial import Serial
from nasgen.plan import Plan
from nasgen.search import Search
from nasgen.store.ledger import Ledger

FACTORY: Final = "nasgen.bench.evaluator:make"
QUERIES: Final = (25, 50, 100, 150, 200)
ALGORITHMS: Final = ("random", "aging", "local", "genetic", "genetic+ridge")
CONFIDENCE: Final = 0.95

# What each algorithm is played with; crossover only where it is part of the idea.
SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "random": {"population": 10},
    "aging": {"population": 20, "tournament": 5, "crossover_prob": 0.0},
    "local": {"population": 2, "patience": 12, "crossover_prob": 0.0},
    "genetic": {"population": 20, "offspring": 10, "tournament": 5, "crossover_prob": 0.3},
}
# Looking at a prediction costs nothing here, so the filter may choose from many.
PREDICTOR: Final = {"warmup": 20, "oversample": 10, "unscreened": 0.1}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Played:
    """What several seeds of one algorithm found, per query: accuracies (n_seeds, n_queries), %.

    `val` is the best value seen so far of the signal, `test` the reported value of that network.
    """

    val: Floats
    test: Floats


def config_of(bench: str, algorithm: str, seed: int) -> SearchConfig:
    """Return the config of one search; `algorithm` may name a predictor too: "genetic+ridge"."""
    name, _, predictor = algorithm.partition("+")
    tables: dict[str, Any] = {
        "seed": seed,
        "space": {"name": bench},
        "algorithm": {"name": name, **SETTINGS.get(name, {})},
    }
    if predictor:
        tables = merge(tables, {"predictor": {"name": predictor, **PREDICTOR}})
    return reading.config_of(tables, f"bench {algorithm}")


def play(
    bench: str, algorithm: str, seed: int, n_queries: int, signal: str | None = None
) -> tuple[list[float], list[float]]:
    """Search the table once; return (signal, reported) of each query in order, in per cent.

    It is the loop of a real run with a serial executor and its ledger in memory. A space that is
    spent early gives fewer queries.
    """
    config = config_of(bench, algorithm, seed)
    plan = Plan(
        seed=seed,
        objectives=build.objective_list(config),
        search_fidelity={"epochs": 1.0, "fraction": 1.0, "seconds": None},
        finish_fidelity={},
        recipe_digest="table",
        data_digest=bench,
    )
    search: Search

    def is_new(proposal: Proposal) -> bool:
        return search.is_new(proposal)

    def forget(proposal: Proposal) -> None:
        search.forget(proposal)

    screen = build.screen(config)
    directions = {o.name: o.direction for o in plan.objectives}
    names = [*config.algorithm.mutations, *config.algorithm.crossovers, "sample"]
    search = Search(
        plan,
        build.algorithm(config, build.space(config), is_new, screen, forget),
        Serial(FACTORY, {"bench": bench, "signal": signal}),
        Ledger.create("memory", directions, names),
        Budget(n_queries, 0),
        set(),
        screen=screen,
    )
    search.run([], 0)
    trials = [search.trials[seq] for seq in sorted(search.trials)]
    measured = [t.metrics for t in trials if t.state == "COMPLETE"]
    return (
        [100 * float(m["val_accuracy"]) for m in measured],
        [100 * float(m["test_accuracy"]) for m in measured],
    )


def played(
    bench: str,
    algorithm: str,
    seeds: Sequence[int],
    n_queries: int,
    signal: str | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Played:
    """Play an algorithm once for each seed; `tick` is called after each."""
    val, test = np.zeros((2, len(seeds), n_queries))
    for i, seed in enumerate(seeds):
        values, reported = play(bench, algorithm, seed, n_queries, signal)
        best = np.maximum.accumulate(values)
        # The first network that reached each best: later equals change nothing.
        first = np.maximum.accumulate(np.where(_rises(best), np.arange(len(best)), 0))
        n = len(best)
        val[i, :n], test[i, :n] = best, np.asarray(reported)[first]
        val[i, n:], test[i, n:] = best[-1], test[i, n - 1]
        tick()
    return Played(val, test)


def _rises(best: Floats) -> npt.NDArray[np.bool_]:
    return np.concatenate([[True], best[1:] > best[:-1]])


def summary(
    bench: str,
    runs: Mapping[str, Played],
    queries: Sequence[int],
    n_seeds: int,
    signal: str | None = None,
) -> dict[str, Any]:
    """Return what `nasgen bench --json` prints: means, deviations, confidence intervals, in %."""
    table = load(bench)
    searched, reported = table.signal(signal)
    optimum = float(table.columns[searched].max())
    algorithms = {
        name: {
            "val": {str(q): _spread(run.val[:, q - 1]) for q in queries},
            "test": {str(q): _spread(run.test[:, q - 1]) for q in queries},
            # Single precision in the table, divided and multiplied by 100 on the way.
            "p_optimum": {
                str(q): float((run.val[:, q - 1] >= optimum - 1e-4).mean()) for q in queries
            },
        }
        for name, run in runs.items()
    }
    return {
        "bench": bench,
        "seeds": n_seeds,
        "signal": searched,
        "reported": reported,
        "optimum": round(optimum, 4),
        "algorithms": algorithms,
    }


def _spread(values: Floats) -> dict[str, float]:
    """Return mean, standard deviation and half the width of the confidence interval (Student)."""
    from scipy.stats import t

    n = len(values)
    sd = float(values.std(ddof=1)) if n > 1 else 0.0
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * sd / n**0.5 if n > 1 else 0.0
    return {"mean": round(float(values.mean()), 4), "sd": round(sd, 4), "ci95": round(half, 4)}


def checked_queries(queries: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of queries in ascending order; ConfigError for one below 1 or none."""
    if not queries or min(queries) < 1:
        raise ConfigError(f"--queries: expected numbers such as 25,50,100, got {list(queries)}.")
    return tuple(sorted(set(queries)))
