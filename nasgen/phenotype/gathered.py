"""Convolutions that gather their living synapses: what compaction leaves of dead kernels is free.

Compaction removes filters. A dead kernel of a living filter is still multiplied out, so the
multiply-adds of a network shrink less than its kernels do (Shafiee 2016 names a "near 9.7-fold
potential speed-up" and did not measure it). Here a value of an outgoing map is the sum of those
incoming values alone that living synapses read:

    y[o, p] = sum over living synapses (o, c, q) of w[o, c, q] x[c, p + q]

The batch is the innermost axis of both maps, so each term is one multiply-add of two vectors, which
is what torch's `embedding_bag` is fast at; its indices are made once for each size of the maps. A
few rows are better multiplied with the same terms as a sparse matrix. Pools and element-wise layers
keep this order of the axes.

Only the computation changes. Names and shapes of tensors stay, so such a network is trained, kept,
read and compacted as any other, and what is pruned is what its support says. Each convolution takes
the form that is cheaper for the batch at hand: see `form`. Training takes the dense one: in batches
of 64 the gradients of single terms cost as much as they save, until some 400 synapses are left.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasgen.phenotype.network import Network
from nasgen.phenotype.survival import Mask

MOST_TERMS: Final = 1 << 22  # of a convolution at one size of maps: 48 MiB of indices and weights
DENSEST: Final = 0.5  # share of living synapses above which a convolution stays as it is
AT_ONCE: Final = 256  # rows that are answered at once: with more of them maps leave the caches
FEW: Final = 4  # rows up to which a sparse matrix is faster
POOLS: Final = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)

# Nanoseconds on one thread of an AMD EPYC with AVX-512, `benchmarks/synthesis.py` measures the sum.
DENSE_START, DENSE_WEIGHT, DENSE_MAC = 40_000.0, 0.3, 0.011  # oneDNN: of a weight, of a row's MAC
SUM_START, SUM_TERM, SUM_ROW, MOVED = 15_000.0, 1.1, 0.017, 0.8  # of a term, of it and a row
MATRIX_START, MATRIX_TERM = 50_000.0, 0.6  # of a term and a row

Sides = tuple[int, int]  # height and width of a map
Form = Literal["dense", "sum", "matrix"]


@dataclass(frozen=True)
class Terms:
    """The terms of a convolution for maps of one size, ordered by outgoing value.

    Term t adds weight `synapses[t]` times incoming value `columns[t]`; those of outgoing value r
    are the terms from `offsets[r]` to `offsets[r + 1]`. `n_columns` is the number of incoming
    values, `sides` are those of the outgoing map.
    """

    columns: Tensor
    offsets: Tensor
    synapses: Tensor
    n_columns: int
    sides: Sides

    @property
    def n(self) -> int:
        """How many there are: the multiply-adds for one row."""
        return len(self.columns)


@final
class GatheredConv(nn.Conv2d):
    """A convolution in the place of another one, with its parameters; `gathered` makes it.

    `living` is the support of its weights, (out, in, height, width).
    """

    def __init__(self, conv: nn.Conv2d, living: Mask) -> None:
        padding: Any = conv.padding
        super().__init__(
            conv.in_channels, conv.out_channels, _pair(conv.kernel_size), _pair(conv.stride),
            padding, _pair(conv.dilation), bias=conv.bias is not None, device="meta",
        )  # fmt: skip
        self.weight, self.bias = conv.weight, conv.bias
        self.train(conv.training)
        self.living = living
        self._terms: dict[Sides, Terms | None] = {}
        self._kept: tuple[Terms, tuple[int, int | None], Tensor] | None = None

    def terms(self, height: int, width: int) -> Terms | None:
        """Return the terms for incoming maps of this size, None where they are too many."""
        sides = (height, width)
        if sides not in self._terms:
            with torch.inference_mode(False):  # what is made here serves training as well
                self._terms[sides] = self._found(sides)
        return self._terms[sides]

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out, H', W') for (B, in, H, W), in any order of the axes in memory."""
        terms = self.terms(x.shape[2], x.shape[3]) if x.device.type == "cpu" else None
        chosen = form(self, terms, x)
        if terms is None or chosen == "dense":
            return super().forward(x)
        columns = x.permute(1, 2, 3, 0).reshape(-1, len(x)).to(self.weight.dtype).contiguous()
        if chosen == "matrix":
            found = self._matrix(terms) @ columns
        else:
            found = F.embedding_bag(
                terms.columns, columns, terms.offsets, mode="sum",
                per_sample_weights=self._values(terms), include_last_offset=True,
            )  # fmt: skip
        found = found.view(self.out_channels, -1, len(x))
        if self.bias is not None:
            found += self.bias[:, None, None]  # in place: maps may be larger than the caches
        return found.view(self.out_channels, *terms.sides, -1).permute(3, 0, 1, 2)

    def _values(self, terms: Terms) -> Tensor:
        return self.weight.flatten().index_select(0, terms.synapses)

    def _matrix(self, terms: Terms) -> Tensor:
        """Return the convolution as a sparse matrix, as long as the weights are the same."""
        key = (self.weight.data_ptr(), None if self.weight.is_inference() else self.weight._version)
        if self._kept is None or self._kept[0] is not terms or self._kept[1] != key or None in key:
            shape = (len(terms.offsets) - 1, terms.n_columns)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # torch calls this kind of matrix new
                matrix = torch.sparse_csr_tensor(
                    terms.offsets, terms.columns, self._values(terms).detach(), shape,
                    check_invariants=False,
                )  # fmt: skip
            self._kept = (terms, key, matrix)
        return self._kept[2]

    def _found(self, sides: Sides) -> Terms | None:
        ways: Any = (self.kernel_size, self.stride, self.padding, self.dilation)
        rows, columns = (_reach(*each) for each in zip(sides, *ways, strict=True))
        out_sides = (len(rows), len(columns))
        if int(self.living.sum()) * out_sides[0] * out_sides[1] > MOST_TERMS:
            return None
        found, synapses, counts = [], [], []
        for out in range(self.out_channels):
            c, i, j = np.nonzero(self.living[out])
            y, x = rows[:, None, i], columns[None, :, j]
            inside = (y >= 0) & (x >= 0)
            which = np.ravel_multi_index((np.full_like(c, out), c, i, j), self.living.shape)
            found.append(((c * sides[0] + y) * sides[1] + x)[inside])
            synapses.append(np.broadcast_to(which, inside.shape)[inside])
            counts.append(inside.sum(2).ravel())
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
        lists = (np.concatenate(found), offsets, np.concatenate(synapses))
        indices = [torch.from_numpy(each.astype(np.int32)) for each in lists]
        return Terms(
            indices[0], indices[1], indices[2], self.in_channels * sides[0] * sides[1], out_sides
        )


def form(conv: GatheredConv, terms: Terms | None, x: Tensor) -> Form:
    """Return the form that computes a batch fastest, by a model of the time on one thread."""
    if terms is None or not terms.n:
        return "dense"
    if torch.is_grad_enabled() and (conv.weight.requires_grad or x.requires_grad):
        return "dense"
    n_rows = len(x)
    pixels = terms.sides[0] * terms.sides[1]
    dense = DENSE_START + (DENSE_WEIGHT + DENSE_MAC * pixels * n_rows) * conv.weight.numel()
    if n_rows <= FEW:
        matrix = MATRIX_START + MATRIX_TERM * terms.n * n_rows
        return "matrix" if torch.backends.mkl.is_available() and matrix < dense else "dense"
    gathers = SUM_START + (SUM_TERM + SUM_ROW * n_rows) * terms.n
    if x.stride(0) != 1:
        gathers += MOVED * x.numel()
    return "sum" if gathers < dense else "dense"


def _pair(sizes: Sequence[int]) -> tuple[int, int]:
    return int(sizes[0]), int(sizes[1])


def _reach(side: int, size: int, stride: int, padding: int, dilation: int) -> Any:
    """Return which incoming row each (outgoing row, row of the kernel) reads, -1 for padding."""
    n_out = (side + 2 * padding - dilation * (size - 1) - 1) // stride + 1
    place = stride * np.arange(n_out)[:, None] + dilation * np.arange(size) - padding
    return np.where((place >= 0) & (place < side), place, -1)


@final
class Rowwise(nn.Module):
    """A pool that takes an innermost batch for the channels, so that it need not copy."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Return what the pool returns."""
        if len(x) == 1 or x.stride(0) != 1:
            found: Tensor = self.pool(x)
            return found
        found = self.pool(x.transpose(0, 1))
        return found.transpose(0, 1)


def gathered(network: Network, masks: Mapping[str, Any] | None = None) -> Network:
    """Let the sparse convolutions of a network gather their living synapses, in place; return it.

    `masks` is its support, {tensor name: bool array}; without it a weight that is 0 is pruned.
    Convolutions in groups, and those of which more than half lives, stay as they are.
    """
    found = {}
    for name, module in network.named_modules():
        if type(module) is nn.Conv2d and module.groups == 1 and module.padding_mode == "zeros":
            given = None if masks is None else masks.get(f"{name}.weight")
            living = module.weight.detach().cpu().numpy() != 0 if given is None else given
            is_sparse = 0 < np.count_nonzero(living) < DENSEST * living.size
            if is_sparse and not isinstance(module.padding, str):
                found[name] = GatheredConv(module, np.array(living))
    for name, conv in found.items():
        _put(network, name, conv)
    pools = [name for name, module in network.named_modules() if isinstance(module, POOLS)]
    for name in pools if found else ():
        _put(network, name, Rowwise(network.get_submodule(name)))
    if found:
        network.rows_at_once = AT_ONCE
    return network


def saved(network: Network, x: Tensor) -> int:
    """Return the multiply-adds for one row of `x` that gathering saves a network, in all layers."""
    found = []

    def look(conv: GatheredConv, given: tuple[Tensor, ...]) -> None:
        terms = conv.terms(given[0].shape[2], given[0].shape[3])
        if terms is not None:
            found.append(conv.weight.numel() * terms.sides[0] * terms.sides[1] - terms.n)

    convs = [module for module in network.modules() if isinstance(module, GatheredConv)]
    hooks = [conv.register_forward_pre_hook(look) for conv in convs]
    try:
        with torch.no_grad():
            network(x[:1])
    finally:
        for hook in hooks:
            hook.remove()
    return sum(found)


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    before, _, last = name.rpartition(".")
    setattr(network.get_submodule(before), last, module)
