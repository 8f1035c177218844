"""A search without training, through the loop of a real run, with its ledger in memory.

The scores of its evaluator are known: `toy_evaluator`, or `curve_evaluator` with its stoppers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from nasgen.engine.individual import Individual, fitness_class
from nasgen.execution.base import Executor
from nasgen.execution.processes import Processes
from nasgen.execution.serial import Serial
from nasgen.loop.constants import Constants
from nasgen.loop.search import Search
from nasgen.runs import reading
from nasgen.runs.resolved import Resolved
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings.budget import Budget
from nasgen.settings.fidelity import Fidelity
from nasgen.store.ledger import Ledger
from nasgen.store.trial import Trial

TOY = "tests.toy_evaluator:make"


class StoppedError(Exception):
    """What ends a search in the middle, as a kill would."""


def resolved_of(
    algorithm: str = "genetic", options: Mapping[str, Any] | None = None, **tables: Any
) -> Resolved:
    """Return a config with a population of 8 in a narrow space, without a predictor unless named.

    `options` are of [algorithm].
    """
    section = {"name": algorithm, "population": 8, **(options or {})}
    usual = {"space": {"max_channels": 64}, "predictor": {"name": "none"}}
    return reading.resolved({"algorithm": section, **usual, **tables})


def plan_of(
    resolved: Resolved, epochs: float = 1.0, finish_epochs: float = 4.0, **more: Any
) -> Constants:
    """Return the constants of a search without data; `more` are further fields of `Constants`."""
    return Constants(
        seed=resolved.config.seed,
        objectives=resolved.objectives,
        search_fidelity=Fidelity(epochs=epochs),
        finish_fidelity=Fidelity(epochs=finish_epochs),
        recipe_digest="r",
        data_digest="d",
        **more,
    )


class Played:
    """A search that `run` plays to its end; `events` are (name, data).

    `behaviour` is the evaluator's, by trial; `more` are fields of `Constants`.
    """

    def __init__(
        self,
        resolved: Resolved,
        trials: int = 40,
        n_finish: int = 3,
        *,
        factory: str = TOY,
        workers: int = 1,
        executor: Executor | None = None,
        ledger: Ledger | None = None,
        behaviour: Mapping[str, str] | None = None,
        epochs: float = 1.0,
        **more: Any,
    ) -> None:
        directions = {o.name: o.direction for o in resolved.objectives}
        self.ledger = ledger or Ledger.create("memory", directions, ["sample", "finish"])
        context = {
            "objectives": list(directions),
            "stopping": resolved.config.stopping.model_dump(),
            "behaviour": dict(behaviour or {}),
        }
        if executor is None:
            executor = Serial(factory, context)
            if workers > 1:
                executor = Processes(factory, context, workers)
        self.executor = executor
        self.plan = plan_of(
            resolved, epochs, 2 * epochs if factory != TOY else 4 * epochs,
            inherit_weights=resolved.inherits, compares=resolved.compares, **more,
        )  # fmt: skip
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.stop: tuple[str, int] = ("", 0)  # raise StoppedError at the n-th event of this name
        self.screen = resolved.screen()
        self.search = Search(
            self.plan,
            resolved.algorithm(
                lambda p: self.search.is_new(p), self.screen, lambda p: self.search.forget(p)
            ),
            executor,
            self.ledger,
            Budget(trials, n_finish),
            set(),
            (self._note,),
            screen=self.screen,
        )

    def _note(self, event: str, data: Mapping[str, Any]) -> None:
        self.events.append((event, data))
        if self.stop[0] == event and sum(e == event for e, _ in self.events) == self.stop[1]:
            raise StoppedError

    def run(self, n_before: int = 0) -> list[Trial]:
        """Play the search and return its trials."""
        try:
            self.search.run(self.ledger.trials(), n_before)
        finally:
            self.search.executor.close()
        return self.ledger.trials()

    def stopped_at(self, seq: int, event: str = "submitted") -> Ledger:
        """Play until an event of a trial, as if killed there, and return the ledger."""

        def stop(happened: str, data: Mapping[str, Any]) -> None:
            if happened == event and data["trial"].seq == seq:
                raise StoppedError

        self.search.listeners = (stop,)
        with pytest.raises(StoppedError):
            self.run()
        return self.ledger


def rows(trials: list[Trial]) -> list[dict[str, Any]]:
    """Return what searches that agree have in common: all of a history but the attempts."""
    return [{**t.history_row(), "attempt": 1, "looks": t.looks} for t in trials]


def individual(
    seq: int,
    value: float,
    violation: float = 0.0,
    parents: tuple[int, ...] = (),
    operator: str = "sample",
) -> Individual:
    """Return a network that has been scored."""
    fitness = fitness_class(("maximize",))()
    fitness.set([value], violation)
    return Individual(seq, DagCnn().sample(np.random.default_rng(0)), fitness, parents, operator)
