"""Draws networks that train well and fast on a CPU, as the first population of a search.

A network is a row of stages; each has 1 to 3 blocks and ends with a pool, and the width roughly
doubles from stage to stage (Simonyan 2015). Blocks are what hand-made networks agree on: a
convolution, two in a row, a residual pair (He 2016), parallel kernels (Szegedy 2015). Two of three
draws are plain: 3x3 kernels, max pools, no parallel ones. The first stage works at full resolution
and is kept short. Networks whose cost on a 3 x 32 x 32 image lies
outside `MACS` and `WEIGHTS` are drawn again.
"""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING

import numpy as np

from nasgen.genotypes import Dag, Draft
from nasgen.search_spaces.blueprint import Blueprint, cost

if TYPE_CHECKING:
    from nasgen.search_spaces.dag_cnn import DagCnn
    from nasgen.search_spaces.graph import GraphSpace

MACS = (4e6, 20e6)  # multiply-adds of one 3 x 32 x 32 image
WEIGHTS = (1e5, 6e5)  # trainable values; smaller ones stop learning within minutes
N_TRIES = 40
FIRST_WIDTHS = (12.0, 22.0)  # channels of the first stage, drawn log-uniformly
SEED_WIDTH, SEED_STAGES = 24, 3  # of the network that growth begins with
PLAIN_PROB = 0.67  # that a network has only what learns fastest on a CPU
PLUGIN_PROB = 0.2  # that a place where a plug-in layer fits gets one, if there is any
SHORTCUT_PROB = 0.3  # that a stage gets an extra edge from its first map to its last
BUILT_IN = ("conv", "max_pool", "avg_pool", "sum", "concat", "skip")


def sample(space: DagCnn, rng: np.random.Generator) -> Dag:
    """Return a legal genotype with provisional tags, its cost in range where the space allows."""
    best: tuple[float, Dag] | None = None
    low, high = space.sampled_depths
    for _ in range(N_TRIES):
        dag = _Drawing(space, rng).run()
        if not low <= dag.depth <= high or space.problems(dag):
            continue
        miss = _miss(space.blueprint(dag, (3, 32, 32), 10))
        if miss == 0:
            return dag
        if best is None or miss < best[0]:
            best = miss, dag
    return best[1] if best else chain(space, rng)


def plain(space: DagCnn) -> Dag:
    """Return the least of what a draw may be: one 3x3 convolution and one max pool a stage."""
    draft = Draft()
    here = draft.input
    for stage in range(min(SEED_STAGES, space.max_stages)):
        channels = min(SEED_WIDTH << stage, space.max_channels)
        here = draft.add("conv", [here], kernel=3, channels=channels)
        here = draft.add("max_pool", [here])
    draft.connect(here, draft.output)
    return draft.freeze()


def _miss(blueprint: Blueprint) -> float:
    """Return how many factors of e the cost lies outside its range; 0 inside."""
    n_macs, n_weights = cost(blueprint)
    return sum(
        max(0.0, log(low / value), log(value / high))
        for value, (low, high) in ((n_macs, MACS), (n_weights, WEIGHTS))
    )


def chain(space: GraphSpace, rng: np.random.Generator) -> Dag:
    """Return a plain row of layers that own channels, as short as it may be: legal everywhere."""
    draft = Draft()
    here = draft.input
    for _ in range(max(1, space.sampled_depths[0])):
        op = next(op for op in space.wide if op in space.drawn)
        here = draft.add(op, [here], **space.random_vertex_params(op, rng))
    draft.connect(here, draft.output)
    return draft.freeze()


class _Drawing:
    """One attempt: a draft and the kinds of layers that the space offers for each place."""

    def __init__(self, space: DagCnn, rng: np.random.Generator) -> None:
        self.space, self.rng, self.draft = space, rng, Draft()
        self.is_plain = rng.random() < PLAIN_PROB
        kinds = {op: space.layer(op) for op in space.layers}
        self.sums = [op for op, kind in kinds.items() if kind.merges and kind.align == "channels"]
        self.joins = [op for op, kind in kinds.items() if kind.merges and op not in self.sums]
        single = [op for op in space.drawn if not kinds[op].merges and op not in space.wide]
        self.wide = [op for op in space.wide if op in space.drawn]
        self.pools = [op for op in single if kinds[op].halves]
        self.plain = [op for op in single if not kinds[op].halves and op not in BUILT_IN]

    def run(self) -> Dag:
        rng = self.rng
        # The largest of four draws: pools make a network cheap and widen what it sees.
        low, high = self.space.min_stages, self.space.max_stages
        n_stages = int(rng.integers(low, high + 1, size=4).max())
        width = exp(rng.uniform(log(FIRST_WIDTHS[0]), log(FIRST_WIDTHS[1])))
        here = self.draft.input
        for stage in range(n_stages):
            here = self._stage(here, width, first=stage == 0, last=stage == n_stages - 1)
            width *= 2.0 if self.is_plain or rng.random() < 0.9 else 1.5
        self.draft.connect(here, self.draft.output)
        return self.draft.freeze()

    def _stage(self, here: int, width: float, first: bool, last: bool) -> int:
        rng = self.rng
        n_blocks = int(rng.integers(1, 4))
        if first:
            here = self._conv(here, width)
            n_blocks = n_blocks if last else int(rng.random() < 0.25)
        start = here
        for _ in range(n_blocks):
            here = self._block(here, width)
            if self.plain and rng.random() < PLUGIN_PROB:
                here = self._add(self._one_of(self.plain), here)
        shortcut = start not in (here, self.draft.input, *self.draft.inputs(here))
        if self.sums and shortcut and rng.random() < SHORTCUT_PROB:
            here = self._merge(self.sums, here, start)
        if self.pools:
            here = self._add(self._one_of(self.pools, ("max_pool", "avg_pool")), here)
        return here

    def _block(self, here: int, width: float) -> int:
        kinds = ["conv", "double", "double"]
        kinds += ["residual", "residual"] if self.sums else []
        kinds += ["parallel"] if (self.sums or self.joins) and not self.is_plain else []
        kind = kinds[int(self.rng.integers(len(kinds)))]
        if kind == "conv":
            return self._conv(here, width)
        if kind == "parallel":
            return self._parallel(here, width)
        end = self._conv(self._conv(here, width), width)
        return self._merge(self.sums, end, here) if kind == "residual" else end

    def _parallel(self, here: int, width: float) -> int:
        n = int(self.rng.integers(2, 4))
        ops = self.joins if self.joins and (not self.sums or self.rng.random() < 0.6) else self.sums
        kernels = list(self.rng.permutation(self.space.kernels))
        each = width / n if ops is self.joins else width
        ends = [self._conv(here, each, int(kernels[i % len(kernels)])) for i in range(n)]
        return self._merge(ops, *ends)

    def _conv(self, here: int, width: float, kernel: int | None = None) -> int:
        op = self._one_of(self.wide)
        params = self.space.random_vertex_params(op, self.rng)
        fitting = self.space.domain(op)
        params["channels"] = min(fitting["channels"], key=lambda c: abs(log(c / width)))
        if self.is_plain:
            kernel = 3
        if kernel is not None and kernel in fitting.get("kernel", ()):
            params["kernel"] = kernel
        return self.draft.add(op, [here], **params)

    def _add(self, op: str, *sources: int) -> int:
        return self.draft.add(op, sources, **self.space.random_vertex_params(op, self.rng))

    def _merge(self, ops: list[str], *sources: int) -> int:
        return self._add(self._one_of(ops), *sources)

    def _one_of(self, ops: list[str] | tuple[str, ...], usual: tuple[str, ...] = BUILT_IN) -> str:
        """Draw a layer: a built-in one mostly, the most plain of them most often."""
        own = [op for op in ops if op in usual]
        plugins = [op for op in ops if op not in BUILT_IN]
        if plugins and (not own or self.rng.random() < PLUGIN_PROB):
            return plugins[int(self.rng.integers(len(plugins)))]
        if len(own) > 1 and (self.is_plain or self.rng.random() < 0.7):
            return own[0]
        return own[int(self.rng.integers(len(own)))]
