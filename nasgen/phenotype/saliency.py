"""How many and which: exact numbers of weights, kernels or filters that stay, of saliencies.

A *saliency* says how much a network would miss a weight, one number >= 0 for each. That of a kernel
or filter is the sum over its weights. Of equals the first in the order of names and places stay, so
numbers are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


def within_bucket(
    values: Arrays, supports: Masks, bucket: float, granularity: str, *, compete: bool
) -> int:
    """Return how many units stay when as many leave as a bucket of saliency holds.

    Those leave that the pruning takes: where the tensors `compete` as `strongest` has it, else of
    each its share (`apportioned`), the least salient. The sum of their saliencies is at most
    `bucket`, and with one unit less it would be above. Raises NotApplicable where not even the
    first one fits.
    """
    values, alive = units(values, supports, granularity)
    found = [
        np.sort(np.ravel(values[n])[np.flatnonzero(alive[n])].astype(np.float64)) for n in values
    ]
    n = sum(map(len, found))
    lost = _lost_together(found) if compete else _lost_by_share(found)
    too_few, enough = -1, n  # where so many stay, the bucket is too small, or large enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if lost(middle) <= bucket:
            enough = middle
        else:
            too_few = middle
    if n and enough == n:
        raise NotApplicable(
            f"expected a bucket that holds the least saliency that can leave, {lost(n - 1):.3g}, "
            f"got {bucket:g}.",
            kind="unchanged",
        )
    return enough


def _lost_together(ascending: Sequence[Array]) -> Callable[[int], float]:
    """Return what is lost when so many stay and `strongest` takes them of all tensors."""
    kept = [of[-1] for of in ascending if len(of)]  # which each tensor keeps
    n_kept, everything = len(kept), np.sort(np.concatenate([np.empty(0), *ascending]))
    others = np.sort(np.concatenate([np.empty(0), *(of[:-1] for of in ascending)]))
    sums, all_sums = _sums(others), _sums(everything)

    def lost(n: int) -> float:
        if n < n_kept:
            return float(all_sums[len(everything) - n])
        return float(sums[len(others) - (n - n_kept)])

    return lost


def _lost_by_share(ascending: Sequence[Array]) -> Callable[[int], float]:
    """Return what is lost when so many stay, of each tensor its share."""
    counts, sums = [len(of) for of in ascending], [_sums(of) for of in ascending]

    def lost(n: int) -> float:
        shares = apportioned(counts, n)
        return float(sum(of[c - k] for of, c, k in zip(sums, counts, shares, strict=True)))

    return lost


def _sums(values: Array) -> Array:
    """Return the sums of the first 0, 1, 2, ... values."""
    return np.concatenate(([0.0], np.cumsum(values)))


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
