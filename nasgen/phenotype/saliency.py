"""How many and which: exact numbers of weights, kernels or filters that stay, of saliencies.

A *saliency* says how much a network would miss a weight, one number >= 0 for each. That of a kernel
or filter is the sum over its weights. Of equals the first in the order of names and places stay, so
numbers are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

import numpy as np

from nasgen.errors import NotApplicable
from nasgen.phenotype import clusters, survival
from nasgen.phenotype.survival import Array, Arrays, Mask, Masks

Granularity = Literal["weight", "kernel", "filter"]
GRANULARITIES: Final[tuple[str, ...]] = get_args(Granularity)


def n_units(supports: Masks, granularity: str) -> int:
    """Return how many weights, kernels or filters are alive."""
    if granularity == "weight":
        return survival.n_synapses(supports)
    return clusters.n_clusters(supports, granularity)


def apportioned(counts: Sequence[int], budget: int) -> list[int]:
    """Return whole numbers that are the same share of each count and add up to the budget.

    By the largest remainder, the first of equals. Where the budget reaches, each count above 0
    keeps at least 1, which the largest give.
    """
    total = sum(counts)
    if budget >= total:
        return list(counts)
    found = [budget * count // total for count in counts]
    order = sorted(range(len(counts)), key=lambda i: (-(budget * counts[i] % total), i))
    for i in order[: budget - sum(found)]:
        found[i] += 1
    if budget >= sum(count > 0 for count in counts):
        for i, count in enumerate(counts):
            if count and not found[i]:
                found[found.index(max(found))] -= 1
                found[i] = 1
    return found


def strongest(values: Arrays, supports: Masks, budget: int, granularity: str) -> dict[str, Mask]:
    """Return the support of the `budget` most salient units of all tensors, which compete.

    Where the budget reaches, each tensor keeps its most salient one: a network without one of its
    layers answers nothing.
    """
    values, alive = units(values, supports, granularity)
    first = {n: survival.strongest(values[n], alive[n], 1) for n in values}
    rest = budget - survival.n_synapses(first)
    if rest < 0:
        kept = dict(survival.strongest(values, alive, budget))
    else:
        others = {n: alive[n] & ~first[n] for n in values}
        more = survival.strongest(values, others, rest)
        kept = {n: first[n] | more[n] for n in values}
    return {n: supports[n] & _spread(kept[n], supports[n]) for n in values}


def within_bucket(values: Arrays, supports: Masks, bucket: float, granularity: str) -> int:
    """Return how many units stay when the least salient leave until the bucket is full.

    They leave in ascending order as long as the sum of their saliencies is at most `bucket`.
    Raises NotApplicable where not even the first one fits.
    """
    values, alive = units(values, supports, granularity)
    found = [np.ravel(values[n])[np.flatnonzero(alive[n])] for n in values]
    order = np.sort(np.concatenate(found)) if found else np.empty(0)
    n_gone = int(np.searchsorted(np.cumsum(order), bucket, side="right"))
    if len(order) and not n_gone:
        raise NotApplicable(
            f"expected a bucket that holds the least saliency, {order[0]:.3g}, got {bucket:g}.",
            kind="unchanged",
        )
    return len(order) - n_gone


def units(
    values: Arrays, supports: Masks, granularity: str
) -> tuple[Mapping[str, Array], Mapping[str, Mask]]:
    """Return the saliency of each unit of each tensor, and which units are alive."""
    if granularity == "weight":
        return values, supports
    summed = {
        n: clusters.summed(np.where(supports[n], values[n], 0.0), granularity) for n in values
    }
    return summed, {n: clusters.living(supports[n], granularity) for n in values}


def _spread(kept: Mask, support: Mask) -> Mask:
    return kept if kept.shape == support.shape else clusters.spread(kept, support.shape)
