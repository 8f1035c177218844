"""What a network costs and what it looks like on images of a size: read from its build steps.

Counts of a graph alone (`structural`) do not know how large its maps are. Here the graph is decoded
for the images at hand, without torch: operations, values that pass on, layers at each resolution,
how much of the image an output sees. Together with facts about the data and with how many images
are shown, these numbers mean the same on all image sets, so what was learnt on one can be used on
another (`transfer`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final, final

import numpy as np

from nasgen.errors import NasgenError
from nasgen.genotypes import Genotype
from nasgen.layers.base import find_layer
from nasgen.predictors.base import Facts, Floats
from nasgen.predictors.pace import Pace
from nasgen.search_spaces.base import SearchSpace
from nasgen.search_spaces.blueprint import INPUT, Blueprint, Step, places

KERNELS: Final = (1, 3, 5, 7)
LEVELS: Final = 4  # full side, half, a quarter, smaller
STEM_KERNEL: Final = 3  # of the steps that make large images small
NETWORK: Final = (
    "log_params",
    "log_macs",
    "log_values",
    "n_steps",
    "n_layers",
    "depth",
    "shortest",
    "log_side_end",
    "log_field",
    "log_width_first",
    "log_width_end",
    "log_width_most",
    "mean_log_width",
    *(f"share_k{kernel}" for kernel in KERNELS),
    "n_sum",
    "n_concat",
    "n_project",
    "n_max_pool",
    "n_avg_pool",
    *(f"layers_{level}" for level in range(LEVELS)),
    *(f"macs_{level}" for level in range(LEVELS)),
)
DATA: Final = ("log_image_channels", "log_side", "log_classes", "log_rows")
SHOWN: Final = "log_images"


@final
class NetworkFeatures:
    """Features of a network on the data of a run, all finite; NaN for one that cannot be decoded.

    | names | unit |
    |---|---|
    | log_params, log_macs | ln of weights, and of multiply-adds for one image |
    | log_values | ln of all numbers that steps pass on for one image |
    | n_steps, n_layers | steps of the network; those of them with weights but norms |
    | depth, shortest | layers with weights on the longest and on the shortest path |
    | log_side_end | ln of the side of the maps that the head reads, in pixels |
    | log_field | ln of the side of what one value of these maps sees, as a share of the image |
    | log_width_first, log_width_end | ln of channels: of the widest first layer; at the head |
    | log_width_most, mean_log_width | ln of the most channels of a layer with weights; mean ln |
    | share_k1, share_k3, share_k5, share_k7 | share of these layers with that kernel |
    | n_sum, n_concat, n_project, n_max_pool, n_avg_pool | steps of a kind |
    | | (a layer that pools in itself counts as two steps, the second a max_pool) |
    | layers_0 .. layers_3 | layers with weights at the full side, a half, a quarter, below |
    | macs_0 .. macs_3 | share of the multiply-adds there |
    | log_image_channels, log_side, log_classes, log_rows | ln of facts about the data |
    | log_images | ln of the images that a training shows the network |

    `space` decodes. `facts` says how much training a network gets: a number of images that is the
    same for all, or seconds; then a network that is fast sees more of them (`pace`).
    """

    names: ClassVar[tuple[str, ...]] = (*NETWORK, *DATA, SHOWN)

    def __init__(self, space: SearchSpace, facts: Facts) -> None:
        self.space, self.facts = space, facts

    def encode(self, genotype: Genotype) -> Floats:
        """Return the features in the order of `names`, float64 (f,)."""
        facts = self.facts
        try:
            blueprint = self.space.blueprint(genotype, facts.shape, facts.n_outputs)
        except NasgenError:
            return np.full(len(self.names), np.nan)
        network = of_network(blueprint)
        images = facts.images
        if images is None:
            images = Pace.usual().images_in(facts.seconds or 1.0, network)
        return np.array([*network, *of_data(facts), math.log(max(1.0, images))])


def of_data(facts: Facts) -> tuple[float, ...]:
    """Return the features `DATA`."""
    sides = facts.shape[1:] or (1,)
    numbers = (facts.shape[0], min(sides), facts.n_outputs, facts.n_rows)
    return tuple(math.log(max(1, n)) for n in numbers)


def of_network(blueprint: Blueprint) -> tuple[float, ...]:
    """Return the features `NETWORK` of build steps."""
    walked = _Walk(blueprint)
    layers, macs = walked.layers, [m for _, m in walked.layers]
    convolutions = [step for step, _ in layers if step.role != "head"] or [blueprint.steps[-1]]
    widths = [math.log(max(1, step.out_shape[0])) for step in convolutions]
    kernels = [_kernel(step) for step in convolutions]
    by_level = [[m for s, m in layers if walked.level(s) == level] for level in range(LEVELS)]
    ops = [step.layer for step in blueprint.steps]
    ops += ["max_pool"] * sum(find_layer(op).pools for op in ops)
    total = max(1, sum(macs))
    return (
        math.log(max(1, walked.n_params)),
        math.log(total),
        math.log(max(1, walked.n_values)),
        float(len(ops)),
        float(len(layers)),
        float(walked.depth),
        float(walked.shortest),
        math.log(max(1, walked.side_end)),
        math.log(walked.field),
        math.log(walked.first),
        math.log(walked.end),
        max(widths),
        math.fsum(widths) / len(widths),
        *(kernels.count(kernel) / len(kernels) for kernel in KERNELS),
        *(float(ops.count(op)) for op in ("sum", "concat", "project", "max_pool", "avg_pool")),
        *(float(len(part)) for part in by_level),
        *(sum(part) / total for part in by_level),
    )


class _Walk:
    """Sums over the steps, and lengths of the paths that lead through them."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.side = max(1, min(blueprint.input_shape[1:], default=1))
        self.layers: list[tuple[Step, int]] = []  # those with weights, and their multiply-adds
        self.n_params = self.n_values = 0
        self.first = 1
        longest, nearest = {INPUT: 0}, {INPUT: 0}
        seen = {INPUT: (1.0, 1.0)}  # pixels that a value sees, pixels between two of them
        for step in blueprint.steps:
            weights = _weights(step)
            own = int(weights > 0 and step.role != "head")
            sources = [name for name in step.inputs if name in longest] or [INPUT]
            longest[step.name] = own + max(longest[name] for name in sources)
            nearest[step.name] = own + min(nearest[name] for name in sources)
            field, jump = (max(values) for values in zip(*map(seen.get, sources), strict=True))
            side = max(1, min(step.out_shape[1:], default=1))
            before = max(1, min((n for shape in step.in_shapes for n in shape[1:]), default=1))
            shrinks = 1.0 if step.role == "head" else max(1.0, before / side)
            pools = find_layer(step.layer).pools
            own_field = _kernel(step) + shrinks - 1 if pools else max(_kernel(step), shrinks)
            field += (own_field - 1) * jump
            seen[step.name] = field, jump * shrinks
            computed_at = places(step)
            self.n_values += math.prod(step.out_shape)
            if pools:
                self.n_values += step.out_shape[0] * computed_at
            if own and longest[step.name] == 1:
                self.first = max(self.first, step.out_shape[0])
            if weights:
                self.layers.append((step, weights * computed_at))
                self.n_params += weights + 2 * step.out_shape[0]
        last = blueprint.steps[-1]
        end = last.inputs[0] if last.inputs else INPUT
        self.depth, self.shortest = longest[end], nearest[end]
        self.field = seen[end][0] / self.side
        self.end = max(1, last.in_shapes[0][0])
        self.side_end = max(1, min((n for s in last.in_shapes for n in s[1:]), default=1))

    def level(self, step: Step) -> int:
        """Return how often the image was halved before a step, the last of `LEVELS` at most."""
        side = max(1, min((n for shape in step.in_shapes for n in shape[1:]), default=1))
        return min(LEVELS - 1, max(0, round(math.log2(self.side / side))))


def _weights(step: Step) -> int:
    """Return the weights of a step's convolution or matrix, 0 without one."""
    params: Mapping[str, Any] = dict(step.params)
    if "classes" not in params and "channels" not in params:
        return 0
    return step.in_shapes[0][0] * step.out_shape[0] * _kernel(step) ** 2


def _kernel(step: Step) -> int:
    # A plug-in layer may use this name for something that is no count.
    value = dict(step.params).get("kernel", STEM_KERNEL if step.layer == "stem" else 1)
    return value if type(value) is int and value > 0 else 1
