"""What a decoded genotype is before torch: build steps with shapes and gene tags."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

from nasgen.genotypes import tags
from nasgen.genotypes.tags import Ranges
from nasgen.genotypes.vertex import Value
from nasgen.layers.base import Shape, find_layer

INPUT = "input"  # the name under which steps read the image
Links = tuple[tuple[str, tuple[tuple[int, ...], ...]], ...]  # see `Step.links`


@dataclass(frozen=True)
class Step:
    """One module of the network.

    `layer` names a member of the registry group `layers`. `tag` is the gene tag of the vertex, or
    the derived tag of something the decoder added (`role` says what: "vertex", "stem", "resize",
    "project", "cap", "head"). `inputs` are names of earlier steps, or `INPUT` for the
    image. `in_tags` and `out_tags` are
    the gene tags of the channels that come in (one entry an input) and go out. `others` names
    inputs of the network beside the main one that the step reads by keyword, as "input.lengths".
    `links` says which channels are joined where not all are: role of a tensor's axis ("in" or
    "self") -> for each outgoing channel the places of those that it reads; one entry stands for
    all. The weights of other pairs do not exist (`nasgen.phenotype.network.structure`).
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
    links: Links = ()


@dataclass(frozen=True)
class Blueprint:
    """Steps in the order in which they run; the first reads the image, the last gives logits."""

    input_shape: Shape
    n_classes: int
    steps: tuple[Step, ...]
    vertex_shapes: dict[int, Shape] = field(default_factory=dict)  # gene tag -> (C, H, W)
    blocks: tuple[str, ...] = ()  # steps that end a block, where the space has such; see `Skeleton`

    @property
    def is_sparse(self) -> bool:
        """Whether some channels are not joined that layers could join; see `Step.links`."""
        return any(step.links for step in self.steps)


def with_tagged_projections(blueprint: Blueprint) -> Blueprint:
    """Return the blueprint in which projections are tagged by the channels that they are added to.

    The decoder numbers the channels of a projection by place, which relatives whose sums have lost
    different channels do not share. Here each has a tag that follows from that of the channel of
    full width that it is added to, so that they meet in a mating and in a comparison.
    """
    steps = {step.name: step for step in blueprint.steps}
    for step in blueprint.steps:
        projected = [name for name in step.inputs if name in steps and _is_projection(steps[name])]
        if not projected:
            continue
        given = dict(zip(step.inputs, step.in_tags, strict=True))
        wide = next(own for name, own in given.items() if name not in projected)
        for name in projected:
            given[name] = tags.beside(wide, steps[name].tag)
            steps[name] = replace(steps[name], out_tags=given[name])
        in_tags = tuple(given[name] for name in step.inputs)
        steps[step.name] = replace(step, in_tags=in_tags)
    return replace(blueprint, steps=tuple(steps.values()))


def _is_projection(step: Step) -> bool:
    return step.role == "project"


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
            n_macs += weights * places(step)
    return n_macs, n_weights


def places(step: Step) -> int:
    """Return the number of pixels at which a step computes its channels."""
    pools = find_layer(step.layer).pools
    return prod((step.in_shapes[0] if pools else step.out_shape)[1:])
