"""Each rule for ensemble methods can fail: methods that break it are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen import registry
from nasgen.ensembles.base import Candidate, Candidates, Mix
from nasgen.testing.check import check_member

pytestmark = pytest.mark.usefixtures("registry_restored")
_turns = iter(range(1000))


def _harmed(candidates: Candidates) -> Mix:
    candidates.members[0].predictions[:] = 0
    return [(candidates.members[0], 1.0)]


FAULTS: dict[str, tuple[Callable[[Candidates], Any], str]] = {
    "shares of 2": (lambda c: [(m, 2.0) for m in c.members], "shares of at least 0 that sum to 1"),
    "a negative share": (lambda c: [(c.members[0], 2.0), (c.members[-1], -1.0)], "sum to 1"),
    "no share": (lambda c: [], "sum to 1"),
    "numbers": (lambda c: [1.0], "expected candidates with shares"),
    "a network that is none": (
        lambda c: [(Candidate(c.members[0].predictions), 1.0)],
        "expected members that are candidates",
    ),
    "limits that are not kept": (
        lambda c: [(m, 1 / len(c.members)) for m in c.members],
        "members that keep the limits together",
    ),
    "chance": (lambda c: [(c.members[next(_turns) % len(c.members)], 1.0)], "two answers to the"),
    "changed predictions": (_harmed, "assignment destination is read-only"),
    "an error": (lambda c: 1 / 0, "failed with ZeroDivisionError"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_method_that_breaks_its_contract_is_found(fault: str) -> None:
    answer, expected = FAULTS[fault]

    @dataclass(frozen=True)
    class Faulty(nasgen.EnsembleMethod):
        def choose(self, candidates: Candidates) -> Mix:
            return answer(candidates)

    registry.register("ensembles", "faulty", Faulty)
    finding = check_member("ensembles", "faulty")
    assert not finding.ok
    assert expected in finding.message


def test_a_sound_method_is_fine() -> None:
    @dataclass(frozen=True)
    class Sound(nasgen.EnsembleMethod):
        def choose(self, candidates: Candidates) -> Mix:
            chosen = candidates.fitting()
            weights = np.ones(len(chosen)) / len(chosen)
            return [(candidates.members[i], float(w)) for i, w in zip(chosen, weights, strict=True)]

    registry.register("ensembles", "sound", Sound)
    finding = check_member("ensembles", "sound")
    assert (finding.ok, finding.message) == (True, "")
    assert finding.n_checked > 20
