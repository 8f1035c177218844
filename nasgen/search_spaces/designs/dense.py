"""Dense designs for rows of numbers: plain, narrowing, residual and concatenated layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from nasgen.genotypes import Dag, Draft
from nasgen.layers.base import Shape
from nasgen.search_spaces.base import Design
from nasgen.search_spaces.blueprint import cost
from nasgen.search_spaces.designs.families import offered

if TYPE_CHECKING:
    from nasgen.search_spaces.graph import GraphSpace

WIDTHS: Final = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # units of the first layer
USUAL_WIDTH: Final = 64


def designs(
    space: GraphSpace, input_shape: Shape, n_outputs: int, macs: float | None = None
) -> tuple[Design, ...]:
    """Return the designs of a space of dense layers, see `SearchSpace.designs`.

    They cost what three layers of `USUAL_WIDTH` units do, or less where the budget affords less:
    such networks are so cheap that a larger budget says nothing about their width.
    """
    if "dense" not in space.layers:
        return ()
    families = {name: partial(_made, space, build) for name, build in FAMILIES.items()}
    usual = _made(space, _three, min(USUAL_WIDTH, space.max_channels))
    if usual is None or space.problems(usual):
        n_macs = float(USUAL_WIDTH**2)
    else:
        n_macs, _ = cost(space.blueprint(usual, input_shape, n_outputs))
    n_macs = n_macs if macs is None else min(macs, n_macs)
    widths = [width for width in WIDTHS if width <= space.max_channels]
    return offered(space, families, widths, input_shape, n_outputs, n_macs)


class _Layers:
    """A network under construction, layer behind layer."""

    def __init__(self, space: GraphSpace) -> None:
        self.space, self.draft = space, Draft()
        self.ends = [self.draft.input]
        self.is_whole = True  # the space has all layers that were asked for

    def dense(self, width: int) -> _Layers:
        width = max(1, width)
        self.ends.append(self.draft.add("dense", [self.ends[-1]], channels=width))
        return self

    def join(self, op: str, back: int) -> _Layers:
        """Join the last layer with the one `back` layers before it."""
        self.is_whole &= op in self.space.layers
        self.ends.append(self.draft.add(op, [self.ends[-1 - back], self.ends[-1]]))
        return self

    def done(self) -> Dag | None:
        self.draft.connect(self.ends[-1], self.draft.output)
        return self.draft.freeze() if self.is_whole else None


def _made(space: GraphSpace, build: Callable[[_Layers, int], object], width: int) -> Dag | None:
    layers = _Layers(space)
    build(layers, width)
    return layers.done()


def _two(layers: _Layers, width: int) -> object:
    return layers.dense(width).dense(width)


def _three(layers: _Layers, width: int) -> object:
    return layers.dense(width).dense(width).dense(width)


def _narrowing(layers: _Layers, width: int) -> object:
    return layers.dense(width).dense(width // 2).dense(width // 4)


def _residual(layers: _Layers, width: int) -> object:
    """Two residual pairs (Gorishniy 2021)."""
    layers.dense(width)
    for _ in range(2):
        layers.dense(width).dense(width).join("sum", 2)
    return layers


def _concatenated(layers: _Layers, width: int) -> object:
    """The last layer reads what both others gave."""
    return layers.dense(width).dense(width).join("concat", 1).dense(width)


def _one(layers: _Layers, width: int) -> object:
    return layers.dense(width)


# In the order of their use on tables.
FAMILIES: Final[Mapping[str, Callable[[_Layers, int], object]]] = {
    "mlp3": _three,
    "mlp-residual": _residual,
    "mlp2": _two,
    "mlp-narrowing": _narrowing,
    "mlp-concat": _concatenated,
    "mlp1": _one,
}
