"""The contract of an ensemble method: shares that sum to 1, limits that are kept, no surprises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from nasgen import registry, seeding
from nasgen.ensembles.base import Candidate, Candidates, EnsembleMethod, Limits
from nasgen.ensembles.choosing import asked
from nasgen.ensembles.mixing import Mixing
from nasgen.errors import IncompatibleError
from nasgen.evaluation.tasks.base import Task
from nasgen.evaluation.tasks.classification import Classification
from nasgen.evaluation.tasks.regression import Regression
from nasgen.testing.base import Contract, Outcome, examine_all

N_CLASSES = 3
SIZES = ((1, 40), (2, 1), (4, 2), (7, 60))  # candidates, validation rows


def check(group: str, name: str) -> Outcome:
    """Apply every rule to a method with its default options."""
    return examine_all(RULES, group, name)


def made(name: str, **options: Any) -> EnsembleMethod:
    """Return a registered method."""
    found: EnsembleMethod = registry.resolve("ensembles", name)(**options)
    return found


def problems() -> Iterator[Candidates]:
    """Yield candidates of classes and of values, of various numbers; arrays are read-only."""
    for seed, (n, n_rows) in enumerate(SIZES):
        rng = seeding.generator(0, "contract ensembles", seed)
        labels = rng.integers(0, N_CLASSES, n_rows)
        logits = rng.normal(size=(n, n_rows, N_CLASSES))
        logits[:, np.arange(n_rows), labels] += rng.uniform(0, 2, (n, 1))
        odds = np.exp(logits)
        classes = Classification(N_CLASSES)
        yield _candidates(list(odds / odds.sum(axis=2, keepdims=True)), labels, classes)
        values = rng.normal(5, 2, n_rows)
        guesses = [values + rng.normal(0, 1 + i, n_rows) for i in range(n)]
        yield _candidates(guesses, values, Regression((5.0,), (2.0,), True))


def _candidates(predictions: list[Any], targets: Any, task: Task) -> Candidates:
    members = []
    for i, answers in enumerate(predictions):
        kept = np.asarray(answers, dtype=np.float32)
        kept.flags.writeable = False
        members.append(Candidate(kept, 100.0 * (i + 1), lambda i=i: 0.5 * (i + 1)))  # type: ignore[misc]
    targets.flags.writeable = False
    return Candidates(tuple(members), targets, task).ranked()


def chooses(name: str) -> Iterator[str]:
    """Its shares are those of candidates, at least 0, and sum to 1; predictions stay as they are.

    Means of probabilities and of logits, by either score.
    """
    for plain in problems():
        for by_loss in (False, True):
            for mixing in (Mixing(), Mixing("logits")):
                candidates = replace(plain, mixing=mixing, by_loss=by_loss)
                if mixing.mean_of == "logits" and not isinstance(plain.task, Classification):
                    continue
                yield _wrong(name, candidates)


def keeps_limits(name: str) -> Iterator[str]:
    """What it chooses keeps the limits of size, parameters and latency together."""
    for plain in problems():
        heaviest = max(member.n_params for member in plain.members)
        for limits in (
            Limits(size=1),
            Limits(size=2),
            Limits(n_params=heaviest),
            Limits(latency_ms=1.5, n_params=2 * heaviest),
        ):
            members = tuple(m for m in plain.members if limits.allow([m]))
            yield _wrong(name, replace(plain, members=members, limits=limits))


def repeats(name: str) -> Iterator[str]:
    """The same candidates give the same ensemble: what is drawn comes from `candidates.seed`."""
    for candidates in problems():
        both = [asked(made(name), candidates, name) for _ in range(2)]
        yield "" if both[0] == both[1] else f"two answers to the same candidates: {both}."


def _wrong(name: str, candidates: Candidates) -> str:
    try:
        chosen = asked(made(name), candidates, name)
    except IncompatibleError as error:
        return f"{error} (of {len(candidates)} candidates, {candidates.limits})"
    known = {id(member) for member in candidates.members}
    if strangers := [member for member, _ in chosen if id(member) not in known]:
        return f"expected members that are candidates, got {strangers[0]}."
    return ""


RULES = (chooses, keeps_limits, repeats)


class EnsembleContract(Contract):
    """Inherit and set `name`."""

    group = "ensembles"

    def test_its_shares_are_those_of_candidates(self) -> None:
        """At least 0, with the sum 1."""
        self.holds(chooses)

    def test_it_keeps_the_limits(self) -> None:
        """Of size, parameters and latency."""
        self.holds(keeps_limits)

    def test_it_repeats(self) -> None:
        """Randomness comes from the seed alone."""
        self.holds(repeats)
