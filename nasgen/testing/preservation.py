"""How far a child's outputs are from its parent's: what function preservation is measured by."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.dropout import _DropoutNd

from nasgen.genotypes import Child, Genotype
from nasgen.layers.base import Shape
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces.base import SearchSpace
from nasgen.search_spaces.blueprint import Blueprint

TOLERANCE = 1e-10  # of the largest output, in float64; float32 rounds to about 1e-6
N_IMAGES = 4


def gaps(
    space: SearchSpace,
    parent: Genotype,
    child: Child,
    shape: Shape = (3, 16, 16),
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> dict[str, float]:
    """Return mode ("training", "evaluation") -> largest difference, relative to the largest output.

    The parent gets random weights, gains and statistics, the child what its plan says of them.
    Dropout draws nothing: what it would drop is no part of the function.
    """
    old, new = pair(space, parent, child, shape, seed, dtype)
    images = draw_images(shape, seed, dtype)
    found = {}
    for mode, training in (("training", True), ("evaluation", False)):
        with torch.no_grad():
            expected, got = (in_mode(network, training)(images) for network in (old, new))
        scale = max(1.0, float(expected.abs().max()))
        found[mode] = float((expected - got).abs().max()) / scale
    return found


def in_mode(network: Network, training: bool) -> Network:
    """Return a network in training or evaluation mode, its dropout in evaluation in any case."""
    network.train(training)
    for module in network.modules():
        if isinstance(module, _DropoutNd):
            module.eval()
    return network


def pair(
    space: SearchSpace,
    parent: Genotype,
    child: Child,
    shape: Shape = (3, 16, 16),
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Network, Network]:
    """Return a parent's network with random weights and statistics, and the child's after it."""
    old_blueprint = space.blueprint(parent, shape, 5)
    new_blueprint = space.blueprint(child.genotype, shape, 5)
    old = randomised(old_blueprint, seed).to(dtype)
    new = build(new_blueprint, seed + 1).to(dtype)
    inherit(new, new_blueprint, [(old_blueprint, old.state_dict())], child.plan)
    return old, new


def randomised(blueprint: Blueprint, seed: int) -> Network:
    """Return a network whose gains, shifts and statistics are as unlike a fresh one's as weights.

    Every vector is moved by a draw from [0, 0.5), so that variances stay positive.
    """
    network = build(blueprint, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point() and tensor.dim() == 1:
                tensor.add_(0.5 * torch.rand(tensor.shape, generator=generator))
    return network


def draw_images(shape: Shape, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return a batch (B, C, H, W) of normal noise."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((N_IMAGES, *shape), generator=generator, dtype=dtype)
