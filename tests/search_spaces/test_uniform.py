"""Networks of the paper's space: every label as often as any other, no feature constant."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from nasgen import papers, registry
from nasgen.errors import ConfigError, NotApplicable
from nasgen.genotypes import Dag
from nasgen.operators.mutation.relabel import relabel
from nasgen.phenotype.network import build
from nasgen.predictors.features.stier2021 import Stier2021
from nasgen.runs import reading
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.mlp import Mlp
from nasgen.settings.config import read_toml

MERGING = ("sum", "concat")
LABELS = {("conv", 3), ("conv", 5), ("conv", 7)} | {
    (op, None) for op in ("max_pool", "avg_pool", "skip", *MERGING)
}
N = 600
SURE = 1e-4  # a seed is given: smaller means wrong, not unlucky


def space(preset: str) -> DagCnn:
    found = reading.resolved(read_toml(papers.preset(preset))).space
    assert isinstance(found, DagCnn)
    return found


def label(vertex: Any) -> tuple[str, int | None]:
    return vertex.op, vertex.get("kernel")


def even(counts: Counter[Any], n_kinds: int) -> float:
    """Return how probable counts are at least as uneven, if all kinds were equally likely."""
    return float(stats.chisquare([*counts.values(), *[0] * (n_kinds - len(counts))]).pvalue)


@pytest.fixture(scope="module", params=[("stier2021", 6, 12), ("stier2021-random", 10, 36)])
def drawn(request: pytest.FixtureRequest) -> tuple[DagCnn, list[Dag], int, int]:
    name, low, high = request.param
    found, rng = space(name), np.random.default_rng(0)
    return found, [found.sample(rng) for _ in range(N)], low, high


def test_every_label_width_and_depth_is_equally_likely(drawn: Any) -> None:
    found, dags, low, high = drawn
    labels = Counter(label(v) for dag in dags for v in dag.inner)
    assert set(labels) == LABELS
    assert even(labels, len(LABELS)) > SURE
    depths = Counter(dag.depth for dag in dags)
    assert set(depths) == set(range(low, high + 1))
    assert even(depths, high - low + 1) > SURE
    widths = Counter(v.channels for dag in dags for v in dag.inner if v.op == "conv")
    assert even(widths, len(found.widths)) > SURE
    # Nasgen's own way is another: the test can tell them apart.
    usual, rng = DagCnn(), np.random.default_rng(0)
    own = Counter(label(v) for _ in range(40) for v in usual.sample(rng).inner)
    assert even(own, len(LABELS)) < SURE


def test_draws_are_legal_differ_and_merge_where_something_can_be_merged(drawn: Any) -> None:
    found, dags, _, _ = drawn
    assert len({dag.key for dag in dags[:150]}) == 150
    n_idle = n_merging = 0
    for dag in dags:
        assert found.problems(dag) == []
        assert len(dag.inner) <= found.max_vertices
        n_idle += sum(len(dag.inputs(v.tag)) < 2 for v in dag.inner if v.op in MERGING)
        n_merging += sum(v.op in MERGING for v in dag.inner)
    assert n_idle < 0.05 * n_merging
    assert max(len(dag.inner) - dag.depth for dag in dags) >= 3  # branches


def test_the_same_seed_draws_the_same_and_options_are_json(drawn: Any) -> None:
    found, dags, _, _ = drawn
    rng = np.random.default_rng(0)
    assert [found.sample(rng) for _ in range(5)] == dags[:5]
    assert DagCnn(**found.options()) == found
    assert found.options()["sampling"] == "uniform"


def test_none_of_the_papers_features_is_constant(drawn: Any) -> None:
    _, dags, _, _ = drawn
    deviation = Stier2021().encode_all(dags[:200]).std(axis=0)
    constant = [n for n, sd in zip(Stier2021.names, deviation, strict=True) if sd < 1e-9]
    assert constant == []
    usual, rng = DagCnn(), np.random.default_rng(0)
    own = Stier2021().encode_all([usual.sample(rng) for _ in range(60)]).std(axis=0)
    assert (own < 1e-9).sum() >= 6  # nasgen's own way draws no skip


def test_networks_of_every_label_build_and_learn() -> None:
    """Each label stands in one of a few networks; all of these come closer to a batch's classes."""
    found, rng = space("stier2021"), np.random.default_rng(1)
    chosen: list[Dag] = []
    missing = set(LABELS)
    while missing:
        dag = found.sample(rng)
        here = {label(v) for v in dag.inner}
        if here & missing and any(op == "conv" for op, _ in here):
            chosen.append(dag)
            missing -= here
    classes = torch.arange(24) % 3
    images = 0.3 * torch.randn(24, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    images += (classes - 1.0)[:, None, None, None]
    for dag in chosen:
        net = build(found.blueprint(dag, (1, 16, 16), 3), 0).train()
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        losses = []
        for _ in range(12):
            loss = functional.cross_entropy(net(images), classes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.8 * losses[0], dag.key


def test_mutations_draw_labels_evenly_too() -> None:
    found, rng = space("stier2021"), np.random.default_rng(2)
    insert = registry.resolve("mutations", "insert-subgraph")
    inserted: Counter[Any] = Counter()
    relabelled: Counter[Any] = Counter()
    start = found.sample(rng)
    before = {v.tag: label(v) for v in start.inner}
    for _ in range(250):
        child = insert(start, found, rng)
        new = [label(v) for v in child.inner if v.tag not in before]
        inserted.update(one for one in new if one[0] not in MERGING)
        try:
            child = relabel(start, found, rng)
        except NotApplicable:
            continue
        relabelled.update(label(v) for v in child.inner if label(v) != before.get(v.tag))
    single = len(LABELS) - len(MERGING)
    assert even(inserted, single) > SURE
    # No vertex becomes what it is, so rare labels of the start are drawn somewhat more often.
    assert set(relabelled) >= {one for one in LABELS if one[0] not in MERGING}
    kernels = Counter(kernel for _, kernel in relabelled.elements() if kernel)
    assert kernels[3] < 0.6 * kernels.total()


@pytest.mark.parametrize(
    "options",
    [
        {"layers": ("conv",), "kernels": (5,)},
        {"layers": ("sum", "conv"), "min_depth": 1, "max_depth": 2, "max_vertices": 3},
        {"layers": ("conv", "concat"), "min_depth": 30, "max_depth": 30, "max_vertices": 30},
        {"max_channels": 4},
    ],
)
def test_small_and_odd_spaces_can_be_sampled(options: dict[str, Any]) -> None:
    found, rng = DagCnn(sampling="uniform", **options), np.random.default_rng(3)
    for _ in range(20):
        assert found.problems(found.sample(rng)) == []


def test_dense_networks_can_be_drawn_evenly_too() -> None:
    """Every length and every row of widths is as likely as any other, wider ones behind narrow."""
    widths, layers = (8, 16, 32), ("dense",)
    found = Mlp(sampling="uniform", widths=widths, layers=layers, max_depth=3, max_channels=32)
    rng = np.random.default_rng(4)
    dags = [found.sample(rng) for _ in range(N)]
    assert all(found.problems(dag) == [] for dag in dags)
    rows = [tuple(v.channels for v in dag.order if v.op == "dense") for dag in dags]
    assert even(Counter(map(len, rows)), 3) > SURE
    assert even(Counter(row for row in rows if len(row) == 2), 9) > SURE
    usual = Mlp(widths=widths, layers=layers, max_depth=3, max_channels=32)
    own = [usual.sample(rng) for _ in range(60)]
    firsts = Counter(dag.order[1].channels for dag in own)
    assert even(firsts, 3) < SURE


def test_dense_networks_with_all_labels_are_legal_and_built() -> None:
    found, rng = Mlp(sampling="uniform"), np.random.default_rng(5)
    dags = [found.sample(rng) for _ in range(60)]
    assert {v.op for dag in dags for v in dag.inner} == set(found.drawn)
    for dag in dags[:10]:
        assert found.problems(dag) == []
        network = build(found.blueprint(dag, (6,), 3), 0).train()
        assert network(torch.randn(4, 6)).shape == (4, 3)


@pytest.mark.parametrize("kind", [DagCnn, Mlp])
@pytest.mark.parametrize("value", ["unifrom", 3, ["uniform"]])
def test_another_way_of_sampling_is_refused_with_those_there_are(kind: Any, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        kind(sampling=value)
    assert f"space.sampling: expected blocks or uniform, got {value!r}" in str(caught.value)
    if value == "unifrom":
        assert "did you mean 'uniform'?" in str(caught.value)
