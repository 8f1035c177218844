"""Plays searches on a bench, each through the loop of a real run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nasgen import registry
from nasgen.bench import synthetic
from nasgen.bench.base import check_features, find, tables
from nasgen.bench.finished import Finished, Kept, cost, is_before
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

SECTIONS: Final = ("algorithm", "predictor", "stopping")  # settings of which a bench leaves open
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
    A query is a whole training: of one that was stopped, or of a rung, only its part counts.
    `n_asked` (n_seeds,) counts the queries that were spent: behind them curves are continued.
    `n_holes` (n_seeds,) counts networks of which the table says nothing, a query each, `n_trials`
    (n_seeds,) the trainings that were begun.
    `unscored` says of each seed that met no network with a score what came of it: its curves are
    NaN.
    """

    val: Floats
    test: Floats
    n_asked: Ints
    n_holes: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    n_trials: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    unscored: dict[int, str] = field(default_factory=dict)


def algorithms_of(bench: str) -> tuple[str, ...]:
    """Return what is compared on a bench unless somebody says otherwise."""
    return ON_GRAPHS if bench == synthetic.NAME else ALGORITHMS


def operators_of(bench: str) -> dict[str, list[str]]:
    """Return the operators that work on a bench's networks, by group."""
    on = reading.resolved(tables(bench), f"bench {bench}")
    return {group: on.applicable(group) for group in ("mutations", "crossovers")}


def resolved(
    bench: str, algorithm: str, seed: int, settings: Mapping[str, Any] | None = None
) -> Resolved:
    """Return the config of one search, its names looked up.

    `algorithm` is NAME[/OPERATOR][+PREDICTOR[:FEATURES]]: "genetic+rank" has a predictor choose
    children, "genetic+rank:paths" one that reads these features, "genetic/path" uses one crossover
    alone, "genetic/relabel" one mutation alone, and "genetic/mutations" no crossover. `settings`
    replace those of the tables [algorithm], [predictor] and [stopping]. Raises ConfigError and
    UnknownNameError.
    """
    kind, _, screened = algorithm.partition("+")
    predictor, _, features = screened.partition(":")
    name, _, variant = kind.partition("/")
    section: Mapping[str, Any] = SETTINGS.get(name, {})
    if predictor:
        section = SCREENED.get(name, section)
    config: dict[str, Any] = {
        "seed": seed,
        **tables(bench),
        # Tables have no images that designs could be scaled to.
        "algorithm": {"name": name, "designs": False, **section, **_variant(variant)},
    }
    # A search that names no predictor is played without one, whatever it brings elsewhere.
    config["predictor"] = {"name": predictor, **PREDICTOR} if predictor else {"name": "none"}
    if features:
        config["predictor"]["features"] = features
    run = reading.resolved(merge(config, dict(settings or {})), f"bench {algorithm}")
    if run.inherits:
        raise ConfigError(
            f"'{name}' trains networks on from the weights of others, which a bench does not have; "
            f"compare {', '.join(SETTINGS)} instead."
        )
    if run.config.predictor.name != "none":
        with run.scope.active():
            check_features(run.feature_names, bench)
    return run


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
    """Search a bench once; return (signal, reported) of each whole training, in per cent.

    Raises EvaluationError when the bench knows none of the networks that were asked for.
    """
    found = finished(bench, algorithm, seed, n_queries, signal, settings)
    if found.nothing:
        raise EvaluationError(f"{_named(bench, algorithm, seed)} {found.nothing}")
    return list(found.val), list(found.test)


def _named(bench: str, algorithm: str, seed: int) -> str:
    return f"{bench}: {algorithm} with seed {seed}"


def finished(
    bench: str,
    algorithm: str,
    seed: int,
    n_queries: int,
    signal: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Finished:
    """Search a bench once; return what was found, in the order in which it was.

    It is the loop of a real run with a serial executor and its ledger in memory. A space that is
    spent early gives fewer queries. A network that the bench knows no score of has cost one.
    Where it knows none of any, `Finished.nothing` says so.
    """
    run, found = resolved(bench, algorithm, seed, settings), find(bench)
    section, (searched, _) = run.config.algorithm, found.signal(signal)
    n_epochs = found.epochs_of(searched)
    if run.config.stopping.stopper != "none" and not n_epochs:
        raise ConfigError(
            f"stopping.stopper: '{searched}' of {bench} has no learning curves that a stopper "
            "could watch; leave it out."
        )
    if section.rungs > 1 and not n_epochs:
        raise ConfigError(
            f"algorithm.rungs: '{searched}' of {bench} has no learning curves; leave it out."
        )
    if section.rungs > 1 and n_epochs < section.eta ** (section.rungs - 1):
        raise ConfigError(
            "algorithm.rungs: expected an epoch or more on the lowest rung, but curves of "
            f"'{searched}' of {bench} have {n_epochs} epochs, for {section.rungs} rungs with eta "
            f"{section.eta}; take fewer rungs."
        )
    n_epochs = n_epochs or 1
    constants = Constants(
        seed=seed,
        objectives=run.objectives,
        search_fidelity=Fidelity(epochs=float(n_epochs)),
        finish_fidelity=Fidelity(),
        recipe_digest="table",
        data_digest=bench,
        compares=run.compares,
    )
    search: Search

    def is_new(proposal: Proposal) -> bool:
        return search.is_new(proposal)

    def forget(proposal: Proposal) -> None:
        search.forget(proposal)

    screen = run.screen()
    directions = {o.name: o.direction for o in constants.objectives}
    names = [*section.mutations, *section.crossovers, "sample"]
    stopping = run.config.stopping.model_dump()
    budget = Queries(None, 0, n_queries=n_queries, n_epochs=n_epochs)
    search = Search(
        constants,
        run.algorithm(is_new, screen, forget),
        Serial(FACTORY, {"bench": bench, "signal": signal, "stopping": stopping}),
        Ledger.create("memory", directions, names),
        budget,
        set(),
        (budget.hear,),
        screen=screen,
    )
    with run.scope.active():
        search.run([], 0)
    return Finished.of(search.ledger.trials(), n_epochs)


@dataclass
class Queries(Budget):
    """A budget in whole trainings of `n_epochs`: one that ends early leaves the rest to others.

    `cost` says what each has cost.
    """

    n_queries: int = 0
    n_epochs: int = 1
    n_spent: float = 0.0

    def hear(self, event: str, data: Mapping[str, Any]) -> None:
        """Count what a finished trial has cost."""
        if event == "told":
            self.n_spent += cost(data["trial"], self.n_epochs)

    def may_search(self, n_asked: int, trial_s: float) -> bool:
        """Tell whether another training may begin."""
        return is_before(self.n_spent, self.n_queries)


class Player:
    """Answers a job with a whole search; what an executor runs when there are several workers."""

    def evaluate(
        self, job: Mapping[str, Any], report: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Return {"seq", **finished} for the arguments of `finished` in job["play"]."""
        return {"seq": job["seq"], **finished(**job["play"]).to_json()}


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
    kept: Kept | None = None,
) -> dict[str, Played]:
    """Play each algorithm once for each seed; `tick` is called with its name after each.

    Searches share nothing, so the results do not depend on `workers`, the number of processes.
    `settings` are those of `resolved`, for all algorithms. What is in `kept` is not played again,
    and what is played is added to it. A seed that meets no network with a score is in `unscored`;
    raises EvaluationError where none meets one.
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
    jobs: list[dict[str, Any]] = [
        {"seq": seq, "play": {**same, "algorithm": algorithm, "seed": seed}}
        for seq, (seed, algorithm) in enumerate((s, a) for s in seeds for a in algorithms)
    ]
    shape, none = (len(seeds), n_queries), np.zeros(len(seeds), dtype=np.int64)
    runs = {
        a: Played(np.zeros(shape), np.zeros(shape), none.copy(), none.copy(), none.copy())
        for a in algorithms
    }

    def take(seq: int, found: Finished) -> None:
        place, algorithm = divmod(seq, len(algorithms))
        run = runs[algorithms[algorithm]]
        run.val[place], run.test[place] = found.curves(n_queries)
        run.n_asked[place], run.n_holes[place] = found.n_queries, found.n_holes
        run.n_trials[place] = found.n_trials
        if found.nothing:
            run.unscored[seeds[place]] = found.nothing
        tick(algorithms[algorithm])

    waiting = []
    for job in jobs:
        known = None if kept is None else kept.get(job["play"])
        if known is None:
            waiting.append(job)
        else:
            take(job["seq"], known)
    for seq, found in _answers(waiting, min(workers, len(waiting))):
        if kept is not None:
            kept.add(jobs[seq]["play"], found)
        take(seq, found)
    if jobs and all(len(run.unscored) == len(seeds) for run in runs.values()):
        why = runs[algorithms[0]].unscored[seeds[0]]
        raise EvaluationError(f"{_named(bench, algorithms[0], seeds[0])} {why}")
    return runs


def _answers(jobs: Sequence[Mapping[str, Any]], workers: int) -> Iterator[tuple[int, Finished]]:
    """Yield (seq, what was found) of each job as it ends."""
    if not jobs:
        return
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
                yield result["seq"], Finished.from_json(result)
    finally:
        executor.close()
