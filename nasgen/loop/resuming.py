"""Bring a search to where it was when its run stopped, from what the ledger holds.

Candidates come from the ledger with what preceded them: refusals of operators, candidates that the
filter rejected, what it forecast. So counters, credit, audit and filter are as they were, and no
operator, no draw from the space and no choice of a predictor is repeated. What selects among
individuals does run again: it depends on results alone. Who climbs to the next rung is as stored,
since a predictor may have a say in that.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nasgen import genotypes
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Individual
from nasgen.engine.proposal import DRAWN, Proposal, Terms
from nasgen.errors import NasgenError, StoreError
from nasgen.genotypes.child import minted_plan
from nasgen.store.ledger import utc_now
from nasgen.store.trial import Trial

if TYPE_CHECKING:
    from nasgen.loop.search import Search


class Recorded:
    """The stored search trials, handed out in order when a breeder is asked for candidates.

    A stored trial is the answer to the request of its number. Runs of before numbers were recorded
    have none: there it answers the next request of its generation and rung. A request that no trial
    answers while others wait gave no candidate.
    """

    def __init__(self, trials: list[Trial], search: Search) -> None:
        self.search = search
        self._waiting = deque(t for t in trials if t.phase == "search")

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(
        self,
        breeder: Breeder,
        number: int,
        generation: int,
        terms: Terms,
        parent: int | None,
        make: Callable[[], Proposal | None],
    ) -> Proposal | None:
        """Return the stored candidate of this request, None if it gave none."""
        trial = self._waiting[0]
        place = (trial.generation, trial.fidelity.rung or 0)
        goes_on = trial.parents[0] if trial.goes_on and trial.parents else None
        fits = (
            trial.number in (number, None)
            and place == (generation, terms.fidelity.get("rung") or 0)
            and goes_on == parent
        )
        found = self._proposal(self._waiting.popleft(), terms) if fits else None
        return self._taken(breeder, found, make)

    def climbed(
        self,
        generation: int,
        rung: int,
        told: Sequence[Individual],
        k: int,
        choose: Callable[[], list[Individual]],
    ) -> list[Individual]:
        """Return the k who climb to a rung: those that are stored, then those of `choose`.

        `told` are all of the rung below, `choose` gives k of them.
        """
        of_seq = {individual.seq: individual for individual in told}
        first = [of_seq[trial.parents[0]] for trial in self._on_rung(generation, rung)]
        others = choose() if len(first) < k else []
        return [*first, *(one for one in others if one not in first)][:k]

    def _on_rung(self, generation: int, rung: int) -> list[Trial]:
        """Return the stored trials of those who climbed to a rung."""
        return [
            t for t in self._waiting if (t.generation, t.fidelity.rung or 0) == (generation, rung)
        ]

    def _taken(
        self, breeder: Breeder, found: Proposal | None, make: Callable[[], Proposal | None]
    ) -> Proposal | None:
        if found is not None and found.trial is not None:
            self.search.known.add(self.search.stored[found.trial].identity)
            breeder.restore(found)
        return found

    def _proposal(self, trial: Trial, terms: Terms) -> Proposal:
        genotype = self.search.genotype(trial)
        self.search.genotypes[trial.seq] = genotype  # it is needed again when its result comes
        return Proposal(
            genotype,
            trial.plan,
            trial.operator,
            trial.parents,
            trial.generation,
            terms,
            trial.fell_back_from,
            trial.goes_on,
            trial.number,
            trial.refusals,
            trial.screening,
            trial.seq,
        )


def replay(search: Search, stored: list[Trial]) -> None:
    """Ask and tell again in the recorded order, then start what was in flight again."""
    search.algorithm.breeder.recorded = Recorded(stored, search)
    _through(search, stored, _take_estimate)
    if search.screen is not None:
        search.screen.news()  # reported when it was new
    for trial in stored:
        if trial.told is not None:
            continue
        value = trial.estimate
        if value is not None:
            search.tell_estimate(trial, value)
            continue
        again = replace(trial, attempt=trial.attempt + 1, started=utc_now())
        if trial.phase == "finish":  # since it was asked, time of the budget has passed
            fidelity = search.plans.started_late(search, search.ending.bounded(trial))
        else:
            fidelity = search.plans.bounded(search, trial.fidelity)
        again = replace(again, fidelity=fidelity)
        search.ledger.ask_again(again)
        search.launch(again)
    search.launch_whole_cohort()


def _through(
    search: Search, stored: list[Trial], estimated: Callable[[Search, Trial, Proposal], None]
) -> None:
    """Ask for the stored trials and tell those that have results, all in the recorded order."""
    search.stored = {trial.seq: trial for trial in stored}
    told = sorted((t for t in stored if t.told is not None), key=lambda t: t.told or 0)
    for trial in stored:
        while search.n_told < trial.asked_after:
            search.tell(told[search.n_told])
        search.plans.enter(search, trial.seq)
        if trial.phase == "search":
            estimated(search, trial, _asked_again(search, trial))
        is_estimate = trial.estimate is not None
        search.add(replace(trial, state="ESTIMATED") if is_estimate else trial)
    while search.n_told < len(told):
        search.tell(told[search.n_told])


def _asked_again(search: Search, trial: Trial) -> Proposal:
    proposal = search.algorithm.ask() if search.algorithm.ready() else None
    # Where there were none for a while, an algorithm that does not wait was asked several times.
    while proposal is None and search.algorithm.breeder.n_asked <= (trial.number or -1):
        proposal = search.algorithm.ask()
    search.note_generation()
    if proposal is None or proposal.trial != trial.seq:
        raise StoreError(
            f"the algorithm does not ask for trial {trial.seq} ('{trial.operator}') where the "
            "ledger has it. Was config.toml edited, or the algorithm or a selection changed? "
            "Resume with what wrote the run, or start a new one."
        )
    return proposal


def _take_estimate(search: Search, trial: Trial, proposal: Proposal) -> None:
    estimate = trial.screening.get("estimate")
    if search.screen is not None and estimate is not None:
        search.screen.take_estimate(trial.key, estimate, search.batch(trial.generation))


# ---- `nasgen resume --verify` --------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """What is not as recorded when a stored trial is made again; `what` is the first difference.

    `is_gone`: it cannot be told, because what its operator needs of its parents is gone.
    """

    trial: int
    operator: str
    what: str
    is_gone: bool = False

    def __str__(self) -> str:
        return f"trial {self.trial} ('{self.operator}'): {self.what}"


class _Verified(Recorded):
    """Makes each candidate again, and compares; then the stored one is handed out all the same."""

    def __init__(self, trials: list[Trial], search: Search) -> None:
        super().__init__(trials, search)
        self.differences: list[Difference] = []

    def climbed(
        self,
        generation: int,
        rung: int,
        told: Sequence[Individual],
        k: int,
        choose: Callable[[], list[Individual]],
    ) -> list[Individual]:
        again = choose()
        for trial, individual in zip(self._on_rung(generation, rung), again, strict=False):
            if trial.parents[0] != individual.seq:
                text = f"trial {individual.seq} climbs, recorded is trial {trial.parents[0]}"
                self.differences.append(Difference(trial.seq, trial.operator, text))
                break
        return super().climbed(generation, rung, told, k, lambda: again)

    def _taken(
        self, breeder: Breeder, found: Proposal | None, make: Callable[[], Proposal | None]
    ) -> Proposal | None:
        try:
            again = make()
        except NasgenError as error:
            if found is None or found.trial is None:
                raise
            text, is_gone = f"cannot be made again, because {error}", isinstance(error, StoreError)
            self.differences.append(Difference(found.trial, found.operator, text, is_gone))
            return super()._taken(breeder, found, make)
        if found is None or found.trial is None or found.number is None:
            return found
        trial, seed = self.search.stored[found.trial], self.search.constants.seed
        what = "nothing was made" if again is None else _first_difference(trial, again, seed)
        if what is not None:
            self.differences.append(Difference(trial.seq, trial.operator, what))
            if again is not None:
                self.search.forget(again)
        self.search.known.add(trial.identity)
        return found


def verify(search: Search, stored: list[Trial]) -> list[Difference]:
    """Make all stored candidates again, and return what differs; `search` is used up by it.

    Runs operators, draws from the space and fits the predictor as the run did. Trials of before
    numbers were recorded cannot be made again and are passed over.
    """
    recorded = search.algorithm.breeder.recorded = _Verified(stored, search)

    def estimated(search: Search, trial: Trial, proposal: Proposal) -> None:
        if "estimate" not in trial.screening:
            return
        again = search.estimate(trial.seq, proposal)
        if _plain(again) != _plain(trial.screening["estimate"]):
            text = f"the predictor said {again}, recorded is {trial.screening['estimate']}"
            recorded.differences.append(Difference(trial.seq, trial.operator, text))

    _through(search, stored, estimated)
    return recorded.differences


def _first_difference(trial: Trial, again: Proposal, seed: int) -> str | None:
    screening = {k: v for k, v in trial.screening.items() if k != "estimate"}
    # Runs of before draws were described say nothing of them.
    own = {k: v for k, v in again.screening.items() if k != DRAWN or DRAWN in screening}
    pairs: dict[str, tuple[Any, Any]] = {
        "operator": (again.operator, trial.operator),
        "parents": (list(again.parents), list(trial.parents)),
        "network": (again.genotype.key, _proposed_key(trial)),
        "heredity plan": (minted_plan(again.plan, seed, trial.seq), trial.plan),
        "refusals": (again.refusals, trial.refusals),
        "forecast": (own, screening),
    }
    for name, (now, then) in pairs.items():
        if _plain(now) != _plain(then):
            return f"{name} {_plain(now)}, recorded is {_plain(then)}"
    return None


def _proposed_key(trial: Trial) -> str:
    """Return the key under which a trial was proposed, a derivation's is not its network's."""
    if trial.derivation is None:
        return trial.key
    return genotypes.read(trial.derivation).key


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(dict(value) if isinstance(value, Mapping) else value))


__all__ = ["Difference", "Recorded", "replay", "verify"]
