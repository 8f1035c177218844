"""Plays searches on a bench, each through the loop of a real run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nasgen import registry
from nasgen.bench import synthetic
from nasgen.bench.base import find
from nasgen.engine.proposal import Proposal
from nasgen.errors import ConfigError, EvaluationError, UnknownNameError, suggest
from nasgen.execution.base import Executor
from nasgen.execution.processes import Processes
from nasgen.execution.serial import Serial
from nasgen.loop.constants import Constants
from nasgen.loop.search import Search
from nasgen.runs import reading
from nasgen.runs.resolved import Resolved
from nasgen.settings.budget import Budget
from nasgen.settings.config import merge
from nasgen.settings.fidelity import Fidelity
from nasgen.store.ledger import Ledger

FACTORY: Final = "nasgen.bench.evaluator:make"
PLAYER: Final = "nasgen.bench.play:player"
QUERIES: Final = (25, 50, 100, 150, 200)
# What is played when nobody says; the last of a table is the tuned one.
ALGORITHMS: Final = ("random", "aging", "local", "genetic", "genetic+rank")
ON_GRAPHS: Final = (
    "random", "aging", "local", "genetic/mutations", "genetic",
    "genetic/path", "genetic/bridge", "genetic/layer",
    "genetic/relabel", "genetic/insert-subgraph",
)  # fmt: skip
MUTATIONS: Final = "mutations"  # the variant of an algorithm that makes children without crossover

# What each algorithm is played with; crossover only where it is part of the idea.
SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "random": {"population": 10},
    "aging": {"population": 20, "tournament": 5, "crossover_prob": 0.0},
    "local": {"population": 2, "patience": 12, "crossover_prob": 0.0},
    "genetic": {"population": 20, "offspring": 10, "tournament": 5, "crossover_prob": 0.3},
}
# Chosen on the columns c100_test_200 and in16_test_200, see docs/benchmarks.md. A surrogate is
# worth most behind a greedy search: few networks to begin with, two children of about the best at a
# time, each the most promising of as many as a cell has neighbours.
SCREENED: Final[Mapping[str, Mapping[str, Any]]] = {
    "genetic": {"population": 10, "offspring": 2, "tournament": 10, "crossover_prob": 0.0},
}
PREDICTOR: Final[Mapping[str, Any]] = {
    "warmup": 10, "oversample": 24, "unscreened": 0.1, "acquisition": "ucb",
}  # fmt: skip

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Played:
    """What several seeds of one algorithm found, per query: scores (n_seeds, n_queries), %.

    `val` is the best value seen so far of the signal, `test` the reported value of that network.
    `n_asked` (n_seeds,) counts the queries that were answered: behind them curves are continued.
    """

    val: Floats
    test: Floats
    n_asked: Ints


def algorithms_of(bench: str) -> tuple[str, ...]:
    """Return what is compared on a bench unless somebody says otherwise."""
    return ON_GRAPHS if bench == synthetic.NAME else ALGORITHMS


def operators_of(bench: str) -> dict[str, list[str]]:
    """Return the operators that work on a bench's networks, by group."""
    on = reading.resolved({"space": dict(find(bench).space)}, f"bench {bench}")
    return {group: on.applicable(group) for group in ("mutations", "crossovers")}


def resolved(
    bench: str, algorithm: str, seed: int, settings: Mapping[str, Any] | None = None
) -> Resolved:
    """Return the config of one search, its names looked up.

    `algorithm` is NAME[/OPERATOR][+PREDICTOR]: "genetic+rank" has a predictor choose children,
    "genetic/path" uses one crossover alone, "genetic/relabel" one mutation alone, and
    "genetic/mutations" no crossover. `settings` replace those of the tables [algorithm] and
    [predictor]. Raises ConfigError and UnknownNameError.
    """
    kind, _, predictor = algorithm.partition("+")
    name, _, variant = kind.partition("/")
    section: Mapping[str, Any] = SETTINGS.get(name, {})
    if predictor:
        section = SCREENED.get(name, section)
    tables: dict[str, Any] = {
        "seed": seed,
        "space": dict(find(bench).space),
        # Tables have no images that designs could be scaled to.
        "algorithm": {"name": name, "designs": False, **section, **_variant(variant)},
    }
    # A search that names no predictor is played without one, whatever it brings elsewhere.
    tables["predictor"] = {"name": predictor, **PREDICTOR} if predictor else {"name": "none"}
    return reading.resolved(merge(tables, dict(settings or {})), f"bench {algorithm}")


def _variant(name: str) -> dict[str, Any]:
    """Return the settings of [algorithm] that leave only one operator or kind of operators."""
    if not name:
        return {}
    crossovers, mutations = (  # a table knows networks, not what becomes of weights
        [name for name, entry in registry.entries(group).items() if entry.runs_in == "driver"]
        for group in ("crossovers", "mutations")
    )
    if name in crossovers:
        return {"crossovers": {name: 1.0}}
    known = [MUTATIONS, *mutations, *crossovers]
    if name not in known:
        raise UnknownNameError(
            f"'{name}' is no operator that an algorithm could be left with{suggest(name, known)} "
            "See `nasgen list mutations` and `nasgen list crossovers`."
        )
    return {"crossover_prob": 0.0, **({"mutations": {name: 1.0}} if name in mutations else {})}


def play(
    bench: str,
    algorithm: str,
    seed: int,
    n_queries: int,
    signal: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[list[float], list[float]]:
    """Search a bench once; return (signal, reported) of each query in order, in per cent.

    It is the loop of a real run with a serial executor and its ledger in memory. A space that is
    spent early gives fewer queries, and so do networks that the bench knows no score of. Raises
    EvaluationError when it knows none of those that were asked for.
    """
    run = resolved(bench, algorithm, seed, settings)
    section = run.config.algorithm
    constants = Constants(
        seed=seed,
        objectives=run.objectives,
        search_fidelity=Fidelity(epochs=1.0),
        finish_fidelity=Fidelity(),
        recipe_digest="table",
        data_digest=bench,
    )
    search: Search

    def is_new(proposal: Proposal) -> bool:
        return search.is_new(proposal)

    def forget(proposal: Proposal) -> None:
        search.forget(proposal)

    screen = run.screen()
    directions = {o.name: o.direction for o in constants.objectives}
    names = [*section.mutations, *section.crossovers, "sample"]
    search = Search(
        constants,
        run.algorithm(is_new, screen, forget),
        Serial(FACTORY, {"bench": bench, "signal": signal}),
        Ledger.create("memory", directions, names),
        Budget(n_queries, 0),
        set(),
        screen=screen,
    )
    search.run([], 0)
    trials = search.ledger.trials()
    measured = [t.metrics for t in trials if t.state == "COMPLETE"]
    if not measured:
        failure = next((t.failure for t in trials if t.failure), "no network was asked for.")
        raise EvaluationError(
            f"{bench}: {algorithm} with seed {seed} asked for {len(trials)} networks, none of them "
            f"with a score; the first: {failure}"
        )
    return (
        [100 * float(m["val_accuracy"]) for m in measured],
        [100 * float(m["test_accuracy"]) for m in measured],
    )


class Player:
    """Answers a job with a whole search; what an executor runs when there are several workers."""

    def evaluate(
        self, job: Mapping[str, Any], report: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Return {"seq", "val", "test"} for the arguments of `play` in job["play"]."""
        val, test = play(**job["play"])
        return {"seq": job["seq"], "val": val, "test": test}


def player(context: Mapping[str, Any]) -> Player:
    """Return the evaluator of whole searches (an entry point for executors)."""
    return Player()


def played(
    bench: str,
    algorithms: Sequence[str],
    seeds: Sequence[int],
    n_queries: int,
    signal: str | None = None,
    tick: Callable[[str], None] = lambda algorithm: None,
    workers: int = 1,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Played]:
    """Play each algorithm once for each seed; `tick` is called with its name after each.

    Searches share nothing, so the results do not depend on `workers`, the number of processes.
    `settings` are those of `resolved`, for all algorithms.
    """
    for algorithm in algorithms:
        resolved(bench, algorithm, 0, settings)  # what is wrong shows before anything is played
    n_networks = find(bench).n_networks
    if n_networks is not None and n_queries > n_networks:
        raise ConfigError(
            f"--queries: expected at most {n_networks}, the different legal networks of {bench}, "
            f"got {n_queries}."
        )
    if workers < 1:
        raise ConfigError(f"--workers: expected at least 1 process, got {workers}.")
    same = {"bench": bench, "n_queries": n_queries, "signal": signal, "settings": settings}
    # By seed, so that all algorithms have come about as far when somebody looks.
    jobs = [
        {"seq": seq, "play": {**same, "algorithm": algorithm, "seed": seed}}
        for seq, (seed, algorithm) in enumerate((s, a) for s in seeds for a in algorithms)
    ]
    shape = len(seeds), n_queries
    runs = {
        a: Played(np.zeros(shape), np.zeros(shape), np.zeros(len(seeds), dtype=np.int64))
        for a in algorithms
    }
    for seq, (val, test) in _answers(jobs, min(workers, len(jobs))):
        place, algorithm = divmod(seq, len(algorithms))
        run = runs[algorithms[algorithm]]
        run.val[place], run.test[place] = _curves(val, test, n_queries)
        run.n_asked[place] = len(val)
        tick(algorithms[algorithm])
    return runs


def _answers(jobs: Sequence[Mapping[str, Any]], workers: int) -> Any:
    """Yield (seq, (val, test)) of each job as it ends."""
    executor: Executor = (Serial if workers == 1 else Processes)(PLAYER, {}, workers)
    waiting = list(reversed(jobs))
    try:
        executor.start()
        while waiting or executor.n_in_flight:
            while waiting and executor.has_room():
                executor.submit(waiting.pop())
            for message in executor.collect(timeout=1.0):
                result = message["result"]
                if "failure" in result:
                    raise EvaluationError(f"a search of the bench failed: {result['failure']}")
                yield result["seq"], (result["val"], result["test"])
    finally:
        executor.close()


def _curves(values: Sequence[float], reported: Sequence[float], n_queries: int) -> Floats:
    """Return (2, n_queries): the best so far, and what is reported of the network that was it."""
    best = np.maximum.accumulate(values)
    # The first network that reached each best: later equals change nothing.
    rises = np.concatenate([[True], best[1:] > best[:-1]])
    first = np.maximum.accumulate(np.where(rises, np.arange(len(best)), 0))
    curves = np.stack([best, np.asarray(reported)[first]])
    return np.pad(curves, ((0, 0), (0, n_queries - len(best))), mode="edge")
