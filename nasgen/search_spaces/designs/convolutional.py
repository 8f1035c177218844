"""Convolutional designs: residual chains of several depths, early-pooled, VGG-like and dense ones.

All are rows of stages that end with a pool while the map is large enough, and double their width
from stage to stage. Small images have fewer stages. Widths end at the space's `max_channels`, the
number of pools at its `max_stages`; what breaks another limit is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from nasgen.genotypes import Dag, Draft
from nasgen.layers.base import Shape
from nasgen.search_spaces.base import Design
from nasgen.search_spaces.decode import STEM_ABOVE
from nasgen.search_spaces.designs.families import Family, offered

if TYPE_CHECKING:
    from nasgen.search_spaces.graph import GraphSpace

# Of the first layer. Channels are computed in blocks of 8 or 16: on two cores with AMX a ResNet-9
# of width 20 takes as long as one of width 24, which has 1.4 times the multiply-adds.
WIDTHS: Final = (4, 6, 8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128)
LEAST_SIDE: Final = 3  # pixels that a pool leaves: what is global is left to the head
USUAL_SIDE: Final = 32
USUAL_MACS: Final = 1.4e7  # of a draw for images of that side, in the middle of many


def designs(
    space: GraphSpace, input_shape: Shape, n_outputs: int, macs: float | None = None
) -> tuple[Design, ...]:
    """Return the designs of a space of convolutions, see `SearchSpace.designs`.

    Without `macs` they cost what a draw does.
    """
    if "conv" not in space.layers:
        return ()
    side = seen_side(input_shape)
    macs = macs or usual_macs(side)
    families: dict[str, Family] = {
        name: partial(_made, space, n_pools(side, space.max_stages), build)
        for name, build in FAMILIES.items()
    }
    return offered(space, families, WIDTHS, input_shape, n_outputs, macs)


def usual_macs(side: int) -> float:
    """Return what a draw costs, in multiply-adds of an image of this side.

    Smaller images have wider networks: with the same widths the cost would fall with the square.
    """
    return USUAL_MACS * float((side / USUAL_SIDE) ** 1.5)


def seen_side(input_shape: Shape) -> int:
    """Return the shorter side of the map the first vertex reads, behind the decoder's stems."""
    side = min(input_shape[1:])
    while side > STEM_ABOVE:
        side = (side + 1) // 2
    return side


def n_pools(side: int, most: int) -> int:
    """Return how often a map is halved, at most `most` times."""
    n = 0
    while side // 2 >= LEAST_SIDE and n < most:
        side, n = side // 2, n + 1
    return n


def _made(
    space: GraphSpace, n_pools: int, build: Callable[[_Chain, int, int], None], width: int
) -> Dag | None:
    chain = _Chain(space, n_pools)
    build(chain, width, max(min(2, space.max_stages), n_pools))
    return chain.done()


class _Chain:
    """A network under construction, layer behind layer."""

    def __init__(self, space: GraphSpace, n_pools: int) -> None:
        self.space, self.n_pools = space, n_pools
        self.draft = Draft()
        self.here = self.draft.input
        self.is_whole = True  # the space has all layers that were asked for

    def conv(self, width: int, kernel: int = 3, op: str = "conv") -> Self:
        """Add a convolution, of the smallest kernel from `kernel` on, else of the largest."""
        kernels = self.space.domain(op)["kernel"]
        kernel = next((k for k in kernels if k >= kernel), kernels[-1])
        channels = min(width, self.space.max_channels)
        self.here = self.draft.add(op, [self.here], channels=channels, kernel=kernel)
        return self

    def pooled(self, width: int, kernel: int = 3) -> Self:
        """Add a convolution and a pool; before its norm, where the space has such a layer."""
        if self.n_pools == 0 or "conv-pool" not in self.space.layers:
            return self.conv(width, kernel).pool()
        self.n_pools -= 1
        return self.conv(width, kernel, "conv-pool")

    def pool(self) -> Self:
        """Add a pool, unless the map has been halved often enough."""
        op = next((op for op in ("max_pool", "avg_pool") if op in self.space.layers), None)
        if self.n_pools == 0 or op is None:
            self.is_whole &= self.n_pools == 0
            return self
        self.n_pools -= 1
        self.here = self.draft.add(op, [self.here])
        return self

    def residual(self, width: int) -> Self:
        """Add what two convolutions make of the map to the map (He 2016)."""
        start = self.here
        return self.conv(width).conv(width)._joined("sum", start, self.here)

    def grown(self, width: int) -> Self:
        """Put what a convolution makes of the map beside the map (Huang 2017)."""
        start = self.here
        return self.conv(width)._joined("concat", start, self.here)

    def largest(self) -> Self:
        """Let the head read the largest value of each map, where the space has such a layer."""
        if "global_max_pool" in self.space.layers:
            self.here = self.draft.add("global_max_pool", [self.here])
        return self

    def _joined(self, op: str, *ends: int) -> Self:
        self.is_whole &= op in self.space.layers
        self.here = self.draft.add(op, ends)
        return self

    def done(self) -> Dag | None:
        self.draft.connect(self.here, self.draft.output)
        return self.draft.freeze() if self.is_whole else None


def _resnet9(chain: _Chain, width: int, n_stages: int) -> None:
    """Page 2018: residual pairs in the first and in the last stage."""
    chain.conv(width)
    for stage in range(1, n_stages + 1):
        wide = width << stage
        chain.pooled(wide)
        if stage in (1, n_stages):
            chain.residual(wide)
    chain.largest()


def _early(chain: _Chain, width: int, n_stages: int) -> None:
    """Only the first layer sees the full image: wide layers work at half of the side or less."""
    chain.pooled(width).conv(2 * width).residual(2 * width)
    for stage in range(2, n_stages + 1):
        chain.pooled(width << stage)
    chain.residual(width << n_stages).largest()


def _airbench(chain: _Chain, width: int, n_stages: int) -> None:
    """Jordan 2024: a pool between the two convolutions of each stage; the first stage is narrow."""
    for stage in range(n_stages):
        wide = width if stage == 0 else 4 * width
        chain.pooled(wide).conv(wide)
    chain.largest()


def _shallow(chain: _Chain, width: int, n_stages: int) -> None:
    """Two pooled layers and one residual pair, wide."""
    chain.pooled(width).pooled(4 * width).residual(4 * width).largest()


def _resnet_deep(chain: _Chain, width: int, n_stages: int) -> None:
    """He 2016: a residual pair in each stage, two in the last."""
    chain.conv(width)
    for stage in range(n_stages):
        chain.pooled(width << stage).residual(width << stage)
    chain.residual(width << (n_stages - 1))


def _vgg(chain: _Chain, width: int, n_stages: int) -> None:
    """Simonyan 2015: two convolutions, then a pool."""
    for stage in range(n_stages):
        chain.conv(width << stage).pooled(width << stage)


def _densenet(chain: _Chain, width: int, n_stages: int) -> None:
    """Huang 2017: each layer reads what all layers of its stage gave."""
    chain.pooled(width)
    for stage in range(1, n_stages):
        chain.grown(width << (stage - 1)).grown(width << (stage - 1))
        chain.pooled(width << stage)
    chain.grown(width << (n_stages - 1)).grown(width << (n_stages - 1))


def _lenet(chain: _Chain, width: int, n_stages: int) -> None:
    """LeCun 1998: larger kernels, each followed by a pool; smaller ones where maps are small."""
    chain.pooled(width, 5).pooled(2 * width, 5)
    for stage in range(2, n_stages + 1):
        chain.pooled(width << stage)


def _plain(chain: _Chain, width: int, n_stages: int) -> None:
    """One convolution and one pool a stage."""
    for stage in range(n_stages):
        chain.pooled(width << stage)


# In the order of their use on photographs, with the budget of a usual search.
FAMILIES: Final[Mapping[str, Callable[[_Chain, int, int], None]]] = {
    "resnet9": _resnet9,
    "early": _early,
    "airbench": _airbench,
    "shallow": _shallow,
    "resnet-deep": _resnet_deep,
    "vgg": _vgg,
    "densenet": _densenet,
    "lenet": _lenet,
    "plain": _plain,
}
