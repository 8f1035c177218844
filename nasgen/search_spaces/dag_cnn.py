"""Convolutional networks of free topology (Stier 2021, section 4.4; Suganuma 2017).

Prefer it to a cell space when the topology itself is searched, and to `inception` when networks
should not be built of one kind of block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from nasgen.genotypes import Dag
from nasgen.layers.base import Shape
from nasgen.search_spaces import sampling
from nasgen.search_spaces.base import Design
from nasgen.search_spaces.designs import convolutional
from nasgen.search_spaces.sampled import Sampled


@final
@dataclass(frozen=True)
class DagCnn(Sampled):
    """Graphs of convolutions, pools, sums, concatenations and skips.

    - `sampling`: "blocks" draws stages of blocks that train well and fast on a CPU (see
      `search_spaces.sampling`); "uniform" draws every label with equal chance, as in the paper (see
      `search_spaces.uniform`); so do mutations, among the labels that take as many inputs.

    Further options and the rules of legality are those of `GraphSpace`. Raises ConfigError that
    lists every wrong option.
    """

    narrow: ClassVar[Mapping[str, Any]] = {
        "max_channels": 24,
        "kernels": (3,),
        "layers": ("conv", "max_pool", "sum"),
        "max_depth": 8,
        "max_vertices": 10,
        "max_stages": 2,
    }

    def blocks(self, rng: np.random.Generator) -> Dag:
        """Draw stages of blocks; see `search_spaces.sampling`."""
        return sampling.sample(self, rng)

    def seed(self, rng: np.random.Generator) -> Dag:
        """Return a convolution and a pool a stage, 3 stages of doubling width; draws nothing.

        A sample where that is not legal.
        """
        dag = sampling.plain(self)
        return self.sample(rng) if self.problems(dag) else dag

    def designs(
        self, input_shape: Shape, n_outputs: int, macs: float | None = None
    ) -> tuple[Design, ...]:
        """Return residual chains and others of several widths; see `designs.convolutional`."""
        return convolutional.designs(self, input_shape, n_outputs, macs)
