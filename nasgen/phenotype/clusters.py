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
N_AXES: Final = {"kernel": 2, "filter": 1}  # that tell the clusters of a tensor apart


def summed(values: Array, kind: str) -> Array:
    """Return the sum over each cluster of a tensor, (out, in) for kernels and (out,) for filters.

    A tensor of one axis has a cluster for each value.
    """
    return np.asarray(values.sum(axis=_inner(values.ndim, kind)))


def living(support: Mask, kind: str) -> Mask:
    """Return which clusters of a tensor have a synapse."""
    return np.asarray(support.any(axis=_inner(support.ndim, kind)), np.bool_)


def spread(clusters: Array, shape: tuple[int, ...]) -> Array:
    """Return values of clusters for each of their synapses: a view of a tensor's shape."""
    inner = (1,) * (len(shape) - clusters.ndim)
    return np.broadcast_to(clusters.reshape(*clusters.shape, *inner), shape)


def n_clusters(supports: Mask | Masks, kind: str) -> int:
    """Return how many clusters have a synapse, in one tensor or in several."""
    masks = supports.values() if not isinstance(supports, np.ndarray) else (supports,)
    return sum(int(np.count_nonzero(living(mask, kind))) for mask in masks)


def _inner(n_axes: int, kind: str) -> tuple[int, ...]:
    return tuple(range(N_AXES[kind], n_axes))


def efficiencies(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[float, float]:
    """Return how many times fewer clusters a descendant has than its ancestor, counted two ways.

    The first is the mean of the ratios of the layers, which Shafiee 2016 reports as E, the second
    the ratio of the totals. Infinite where nothing is left of a layer, or of all.
    """
    ratios = [n / after[layer] if after[layer] else math.inf for layer, n in before.items()]
    total = sum(after[layer] for layer in before)
    mean = sum(ratios) / len(ratios)
    return mean, sum(before.values()) / total if total else math.inf
