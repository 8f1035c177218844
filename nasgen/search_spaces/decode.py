"""Reads a DAG as a network: torch-free build steps with shapes and gene tags.

Stier 2021 (section 4.4) names the vertices but not how maps of different size meet; these rules are
nasgen's own. Vertices are read in topological order.

| rule | when | what the decoder does | role |
|---|---|---|---|
| stem | min(H, W) of the image > 64 | 3x3 convolutions, stride 2, 16 channels, until <= 64 | stem |
| stem | vertices read rows of numbers, the input is an image | pixels in one row | stem |
| stem | the same, the input is a sequence | embedded; mean, maximum, deviation over time | stem |
| vertex | always | the layer that the vertex names | vertex |
| size | inputs of a merging layer differ in H x W | larger ones shrink to the smallest | resize |
| width | inputs of a `sum` differ in channels | 1x1 convolution + norm to the largest | project |
| cap | a vertex gives more than `max_channels` | 1x1 convolution + norm to `max_channels` | cap |
| head | always, last | global average pool, linear | head |

A resize is k 2x2 max pools when that gives exactly the wanted size, else adaptive average pooling.
Pools are the identity while min(H, W) < 4. Sizes are settled before widths.

Gene tags of channels: the image and the stem have derived tags that all genotypes share or derive
from their input vertex; a layer with a `channels` setting has its vertex's; pools, skips and
resizes pass theirs on; a sum has those of its first input that already had the full width; a concat
joins those of its inputs in order; projections, caps and layers that change the width without a
`channels` setting get derived ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from nasgen.errors import FOREIGN, ConfigError, IncompatibleError, NasgenError
from nasgen.genotypes import Dag, tags
from nasgen.genotypes.tags import Ranges
from nasgen.genotypes.vertex import Value
from nasgen.layers.base import Layer, Shape, find_layer
from nasgen.search_spaces.blueprint import INPUT, Blueprint, Step

STEM_ABOVE = 64  # pixels of the shorter side
STEM_CHANNELS = 16
LEAST_EMBEDDED, MOST_EMBEDDED = 8, 64  # channels of an embedded sequence, else its features
SHAPES = {1: "rows of numbers (F,)", 2: "sequences (F, T)", 3: "images (C, H, W)"}
BROUGHT = ((1, 2), (1, 3))  # (axes that vertices read, axes of an input that stems can bring there)


def decode(
    dag: Dag,
    input_shape: Shape,
    n_classes: int,
    max_channels: int,
    layer: Callable[[str], Layer] = find_layer,
    rank: int = 3,
) -> Blueprint:
    """Return the build steps of a legal genotype.

    `input_shape` has one to three integers >= 1, `rank` as many axes as vertices read; `n_classes`
    is the width of the last layer, >= 1; `max_channels` is where a cap steps in. `layer` maps a
    vertex operation to its rules. Raises ConfigError for the former, and IncompatibleError when a
    plug-in layer answers with something that is no shape.
    """
    shape = tuple(input_shape)
    if not shape or any(type(n) is not int or n < 1 for n in shape):
        raise ConfigError(f"input_shape: expected integers >= 1, got {input_shape!r}.")
    if len(shape) != rank and (rank, len(shape)) not in BROUGHT:
        raise ConfigError(
            f"input_shape: expected {SHAPES.get(rank, f'{rank} axes')}, which the layers of this "
            f"space read, got {input_shape!r}."
        )
    if type(n_classes) is not int or n_classes < 1:
        raise ConfigError(f"n_classes: expected an integer >= 1, got {n_classes!r}.")
    return _Decoder(dag, shape, max_channels, layer, rank).run(n_classes)


class _Decoder:
    """Steps under construction. `where` says in which step's output a vertex ends."""

    def __init__(
        self,
        dag: Dag,
        shape: Shape,
        max_channels: int,
        layer: Callable[[str], Layer],
        rank: int,
    ) -> None:
        self.dag, self.max_channels, self.layer, self.rank = dag, max_channels, layer, rank
        self.image = Step(
            INPUT, INPUT, INPUT, dag.input.tag, (), (), (), shape, (),
            tags.derived_range(shape[0], "image"),
        )  # fmt: skip
        self.steps: list[Step] = []
        self.where: dict[int, Step] = {}

    def run(self, n_classes: int) -> Blueprint:
        here = self._stems()
        self.where[self.dag.input.tag] = here
        for vertex in self.dag.inner:
            self.where[vertex.tag] = self._vertex(vertex.tag)
        output = self.dag.output.tag
        self.where[output] = last = self.where[self.dag.inputs(output)[0]]
        # The head belongs to the output vertex, not to what feeds it: it survives a change there.
        self._append(
            "head", "head", tags.derived(output, output, "head"), [last], {"classes": n_classes}
        )
        shapes = {tag: step.out_shape for tag, step in self.where.items()}
        return Blueprint(self.image.out_shape, n_classes, tuple(self.steps), shapes)

    def _stems(self) -> Step:
        """Bring the input into the shape that vertices read."""
        here, rank = self.image, len(self.image.out_shape)
        if self.rank == 3:
            while min(here.out_shape[1:]) > STEM_ABOVE:
                here = self._added("stem", here, len(self.steps), {"channels": STEM_CHANNELS})
        elif rank == 3:
            here = self._added("stem", here, 0, {}, layer="flatten")
        elif rank == 2:
            channels = min(MOST_EMBEDDED, max(LEAST_EMBEDDED, here.out_shape[0]))
            here = self._added("stem", here, 0, {"channels": channels}, layer="embed")
            others = (f"{INPUT}.lengths",)
            here = self._added("stem", here, 1, {}, layer="over_time", others=others)
        return here

    def _vertex(self, tag: int) -> Step:
        vertex, rules = self.dag.vertex(tag), self.layer(self.dag.vertex(tag).op)
        sources = self.dag.inputs(tag)
        inputs = [self.where[s] for s in sources]
        tagged = inputs
        if rules.merges and rules.align != "nothing":
            least = tuple(
                min(sizes) for sizes in zip(*(s.out_shape[1:] for s in inputs), strict=True)
            )
            size = dict(zip(("height", "width"), least, strict=False))
            inputs = [
                step if step.out_shape[1:] == least
                else self._added("resize", step, tag, size, source=source)
                for source, step in zip(sources, inputs, strict=True)
            ]  # fmt: skip
            tagged = inputs
        if rules.merges and rules.align == "channels":
            most = max(s.out_shape[0] for s in inputs)
            tagged = [s for s in inputs if s.out_shape[0] == most]
            inputs = [
                step if step.out_shape[0] == most
                else self._added("project", step, tag, {"channels": most}, source=source)
                for source, step in zip(sources, inputs, strict=True)
            ]  # fmt: skip
        here = self._append(
            "vertex", vertex.op, tag, inputs, dict(vertex.params), vertex.channel_tags, tagged
        )
        if here.out_shape[0] > self.max_channels:
            here = self._added("cap", here, tag, {"channels": self.max_channels})
        return here

    def _added(
        self,
        role: str,
        before: Step,
        target: int,
        params: Mapping[str, Value],
        source: int | None = None,
        layer: str | None = None,
        others: tuple[str, ...] = (),
    ) -> Step:
        """Append a step of the decoder's own between `source` (default: `before`) and `target`."""
        tag = tags.derived(before.tag if source is None else source, target, role)
        own: Ranges = ()
        if "channels" in params:
            own = tags.derived_range(int(params["channels"]), tag)
        name = layer or ("project" if role == "cap" else role)
        return self._append(role, name, tag, [before], params, own, others=others)

    def _append(
        self,
        role: str,
        layer: str,
        tag: int,
        inputs: Sequence[Step],
        params: Mapping[str, Value],
        own: Ranges = (),
        tagged: Sequence[Step] | None = None,
        others: tuple[str, ...] = (),
    ) -> Step:
        rules = self.layer(layer) if role == "vertex" else find_layer(layer)
        in_shapes = tuple(s.out_shape for s in inputs)
        shape = _checked_shape(layer, rules, params, in_shapes)
        in_tags = [s.out_tags for s in inputs]
        out_tags: Ranges = ()
        if role != "head":
            out_tags = tuple(
                rules.out_tags(own, [s.out_tags for s in tagged] if tagged else in_tags)
            )
            if tags.count(out_tags) != shape[0]:
                out_tags = tags.derived_range(shape[0], tag)
        step = Step(
            name=f"{re.sub(r'[^0-9A-Za-z]', '_', layer)}_{len(self.steps)}",
            layer=layer,
            role=role,
            tag=tag,
            inputs=tuple(s.name for s in inputs),
            params=tuple(sorted(params.items())),
            in_shapes=in_shapes,
            out_shape=shape,
            in_tags=tuple(in_tags),
            out_tags=out_tags,
            others=others,
        )
        self.steps.append(step)
        return step


def _checked_shape(
    layer: str, rules: Layer, params: Mapping[str, Value], in_shapes: tuple[Shape, ...]
) -> Shape:
    try:
        shape = tuple(int(n) for n in rules.out_shape(params, in_shapes))
    except NasgenError:
        raise
    except FOREIGN as error:
        raise IncompatibleError(
            f"layer '{layer}': out_shape({dict(params)}, {in_shapes}) failed with "
            f"{type(error).__name__}: {error}. It must return a shape such as (C, H, W)."
        ) from error
    if min(shape, default=0) < 1:
        raise IncompatibleError(
            f"layer '{layer}': out_shape({dict(params)}, {in_shapes}) must return positive "
            f"integers, got {shape}. Return the input unchanged where it cannot shrink further."
        )
    return shape
