"""The cells of NAS-Bench-201: four nodes, six edges, five operations (Dong 2020).

15,625 cells whose accuracies are known, see `nasgen bench nasbench201`. They can be trained here as
well, in a lighter skeleton than the benchmark's. Prefer `dag-cnn` when the topology is free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, final

from nasgen.genotypes import Dag
from nasgen.genotypes.cell import NONE, SKIP, Template
from nasgen.search_spaces.cells import CellSpace, Skeleton, checked

# In the order of the benchmark's texts; codes are those of its tables.
EDGES: Final = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
OPS: Final = (NONE, SKIP, "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
TEMPLATE: Final = Template(EDGES, (OPS,) * len(EDGES))
KERNELS: Final = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
N_STAGES: Final = 3


@final
@dataclass(frozen=True)
class NasBench201(CellSpace):
    """Options, for training only: `channels` of the first stage, `cells` stacked in each of three.

    The benchmark has 16 channels and 5 cells, and residual blocks between the stages where this
    skeleton has a convolution and a pool; it convolves behind its activations, this one before.
    """

    features: ClassVar[str] = "nasbench201"

    channels: int = 16
    cells: int = 1

    def __post_init__(self) -> None:
        checked(channels=self.channels, cells=self.cells)

    @property
    def template(self) -> Template:
        """Six edges with five operations each."""
        return TEMPLATE

    def skeleton(self, genotype: Dag, network: Skeleton) -> int:
        """Stem, then `cells` cells a stage; a pool and a wider convolution between stages."""
        origin = genotype.input.tag
        here = network.add("conv", [origin], origin, "stem", channels=self.channels, kernel=3)
        network.ends_block(here)
        for stage in range(N_STAGES):
            width = self.channels << stage
            if stage:
                here = network.add("avg_pool", [here], origin, stage)
                here = network.add("conv", [here], origin, stage, channels=width, kernel=3)
                network.ends_block(here)
            for i in range(self.cells):
                here = _cell(genotype, network, here, width, (stage, i))
                network.ends_block(here)
        return here


def _cell(genotype: Dag, network: Skeleton, start: int, width: int, place: object) -> int:
    """Append one copy of the cell behind `start`; return its last vertex."""
    where = {genotype.input.tag: start}
    for vertex in genotype.inner:
        if vertex.tag not in genotype.live:
            continue
        inputs = [where[s] for s in genotype.inputs(vertex.tag) if s in where]
        if vertex.op in KERNELS:
            op, params = "conv", {"channels": width, "kernel": KERNELS[vertex.op]}
        else:
            op, params = vertex.op, {}
        where[vertex.tag] = network.add(op, inputs, vertex.tag, place, **params)
    return where[genotype.inputs(genotype.output.tag)[0]]
