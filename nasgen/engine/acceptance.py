"""Which proposals become candidates: new ones that keep the constraints; others are counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nasgen.engine.proposal import Proposal
from nasgen.genotypes import Genotype


@dataclass
class Attempts:
    """What came of the attempts at one candidate.

    `refused` are operators that gave nothing, with their last reasons; `infeasible` proposals that
    break constraints, with their violation.
    """

    refused: dict[str, str] = field(default_factory=dict)
    infeasible: list[tuple[float, Proposal]] = field(default_factory=list)


class Acceptance:
    """Decides on proposals. `is_new` and `violation` are those of `Breeder`.

    `failures[operator][reason]` counts refused attempts: kinds of NotApplicable, "duplicate" and
    "infeasible".
    """

    def __init__(
        self, is_new: Callable[[Proposal], bool], violation: Callable[[Genotype], float]
    ) -> None:
        self.is_new = is_new
        self.violation = violation
        self.failures: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._recent: dict[str, dict[str, int]] = {}  # since the last candidate

    def refused(self, operator: str, reason: str, attempts: Attempts | None = None) -> None:
        """Take note that an operator gave nothing that could be trained."""
        self.failures[operator][reason] += 1
        counts = self._recent.setdefault(operator, {})
        counts[reason] = counts.get(reason, 0) + 1
        if attempts is not None:
            attempts.refused[operator] = reason

    def _keeps(self, proposal: Proposal, attempts: Attempts) -> bool:
        """Tell whether a proposal keeps the constraints, as far as they are known; note others."""
        if not proposal.genotype.is_explicit:  # the worker judges what comes of it
            return True
        broken = self.violation(proposal.genotype)
        if broken == 0:
            return True
        self.refused(proposal.operator, "infeasible", attempts)
        attempts.infeasible.append((broken, proposal))
        return False

    def takes(self, proposal: Proposal, attempts: Attempts, is_sized: bool = True) -> bool:
        """Tell whether a proposal keeps the constraints and is new; then it is reserved.

        `is_sized`: its genotype says how large it is. That of a sparse parent's child does not: the
        worker knows what of it exists, and judges it before it is trained.
        """
        keeps = not is_sized or self._keeps(proposal, attempts)
        return keeps and self.accepts(proposal, attempts)

    def accepts(self, proposal: Proposal, attempts: Attempts | None = None) -> bool:
        """Tell whether a proposal is new, and reserve it; note one that is known."""
        if self.is_new(proposal):
            return True
        self.refused(proposal.operator, "duplicate", attempts)
        return False

    def last_resort(self, attempts: Attempts) -> Proposal | None:
        """Return the new proposal that breaks the constraints least, or None."""
        ordered = sorted(attempts.infeasible, key=lambda pair: pair[0])
        return next((p for _, p in ordered if self.accepts(p)), None)

    def recent(self) -> dict[str, dict[str, int]]:
        """Return what was refused since the last call, by operator and reason."""
        found, self._recent = self._recent, {}
        return found

    def restore(self, refusals: Mapping[str, Mapping[str, int]]) -> None:
        """Count refusals again that a resumed run has counted before."""
        for operator, reasons in refusals.items():
            for reason, n in reasons.items():
                self.failures[operator][reason] += n
