"""Layout of architectures and of the descent."""

from __future__ import annotations

import itertools
import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen.genotypes import Draft, drawing, layout
from nasgen.report import lineage
from nasgen.search_spaces.dag_cnn import DagCnn


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[int, float], list[tuple[int, int]]]:
    n = draw(st.integers(1, 40))
    widths = {i: draw(st.sampled_from([34.0, 60.0, 110.0])) for i in range(n)}
    pairs = list(itertools.combinations(range(n), 2))
    edges = draw(st.lists(st.sampled_from(pairs), max_size=60, unique=True)) if pairs else []
    return widths, edges


@given(graphs())
@settings(deadline=None, max_examples=60)
def test_boxes_never_overlap_and_no_edge_crosses_a_box(
    graph: tuple[dict[int, float], list[tuple[int, int]]],
) -> None:
    widths, edges = graph
    made = layout.arrange(widths, edges)
    for a, b in itertools.combinations(widths, 2):
        if made.level[a] == made.level[b]:
            room = (widths[a] + widths[b]) / 2 + layout.GAP
            assert abs(made.x[a] - made.x[b]) >= room - 1e-6
    for (a, b), route in made.routes.items():
        assert len(route) == made.level[b] - made.level[a] + 1
        assert (route[0], route[-1]) == (made.x[a], made.x[b])
        for level, at in enumerate(route[1:-1], made.level[a] + 1):
            for n, width in widths.items():
                if made.level[n] == level:
                    assert abs(at - made.x[n]) >= width / 2 + 1
    for n, width in widths.items():
        assert width / 2 - 1e-6 <= made.x[n] <= made.width - width / 2 + 1e-6


def test_every_edge_runs_down_by_at_least_one_level() -> None:
    made = layout.arrange({0: 40, 1: 40, 2: 40}, [(0, 1), (1, 2), (0, 2)])
    assert made.level == {0: 0, 1: 1, 2: 2}
    assert made.n_levels == 3


def test_a_chain_is_straight_and_a_twisted_ladder_is_untwisted() -> None:
    chain = layout.arrange({i: 50 for i in range(9)}, [(i, i + 1) for i in range(8)])
    assert len({round(at, 6) for at in chain.x.values()}) == 1
    twisted = layout.arrange({i: 50 for i in range(4)}, [(0, 3), (1, 2)])
    assert (twisted.x[0] < twisted.x[1]) == (twisted.x[3] < twisted.x[2])


def test_sampled_networks_are_drawn_with_every_vertex_and_edge() -> None:
    rng = np.random.default_rng(0)
    space = DagCnn()
    for _ in range(10):
        dag = space.sample(rng)
        svg = str(drawing.draw(dag.outline(), "a network")[0])
        assert len(re.findall(r'class="box ', svg)) == len(dag.vertices)
        assert len(re.findall(r'class="edge', svg)) == len(dag.edges)
        assert "dead" not in svg


def test_a_box_says_kernel_and_channels_and_dead_vertices_are_marked() -> None:
    draft = Draft()
    conv = draft.add("conv", [draft.input], channels=48, kernel=5)
    draft.add("max_pool", [conv])
    draft.connect(conv, draft.output)
    svg = str(drawing.draw(draft.freeze().outline(), "a network")[0])
    assert "conv 5×5 · 48" in svg
    assert svg.count(" dead") == 2  # the pool and its edge


def test_hostile_and_endless_labels_are_escaped_and_cut() -> None:
    draft = Draft()
    op = draft.add("<script>alert(1)</script>" * 5, [draft.input], note='"><img src=x>')
    draft.connect(op, draft.output)
    svg = str(drawing.draw(draft.freeze().outline(), '"><b>')[0])
    assert "<script" not in svg
    assert "<img" not in svg
    assert "<b>" not in svg
    assert max(len(t) for t in re.findall(r"<text[^>]*>([^<]*)</text>", svg)) < 60


@given(st.integers(1, 40), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_lanes_of_a_descent_never_hold_two_things_at_once(n: int, random: object) -> None:
    choose = random  # a seeded random.Random of hypothesis
    rows = [
        (seq, sorted({choose.randrange(seq) for _ in range(choose.randint(0, 2))}) if seq else [])  # type: ignore[attr-defined]
        for seq in reversed(range(n))
    ]
    at, edges = lineage.lanes(rows)
    row = {seq: i for i, (seq, _) in enumerate(rows)}
    assert set(edges) == {(seq, p) for seq, parents in rows for p in parents}
    for (child, parent), lane in edges.items():
        assert at[parent] == lane
        # Between the two rows no other trial stands in the lane.
        between = [s for s in at if row[child] < row[s] < row[parent]]
        assert all(at[s] != lane for s in between)
