"""Recurrent layers: units that read a sequence step by step, and themselves one step before.

A layer reads one or more sequences of the same steps side by side, and gives the state of its units
after each step. It is computed by one fused kernel of torch. Its weights stand gate by gate, one
behind another: those of an LSTM for input, forget, cell and output (i, f, g, o), those of a GRU for
reset, update and candidate (r, z, n); hence "out*4" and "out*3".

A unit whose weights and biases are all 0 stays exactly 0: its candidate is tanh(0), and what a gate
keeps of a state that began as 0 is 0. With biases it would not be silent, which is why a support
takes the biases of a unit that nothing feeds along with it.

A layer that reads backward, from the end of each sequence to its start, is one of its own. Beside
one that reads the same forward it makes a bidirectional layer: what reads both has their states
side by side (Schuster & Paliwal 1997).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from nasgen.layers.base import Layer, Shape

if TYPE_CHECKING:
    from torch import nn

GATES: Final[Mapping[str, int]] = {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3, "lstm": 4}
# What prunings may be told to take of -> the words for it.
MATRICES: Final[Mapping[str, str]] = {
    "i2h": "input-to-hidden",
    "h2h": "hidden-to-hidden",
    "both": "recurrent layers'",
}


def _axes(cell: str) -> dict[str, tuple[str | None, ...]]:
    own = f"out*{GATES[cell]}" if GATES[cell] > 1 else "out"
    return {
        "weight_ih": (own, "in"),
        "weight_hh": (own, "self"),
        "bias_ih": (own,),
        "bias_hh": (own,),
    }


class RecurrentLayer(Layer):
    """(F, T) and more of the same T -> (channels, T): the states of a layer of recurrent units.

    With `backward` it reads from the end to the start, which the further input "lengths", (B,)
    integers in 1..T, says; without that it is step T.
    """

    ranks: ClassVar[tuple[int, ...]] = (2,)
    merges: ClassVar[bool] = True
    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"channels": (), "backward": (False, True)}
    keeps_zero: ClassVar[bool] = True
    cell: ClassVar[str]

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from nasgen.layers.modules import Recurring

        n_inputs = sum(shape[0] for shape in in_shapes)
        return Recurring(self.cell, n_inputs, out_shape[0], bool(params.get("backward", False)))


class RnnTanh(RecurrentLayer):
    """h = tanh(W x + U h + b)."""

    cell: ClassVar[str] = "rnn_tanh"
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = _axes("rnn_tanh")


class RnnRelu(RecurrentLayer):
    """h = max(0, W x + U h + b)."""

    cell: ClassVar[str] = "rnn_relu"
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = _axes("rnn_relu")
    sign: ClassVar[str] = "positive"


class Gru(RecurrentLayer):
    """Gated recurrent units (Cho 2014)."""

    cell: ClassVar[str] = "gru"
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = _axes("gru")


class Lstm(RecurrentLayer):
    """Long short-term memory (Hochreiter & Schmidhuber 1997)."""

    cell: ClassVar[str] = "lstm"
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = _axes("lstm")


class LastStep(Layer):
    """(F, T) and more of the same T -> (F + ...,): what came at the last step, side by side.

    That is the step at the end of each sequence, as the further input "lengths", (B,) integers in
    1..T, says; with `padded` it is step T of the batch, for all of them, as if what lies behind a
    sequence were part of it. The last `backward` inputs, which end there, are read at step 1.
    """

    ranks: ClassVar[tuple[int, ...]] = (2,)
    merges: ClassVar[bool] = True
    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"padded": (False, True), "backward": (0, 1)}
    keeps_zero: ClassVar[bool] = True

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        return (sum(shape[0] for shape in in_shapes),)

    def out_tags(self, own: Any, in_tags: Sequence[Any]) -> Any:
        return tuple(r for ranges in in_tags for r in ranges)

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        from nasgen.layers.modules import AtEnd

        return AtEnd(bool(params.get("padded", False)), int(params.get("backward", 0)))
