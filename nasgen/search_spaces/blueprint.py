"""What a decoded genotype is before torch: build steps with shapes and gene tags."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from nasgen.genotypes.tags import Ranges
from nasgen.genotypes.vertex import Value
from nasgen.layers.base import Shape

INPUT = "input"  # the name under which steps read the image


@dataclass(frozen=True)
class Step:
    """One module of the network.

    `layer` names a member of the registry group `layers`. `tag` is the gene tag of the vertex, or
    the derived tag of something the decoder added (`role` says what: "vertex", "stem", "resize",
    "project", "cap", "head"). `inputs` are names of earlier steps, or `INPUT` for the
    image. `in_tags` and `out_tags` are
    the gene tags of the channels that come in (one entry an input) and go out. `others` names
    inputs of the network beside the main one that the step reads by keyword, as "input.lengths".
    """

    name: str
    layer: str
    role: str
    tag: int
    inputs: tuple[str, ...]
    params: tuple[tuple[str, Value], ...]
    in_shapes: tuple[Shape, ...]
    out_shape: Shape
    in_tags: tuple[Ranges, ...] = ()
    out_tags: Ranges = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Blueprint:
    """Steps in the order in which they run; the first reads the image, the last gives logits."""

    input_shape: Shape
    n_classes: int
    steps: tuple[Step, ...]
    vertex_shapes: dict[int, Shape] = field(default_factory=dict)  # gene tag -> (C, H, W)


def cost(blueprint: Blueprint) -> tuple[float, float]:
    """Return (multiply-adds of one row, trainable values), both at least 1.

    Roughly: layers with channels of their own and the head count, as if they read all channels.
    """
    n_macs = n_weights = 1.0
    for step in blueprint.steps:
        params = dict(step.params)
        if "channels" in params or "classes" in params:
            weights = step.in_shapes[0][0] * step.out_shape[0] * int(params.get("kernel", 1)) ** 2
            n_weights += weights
            n_macs += weights * prod(step.out_shape[1:])
    return n_macs, n_weights
