"""Relabel one edge of a cell: the neighbourhood of local search on tables (White 2021).

The only mutation that cells need; `relabel` is its sibling for graphs of free topology.
"""

from __future__ import annotations

import numpy as np

from nasgen.errors import NotApplicable
from nasgen.genotypes import Dag
from nasgen.operators.base import N_TRIES
from nasgen.search_spaces.cells import CellSpace


def relabel_edge(parent: Dag, space: CellSpace, rng: np.random.Generator) -> Dag:
    """Return the parent with another operation on one edge, all such changes equally likely.

    Raises NotApplicable when no try gave a legal cell of another key.
    """
    template = space.template
    ops = template.ops(parent)
    changes = [(i, op) for i, own in enumerate(template.choices) for op in own if op != ops[i]]
    for _ in range(N_TRIES):
        i, op = changes[int(rng.integers(len(changes)))]
        key, is_legal = template.facts((*ops[:i], op, *ops[i + 1 :]))
        if is_legal and key != parent.key:
            return template.changed(parent, [(i, op)])
    raise NotApplicable(f"no legal cell of another key in {N_TRIES} tries.", kind="unchanged")
