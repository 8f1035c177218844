"""Stacked inception and residual blocks between reductions (Szegedy 2015; Painter 2018).

Painter proposes to grow networks of Inception modules from a small one; what is drawn here is
small, so that there is something to grow. Prefer `dag-cnn` when every network should already have
the size that the budget can train.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final, final

import numpy as np

from nasgen.genotypes import Dag, Draft
from nasgen.layers.base import Shape
from nasgen.search_spaces.base import Design
from nasgen.search_spaces.designs import convolutional, families
from nasgen.search_spaces.graph import GraphSpace

RESIDUAL_PROB: Final = 0.3  # that a drawn block is a residual one
NEEDED: Final = ("conv", "concat", "sum", "max_pool")  # what the blocks are made of
LEAST: Final = 4  # channels of a branch: fewer are noise
# Blocks of each stage of the designs, in the order of their use: "i" inception, "r" residual.
DESIGNS: Final = {
    "residual": "r", "inception": "i", "inception-residual": "ir", "residual2": "rr",
    "inception2": "ii",
}  # fmt: skip


@final
@dataclass(frozen=True)
class Inception(GraphSpace):
    """A 3x3 convolution and a pool, then stages of blocks that end with a pool; the last does not.

    A block of width w joins four branches of w / 4 channels: 1x1; 1x1 and 3x3; 1x1 and 5x5; a 3x3
    pool and 1x1. A residual block adds two 3x3 convolutions of width w to what they read.

    - `width`: channels of the first convolution; each stage has twice as many as the one before.
    - `blocks`: most blocks that `sample` puts into a stage.
    - `min_stages`, `max_stages`: stages that `sample` draws; the seed has `min_stages`.

    Further options and the rules of legality are those of `GraphSpace`: operators may leave the
    plan of blocks. Raises ConfigError that lists every wrong option.
    """

    limits: ClassVar[tuple[tuple[str, str], ...]] = (
        *GraphSpace.limits,
        ("width", "max_channels"),
    )

    max_channels: int = 256
    kernels: tuple[int, ...] = (1, 3, 5)
    max_depth: int = 80
    max_vertices: int = 160
    min_stages: int = 2
    max_stages: int = 3
    width: int = 16
    blocks: int = 2

    def _wrong_options(self) -> list[str]:
        wrong = super()._wrong_options()
        missing = [op for op in NEEDED if op not in self.layers]
        if missing:
            wrong.append(f"space.layers: inception blocks need {', '.join(missing)} too.")
        if not {1, 3} <= set(self.kernels):
            wrong.append(
                f"space.kernels: inception blocks need 1 and 3 at least, got {list(self.kernels)}."
            )
        if not LEAST <= self.width <= self.max_channels:
            wrong.append(
                f"space.width: expected {LEAST}..{self.max_channels} (max_channels), got "
                f"{self.width}."
            )
        if not wrong:
            seed = self.problems(self.seed(np.random.default_rng(0)))
            wrong += [f"space: its smallest network breaks its own rules: {s}" for s in seed[:1]]
        return wrong

    def sample(self, rng: np.random.Generator) -> Dag:
        """Draw a small legal network with provisional tags; the seed where none drawn fits.

        1 to `blocks` blocks a stage, three of ten residual, the widths a half to once the usual.
        """
        low, high = self.sampled_depths
        for _ in range(20):
            n_stages = int(rng.integers(self.min_stages, self.max_stages + 1))
            counts = rng.integers(1, self.blocks + 1, size=n_stages)
            kinds = [
                ["r" if rng.random() < RESIDUAL_PROB else "i" for _ in range(n)] for n in counts
            ]
            dag = self._network(kinds, self.width * float(rng.uniform(0.5, 1.0)))
            if low <= dag.depth <= high and not self.problems(dag):
                return dag
        return self.seed(rng)

    def seed(self, rng: np.random.Generator) -> Dag:
        """Return the smallest network: `min_stages` stages of one inception block; draw nothing."""
        return self._network([["i"]] * self.min_stages, float(self.width))

    def designs(
        self, input_shape: Shape, n_outputs: int, macs: float | None = None
    ) -> tuple[Design, ...]:
        """Return networks of the same blocks in every stage, with fewer stages on small images."""
        side = convolutional.seen_side(input_shape)
        n_stages = max(self.min_stages, convolutional.n_pools(side, self.max_stages))
        made: dict[str, families.Family] = {
            name: partial(self._uniform, [[*blocks]] * n_stages) for name, blocks in DESIGNS.items()
        }
        macs = macs or convolutional.usual_macs(side)
        return families.offered(self, made, convolutional.WIDTHS, input_shape, n_outputs, macs)

    def _uniform(self, kinds: list[list[str]], width: int) -> Dag:
        return self._network(kinds, float(width))

    def _network(self, kinds: list[list[str]], width: float) -> Dag:
        draft = Draft()
        here = self._conv(draft, draft.input, 3, width)
        for blocks in kinds:
            here = draft.add("max_pool", [here])
            width *= 2
            for kind in blocks:
                here = (
                    self._residual(draft, here, width)
                    if kind == "r"
                    else self._joined(draft, here, width)
                )
        draft.connect(here, draft.output)
        return draft.freeze()

    def _joined(self, draft: Draft, here: int, width: float) -> int:
        part = width / 4
        ends = [
            self._conv(draft, here, 1, part),
            self._conv(draft, self._conv(draft, here, 1, part), 3, part),
        ]
        if 5 in self.kernels:
            ends.append(self._conv(draft, self._conv(draft, here, 1, part / 2), 5, part))
        if "max_pool3" in self.layers:
            ends.append(self._conv(draft, draft.add("max_pool3", [here]), 1, part))
        return draft.add("concat", ends)

    def _residual(self, draft: Draft, here: int, width: float) -> int:
        # Drawn for a new network, so its weights are random. A block beside trained layers comes
        # from r2r-deepen, whose outgoing twins are zero (Wang and Painter 2018).
        inner = self._conv(draft, here, 3, width)
        return draft.add("sum", [here, self._conv(draft, inner, 3, width)])

    def _conv(self, draft: Draft, source: int, kernel: int, width: float) -> int:
        channels = min(max(LEAST, round(width)), self.max_channels)
        return draft.add("conv", [source], channels=channels, kernel=kernel)
