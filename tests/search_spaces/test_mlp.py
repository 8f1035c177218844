"""Dense networks: for rows of numbers, flattened images and sequences of unequal length."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen import registry
from nasgen.errors import ConfigError, NotApplicable
from nasgen.genotypes import Child, Dag
from nasgen.phenotype.network import build
from nasgen.search_spaces.blueprint import Blueprint
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.mlp import Mlp
from nasgen.testing.preservation import TOLERANCE, gaps

SPACE = Mlp()


def _mutants(seed: int, group: str) -> list[tuple[str, Child]]:
    """Return what each operator of a group makes of a sample, where it applies."""
    parent = SPACE.sample(np.random.default_rng(seed)).mint(seed, 0)
    found = []
    for name, entry in registry.entries(group).items():
        if entry.runs_in != "driver" or entry.requires or "cell" in str(entry.accepts):
            continue
        try:
            child = registry.resolve(group, name)(parent, SPACE, np.random.default_rng(seed))
        except (NotApplicable, AttributeError):
            continue
        found.append((name, child if isinstance(child, Child) else Child(child)))
    return found


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_mutations_keep_dense_networks_legal_and_runnable(seed: int) -> None:
    for name, child in _mutants(seed, "mutations"):
        assert SPACE.problems(child.genotype) == [], name
        blueprint = SPACE.blueprint(child.genotype, (6,), 2)
        with torch.no_grad():
            assert build(blueprint).eval()(torch.randn(3, 6)).shape == (3, 2), name


def test_morphisms_that_deepen_widen_and_branch_work_on_dense_layers() -> None:
    names = {name for seed in range(12) for name, _ in _mutants(seed, "morphisms")}
    assert {"r2r-widen", "r2r-deepen", "net2net-deepen", "net2net-widen", "branch"} <= names


@pytest.mark.parametrize("seed", range(6))
def test_morphisms_preserve_the_function_of_dense_networks(seed: int) -> None:
    parent = SPACE.sample(np.random.default_rng(seed)).mint(seed, 0)
    for name, entry in registry.entries("morphisms").items():
        if not entry.options.get("preserves", True):
            continue
        try:
            child = registry.resolve("morphisms", name)(parent, SPACE, np.random.default_rng(seed))
        except NotApplicable:
            continue
        found = gaps(SPACE, parent, child, (9,), seed)
        assert max(found.values()) < TOLERANCE, (name, found)


def test_layers_of_images_are_no_vertices_here_and_dense_ones_are_none_there() -> None:
    assert "dense" not in DagCnn().layers
    assert "conv" not in SPACE.layers
    assert {"sum", "concat", "skip", "linear"} <= {*SPACE.layers} & {*DagCnn().layers}
    with pytest.raises(ConfigError, match="'conv' does not read shapes of 1 axes"):
        Mlp(layers=("dense", "conv"))
    with pytest.raises(ConfigError, match=r"space\.max_stages: 'mlp' has dense layers"):
        Mlp(max_stages=2)
    with pytest.raises(ConfigError, match=r"expected images \(C, H, W\).*got \(12,\)"):
        DagCnn().blueprint(DagCnn().sample(np.random.default_rng(0)), (12,), 2)


def _of_sequences(n_features: int, seed: int = 0) -> tuple[Dag, Blueprint]:
    dag = SPACE.sample(np.random.default_rng(seed)).mint(0, 0)
    return dag, SPACE.blueprint(dag, (n_features, 20), 3)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(0, 30), st.booleans(), st.integers(0, 100))
def test_answers_do_not_depend_on_the_padding(
    length: int, padding: int, tokens: bool, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    network = build(_of_sequences(7)[1], seed).double().eval()
    if tokens:
        x = torch.randint(0, 7, (2, length), generator=draw)
        behind = torch.randint(0, 7, (2, padding), generator=draw)
    else:
        x = torch.randn((2, 7, length), generator=draw, dtype=torch.float64)
        behind = 100 * torch.randn((2, 7, padding), generator=draw, dtype=torch.float64)
    lengths = torch.tensor([length, max(1, length // 2)])
    with torch.no_grad():
        short = network(x, lengths=lengths)
        long = network(torch.cat((x, behind), -1), lengths=lengths)
        whole = network(x[:1])
    torch.testing.assert_close(short, long, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(short[:1], whole, rtol=1e-10, atol=1e-10)


def test_a_token_is_the_one_hot_vector_of_its_number() -> None:
    network = build(_of_sequences(5)[1]).eval()
    tokens = torch.tensor([[0, 3, 4, 1]])
    vectors = torch.nn.functional.one_hot(tokens, 5).float().transpose(1, 2)
    with torch.no_grad():
        torch.testing.assert_close(network(tokens), network(vectors))


def test_sequences_of_one_step_have_finite_gradients() -> None:
    network = build(_of_sequences(4)[1]).train()
    network(torch.randn(6, 4, 1), lengths=torch.ones(6, dtype=torch.int64)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_images_are_flattened() -> None:
    dag = SPACE.seed(np.random.default_rng(0)).mint(0, 0)
    blueprint = SPACE.blueprint(dag, (3, 4, 5), 2)
    assert [step.layer for step in blueprint.steps] == ["flatten", "dense", "dense", "head"]
    assert blueprint.steps[0].out_shape == (60,)
