"""What layers read, multiplied with itself: the second derivatives of a layer's own squared error.

Other weights change what a layer gives at a place by dw x. Half the square of that, in the mean
over rows and places, has for all weights that lead to one outgoing channel the second derivatives
mean of x x^T (Dong 2017). Places are those of a convolution on its map, and the true steps of a
sequence: what is put behind its end does not count, but where the network reads it as well.

A recurrent layer reads x and its own state h of the step before, 0 at first, and each gate sees the
sum of what both matrices give: so (x, h) is one vector, the same for all gates. But the candidate
of a GRU is tanh(W x + r * (U h + b)), r another one for each unit and step. There the errors of W
and U count each by itself, which is the same for all units: products of x with h are 0, and no
weight of one matrix makes up for one of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasgen.errors import NotApplicable
from nasgen.evaluation import batches
from nasgen.evaluation.curvature import MOST_ROWS, Array, Watched, placed, training_rows
from nasgen.layers.modules import AtEnd, Embedded, Recurring, turned
from nasgen.layers.recurrent import GATES
from nasgen.phenotype.network import Network
from nasgen.search_spaces.blueprint import Blueprint

if TYPE_CHECKING:
    from nasgen.evaluation.framing import Parent
    from nasgen.evaluation.inference import Inference

Pair = tuple[str, str]  # names of tensors of one layer
MOST_INPUTS: Final = 4096  # of a layer, whose products with each other are n x n


def inputs(
    inference: Inference, parent: Parent, names: Sequence[str], n_rows: int | None = None
) -> dict[Pair, Array]:
    """Return the mean of x y^T over training rows, float64, for what two tensors of a layer read.

    It is (n, m), n and m the weights of each that lead to one outgoing channel, and (gates, n, m)
    of a layer with gates. Raises NotApplicable for a layer that reads more than `MOST_INPUTS`
    values, and for one that is neither dense, a convolution, an embedding nor recurrent.
    """
    network = placed(inference, parent)
    found = moments(network, training_rows(inference, n_rows), names)
    return {pair: tensor.cpu().numpy() for pair, tensor in found.items()}


@torch.no_grad()
def moments(
    network: nn.Module, rows: Callable[[int], Iterator[batches.Batch]], names: Sequence[str]
) -> dict[Pair, Tensor]:
    """Return what `inputs` does, of a network in evaluation mode and any rows."""
    readers = _readers(network, names)
    total = [
        torch.zeros((reader.n_inputs,) * 2, dtype=torch.float64, device=reader.device)
        for reader in readers
    ]
    counts = [0] * len(readers)
    to_the_end = any(isinstance(m, AtEnd) and m.padded for m in network.modules())
    with ExitStack() as hooks:
        for reader in readers:
            hooks.callback(reader.watched().remove)
        for given, _ in rows(MOST_ROWS):
            batches.answered(network, given)
            lengths = None if to_the_end else given.get("lengths")
            for i, reader in enumerate(readers):
                for part in reader.read(lengths):
                    x = part.to(torch.float64)
                    total[i] += x.T @ x
                    counts[i] += len(x)
    found: dict[Pair, Tensor] = {}
    for reader, products, n in zip(readers, total, counts, strict=True):
        found |= reader.by_tensor(products / max(1, n))
    return found


def check_inputs(blueprint: Blueprint, names: Sequence[str]) -> None:
    """Raise NotApplicable where `inputs` of the named weights cannot be had; nothing is built."""
    with torch.device("meta"):
        _readers(Network(blueprint), names)


def _readers(network: nn.Module, names: Sequence[str]) -> list[_Reader]:
    """Return what keeps track of the layers of the named weights."""
    of_layers: dict[str, list[str]] = {}
    for name in names:
        of_layers.setdefault(name.rpartition(".")[0], []).append(name)
    found = []
    for layer, own in of_layers.items():
        module = network.get_submodule(layer)
        kind = next((kind for kind in KINDS if kind.fits(module, own)), None)
        if kind is None:
            raise NotApplicable(
                "expected a network of dense, convolutional, recurrent layers and embeddings, but "
                f"the weight '{own[0]}' belongs to another layer; take another pruning.",
                kind="no_place",
            )
        reader = kind(module, own)
        if getattr(module, "groups", 1) > 1:
            raise NotApplicable(
                f"expected convolutions in one group, but '{own[0]}' has {module.groups}.",
                kind="no_place",
            )
        if reader.n_inputs > MOST_INPUTS:
            raise NotApplicable(
                f"expected layers that read at most {MOST_INPUTS} values, because their products "
                f"with each other are kept, but '{own[0]}' reads {reader.n_inputs}.",
                kind="size",
            )
        found.append(reader)
    return found


# ---- layers ------------------------------------------------------------------------------------


@dataclass
class _Reader:
    """A layer with what it read and gave in the last pass; `names` are tensors of its weights.

    What their columns read stands side by side, in this order.
    """

    module: Any
    names: Sequence[str]
    read_last: tuple[Tensor, ...] = ()
    lengths: Tensor | None = None  # that the layer was told
    given: Tensor = field(default_factory=lambda: torch.empty(0))

    @classmethod
    def fits(cls, module: nn.Module, names: Sequence[str]) -> bool:
        """Tell whether it knows how a layer reads."""
        raise NotImplementedError

    def read(self, lengths: Tensor | None) -> Iterator[Tensor]:
        """Yield what was read, (places of some rows, n_inputs); see the module."""
        raise NotImplementedError

    def by_tensor(self, products: Tensor) -> dict[Pair, Tensor]:
        """Return the products, (n_inputs, n_inputs), for each pair of tensors."""
        sizes = [self._width(name) for name in self.names]
        return {
            (name, other): block
            for name, part in zip(self.names, products.split(sizes), strict=True)
            for other, block in zip(self.names, part.split(sizes, 1), strict=True)
        }

    @property
    def n_inputs(self) -> int:
        """How many weights lead to one outgoing channel, through one gate."""
        return sum(map(self._width, self.names))

    @property
    def device(self) -> torch.device:
        return self._tensor(self.names[0]).device

    def watched(self) -> Any:
        """Keep what it reads from now on; return what ends that by `remove`."""
        return self.module.register_forward_hook(self._keep, with_kwargs=True)

    def _keep(
        self, module: nn.Module, given: tuple[Tensor, ...], told: dict[str, Any], output: Tensor
    ) -> None:
        self.read_last, self.lengths, self.given = given, told.get("lengths"), output

    def _tensor(self, name: str) -> Tensor:
        found: Tensor = self.module.get_parameter(name.rpartition(".")[2])
        return found

    def _width(self, name: str) -> int:
        return self._tensor(name)[0].numel()


@final
class _Plain(_Reader):
    """A dense layer or convolution, whatever it reads."""

    @classmethod
    def fits(cls, module: nn.Module, names: Sequence[str]) -> bool:
        return Watched.of(module, names[0]) is not None

    def read(self, lengths: Tensor | None) -> Iterator[Tensor]:
        watched = Watched(self.module, self.read_last[0])
        for part in watched.read():  # (rows, n_inputs, places)
            yield part.transpose(1, 2).reshape(-1, part.shape[1])


@final
class _Stepwise(_Reader):
    """An embedding, or a recurrent layer, which also reads its own state of the step before."""

    @classmethod
    def fits(cls, module: nn.Module, names: Sequence[str]) -> bool:
        return isinstance(module, Embedded | Recurring)

    def read(self, lengths: Tensor | None) -> Iterator[Tensor]:
        x = torch.cat(self.read_last, 1)
        if not x.is_floating_point():  # numbers of tokens
            x = F.one_hot(x.long(), self.module.n_features).transpose(1, 2)
        there = torch.ones_like(x[:, 0], dtype=torch.bool)
        if lengths is not None:
            there = torch.arange(x.shape[2], device=x.device) < lengths[:, None]
        parts = {"weight": x, "weight_ih": x}
        if isinstance(self.module, Recurring):
            states = turned(self.given, self.lengths) if self.module.backward else self.given
            before = F.pad(states, (1, 0))[:, :, :-1]
            parts["weight_hh"] = turned(before, self.lengths) if self.module.backward else before
        columns = [parts[name.rpartition(".")[2]] for name in self.names]
        yield torch.cat(columns, 1).transpose(1, 2)[there]

    def by_tensor(self, products: Tensor) -> dict[Pair, Tensor]:
        found = super().by_tensor(products)
        cell = getattr(self.module, "cell", "")
        n_gates = GATES.get(cell, 1)
        if n_gates == 1:
            return found
        found = {pair: block.repeat(n_gates, 1, 1) for pair, block in found.items()}
        for (name, other), block in found.items():
            if cell == "gru" and name != other:
                block[-1] = 0  # of the candidate
        return found


KINDS: Final[tuple[type[_Reader], ...]] = (_Plain, _Stepwise)
