"""What a candidate is before it becomes a trial, and on which terms it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nasgen.genotypes import Genotype
from nasgen.genotypes.child import Plan
from nasgen.settings.fidelity import Fidelity


@dataclass(frozen=True)
class Terms:
    """How a candidate is to be trained, where that differs from the rest of the search.

    `fidelity` replaces fields of the search's `Fidelity`;
    `share` is the part of the epochs and seconds that it is given. Candidates that are
    `joint` and asked for in a row share their parameters: they are trained as one cohort.
    `repetition` > 0 lets a network be trained from scratch again. `derivation` are settings that
    replace those of an operator which runs in the worker, see `Derivation`. `operators`, where they
    are named, are those that may make it.
    """

    fidelity: Mapping[str, Any] = field(default_factory=dict)
    joint: bool = False
    repetition: int = 0
    share: float = 1.0
    derivation: Mapping[str, Any] = field(default_factory=dict)
    operators: tuple[str, ...] = ()

    def applied(self, fidelity: Fidelity) -> Fidelity:
        """Return the fidelity of a candidate on these terms in a search with `fidelity`."""
        if self.share == 1 and not self.fidelity:
            return fidelity
        changed = replace(fidelity, **self.fidelity)
        return changed if self.share == 1 else changed.scaled(self.share)


NO_TERMS = Terms()
DRAWN = "drawn"  # the key of `Proposal.screening` for what a space says of its draw


@dataclass(frozen=True)
class Proposal:
    """A candidate that awaits a trial. Tags are provisional until the search mints them.

    `fell_back_from` holds the operators that were tried before and gave nothing, each with the
    reason of its last refusal; with the operator "sample" the candidate is a random draw instead.
    `goes_on` says that it is its parent again, or without one the origin, which is trained on from
    the weights it has.

    What a resumed run needs, because it does not make candidates again: `number` counts requests
    for candidates; `refusals[operator][reason]` counts all that was refused since the candidate
    before; `screening` says what the filter did: "n_rejected" candidates and what was "forecast" of
    this one; the name of the "design" that it is, if it is one; and what the space says of how it
    was "drawn". `trial` is the seq of the trial
    that it is already.
    """

    genotype: Genotype
    plan: Plan = field(default_factory=dict)
    operator: str = "sample"
    parents: tuple[int, ...] = ()
    generation: int = 0
    terms: Terms = NO_TERMS
    fell_back_from: Mapping[str, str] = field(default_factory=dict)
    goes_on: bool = False
    number: int | None = None
    refusals: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    screening: Mapping[str, Any] = field(default_factory=dict)
    trial: int | None = None
