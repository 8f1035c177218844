"""Pruned networks for tests: evolved graphs, random supports, masked beside compacted."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from nasgen import registry
from nasgen.errors import NotApplicable
from nasgen.genotypes import Child, Dag
from nasgen.genotypes.kinds import accepted, varies
from nasgen.phenotype.compaction import Compacted, compact
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import Network, build
from nasgen.phenotype.support import Support
from nasgen.search_spaces.graph import GraphSpace

SHAPE, N_CLASSES = (3, 16, 16), 5
Arrays = dict[str, np.ndarray[Any, Any]]


def evolved(space: GraphSpace, seed: int, n_steps: int = 6) -> Dag:
    """Return a sample after some mutations."""
    rng = np.random.default_rng(seed)
    dag = space.sample(rng).mint(seed, 0)
    names = [e.name for e in registry.usual("mutations").values() if varies(accepted(e), Dag)]
    done = 0
    for _ in range(20 * n_steps):
        mutate = registry.resolve("mutations", names[int(rng.integers(len(names)))])
        try:
            child = mutate(dag, space, rng)
        except NotApplicable:
            continue
        genotype = child.genotype if isinstance(child, Child) else child
        if space.problems(genotype):
            continue
        done += 1
        dag = genotype.mint(seed, done)
        if done == n_steps:
            break
    return dag


def network(space: GraphSpace, dag: Dag, seed: int = 0, shape: Any = SHAPE) -> Network:
    """Return the network in float64, with norms that have seen something."""
    net = build(space.blueprint(dag, shape, N_CLASSES), seed).double()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.dim() == 1:
                tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.5)
            if name.rpartition(".")[2] in ("bias", "running_mean"):
                tensor -= 1.0
    return net


def random_support(net: Network, rng: np.random.Generator) -> Arrays:
    """Draw a support: whole filters, whole columns and single weights are missing."""
    rows, columns, single = rng.uniform(0, 0.7), rng.uniform(0, 0.3), rng.uniform(0, 0.8)
    found = {}
    for name, p in net.named_parameters():
        mask = np.ones(tuple(p.shape), np.bool_)
        if mask.ndim > 1:
            mask &= rng.random(mask.shape) >= single
            mask[:, rng.random(mask.shape[1]) < columns] = False
            if "head" not in name:
                mask[rng.random(mask.shape[0]) < rows] = False
        elif rng.random() < 0.3:
            mask &= rng.random(mask.shape) >= 0.2
        found[name] = mask
    return found


def half_pruned(net: Network, rng: np.random.Generator, scattered: float = 0.2) -> Arrays:
    """Prune half of the filters of each layer, those of smallest norm, and single weights too."""
    found = {}
    for name, p in net.named_parameters():
        if p.dim() < 2:
            continue
        mask = rng.random(tuple(p.shape)) >= scattered
        if "head" not in name:
            norms = p.detach().flatten(1).norm(dim=1).numpy()
            mask[np.argsort(norms)[: len(norms) // 2]] = False
        found[name] = mask
    return found


def compacted(
    space: GraphSpace, dag: Dag, net: Network, arrays: Arrays
) -> tuple[Compacted, Network]:
    """Return what is left of a network under a support, with its weights."""
    shape = net.blueprint.input_shape
    left = compact(lambda g: space.blueprint(g, shape, N_CLASSES), dag, arrays)
    small = build(left.blueprint, 99).double()
    report = inherit(small, left.blueprint, [(net.blueprint, net.state_dict())], left.plan)
    assert report.n_fresh == 0
    Support.of(small, left.support)
    return left, small


def gap(a: Network, b: Network, n: int = 4) -> float:
    """Return how far two networks are apart, in training and then in evaluation."""
    x = torch.randn((n, *a.blueprint.input_shape), dtype=torch.float64)
    x = x.to(next(a.parameters()).device)
    with torch.no_grad():
        apart = [float((a.train(t)(x) - b.train(t)(x)).abs().max()) for t in (False, True, False)]
    return max(apart)
