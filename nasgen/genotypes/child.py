"""What an operator returns: a genotype and the plan by which it inherits weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nasgen.genotypes import tags
from nasgen.genotypes.base import Genotype

Plan = Mapping[str, Any]


@dataclass(frozen=True)
class Child:
    """A genotype with its heredity plan.

    The plan is JSON. `{}` means: by gene tag, what overlaps is kept, the rest is fresh. Otherwise
    it maps a parameter axis to rules for new tags; `nasgen.phenotype.heredity` documents the verbs
    and alone executes them.
    """

    genotype: Any  # a Genotype, which operators and their callers know more of
    plan: Plan = field(default_factory=dict)

    @classmethod
    def of(cls, result: Any) -> Child | None:
        """Return what an operator gave as a child, bare genotypes too; None for other things."""
        child = result if isinstance(result, cls) else cls(result)
        return child if isinstance(child.genotype, Genotype) else None

    def mint(self, root_seed: int, trial: int) -> Child:
        """Return the child with provisional tags made final, in the genotype and in the plan."""
        return Child(self.genotype.mint(root_seed, trial), minted_plan(self.plan, root_seed, trial))


def minted_plan(plan: Plan, root_seed: int, trial: int) -> dict[str, Any]:
    """Return a heredity plan with provisional tags made final, keys and values alike."""

    def walk(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {walk(k): walk(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [walk(v) for v in value]
        if isinstance(value, int) and not isinstance(value, bool) and value < tags.PROVISIONAL >> 1:
            return tags.mint(value, root_seed, trial)
        if isinstance(value, str) and value.startswith("-") and value[1:].isdigit():
            return str(walk(int(value)))
        return value

    return dict(walk(plan))
