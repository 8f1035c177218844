"""How sharply the loss bends along each weight: the diagonal of its second derivatives.

A feed-forward network of rectifiers, pools and, in evaluation mode, norms is piecewise linear in
any one weight w. So where L is the mean loss over rows, z the outputs and H = d2L/dz2 of a row,

    d2L/dw2 = mean over rows of (dz/dw)^T H (dz/dw)        (almost everywhere)

which is the diagonal of the Gauss-Newton matrix: never negative, and without second passes. With a
square root H = sum over k of v_k v_k^T it is the mean of sum over k of (d(v_k . z)/dw)^2: one
backward pass for each k gives the signals d of all layers' outputs. A dense layer of inputs a has
d(v_k . z)/dw_ij = d_i a_j, so one product of squares sums up all rows; a convolution sums over the
places of its map before it squares, row by row. Networks whose outputs are curved in a weight, such
as recurrent ones, have this quantity as an approximation (Martens 2010).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasgen import seeding
from nasgen.errors import EvaluationError
from nasgen.evaluation import batches, shared
from nasgen.layers.modules import Recurring
from nasgen.phenotype.network import Network, build

if TYPE_CHECKING:
    from nasgen.evaluation.framing import Parent
    from nasgen.evaluation.inference import Inference

Array = np.ndarray[Any, Any]
Root = Callable[[Tensor, Tensor], Tensor]  # (outputs, targets) -> (K, B, n_outputs)
MOST_ROWS: Final = 1024  # of a batch: more do not fit into caches
MOST_SIGNALS: Final = 1 << 24  # numbers that are held of a batch
MOST_AT_ONCE: Final = 1 << 22  # numbers of a product that is squared
MOST_WORK: Final = 300_000_000_000  # multiply-adds: about a minute of one core
# Multiply-adds in the time of a backward pass of a single row, and of one through the steps of
# recurrent layers: two passes of three layers of GRUs over 13 steps take 27 ms.
ALONE: Final = 10_000_000
IN_STEPS: Final = 60_000_000


def diagonal(
    inference: Inference, parent: Parent, names: Sequence[str], n_rows: int | None = None
) -> dict[str, Array]:
    """Return d2L/dw2 of the named weights of a parent over training rows, float64, >= 0.

    Over `n_rows` of them, drawn by the data alone; default: all, or where convolutions or
    recurrent layers make that dear, as many as `MOST_WORK` allows. Raises
    IncompatibleError where the task gives no curvature.
    """
    network = placed(inference, parent)
    if n_rows is None:
        n_rows = affordable(
            network, training_rows(inference, None), names, inference.task.n_outputs
        )
    found = exact(
        network,
        inference.task.curvature,
        training_rows(inference, n_rows),
        names,
        inference.task.n_outputs,
    )
    return {name: tensor.cpu().numpy() for name, tensor in found.items()}


@torch.enable_grad()
def affordable(
    network: nn.Module,
    rows: Callable[[int], Iterator[batches.Batch]],
    names: Sequence[str],
    n_columns: int,
) -> int:
    """Return over how many rows `exact` needs `MOST_WORK` multiply-adds, at least 1."""
    watched = _watched(network, names)
    with _hooked(watched.values()):
        _first_pass(network, rows)
        work = sum(layer.work(n_columns) for layer in watched.values())
    owners = [network.get_submodule(n.rpartition(".")[0]) for n in names if n not in watched]
    if owners:
        has_steps = any(isinstance(module, Recurring) for module in owners)
        work += n_columns * (IN_STEPS if has_steps else ALONE)
    return max(1, MOST_WORK // max(1, work))


# ---- on networks -------------------------------------------------------------------------------


@torch.enable_grad()
def exact(
    network: nn.Module,
    root: Root,
    rows: Callable[[int], Iterator[batches.Batch]],
    names: Sequence[str],
    n_columns: int,
) -> dict[str, Tensor]:
    """Return the diagonal of the named weights as float64 tensors; see the module.

    `rows(n)` yields batches of at most n rows, `n_columns` is how many columns K the root has at
    most. The network is in evaluation mode and is left as it was.
    """
    parameters = dict(network.named_parameters())
    total = {n: torch.zeros_like(parameters[n], dtype=torch.float64) for n in names}
    watched = _watched(network, names)
    others = {n: parameters[n] for n in names if n not in watched}
    counts = dict.fromkeys(("watched", "others"), 0)
    with _frozen(network):
        with _hooked(watched.values()):
            size = _batch_size(network, rows, watched, n_columns) if watched else 0
            for given, targets in rows(size) if watched else ():
                outputs = batches.answered(network, given)
                columns = root(outputs.detach(), targets)
                for name, signals in _signals(outputs, columns, watched).items():
                    total[name] += watched[name].squares(signals).to(torch.float64)
                counts["watched"] += len(outputs)
        for given, targets in rows(1) if others else ():
            _add_alone(network, others, root, given, targets, total)
            counts["others"] += 1
    return {
        n: t / max(1, counts["watched" if n in watched else "others"]) for n, t in total.items()
    }


def _signals(
    outputs: Tensor, columns: Tensor, watched: Mapping[str, Watched]
) -> dict[str, list[Tensor]]:
    """Return d(v_k . z)/d(output) of each layer, one tensor for each column k.

    Layers on which no output depends are left out.
    """
    found: dict[str, list[Tensor]] = {}
    layers = {name: layer for name, layer in watched.items() if layer.output is not None}
    for k, column in enumerate(columns):
        given = torch.autograd.grad(
            outputs,
            [layer.output for layer in layers.values() if layer.output is not None],
            column,
            retain_graph=k + 1 < len(columns),
            allow_unused=True,
        )
        for name, signal in zip(layers, given, strict=True):
            if signal is not None:
                found.setdefault(name, []).append(signal)
    return found


def _add_alone(
    network: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    root: Root,
    given: batches.Inputs,
    targets: Tensor,
    total: Mapping[str, Tensor],
) -> None:
    """Add what one row gives to weights of other layers, by gradients with respect to them."""
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    try:
        outputs = batches.answered(network, given)
        for column in root(outputs.detach(), targets):
            found = torch.autograd.grad(
                outputs, list(parameters.values()), column, retain_graph=True, allow_unused=True
            )
            for name, gradient in zip(parameters, found, strict=True):
                if gradient is not None:
                    total[name].add_(gradient.to(torch.float64).square())
    finally:
        for parameter in parameters.values():
            parameter.requires_grad_(False)


# ---- layers ------------------------------------------------------------------------------------


@final
@dataclass
class Watched:
    """A dense layer or convolution: what it read and gave in the last pass."""

    module: nn.Linear | nn.Conv2d
    input: Tensor | None = None
    output: Tensor | None = None

    @classmethod
    def of(cls, module: nn.Module, name: str) -> Watched | None:
        """Return it for a layer's tensor, by name; None where it is not the weight of such one."""
        is_conv = type(module) is nn.Conv2d and module.padding_mode == "zeros"
        if name.rpartition(".")[2] != "weight" or not (type(module) is nn.Linear or is_conv):
            return None
        assert isinstance(module, nn.Linear | nn.Conv2d)
        return cls(module)

    @property
    def n_inputs(self) -> int:
        """How many weights lead to one outgoing channel."""
        return self.module.weight[0].numel()

    @property
    def groups(self) -> int:
        return self.module.groups if isinstance(self.module, nn.Conv2d) else 1

    def work(self, n_columns: int) -> int:
        """Return the multiply-adds of `squares` for one row."""
        n = self.module.weight.numel()
        n_places = 0 if self.output is None else self.output[0].numel() // len(self.module.weight)
        return n if n_places == 1 else n * n_places * n_columns

    def keep(self, module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Keep what came in and what goes out, and pass on a copy: a ReLU may work in place."""
        self.input = given[0].detach()
        if not torch.is_grad_enabled():
            return output
        self.output = output if output.requires_grad else output.detach().requires_grad_(True)
        return self.output.clone()

    def read(self) -> Iterator[Tensor]:
        """Yield what it read, (rows, n_inputs * groups, places), a few rows at once."""
        assert self.input is not None
        x = self.input
        if isinstance(self.module, nn.Linear):
            x = x.unsqueeze(-1) if x.ndim == 2 else x.flatten(1, -2).transpose(1, 2)
            yield from x.split(max(1, MOST_AT_ONCE // max(1, x[0].numel())))
            return
        padded = F.pad(x, _padding(self.module))
        kernel, stride, dilation = (
            self.module.kernel_size, self.module.stride, self.module.dilation,
        )  # fmt: skip
        if tuple(padded.shape[2:]) == tuple(kernel) and set(dilation) == {1}:
            yield padded.flatten(1).unsqueeze(-1)
            return
        n_places = math.prod(
            (size - d * (k - 1) - 1) // s + 1
            for size, k, s, d in zip(padded.shape[2:], kernel, stride, dilation, strict=True)
        )
        size = padded.shape[1] * math.prod(kernel) * n_places
        for part in padded.split(max(1, MOST_AT_ONCE // size)):
            yield F.unfold(part, kernel, dilation, 0, stride)

    def squares(self, signals: Sequence[Tensor]) -> Tensor:
        """Return the sum over rows and columns of (d(v_k . z)/dw)^2, of the weight's shape."""
        d = torch.stack([self._by_place(signal) for signal in signals])  # (K, B, out, places)
        n_out, n_places = d.shape[2:]
        weight = self.module.weight
        start = 0
        if n_places == 1 and self.groups == 1:
            squared = d.square().sum(0)[:, :, 0]  # (B, out)
            sums = torch.zeros(n_out, self.n_inputs).to(weight)
            for x in self.read():
                sums.addmm_(squared[start : start + len(x)].T, x[:, :, 0].square())
                start += len(x)
            return sums.view_as(weight)
        total = torch.zeros(self.groups, n_out // self.groups, self.n_inputs).to(weight)
        most = MOST_AT_ONCE // max(1, len(d) * n_out * self.n_inputs)
        for part in self.read():
            for x in part.split(max(1, most)):
                here = d[:, start : start + len(x)]
                start += len(x)
                # (B, groups, K out, places) x (B, groups, places, in): one product a row
                here = here.unflatten(2, (self.groups, -1)).permute(1, 2, 0, 3, 4)
                product = here.flatten(2, 3) @ x.unflatten(1, (self.groups, -1)).mT
                total += product.square_().sum(0).unflatten(1, (len(d), -1)).sum(1)
        return total.view_as(weight)

    def _by_place(self, signal: Tensor) -> Tensor:
        """Return a signal as (rows, outgoing channels, places)."""
        if isinstance(self.module, nn.Linear):
            return signal.unsqueeze(-1) if signal.ndim == 2 else signal.flatten(1, -2).mT
        return signal.flatten(2)


def _padding(conv: nn.Conv2d) -> list[int]:
    """Return what is put around a map, the last axis first."""
    found = []
    for i in (1, 0):
        total = conv.dilation[i] * (conv.kernel_size[i] - 1)
        if isinstance(conv.padding, str):
            found += [0, 0] if conv.padding == "valid" else [total // 2, total - total // 2]
        else:
            found += [conv.padding[i], conv.padding[i]]
    return found


def _watched(network: nn.Module, names: Sequence[str]) -> dict[str, Watched]:
    """Return the layers whose weights' gradients are products of what they read and signals."""
    found: dict[str, Watched] = {}
    for name in names:
        owner, _, last = name.rpartition(".")
        watched = Watched.of(network.get_submodule(owner), last)
        if watched is not None:
            found[name] = watched
    return found


@contextmanager
def _hooked(layers: Any) -> Iterator[None]:
    watched = list(layers)
    handles = [layer.module.register_forward_hook(layer.keep) for layer in watched]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for layer in watched:
            layer.input = layer.output = None


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Let no gradient flow into parameters: the signals are those of layers' outputs."""
    trainable = [p for p in network.parameters() if p.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


def _batch_size(
    network: nn.Module,
    rows: Callable[[int], Iterator[batches.Batch]],
    watched: Mapping[str, Watched],
    n_columns: int,
) -> int:
    """Return for how many rows the signals of all layers fit into memory."""
    _first_pass(network, rows)
    n = sum(layer.output[0].numel() for layer in watched.values() if layer.output is not None)
    return max(1, min(MOST_ROWS, MOST_SIGNALS // max(1, n * n_columns)))


def _first_pass(network: nn.Module, rows: Callable[[int], Iterator[batches.Batch]]) -> None:
    """Show the network one row, so that layers know their sizes."""
    given, _ = next(rows(1), (None, None))
    if given is None:
        raise EvaluationError("there are no training rows to measure curvature on.")
    batches.answered(network, given)


# ---- rows ----------------------------------------------------------------------------------------


def placed(inference: Inference, parent: Parent) -> Network:
    network = build(parent.blueprint)
    network.load_state_dict(dict(parent.weights))
    return inference.placed(network).eval()


def training_rows(
    inference: Inference, n_rows: int | None
) -> Callable[[int], Iterator[batches.Batch]]:
    """Return what yields the training rows, a number of them at once; which, depends on the data.

    Validation rows are not among them.
    """
    rows = shared.split(inference.data, 1.0).train
    if n_rows is not None and n_rows < len(rows):
        rows = np.sort(seeding.generator(0, "curvature").permutation(rows)[:n_rows])
    prepared = shared.prepared(inference.data, "train")
    targets = inference.task.prepared(shared.data(inference.data).targets)

    def batched(size: int) -> Iterator[batches.Batch]:
        for start in range(0, len(rows), min(size, inference.feed.rows_at_once)):
            part = rows[start : start + min(size, inference.feed.rows_at_once)]
            (given,) = batches.evaluation_batches(inference.feed, prepared, part, inference.device)
            yield given, torch.from_numpy(targets[part]).to(inference.device)

    return batched
