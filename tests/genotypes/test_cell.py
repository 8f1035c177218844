"""Cells as graphs: what counts as the same cell, and that editing keeps them cells."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen.bench.table import load
from nasgen.errors import IllegalGenotypeError
from nasgen.genotypes import Dag
from nasgen.genotypes.cell import NONE, SKIP
from nasgen.search_spaces.nasbench201 import OPS, TEMPLATE
from nasgen.search_spaces.nasbench_macro import TEMPLATE as CHAIN

CODES = st.lists(st.integers(0, 4), min_size=6, max_size=6)
A, B, C = OPS[2:]


def cell(*ops: str) -> Dag:
    return TEMPLATE.cell(ops)


@pytest.fixture(scope="module")
def cells() -> list[Dag]:
    """All 15,625, in the order of the table."""
    return [TEMPLATE.cell(ops) for ops in product(OPS, repeat=6)]


# ---- the counts of the literature ----------------------------------------------------------------


def test_pruning_dead_edges_alone_leaves_9445(cells: list[Dag]) -> None:
    assert len({TEMPLATE.pruned(dag) for dag in cells}) == 9445


def test_the_benchmarks_string_rule_gives_its_own_6466_classes(cells: list[Dag]) -> None:
    texts = [TEMPLATE.text(dag) for dag in cells]
    pairs = set(zip(texts, load("nasbench201").columns["rep_idx"].tolist(), strict=True))
    assert len(pairs) == len(set(texts)) == len({rep for _, rep in pairs}) == 6466


def by_hand(codes: tuple[int, ...], inner_only: bool = False) -> tuple[tuple[int, int, int], ...]:
    """Return the least of the cell's forms, its identities folded edge by edge on the nodes.

    `inner_only` leaves those that are not the sole input of an inner node.
    """
    pairs = zip(TEMPLATE.edges, codes, strict=True)
    edges = [(a, b, op) for (a, b), op in pairs if op != 0]
    ahead, back = {0}, {3}
    for _ in range(3):
        ahead |= {b for a, b, _ in edges if a in ahead}
        back |= {a for a, b, _ in edges if b in back}
    edges = [e for e in edges if {e[0], e[1]} <= ahead & back]
    folding = True
    while folding:
        folding = False
        for node in (1, 2) if inner_only else (1, 2, 3):
            into = [e for e in edges if e[1] == node]
            out = [e for e in edges if e[0] == node]
            if len(into) != 1:
                continue
            source, _, op = into[0]
            if op == 1 and (node != 3 or source != 0):  # the node is its source
                keep, drop = (3, source) if node == 3 else (source, node)
                edges.remove(into[0])
                edges = [
                    (keep if a == drop else a, keep if b == drop else b, o) for a, b, o in edges
                ]
            elif not inner_only and node != 3 and len(out) == 1 and out[0][2] == 1:
                # An identity behind an operation.
                edges = [e for e in edges if e not in (into[0], out[0])] + [(source, out[0][1], op)]
            else:
                continue
            folding = True
            break
    inner = sorted({n for a, b, _ in edges for n in (a, b)} - {0, 3})
    forms = []
    for names in ((1, 2), (2, 1)) if len(inner) == 2 else ((1, 2),):
        new = {0: 0, 3: 3, **dict(zip(inner, names, strict=False))}
        forms.append(tuple(sorted((new[a], new[b], op) for a, b, op in edges)))
    return min(forms)


def test_folding_the_sole_inputs_of_inner_nodes_alone_leaves_7055() -> None:
    forms = {by_hand(codes, inner_only=True) for codes in product(range(5), repeat=6)}
    assert len(forms) == 7055


@pytest.fixture(scope="module")
def some(cells: list[Dag]) -> list[int]:
    return sorted(np.random.default_rng(0).choice(len(cells), 1500, replace=False).tolist())


def test_the_key_is_isomorphism_with_identities_folded(cells: list[Dag], some: list[int]) -> None:
    codes = list(product(range(5), repeat=6))
    # All cells without a path count as one, which is not legal.
    assert len({by_hand(c) for c in codes}) == 6334 == load("nasbench201").n_networks + 1
    # On a sample, because keys of all cells take a minute; equal forms and equal keys must pair up.
    pairs = {(by_hand(codes[i]), cells[i].key) for i in some}
    assert len({form for form, _ in pairs}) == len({key for _, key in pairs}) == len(pairs)


def test_networks_of_the_chain_with_one_key_were_trained_once() -> None:
    table = load("nasbench-macro")
    rng = np.random.default_rng(0)
    value: dict[str, float] = {}
    for row in rng.choice(3**8, 800, replace=False):
        key = table.genotype(int(row)).key
        assert value.setdefault(key, float(table.columns["mean_acc"][row])) == pytest.approx(
            float(table.columns["mean_acc"][row])
        )
    assert len(value) < 790


# ---- what is the same ----------------------------------------------------------------------------


def test_the_order_of_the_nodes_and_dead_edges_do_not_count() -> None:
    assert cell(A, B, NONE, C, A, B).key == cell(B, A, NONE, C, B, A).key
    assert cell(A, NONE, B, A, B, NONE).key == cell(A, NONE, NONE, A, B, NONE).key
    assert cell(A, B, NONE, C, A, B).key != cell(A, B, NONE, C, B, A).key


def test_a_shared_operation_is_not_two_equal_ones() -> None:
    """The benchmark's rule calls these the same: one convolution read twice, or two of them."""
    shared = cell(A, NONE, SKIP, NONE, B, C)
    two = cell(A, A, NONE, NONE, B, C)
    assert TEMPLATE.text(shared) == TEMPLATE.text(two)
    assert shared.key != two.key


@given(CODES, st.integers(0, 5), st.integers(0, 4))
@settings(deadline=None, max_examples=60)
def test_an_edited_cell_is_the_cell_with_that_operation(
    codes: list[int], edge: int, op: int
) -> None:
    ops = [OPS[c] for c in codes]
    dag = TEMPLATE.cell(ops).mint(0, 1)
    draft = dag.edit()
    TEMPLATE.set(draft, edge, OPS[op])
    edited = draft.freeze()
    ops[edge] = OPS[op]
    assert TEMPLATE.ops(edited) == tuple(ops)
    assert edited.key == TEMPLATE.cell(ops).key
    assert [v.tag for v in edited.vertices] == [v.tag for v in dag.vertices]
    again = Dag.from_json(json.loads(json.dumps(edited.to_json())))
    assert TEMPLATE.codes(again) == TEMPLATE.codes(edited)


@given(CODES)
@settings(deadline=None, max_examples=60)
def test_paths_are_those_of_the_live_edges_and_the_same_for_equal_keys(codes: list[int]) -> None:
    ops = [OPS[c] for c in codes]
    dag = TEMPLATE.cell(ops)
    assert TEMPLATE.paths(dag) == TEMPLATE.paths(TEMPLATE.cell(TEMPLATE.pruned(dag)))
    if ops[2] == NONE:
        swapped = [ops[1], ops[0], NONE, ops[3], ops[5], ops[4]]
        assert TEMPLATE.paths(TEMPLATE.cell(swapped)) == TEMPLATE.paths(dag)


def test_other_graphs_are_refused_by_a_sentence() -> None:
    good = cell(A, B, C, A, B, C)
    assert TEMPLATE.problem(good) == ""
    assert "unknown operation 'conv'" in TEMPLATE.problem(good.change(good.vertices[2].tag, "conv"))
    draft = good.edit()
    draft.disconnect(good.vertices[0].tag, good.vertices[2].tag)
    assert "not joined" in TEMPLATE.problem(draft.freeze())
    with pytest.raises(IllegalGenotypeError, match="expected 6 operations"):
        cell(A)
    with pytest.raises(IllegalGenotypeError, match="edge 0: expected one of"):
        cell("conv", A, A, A, A, A)
    with pytest.raises(IllegalGenotypeError, match="4 nodes"):
        TEMPLATE.ops(CHAIN.cell([c[0] for c in CHAIN.choices]))
