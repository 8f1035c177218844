"""The plans of a run: each segment has one, which was made before its first training and recorded.

A search follows the plans of earlier segments while it is brought back to where it was, so that the
algorithm proposes what it has proposed before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from nasgen.loop.finish import LEAST_FINISH_S
from nasgen.loop.ranks import ranked
from nasgen.settings.fidelity import Fidelity
from nasgen.settings.plan import Plan

if TYPE_CHECKING:
    from nasgen.loop.search import Search

SLACK: Final = 0.95  # of the time that the finish was to get: a late round is not given up for less


class Plans:
    """The plans by the seq of the first trial of their segment."""

    def __init__(self, known: Mapping[int, Plan] | None = None) -> None:
        self.known = dict(known or {})
        self._waiting = sorted(self.known)

    def now(self, search: Search) -> Plan | None:
        """Return the plan of the segment that is being searched, None where it follows none."""
        return self.known.get(search.n_before)

    def enter(self, search: Search, seq: int) -> None:
        """Follow the plans of the segments that have begun when trial `seq` is asked for."""
        while self._waiting and self._waiting[0] <= seq:
            first = self._waiting.pop(0)
            _follow(search, self.known[first], first)

    def bounded(self, search: Search, fidelity: Fidelity) -> Fidelity:
        """Return the fidelity of a search trial that begins now.

        What is trained to the end at once ends when the time for training does, see
        `Finish.bounded`.
        """
        plan, left = self.now(search), search.budget.left_s
        if plan is None or plan.strategy != "one" or fidelity.seconds is None:
            return fidelity
        val_s = plan.speed.val_s if plan.speed is not None else 0.0
        seconds = round(max(LEAST_FINISH_S, min(fidelity.seconds, left - val_s)), 3)
        ending = search.budget.ending.after(val_s)
        return self.started_late(search, fidelity.before(ending, seconds, plan.at_once == 1))

    def started_late(self, search: Search, fidelity: Fidelity) -> Fidelity:
        """Return the fidelity of a trial that waits for workers which a resumed run must start.

        Before a plan is made they have started, so otherwise it is the same.
        """
        plan = self.now(search)
        is_resumed = search.budget.spent_s > 0 and not search.has_trained
        if not is_resumed or fidelity.seconds is None or plan is None or plan.speed is None:
            return fidelity
        seconds = max(
            LEAST_FINISH_S, min(fidelity.seconds, search.budget.left_s - plan.speed.start_s)
        )
        return replace(fidelity, seconds=round(seconds, 3))


def _follow(search: Search, plan: Plan, first: int) -> None:
    objectives, trials = search.constants.objectives, list(search.trials.values())
    lasting = [t for t in trials if t.phase == "finish" and not t.is_baseline]
    best = ranked([t for t in lasting if t.seq < first], objectives)
    # A network that was trained twice would be bred on twice.
    once = {trial.key: trial for trial in reversed(best)}
    begun = [search.individual(search.whole(t.seq)) for t in best if once[t.key] is t]
    search.algorithm.follow(plan, begun[: max(1, plan.finalists)])
    if first != search.n_before:
        return
    search.budget.n_finish = plan.finalists
    if plan.finish_s is not None:
        search.budget.finish_s = SLACK * plan.finish_s * plan.finish_waves
    elif plan.strategy == "one":
        search.budget.finish_s = 0.0
    constants = search.constants
    epochs = constants.search_fidelity.epochs
    if plan.strategy == "one":
        epochs = constants.finish_fidelity.epochs
    fidelity = replace(constants.search_fidelity, epochs=epochs, seconds=plan.stretch_s)
    search.constants = replace(
        constants, search_fidelity=fidelity, inherit_weights=True, keep_optimizer=True
    )


__all__ = ["Plans"]
