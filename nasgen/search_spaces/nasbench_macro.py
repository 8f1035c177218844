"""The networks of NAS-Bench-Macro: eight blocks in a chain, three operations each (Su 2021).

6,561 networks whose accuracies are known, see `nasgen bench nasbench-macro`. The first block of
each stage halves the map, so that "identity" there is a layer of its own; identities elsewhere
fold, which leaves 3,969 networks that differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Final, final

from nasgen.genotypes import Dag
from nasgen.genotypes.cell import SKIP, Template
from nasgen.search_spaces.cells import CellSpace, Skeleton, checked

STAGES: Final = (2, 3, 3)  # blocks
ENTRIES: Final = tuple(accumulate((0, *STAGES[:-1])))  # the first block of each stage
BLOCKS: Final = ("mb3_k3", "mb6_k5")
KERNELS: Final = {"mb3_k3": 3, "mb6_k5": 5}
EDGES: Final = tuple((i, i + 1) for i in range(sum(STAGES)))
TEMPLATE: Final = Template(
    EDGES,
    tuple(
        ("reduce", *(f"reduce_{block}" for block in BLOCKS)) if i in ENTRIES else (SKIP, *BLOCKS)
        for i, _ in EDGES
    ),
)


@final
@dataclass(frozen=True)
class NasBenchMacro(CellSpace):
    """Option, for training only: `channels` of the first stage, doubled in each further one.

    The benchmark's blocks are inverted residuals with expansion 3 or 6; trained here, a block is a
    residual convolution with a kernel of 3 or 5 and half or all of the stage's channels inside.
    """

    features: ClassVar[str] = "nasbench-macro"

    channels: int = 16

    def __post_init__(self) -> None:
        checked(channels=self.channels)

    @property
    def template(self) -> Template:
        """Eight edges in a chain with three operations each."""
        return TEMPLATE

    def skeleton(self, genotype: Dag, network: Skeleton) -> int:
        """Stem, then the blocks; a pool and a wider convolution where a stage begins."""
        origin = genotype.input.tag
        here = network.add("conv", [origin], origin, "stem", channels=self.channels, kernel=3)
        width = self.channels
        for i, vertex in enumerate(genotype.vertices[2 : 2 + len(EDGES)]):
            if i in ENTRIES:
                width = self.channels << ENTRIES.index(i)
                here = network.add("avg_pool", [here], vertex.tag)
                here = network.add("conv", [here], vertex.tag, channels=width, kernel=1)
            block = vertex.op.removeprefix("reduce_")
            if block not in KERNELS:
                continue
            inside = width if block == "mb6_k5" else max(1, width // 2)
            kernel = KERNELS[block]
            grown = network.add("conv", [here], vertex.tag, block, channels=inside, kernel=kernel)
            back = network.add("conv", [grown], vertex.tag, "back", channels=width, kernel=1)
            here = network.add("sum", [here, back], vertex.tag)
        return here
