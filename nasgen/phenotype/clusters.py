"""Clusters of synapses: kernels (Shafiee 2016) or filters (the text of Chung 2017), and counts.

The axes of a tensor are (out, in, ...). The kernel (o, i) is everything under these two indices, k
x k weights of a convolution and one weight of a dense layer; the filter o is everything that leads
to one outgoing channel. No torch here, so that operators can use it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from nasgen.phenotype.survival import Array, Mask, Masks

KINDS: Final = ("kernel", "filter")
FEW: Final = 49  # values of a cluster up to which columns are added up: numpy's sums are slower
N_AXES: Final = {"kernel": 2, "filter": 1}  # that tell the clusters of a tensor apart


def summed(values: Array, kind: str) -> Array:
    """Return the sum over each cluster of a tensor, (out, in) for kernels and (out,) for filters.

    A tensor of one axis has a cluster for each value.
    """
    rows, shape = _rows(values, kind)
    if rows.shape[1] > FEW:
        return rows.sum(axis=1).reshape(shape)
    total = rows[:, 0].astype(np.float64)
    for column in rows.T[1:]:
        total += column
    return total.reshape(shape)


def living(support: Mask, kind: str) -> Mask:
    """Return which clusters of a tensor have a synapse."""
    rows, shape = _rows(support, kind)
    if rows.shape[1] > FEW:
        return rows.any(axis=1).reshape(shape)
    found = rows[:, 0].copy()
    for column in rows.T[1:]:
        found |= column
    return found.reshape(shape)


def spread(clusters: Array, shape: tuple[int, ...]) -> Array:
    """Return values of clusters for each of their synapses: a view of a tensor's shape."""
    inner = (1,) * (len(shape) - clusters.ndim)
    return np.broadcast_to(clusters.reshape(*clusters.shape, *inner), shape)


def n_clusters(supports: Mask | Masks, kind: str) -> int:
    """Return how many clusters have a synapse, in one tensor or in several."""
    masks = supports.values() if not isinstance(supports, np.ndarray) else (supports,)
    return sum(int(np.count_nonzero(living(mask, kind))) for mask in masks)


def _rows(values: Array, kind: str) -> tuple[Array, tuple[int, ...]]:
    """Return a tensor as one row a cluster, and the shape that the clusters have."""
    shape = values.shape[: N_AXES[kind]]
    return values.reshape(math.prod(shape), -1), shape


def efficiencies(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[float, float]:
    """Return how many times fewer clusters a descendant has than its ancestor, counted two ways.

    The first is the mean of the ratios of the layers, which Shafiee 2016 reports as E, the second
    the ratio of the totals. Infinite where nothing is left of a layer, or of all.
    """
    ratios = [n / after[layer] if after[layer] else math.inf for layer, n in before.items()]
    total = sum(after[layer] for layer in before)
    mean = sum(ratios) / len(ratios)
    return mean, sum(before.values()) / total if total else math.inf
