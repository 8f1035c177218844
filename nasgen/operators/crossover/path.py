"""Swap the longest simple sub-paths of two parents (Stier 2021, section 4.4, X1).

The paper does not define one. Here it is a chain without branches: every vertex has one input and,
but for the last, one output, so that a chain fits wherever another was and nothing else moves.
Prefer it where networks differ in their blocks rather than in how these are wired.
"""

from __future__ import annotations

from itertools import islice, product

import numpy as np

from nasgen.errors import NotApplicable
from nasgen.genotypes import Dag
from nasgen.operators.base import N_TRIES, attempt, check_size
from nasgen.operators.crossover.base import Children, swap
from nasgen.search_spaces.graph import GraphSpace

Chain = tuple[int, ...]


def path(first: Dag, second: Dag, space: GraphSpace, rng: np.random.Generator) -> Children:
    """Return two children, or one when the other is illegal or the same network as a parent.

    Each is a parent with a chain of the other's in the place of one of its own, gene tags kept as
    long as they are free. The longest chains are swapped, equal ones drawn; shorter ones only when
    these give no new legal child. Raises NotApplicable.
    """
    found = chains(first), chains(second)
    for which, own in zip(("first", "second"), found, strict=True):
        if not own:
            reason = f"the {which} parent has no vertex with one input."
            raise NotApplicable(reason, kind="no_place")
    pairs = list(product(*found))
    drawn = [pairs[i] for i in rng.permutation(len(pairs))]
    drawn.sort(key=lambda pair: -len(pair[0]) - len(pair[1]))

    def replaced(mine: Dag, here: Chain, other: Dag, there: Chain) -> Dag:
        n_inner = len(mine.inner) - len(here) + len(there)
        check_size(space, n_inner, space.min_depth)  # before anything is built
        draft = mine.edit()
        draft.splice(here, [other.vertex(tag) for tag in there])
        return attempt(draft, space)

    return swap(first, second, islice(drawn, N_TRIES), replaced)


def chains(dag: Dag) -> list[Chain]:
    """Return the longest possible chains: tags of inner vertices, each in one chain at most."""
    found: dict[int, list[int]] = {}  # last tag -> chain
    for v in dag.inner:
        if len(dag.inputs(v.tag)) != 1:
            continue
        (source,) = dag.inputs(v.tag)
        continues = source in found and len(dag.outputs(source)) == 1
        found[v.tag] = [*(found.pop(source) if continues else ()), v.tag]
    return [tuple(chain) for chain in found.values()]
