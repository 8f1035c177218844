"""Counts, depth and size of a graph already tell much of what training would (Stier 2021, 4.4).

A cheap selection in the spirit of the paper's 56 structural features: no torch, no decoding, well
under a millisecond. Only live vertices count, those on a path from input to output.
"""

from __future__ import annotations

import math
from typing import ClassVar, Final, final

import numpy as np

from nasgen.genotypes import Dag, Vertex
from nasgen.predictors.base import Floats

KINDS: Final = ("conv", "max_pool", "avg_pool", "sum", "concat")  # the rest is "other"
HALVING: Final = ("max_pool", "avg_pool", "conv-pool")
IN_ONE: Final = {"conv-pool": ("conv", "max_pool")}  # counts as one of each of these kinds
KERNELS: Final = (1, 3, 5, 7)
IMAGE_CHANNELS: Final = 3  # assumed, so that a genotype's features do not depend on the data


@final
class Structural:
    """Features of a `Dag`, all finite and >= 0.

    | names | unit |
    |---|---|
    | n_conv, n_max_pool, n_avg_pool, n_sum, n_concat, n_other | vertices of a kind |
    | n_vertices, n_edges | all vertices but input and output; all edges |
    | depth | vertices on the longest path from input to output |
    | stages | most pools on one path |
    | log_channels | ln(1 + channels of all vertices that own some) |
    | log_params | ln(1 + approximate weights of these vertices) |
    | mean_log_width | mean ln(channels) of these vertices, 0 without any |
    | share_k1, share_k3, share_k5, share_k7 | share of these vertices with that kernel |

    A `conv-pool` counts as a conv and as a max_pool. Weights are kernel**2 * channels in * channels
    out, where a concat passes on all incoming channels and every other vertex the most of one
    input; norms, projections and the head are left out. A plug-in layer counts as "other", and as
    an owner if it has a `channels` setting.
    """

    names: ClassVar[tuple[str, ...]] = (
        *(f"n_{kind}" for kind in (*KINDS, "other")),
        "n_vertices",
        "n_edges",
        "depth",
        "stages",
        "log_channels",
        "log_params",
        "mean_log_width",
        *(f"share_k{kernel}" for kernel in KERNELS),
    )

    def encode(self, genotype: Dag) -> Floats:
        """Return the features in the order of `names`, float64 (17,)."""
        inner = [v for v in genotype.inner if v.tag in genotype.live]
        ops = [op for v in inner for op in IN_ONE.get(v.op, (v.op,))]
        counts = [ops.count(kind) for kind in KINDS]
        stages, n_weights = _walk(genotype)
        owners = [v for v in inner if _channels(v)]
        n_owners = max(1, len(owners))
        return np.array(
            [
                *counts,
                len(ops) - sum(counts),
                len(inner),
                sum(a in genotype.live and b in genotype.live for a, b in genotype.edges),
                genotype.depth,
                stages,
                math.log1p(sum(_channels(v) for v in owners)),
                math.log(1 + n_weights),
                # Exact summation: the order of the vertices must not show, not even in a last bit.
                math.fsum(math.log(_channels(v)) for v in owners) / n_owners,
                *(sum(_kernel(v) == k for v in owners) / n_owners for k in KERNELS),
            ],
            dtype=np.float64,
        )


def log_params(genotype: Dag) -> float:
    """Return the feature `log_params` alone."""
    return math.log(1 + _walk(genotype)[1])


def _walk(genotype: Dag) -> tuple[int, int]:
    """Return the most pools on one path to the output, and the approximate number of weights."""
    stages: dict[int, int] = {genotype.input.tag: 0}
    width: dict[int, int] = {genotype.input.tag: IMAGE_CHANNELS}
    n_weights = 0
    for vertex in genotype.order:
        sources = [s for s in genotype.inputs(vertex.tag) if s in genotype.live]
        if not sources or vertex.tag not in genotype.live:
            continue
        incoming = [width[s] for s in sources]
        passed = sum(incoming) if vertex.op == "concat" else max(incoming)
        width[vertex.tag] = _channels(vertex) or passed
        stages[vertex.tag] = max(stages[s] for s in sources) + (vertex.op in HALVING)
        n_weights += _kernel(vertex) ** 2 * passed * _channels(vertex)
    return stages.get(genotype.output.tag, 0), n_weights


def _channels(vertex: Vertex) -> int:
    return _count(vertex, "channels", 0)


def _kernel(vertex: Vertex) -> int:
    return _count(vertex, "kernel", 1)


def _count(vertex: Vertex, setting: str, default: int) -> int:
    # A plug-in layer may use these names for something that is no count.
    value = vertex.get(setting, default)
    return value if type(value) is int and value > 0 else default
