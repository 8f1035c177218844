"""Takes the census of a network: its living clusters, by gene tag and by place."""

from __future__ import annotations

import numpy as np
import torch

from nasgen.phenotype import clusters
from nasgen.phenotype.census import Census, LayerCensus, channels
from nasgen.phenotype.network import PREFIX, roles, tensor_tags
from nasgen.phenotype.survival import Masks, n_synapses
from nasgen.search_spaces.blueprint import Blueprint, with_tagged_projections


def taken(blueprint: Blueprint, masks: Masks) -> Census:
    """Return the living clusters of a network; `masks` is the closed support of its parameters.

    Weights of layers count, that is tensors of two axes or more, the classifier's excepted.
    """
    steps = {
        step.name: (place, step)
        for place, step in enumerate(with_tagged_projections(blueprint).steps)
    }
    named = {}
    for name, mask in masks.items():
        step_name, _, inner = name.removeprefix(f"{PREFIX}.").partition(".")
        if mask.ndim > 1 and steps[step_name][1].role != "head":
            named[name] = (*steps[step_name], inner)
    tags = tensor_tags(
        with_tagged_projections(blueprint), {name: torch.from_numpy(masks[name]) for name in named}
    )
    layers = {}
    for name, (place, step, inner) in named.items():
        living = clusters.living(masks[name], "kernel")
        axes = roles(step, inner, masks[name].ndim)
        out, into = (
            channels(tags[name][i] if axes[i] is not None else None, n)
            for i, n in enumerate(living.shape)
        )
        layers[f"{step.tag}/{inner}"] = LayerCensus(
            place, step.layer, np.ascontiguousarray(living), out, into, n_synapses(masks[name])
        )
    return Census(layers)
