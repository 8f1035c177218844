"""How alike the supports of relatives are: overlap (Chung 2018, equation 4) and what corrects it.

Clusters are compared by gene tag, whatever shapes the networks have: a kernel is (tag of its
outgoing channel, tag of its incoming one) in a layer, a filter the former alone. All measures say
NaN where they are not defined, such as the overlap of a network without clusters with another: that
of nothing is no agreement. High overlap of networks that have hardly anything left is no agreement
either, so report the density beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations

import numpy as np
import torch

from nasgen.phenotype import clusters
from nasgen.phenotype.network import PREFIX, roles, tensor_tags
from nasgen.phenotype.survival import Masks
from nasgen.search_spaces.blueprint import Blueprint

Clusters = Mapping[str, frozenset[tuple[int, ...]]]  # layer (its gene tag, its tensor) -> clusters
Sizes = Mapping[str, int]  # layer -> clusters of the ancestor
Measure = Callable[[Clusters, Clusters, Sizes], float]


def tagged(
    blueprint: Blueprint, masks: Masks, kind: str = "kernel"
) -> dict[str, frozenset[tuple[int, ...]]]:
    """Return the living clusters of each layer, by gene tag; `masks` are those to compare."""
    steps = {step.name: step for step in blueprint.steps}
    tags = tensor_tags(blueprint, {name: torch.from_numpy(mask) for name, mask in masks.items()})
    found = {}
    for name, mask in masks.items():
        step_name, _, inner = name.removeprefix(f"{PREFIX}.").partition(".")
        step = steps[step_name]
        axes = [axis[0] if axis else None for axis in roles(step, inner, mask.ndim)]
        n_axes = min(clusters.N_AXES[kind], mask.ndim)
        by_axis = [
            own if own is not None and axes[i] is not None else np.arange(mask.shape[i])
            for i, own in enumerate(tags[name][:n_axes])
        ]
        places = np.argwhere(clusters.living(mask, kind))
        columns = [of[places[:, i]].tolist() for i, of in enumerate(by_axis)]
        found[f"{step.tag}/{inner}"] = frozenset(zip(*columns, strict=True))
    return found


def overlap(a: Clusters, b: Clusters, sizes: Sizes) -> float:
    """Return |A and B| / |A|: the share of A that B has too (equation 4); not symmetric."""
    return _ratio(_shared(a, b), _count(a))


def jaccard(a: Clusters, b: Clusters, sizes: Sizes) -> float:
    """Return |A and B| / |A or B|."""
    both = _shared(a, b)
    return _ratio(both, _count(a) + _count(b) - both)


def corrected(a: Clusters, b: Clusters, sizes: Sizes) -> float:
    """Return (observed - expected) / (1 - expected) of the overlap: 0 by chance, 1 if A is in B.

    Expected is what A would share with as many clusters as B has in each layer, drawn at random:
    the sum over layers of |A_l| |B_l| / n_l, as a share of |A|. NaN where B has everything.
    """
    expected = sum(
        len(own) * len(b.get(layer, ())) / sizes[layer] for layer, own in a.items() if own
    )
    chance = _ratio(expected, _count(a))
    return _ratio(overlap(a, b, sizes) - chance, 1.0 - chance)


def mutual_information(a: Clusters, b: Clusters, sizes: Sizes) -> float:
    """Return the bits that the support of one says about that of the other, over all layers.

    The mean over clusters of the mutual information of "A has it" and "B has it" in its layer; 0
    where they are independent, and where one of them has all of a layer or nothing.
    """
    total = 0.0
    for layer, n in sizes.items():
        own, other = a.get(layer, frozenset()), b.get(layer, frozenset())
        both = len(own & other)
        table = np.array(
            [[both, len(own) - both], [len(other) - both, n - len(own) - len(other) + both]]
        )
        joint = table / n
        chance = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        held = joint > 0
        total += n * float((joint[held] * np.log2(joint[held] / chance[held])).sum())
    return _ratio(total, sum(sizes.values()))


MEASURES: Mapping[str, Measure] = {
    "overlap": overlap,
    "jaccard": jaccard,
    "corrected": corrected,
    "mutual_information": mutual_information,
}


def among(members: Sequence[Clusters], sizes: Sizes, measure: Measure = overlap) -> float:
    """Return the mean of a measure over ordered pairs of different members, as Chung 2018 does.

    Pairs for which it is not defined are left out; NaN if that are all.
    """
    values = [measure(a, b, sizes) for a, b in permutations(members, 2)]
    defined = [value for value in values if not math.isnan(value)]
    return _ratio(sum(defined), len(defined))


def by_layer(
    members: Sequence[Clusters], sizes: Sizes, measure: Measure = overlap
) -> dict[str, float]:
    """Return what `among` gives in each layer alone."""
    return {
        layer: among([{layer: m.get(layer, frozenset())} for m in members], {layer: n}, measure)
        for layer, n in sizes.items()
    }


def _count(clusters_of: Clusters) -> int:
    return sum(len(own) for own in clusters_of.values())


def _shared(a: Clusters, b: Clusters) -> int:
    return sum(len(own & b.get(layer, frozenset())) for layer, own in a.items())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
