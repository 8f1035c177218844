"""A blueprint as a torch module, and the gene tags of its tensors.

`build` makes a `Network`; `tensor_tags` says which gene tag each row and column of each tensor
belongs to, which is what heredity, masks and compaction align by (Chung 2018: gene tagging).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nasgen.errors import FOREIGN, IncompatibleError, NasgenError
from nasgen.genotypes import tags
from nasgen.genotypes.tags import Ranges
from nasgen.layers.base import Layer, Shape, axis, find_layer
from nasgen.phenotype.lent import lent
from nasgen.search_spaces.blueprint import INPUT, Blueprint, Step

Tags = npt.NDArray[np.int64]
AxisTags = tuple[Tags | None, ...]
PREFIX = "steps"  # a tensor is named "steps.<step>.<name inside the layer's module>"


@final
class Network(nn.Module):
    """The network of a blueprint: (B, *input_shape) -> (B, n_outputs).

    Steps run in the blueprint's order; a map is dropped after its last reader. Made by `build`.
    In evaluation it takes `rows_at_once` of a batch, 0: all.
    """

    rows_at_once = 0

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        self.blueprint = blueprint
        self.steps = nn.ModuleDict({step.name: _module(step) for step in blueprint.steps})
        last_reader = {source: step.name for step in blueprint.steps for source in step.inputs}
        self._program = tuple(
            (
                step.name,
                step.inputs,
                tuple(s for s in step.inputs if last_reader[s] == step.name),
                tuple(name.removeprefix(f"{INPUT}.") for name in step.others),
            )
            for step in blueprint.steps
        )

    def forward(self, x: Tensor, **others: Tensor) -> Tensor:
        """Return (B, n_outputs) for the main input (B, *input_shape), in either memory format.

        `others` are further inputs by name, such as "lengths"; a step that reads one which is not
        given does without.
        """
        if 0 < self.rows_at_once < len(x) and not (self.training or others):
            return torch.cat([self(part) for part in x.split(self.rows_at_once)])
        maps = {INPUT: x}
        for name, sources, done, wanted in self._program:
            more = {key: others[key] for key in wanted if key in others}
            x = self.steps[name](*[maps[source] for source in sources], **more)
            for source in done:
                del maps[source]
            maps[name] = x
        return x

    @property
    def tagged(self) -> dict[str, AxisTags]:
        """The gene tags of every parameter and buffer; see `tensor_tags`."""
        return tensor_tags(self.blueprint, self)


def build(blueprint: Blueprint, seed: int = 0) -> Network:
    """Return the network of a blueprint on the CPU, its weights drawn from `seed` alone.

    Layers draw them, each in its own way. Weights that the blueprint's `links` leave out are 0.
    Raises IncompatibleError when a plug-in layer cannot be built.
    """
    with lent(seed):
        network = Network(blueprint)
    with torch.no_grad():
        for name, mask in structure(blueprint).items():
            network.get_parameter(name).mul_(torch.from_numpy(mask))
    return network


def _module(step: Step) -> nn.Module:
    try:
        module = find_layer(step.layer).build(dict(step.params), step.in_shapes, step.out_shape)
    except NasgenError:
        raise
    except FOREIGN as error:
        raise IncompatibleError(
            f"layer '{step.layer}': build({dict(step.params)}, {step.in_shapes}, {step.out_shape}) "
            f"failed with {type(error).__name__}: {error}."
        ) from error
    if not isinstance(module, nn.Module):
        raise IncompatibleError(
            f"layer '{step.layer}': build must return a torch.nn.Module, got "
            f"{type(module).__name__}."
        )
    return module


@dataclass(frozen=True)
class Tensors:
    """What a layer's module holds: shape and type of each tensor, and which are parameters."""

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, torch.dtype]
    parameters: tuple[str, ...]


def tensors_of(step: Step) -> Tensors:
    """Return what a step's module holds; nothing is allocated."""
    layer = type(find_layer(step.layer))  # a name may stand for another class in another run
    try:
        return _tensors(layer, step.layer, step.params, step.in_shapes, step.out_shape)
    except TypeError:  # a plug-in's setting that cannot be hashed
        return _held(_on_meta(step))


@lru_cache(maxsize=4096)
def _tensors(
    layer: type[Layer],
    name: str,
    params: tuple[tuple[str, Any], ...],
    in_shapes: tuple[Shape, ...],
    out_shape: Shape,
) -> Tensors:
    return _held(_on_meta(Step(name, name, "vertex", 0, (), params, in_shapes, out_shape)))


def _on_meta(step: Step) -> nn.Module:
    with torch.device("meta"):
        return _module(step)


def _held(module: nn.Module) -> Tensors:
    named = module.state_dict()
    return Tensors(
        {name: tuple(tensor.shape) for name, tensor in named.items()},
        {name: tensor.dtype for name, tensor in named.items()},
        tuple(name for name, _ in module.named_parameters()),
    )


def shapes(step: Step) -> Mapping[str, tuple[int, ...]]:
    """Return the shape of each tensor of a step's layer; nothing is allocated."""
    return tensors_of(step).shapes


def parameter_shapes(blueprint: Blueprint) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter of a network, in its order; nothing is allocated."""
    found: dict[str, tuple[int, ...]] = {}
    for step in blueprint.steps:
        held = tensors_of(step)
        found |= {f"{PREFIX}.{step.name}.{name}": held.shapes[name] for name in held.parameters}
    return found


def structure(blueprint: Blueprint) -> dict[str, npt.NDArray[np.bool_]]:
    """Return which weights exist of each parameter of which some do not, by `Step.links`.

    Gates stand one behind another along the first axis, so what a unit reads is repeated for each
    of them as a whole (tiled): row g * n + j belongs to unit j.
    """
    found: dict[str, npt.NDArray[np.bool_]] = {}
    for step in blueprint.steps:
        links = dict(step.links)
        for name in tensors_of(step).parameters if links else ():
            shape = tensors_of(step).shapes[name]
            read = roles(step, name, len(shape))[-1] if len(shape) > 1 else None
            if read is None or read[0] not in links:
                continue
            rows = links[read[0]]
            mask = np.zeros((len(rows), shape[-1]), np.bool_)
            for row, places in zip(mask, rows, strict=True):
                row[list(places)] = True
            found[f"{PREFIX}.{step.name}.{name}"] = np.tile(mask, (shape[0] // len(rows), 1))
    return found


def zeros(blueprint: Blueprint) -> dict[str, Tensor]:
    """Return tensors of 0 under the names and in the shapes and types of a network's."""
    found = {}
    for step in blueprint.steps:
        held = tensors_of(step)
        for name, shape in held.shapes.items():
            full = f"{PREFIX}.{step.name}.{name}"
            found[full] = torch.zeros(shape, dtype=held.dtypes[name])
    return found


def tensor_tags(
    blueprint: Blueprint, tensors: nn.Module | Mapping[str, Tensor]
) -> dict[str, AxisTags]:
    """Return for each tensor the gene tags along each axis, None where an axis has none.

    `tensors` is the blueprint's network or a mapping with its names: weights, masks, moments. An
    axis that the layer calls "out" or "self" gets the step's outgoing channel tags, "in" those that
    come in (of all inputs joined, or of the first if that is what fits); tiles repeat them. Raises
    IncompatibleError when a tensor has another shape than the blueprint says.
    """
    named = tensors.state_dict() if isinstance(tensors, nn.Module) else tensors
    by_step: dict[str, list[tuple[str, str]]] = {}
    for full in named:
        prefix, _, rest = full.partition(".")
        step_name, _, name = rest.partition(".")
        if prefix == PREFIX:
            by_step.setdefault(step_name, []).append((full, name))
    found: dict[str, AxisTags] = {}
    for step in blueprint.steps:
        axes = find_layer(step.layer).axes
        for full, name in by_step.get(step.name, ()):
            shape = tuple(named[full].shape)
            texts = axes.get(name, (None,) * len(shape))
            if len(texts) != len(shape):
                raise IncompatibleError(
                    f"tensor '{full}': layer '{step.layer}' names {len(texts)} axes, "
                    f"the tensor has {len(shape)} ({shape}). Mend the layer's `axes`."
                )
            found[full] = tuple(
                None if text is None else _axis_tags(step, text, size, full)
                for text, size in zip(texts, shape, strict=True)
            )
    return found


def _axis_tags(step: Step, text: str, size: int, name: str) -> Tags:
    try:
        role, n_tiles = axis(text)
    except IncompatibleError as error:
        raise IncompatibleError(f"layer '{step.layer}': {error}") from None
    joined = tuple(r for ranges in step.in_tags for r in ranges)
    for ranges in (joined, step.in_tags[0]) if role == "in" else (step.out_tags,):
        if tags.count(ranges) * n_tiles == size:
            return expanded(ranges * n_tiles)
    n = tags.count(joined if role == "in" else step.out_tags) * n_tiles
    raise IncompatibleError(
        f"tensor '{name}': its '{text}' axis has {size} entries, the blueprint has {n} channels "
        f"there. The weights belong to another genotype, or the axes of layer '{step.layer}' "
        "are wrong."
    )


def roles(step: Step, inner: str, n_axes: int) -> tuple[tuple[str, int] | None, ...]:
    """Return (role, number of tiles) of each axis of a step's tensor, None where it has none."""
    declared = find_layer(step.layer).axes.get(inner, (None,) * n_axes)
    return tuple(None if text is None else axis(text) for text in declared)


@lru_cache(maxsize=4096)
def expanded(ranges: Ranges) -> Tags:
    """Return every tag of the ranges, in order, as an array that cannot be written to."""
    found: Tags = np.array(tags.expand(ranges), dtype=np.int64)
    found.flags.writeable = False
    return found
