"""What an operator returns: a genotype and the plan by which it inherits weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nasgen.genotypes.dag import Dag

Plan = Mapping[str, Any]


@dataclass(frozen=True)
class Child:
    """A genotype with its heredity plan.

    The plan is JSON. `{}` means: by gene tag, what overlaps is kept, the rest is fresh. Otherwise
    it maps a parameter axis to rules for new tags; `nasgen.phenotype.heredity` documents the verbs
    and alone executes them.
    """

    genotype: Dag
    plan: Plan = field(default_factory=dict)
