"""Grow as `r2r-widen` or `r2r-deepen` do, the new weights drawn at random: the control.

It does not preserve the function. Painter 2018 found it as good as the morphisms at small scale, so
a claim for function preservation is worth what it beats this by.
"""

from __future__ import annotations

import numpy as np

from nasgen.errors import NotApplicable
from nasgen.genotypes import Child, Dag
from nasgen.operators.morphism.r2r_deepen import r2r_deepen
from nasgen.operators.morphism.r2r_widen import r2r_widen
from nasgen.search_spaces.graph import GraphSpace

DEEPEN_PROB = 0.5  # Painter 2018


def random_pad(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Child:
    """Return the parent widened or deepened; what it had keeps its weights, the rest is fresh.

    Raises NotApplicable when neither can be done.
    """
    kinds = (r2r_deepen, r2r_widen) if rng.random() < DEEPEN_PROB else (r2r_widen, r2r_deepen)
    try:
        child = kinds[0](parent, space, rng)
    except NotApplicable:
        child = kinds[1](parent, space, rng)
    return Child(child.genotype)
