"""Dense networks of free topology, with skip connections: for rows of numbers, such as tables.

The dense counterpart of `dag-cnn`, with the same operators. Images are flattened; sequences are
embedded and summed up over time (see `decode`). Residual connections among dense layers help on
tables (Gorishniy 2021, "Revisiting deep learning models for tabular data").
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import exp, log
from typing import ClassVar, Final, final

import numpy as np

from nasgen.errors import ConfigError
from nasgen.genotypes import Dag, Draft
from nasgen.layers.base import Shape
from nasgen.search_spaces.base import Design
from nasgen.search_spaces.designs import dense
from nasgen.search_spaces.sampled import Sampled
from nasgen.search_spaces.sampling import chain

OF_MAPS: Final = ("kernels", "min_stages", "max_stages")  # options that mean nothing here
FIRST_WIDTHS: Final = (24.0, 128.0)  # units of the first layer, drawn log-uniformly
MOST_LAYERS: Final = 5  # that own units, in a draw
SKIP_PROB: Final = 0.5  # that a layer's output is joined with what an earlier one gave
NARROWER_PROB: Final = 0.3  # that the width is halved from one layer to the next
SEED_WIDTH: Final = 48
N_TRIES: Final = 40


@final
@dataclass(frozen=True)
class Mlp(Sampled):
    """Graphs of dense layers, sums and concatenations.

    - `sampling`: "blocks" draws rows of layers that begin wide and become no wider, half of them
      with skip connections; "uniform" draws every label and width with equal chance (see
      `search_spaces.uniform`), and so do mutations.

    Further options and rules are those of `GraphSpace`, but for kernels and stages, which it has
    not.
    """

    ranks: ClassVar[tuple[int, ...]] = (1, 2, 3)
    rank: ClassVar[int] = 1
    shapes: ClassVar[tuple[Shape, ...]] = ((1,), (24,), (5, 12))

    min_depth: int = 1
    max_depth: int = 12
    max_vertices: int = 24

    def __post_init__(self) -> None:
        usual = {f.name: f.default for f in fields(self)}
        given = [name for name in OF_MAPS if getattr(self, name) not in (usual[name], None, ())]
        if given:
            raise ConfigError(
                f"space.{name}: 'mlp' has dense layers, without kernels or stages; leave it out."
                for name in given
            )
        super().__post_init__()

    def blocks(self, rng: np.random.Generator) -> Dag:
        """Draw 1 to 5 layers, half of them with a skip."""
        low, high = self.sampled_depths
        for _ in range(N_TRIES):
            dag = self._drawn(rng)
            if low <= dag.depth <= high and not self.problems(dag):
                return dag
        return chain(self, rng)

    def seed(self, rng: np.random.Generator) -> Dag:
        """Return two dense layers in a row; draws nothing. A sample where that is not legal."""
        draft = Draft()
        here, width = draft.input, min(SEED_WIDTH, self.max_channels)
        for _ in range(2):
            here = draft.add("dense", [here], channels=width)
        draft.connect(here, draft.output)
        dag = draft.freeze()
        return self.sample(rng) if self.problems(dag) else dag

    def designs(
        self, input_shape: Shape, n_outputs: int, macs: float | None = None
    ) -> tuple[Design, ...]:
        """Return plain, residual and other dense networks of several widths."""
        return dense.designs(self, input_shape, n_outputs, macs)

    def _drawn(self, rng: np.random.Generator) -> Dag:
        draft = Draft()
        wide = [op for op in self.wide if op in self.drawn]
        merging = [op for op in self.drawn if self.layer(op).merges]
        width = exp(rng.uniform(log(FIRST_WIDTHS[0]), log(FIRST_WIDTHS[1])))
        ends = [draft.input]
        for _ in range(int(rng.integers(1, MOST_LAYERS + 1))):
            op = wide[int(rng.integers(len(wide)))]
            params = self.random_vertex_params(op, rng)
            params["channels"] = min(self.widths, key=lambda c: abs(log(c / width)))
            here = draft.add(op, [ends[-1]], **params)
            earlier = ends[1:]  # not the input: the decoder would have to project it
            if merging and earlier and rng.random() < SKIP_PROB:
                other = earlier[int(rng.integers(len(earlier)))]
                join = merging[int(rng.integers(len(merging)))]
                here = draft.add(join, [here, other], **self.random_vertex_params(join, rng))
            ends.append(here)
            if rng.random() < NARROWER_PROB:
                width /= 2
        draft.connect(ends[-1], draft.output)
        return draft.freeze()
