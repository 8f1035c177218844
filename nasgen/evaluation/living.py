"""How much of a network exists: synapses, kernels, filters, and the bytes that hold it.

A synapse is a weight of a layer but the classifier, a kernel one (out, in) slice of such a tensor,
a filter all that leads to one outgoing channel (Shafiee 2016; Chung 2017), through all gates of a
recurrent layer (`nasgen.phenotype.folding`). Efficiencies are the
ancestor's number over the descendant's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from torch import Tensor, nn

from nasgen.phenotype import clusters, survival
from nasgen.phenotype.folding import Folding
from nasgen.phenotype.network import PREFIX, roles
from nasgen.phenotype.survival import Mask
from nasgen.search_spaces.blueprint import Blueprint, Step

# Efficiency -> the number of which it is the ratio.
EFFICIENCIES: Final = {
    "synaptic_efficiency": "n_synapses",
    "cluster_efficiency": "n_kernels",
    "filter_efficiency": "n_filters",
}
FLOAT: Final = 4  # bytes
WIDTHS: Final = (1, 2, 4)  # bytes that an index may take


def prunable(
    blueprint: Blueprint, tensors: Mapping[str, Tensor], classifier: bool = False
) -> list[str]:
    """Return the names of the tensors that may be sparse: weights of layers.

    Those of the classifier are among them where it is asked for.
    """
    floats = {name: t.ndim for name, t in tensors.items() if t.is_floating_point()}
    return of_layers(blueprint, floats, classifier)


def of_layers(blueprint: Blueprint, n_axes: Mapping[str, int], classifier: bool) -> list[str]:
    """Return which parameters may be sparse; `n_axes` says how many axes each has."""
    steps = {step.name: step for step in blueprint.steps}
    return [
        name
        for name, n in n_axes.items()
        if n > 1 and (classifier or step_of(steps, name).role != "head")
    ]


def remembering(blueprint: Blueprint, shapes: Mapping[str, tuple[int, ...]]) -> frozenset[str]:
    """Return the tensors by which a layer reads its own state of the step before.

    A layer without them still answers: it is not cut from the network when they lose everything.
    """
    steps = {step.name: step for step in blueprint.steps}

    def is_own(name: str) -> bool:
        step = step_of(steps, name)
        axes = roles(step, name.removeprefix(f"{PREFIX}.{step.name}."), len(shapes[name]))
        return any(axis is not None and axis[0] == "self" for axis in axes)

    return frozenset(name for name in shapes if is_own(name))


def step_of(steps: Mapping[str, Step], name: str) -> Step:
    """Return the step that a tensor belongs to."""
    return steps[name.removeprefix(f"{PREFIX}.").partition(".")[0]]


def counted(masks: Mapping[str, Mask]) -> dict[str, int]:
    """Return n_synapses, n_kernels and n_filters of the supports of tensors that may be sparse."""
    return {
        "n_synapses": survival.n_synapses(masks),
        "n_kernels": clusters.n_clusters(masks, "kernel"),
        "n_filters": clusters.n_clusters(masks, "filter"),
    }


def measured(
    blueprint: Blueprint, network: nn.Module, masks: Mapping[str, Mask] | None
) -> dict[str, int]:
    """Return the counts of a network and its "storage_bytes"; None: all of its weights exist.

    "n_classifier" are the classifier's weights, which no other count has. Networks with recurrent
    layers also have "n_i2h" and "n_h2h", the weights of these layers for what they read of a step,
    and of their own state of the step before, and their "n_units". `masks` are closed: what they
    hold is alive.
    """
    parameters: dict[str, Tensor] = dict(network.named_parameters())
    there = masks or {}

    def of(name: str) -> Mask:
        found = there.get(name)
        return np.ones(tuple(parameters[name].shape), np.bool_) if found is None else found

    names = prunable(blueprint, parameters)
    folding = Folding.of(blueprint, {name: parameters[name].shape for name in names})
    found = counted(folding.joined({name: of(name) for name in names}))
    others = set(prunable(blueprint, parameters, classifier=True)).difference(names)
    found["n_classifier"] = survival.n_synapses({name: of(name) for name in others})
    own = remembering(blueprint, {name: parameters[name].shape for name in names})
    steps = {step.name: step for step in blueprint.steps}
    layers = {step_of(steps, name).name for name in own}
    reading = {n for n in names if step_of(steps, n).name in layers} - own
    for count, tensors in (("n_i2h", reading), ("n_h2h", own)) if own else ():
        found[count] = survival.n_synapses({name: of(name) for name in tensors})
    if own:
        both = [name for name in names if step_of(steps, name).name in layers]
        joined = Folding.of(blueprint, {name: parameters[name].shape for name in both})
        units = joined.joined({name: of(name) for name in both})
        found["n_units"] = clusters.n_clusters(units, "filter")
    held = [t for t in network.state_dict().values() if t.is_floating_point()]
    n_dense = sum(tensor.numel() for tensor in held)
    saved = sum(FLOAT * mask.size - stored_bytes(mask) for mask in there.values())
    return {**found, "storage_bytes": FLOAT * n_dense - saved}


def stored_bytes(mask: Mask) -> int:
    """Return the fewest bytes that hold the float32 values of a tensor in its support.

    It is stored as it is, zeros included; as a bitmap and the values; or row by row, as values with
    their columns (CSR) and where each row begins. Indices take 1, 2 or 4 bytes, the same in all of
    the tensor.
    """
    n, n_values = mask.size, int(np.count_nonzero(mask))
    rows = mask.shape[0] if mask.ndim > 1 else 1
    values = FLOAT * n_values
    bitmap = -(-n // 8) + values
    csr = values + n_values * _width(n // max(1, rows)) + (rows + 1) * _width(n_values + 1)
    return min(FLOAT * n, bitmap, csr)


def _width(n: int) -> int:
    """Return the bytes of an index that tells `n` places apart."""
    return next((width for width in WIDTHS if n <= 1 << 8 * width), 8)


def efficiencies(
    found: Mapping[str, Any], ancestors: Sequence[Mapping[str, Any]] | None
) -> dict[str, float]:
    """Return how many times fewer synapses, kernels and filters there are than in the ancestor.

    `ancestors` are those that a job names: the first is compared with, and without any the network
    is one itself. A network without synapses counts as one with a single one. Nothing is returned
    where the job says nothing of ancestors (None), or they recorded no numbers.
    """
    if ancestors is None:
        return {}
    before = ancestors[0]["metrics"] if ancestors else found
    return {
        name: before[count] / max(1, found[count])
        for name, count in EFFICIENCIES.items()
        if isinstance(before.get(count), int)
    }
