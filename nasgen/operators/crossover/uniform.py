"""Uniform crossover of cells: every edge from either parent, with equal chances (Syswerda 1989).

For spaces in which an edge has a fixed place; `subgraph` joins graphs of free topology.
"""

from __future__ import annotations

import numpy as np

from nasgen.errors import NotApplicable
from nasgen.genotypes import Dag
from nasgen.operators.base import N_TRIES
from nasgen.search_spaces.cells import CellSpace


def uniform(
    first: Dag, second: Dag, space: CellSpace, rng: np.random.Generator
) -> tuple[Dag, Dag] | tuple[Dag]:
    """Return two children sharing out the parents' operations, or the one that is new and legal.

    The first keeps the gene tags of `first`, the second those of `second`. Raises NotApplicable
    when the parents differ too little.
    """
    template = space.template
    own = template.ops(first), template.ops(second)
    parents = (first, second)
    differing = [i for i, (a, b) in enumerate(zip(*own, strict=True)) if a != b]
    known = {first.key, second.key}
    for _ in range(N_TRIES):
        swapped = {i for i in differing if rng.random() < 0.5}
        new = []
        for parent, mine, other in zip(parents, own, own[::-1], strict=True):
            key, is_legal = template.facts(
                tuple(other[i] if i in swapped else op for i, op in enumerate(mine))
            )
            if is_legal and key not in known:
                new.append(template.changed(parent, [(i, other[i]) for i in sorted(swapped)]))
        if len(new) == 2:
            return new[0], new[1]
        if new:
            return (new[0],)
    reason = f"the parents gave no new legal cell in {N_TRIES} tries."
    raise NotApplicable(reason, kind="unchanged")
