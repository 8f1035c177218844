"""Uniform crossover of cells: every edge from either parent, with equal chances (Syswerda 1989).

For spaces in which an edge has a fixed place; `subgraph` joins graphs of free topology.
"""

from __future__ import annotations

import numpy as np

from nasgen.errors import NotApplicable
from nasgen.genotypes import Dag
from nasgen.operators.base import N_TRIES
from nasgen.search_spaces.cells import CellSpace, changed, template_of


def uniform(
    first: Dag, second: Dag, space: CellSpace, rng: np.random.Generator
) -> tuple[Dag, Dag] | tuple[Dag]:
    """Return two children that share out the parents' operations, or the one that is new and legal.

    The first keeps the gene tags of `first`, the second those of `second`. Raises NotApplicable when
    the parents differ too little.
    """
    template = template_of(space)
    own = template.ops(first), template.ops(second)
    differing = [i for i, (a, b) in enumerate(zip(*own, strict=True)) if a != b]
    known = {first.key, second.key}
    for _ in range(N_TRIES):
        swapped = [i for i in differing if rng.random() < 0.5]
        children = (
            changed(first, space, [(i, own[1][i]) for i in swapped]),
            changed(second, space, [(i, own[0][i]) for i in swapped]),
        )
        new = [c for c in children if c.key not in known and not space.problems(c)]
        if len(new) == 2:
            return new[0], new[1]
        if new:
            return (new[0],)
    raise NotApplicable(f"the parents gave no new legal cell in {N_TRIES} tries.")
