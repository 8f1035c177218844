"""Swap all that follows a bridge of either parent (Stier 2021, section 4.4, bridge crossover: X2).

A bridge is an edge without which the undirected graph falls apart; in a genotype, where every
vertex lies on a path to the output, it then holds what precedes it apart from all that succeeds it.
Prefer `subgraph` where shortcuts and branches leave few bridges.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from nasgen.errors import NotApplicable
from nasgen.genotypes import Dag
from nasgen.genotypes.dag import Edge
from nasgen.operators.base import N_TRIES, pick
from nasgen.operators.crossover.base import Children, joined, swap
from nasgen.search_spaces.graph import GraphSpace


def bridge(first: Dag, second: Dag, space: GraphSpace, rng: np.random.Generator) -> Children:
    """Return two children, or one when the other is illegal or the same network as a parent.

    Each is a parent up to a bridge, drawn at random, and the other parent behind one of its own;
    gene tags are kept as long as they are free. The edge into the output is no choice: nothing but
    the classifier follows it. Raises NotApplicable when a parent has no other bridge.
    """
    found = bridges(first), bridges(second)
    for which, edges in zip(("first", "second"), found, strict=True):
        if not edges:
            reason = f"the {which} parent has no bridge but the edge into its output."
            raise NotApplicable(reason, kind="no_place")
    draws = ((pick(found[0], rng, "")[0], pick(found[1], rng, "")[0]) for _ in range(N_TRIES))
    return swap(first, second, draws, partial(joined, space))


def bridges(dag: Dag) -> list[Edge]:
    """Return the bridges of the undirected graph but the one into the output, from the input on.

    The graph has no dead vertex. All that a bridge's source cuts off then succeeds its target, so
    the two are neighbours in every topological order and no other edge passes between them.
    """
    found: list[Edge] = []
    n_open = 0  # edges from a vertex so far to a later one
    for v, following in zip(dag.order, dag.order[1:], strict=False):
        n_open += len(dag.outputs(v.tag)) - len(dag.inputs(v.tag))
        if n_open == 1 and following.tag != dag.output.tag:
            found.append((v.tag, following.tag))
    return found
