"""AZ-NAS: views of an untrained network that complement each other (Lee 2024).

Expressivity: how evenly the maps behind each block spread in all directions. Progressivity: that
each block adds to it. Trainability: that a block passes gradients on at their own size. The fourth
view, complexity, is the score `flops`. AZ-NAS itself is no score of one network: it adds up the
logarithms of a network's ranks in a pool, as `benchmarks/zero_cost.py` does. A predictor reads the
four views as features of their own and learns what each is worth.

Blocks end where the search space says so, as at the end of each cell (`Blueprint.blocks`). Of other
networks they end where all data pass through one map and a layer with weights lies before it.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from nasgen.evaluation.scores.base import Probe, weighted
from nasgen.phenotype.network import Network
from nasgen.search_spaces.blueprint import INPUT, Blueprint

TINY: Final = 1e-8  # the authors': keeps logarithms finite
LEAST: Final = 1e-6  # the authors': added to a singular value, keeps its inverse finite
MAP_DIMS: Final = 4  # (B, C, H, W)


def expressivity(probe: Probe) -> float:
    """Return the sum over blocks of the entropy of the principal directions, >= 0."""
    return math.fsum(_spreads(probe))


def progressivity(probe: Probe) -> float:
    """Return the least gain of entropy from one block to the next; 0 for a single block."""
    gains = [after - before for before, after in pairwise(_spreads(probe))]
    return math.nan if any(map(math.isnan, gains)) else min(gains, default=0.0)


def trainability(probe: Probe) -> float:
    """Return the mean over pairs of blocks of 2 - s - 1/s, at most 0; 0 for a single block.

    s is the largest singular value of the correlation of gradients before and behind a block. A
    block that passes gradients on unchanged is an identity and has nothing to train: the authors
    give its network the worst value there is. Here its s counts as 0, for which the inverse is
    bounded by `LEAST`, so that the score is a number.
    """
    passed = [_passed(before, after) for before, after in pairwise(_maps(probe))]
    known = [p for p in passed if p is not None]
    return math.fsum(known) / len(known) if known else 0.0


def _spreads(probe: Probe) -> list[float]:
    with torch.no_grad():
        return [_entropy(m) for m in _maps(probe)]


def _maps(probe: Probe) -> list[Tensor]:
    """Return what the blocks give, in order; one that is no tensor is left out."""
    maps: list[Tensor] = []
    network = probe.copy()
    for module in ends(network):
        module.register_forward_hook(lambda _, inputs, output: maps.append(output))
    network(probe.images, **probe.others)
    return [m for m in maps if isinstance(m, Tensor)]


def ends(network: nn.Module) -> list[nn.Module]:
    """Return the modules behind which a block ends, in order; that of an identity occurs again.

    The last step, which gives the answer, ends none. Of a network that nasgen did not build these
    are found among its children.
    """
    if isinstance(network, Network):
        if network.blueprint.blocks:
            own = network.blueprint.blocks  # an identity in front of all layers gives the input
            return [network.steps[name] for name in own if name != INPUT]
        modules = [network.steps[name] for name in waists(network.blueprint)]
        every = [network.steps[step.name] for step in network.blueprint.steps[:-1]]
    else:
        every = modules = list(network.children())[:-1]
    found: list[nn.Module] = []
    has_weights = False
    for module in every:
        has_weights = has_weights or any(True for _ in weighted(module))
        if has_weights and any(module is m for m in modules):
            found.append(module)
            has_weights = False
    return found


def waists(blueprint: Blueprint) -> list[str]:
    """Return the names of the steps but the last through which every path leads, in order."""
    order = {INPUT: 0} | {step.name: i for i, step in enumerate(blueprint.steps, 1)}
    farthest = dict.fromkeys(order, 0)  # the last step that reads what a step gives
    for step in blueprint.steps:
        for source in step.inputs:
            farthest[source] = max(farthest.get(source, 0), order[step.name])
    found, reach = [], farthest[INPUT]
    for step in blueprint.steps[:-1]:
        if reach <= order[step.name]:  # nothing older is read behind it
            found.append(step.name)
        reach = max(reach, farthest[step.name])
    return found


def _rows(values: Tensor) -> Tensor:
    """Return maps (B, C, ...) as rows (n, C)."""
    return values.flatten(2).transpose(1, 2).flatten(0, 1) if values.ndim > 2 else values


def _entropy(values: Tensor) -> float:
    rows = _rows(values).double()
    rows = rows - rows.mean(dim=0)
    spread = torch.linalg.eigvalsh(rows.T @ rows / len(rows)).clamp(min=0)
    total = spread.sum()
    if not torch.isfinite(total):
        return math.nan
    shares = spread / total if total > 0 else torch.full_like(spread, 0.0)
    return float(-(shares * torch.log(shares + TINY)).sum())


def _passed(before: Tensor, after: Tensor) -> float | None:
    """Return 2 - s - 1/s for one block; None where it says nothing about gradients."""
    if not (before.requires_grad and after.requires_grad):
        return None
    behind = 2.0 * torch.bernoulli(torch.full_like(after, 0.5)) - 1.0
    found: tuple[Tensor | None, ...] = torch.autograd.grad(
        after, before, behind, retain_graph=True, allow_unused=True
    )
    ahead = found[0]
    if ahead is None:
        return None
    s = 0.0
    if not torch.equal(ahead, behind):
        if ahead.ndim == after.ndim == MAP_DIMS and ahead.shape[2:] != after.shape[2:]:
            side = ahead.shape[2] // max(1, after.shape[2])
            if any(a != side * b for a, b in zip(ahead.shape[2:], after.shape[2:], strict=True)):
                return None
            ahead = nn.functional.pixel_unshuffle(ahead, side)
        left, right = _rows(ahead).double(), _rows(behind).double()
        if len(left) != len(right):
            return None
        product = left.T @ right / len(right)
        if not torch.isfinite(product).all():
            return math.nan
        s = float(torch.linalg.matrix_norm(product, 2))
    return 2.0 - s - 1.0 / (s + LEAST)
