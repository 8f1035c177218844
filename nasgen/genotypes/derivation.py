"""A network that is not known yet: parents, and what a worker will make of their weights.

What the driver proposes of an operator that runs where the weights are. Everything that the driver
decides about it depends on this text alone, never on tensors; the worker's result brings the
explicit genotype, which takes its place in the trial (`nasgen.evaluation.derivation`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Self, final

from nasgen.errors import IllegalGenotypeError
from nasgen.genotypes.base import Genotype, Node, Outline


@final
@dataclass(frozen=True)
class Derivation(Genotype):
    """Parents by trial identity, an operator with its settings, and a seed.

    `group` is the operator's registry group ("matings", "prunings", "mutations"), `settings` are
    JSON: "retention" is the share of synapses that a pruning may keep. `seed` >= 0 is the root of
    all that the operator draws.
    """

    kind: ClassVar[str] = "derivation"
    is_explicit: ClassVar[bool] = False

    parents: tuple[str, ...]
    group: str
    operator: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    @cached_property
    def key(self) -> str:
        """The digest of its JSON."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def __hash__(self) -> int:
        return hash(self.key)

    def outline(self) -> Outline:
        """Return the operator between what goes in and what comes out."""
        nodes = (Node(0, "input"), Node(1, self.operator, dict(self.settings)), Node(2, "output"))
        return Outline(nodes, ((0, 1), (1, 2)))

    @property
    def tags(self) -> frozenset[int]:
        """None: gene tags are its parents', which the worker knows."""
        return frozenset()

    def mint(self, root_seed: int, trial: int) -> Self:
        """Return it as it is: it has no tags to make final."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {
            "kind": self.kind,
            "parents": list(self.parents),
            "group": self.group,
            "operator": self.operator,
            "settings": dict(self.settings),
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the equal derivation; IllegalGenotypeError for what is none."""
        try:
            found = cls(
                tuple(map(str, data["parents"])),
                str(data["group"]),
                str(data["operator"]),
                dict(data["settings"]),
                int(data["seed"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise IllegalGenotypeError(
                "expected a derivation with 'parents', 'group', 'operator', 'settings' and 'seed', "
                f"got something else ({error!r})."
            ) from None
        if not found.parents or found.seed < 0:
            raise IllegalGenotypeError(
                f"expected a derivation of at least one parent and a seed >= 0, got "
                f"{len(found.parents)} parents and {found.seed}."
            )
        return found
