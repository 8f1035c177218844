"""The torch modules that built-in layers need and torch.nn does not have.

Exported networks bring their source: they use torch alone, and keep the arguments of their
constructors as attributes of the same names.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEPT = 2.0  # a state then loses an eighth a step
SPAN = 50.0  # steps for which units of a GRU keep a state at most, as they begin
QUICK = -1.0  # an update gate then takes in nearly three quarters of what is new


class Summed(nn.Module):
    """Element-wise sum of one or more tensors of equal shape."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        if not others:
            return first
        total = first + others[0]  # a new tensor: only this one may be added to in place
        for tensor in others[1:]:
            total += tensor
        return total


class Padded(nn.Module):
    """(B, C, H, W) with `margins` (left, right, top, bottom) of the mean of its corner pixels."""

    def __init__(self, margins: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.margins = margins

    def forward(self, x: Tensor) -> Tensor:
        corners = x[:, :, 0, 0] + x[:, :, 0, -1] + x[:, :, -1, 0] + x[:, :, -1, -1]
        outside = 1 - F.pad(x.new_ones((1, 1, *x.shape[2:])), self.margins)
        return F.pad(x, self.margins) + outside * (corners / 4)[:, :, None, None]


class Concatenated(nn.Module):
    """Tensors (B, C_i, H, W) joined along the channels."""

    def forward(self, *inputs: Tensor) -> Tensor:
        return inputs[0] if len(inputs) == 1 else torch.cat(inputs, 1)


class PooledLinear(nn.Module):
    """(B, C, ...) -> (B, n_outputs): mean over all axes behind the channels, then linear."""

    def __init__(self, n_channels: int, n_outputs: int) -> None:
        super().__init__()
        self.n_channels, self.n_outputs = n_channels, n_outputs
        self.linear = nn.Linear(n_channels, n_outputs)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim > 2:
            x = x.mean(tuple(range(2, x.ndim)))
        outputs: Tensor = self.linear(x)
        return outputs


class Embedded(nn.Module):
    """Steps of sequences through one linear map: (B, F, T) vectors or (B, T) numbers of tokens."""

    def __init__(self, n_features: int, n_channels: int) -> None:
        super().__init__()
        self.n_features, self.n_channels = n_features, n_channels
        self.weight = nn.Parameter(torch.randn(n_channels, n_features) / n_features**0.5)

    def forward(self, x: Tensor) -> Tensor:
        if x.is_floating_point():
            return self.weight @ x
        return F.embedding(x, self.weight.t()).transpose(1, 2)


class SummedUp(nn.Module):
    """(B, F, T) -> (B, 3 F): mean, largest value and deviation over the first `lengths` steps."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[2], device=x.device)
        inside = (torch.arange(x.shape[2], device=x.device) < lengths[:, None])[:, None]
        n = lengths[:, None].to(x.dtype)
        mean = torch.where(inside, x, 0).sum(2) / n
        largest = torch.where(inside, x, -torch.inf).amax(2)
        apart = torch.where(inside, (x - mean[:, :, None]).square(), 0).sum(2) / n
        # The root has no gradient at 0, where a sequence has one step or equal ones.
        return torch.cat((mean, largest, (apart + 1e-6).sqrt()), 1)


def turned(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Return sequences (B, F, T) from their last step to the first: of `lengths` steps, or all.

    What lies behind a sequence stays where it is. Turned twice, they are as they were.
    """
    if lengths is None:
        return x.flip(2)
    at = torch.arange(x.shape[2], device=x.device)
    last = lengths[:, None] - 1
    at = torch.where(at <= last, last - at, at)
    return x.gather(2, at[:, None].expand(-1, x.shape[1], -1))


class Recurring(nn.Module):
    """A layer of recurrent units: (B, F_i, T) tensors -> states (B, n_units, T).

    A `backward` one reads each sequence from the last of its `lengths` steps to the first, and its
    states stand at the steps that they have read last.

    `cell` is rnn_tanh, rnn_relu, gru or lstm. Weights and biases are drawn from U(-r, r) with
    r = 1 / sqrt(n_units). Gates that keep the state begin open, else what lies 20 steps back is
    forgotten before it can be learnt: the bias of an LSTM's forget gate is higher by `KEPT`
    (Jozefowicz 2015). A GRU's gate that keeps much takes in little, and layer upon layer of such
    units would hand up hardly anything of the last steps. So each unit is one that keeps, with a
    bias higher by log s, s drawn from U(1, `SPAN`), for about s steps (Tallec 2018), or, as
    probably, one that takes in, with a bias higher by `QUICK`.

    The parameters are the module's own and are handed to torch's kernels: `torch.nn.RNNBase` keeps
    a second list of them, which goes stale where somebody else brings the weights (functional
    calls, relatives that share parameters), and training then stops in silence.
    """

    def __init__(self, cell: str, n_inputs: int, n_units: int, backward: bool = False) -> None:
        super().__init__()
        self.cell, self.n_inputs, self.n_units = cell, n_inputs, n_units
        self.backward = backward
        rows = {"gru": 3, "lstm": 4}.get(cell, 1) * n_units
        self.weight_ih = nn.Parameter(torch.empty(rows, n_inputs))
        self.weight_hh = nn.Parameter(torch.empty(rows, n_units))
        self.bias_ih = nn.Parameter(torch.empty(rows))
        self.bias_hh = nn.Parameter(torch.empty(rows))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(n_units**-0.5), n_units**-0.5)
        gate = self.bias_ih.detach()[n_units : 2 * n_units]  # the second one: forget, update
        if cell == "lstm":
            gate += KEPT
        elif cell == "gru":
            kept = torch.empty(n_units).uniform_(1.0, SPAN).log()
            gate += torch.where(torch.rand(n_units) < 0.5, kept, torch.full_like(kept, QUICK))

    def forward(self, first: Tensor, *others: Tensor, lengths: Tensor | None = None) -> Tensor:
        x = torch.cat((first, *others), 1) if others else first
        if self.backward:
            return turned(self._forward(turned(x, lengths)), lengths)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        if not x.is_cuda:
            return self._states(x)
        import warnings

        # Under autocast cuDNN answers in float16 whatever was asked for, which cannot be joined
        # with bfloat16; and at each call it warns of weights that are not in one piece.
        with warnings.catch_warnings(), torch.autocast("cuda", enabled=False):
            warnings.filterwarnings("ignore", "RNN module weights are not part of single")
            return self._states(x.to(self.weight_ih.dtype))

    def _states(self, x: Tensor) -> Tensor:
        start = x.new_zeros(1, x.shape[0], self.n_units)
        weights: list[Tensor] = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        # Without dropout training differs from evaluation in one thing: cuDNN can go back.
        goes_back = self.training or torch.is_grad_enabled()
        # True: there are biases; one layer, no dropout, one direction, steps come first.
        shape = (True, 1, 0.0, goes_back, False, False)
        steps = x.permute(2, 0, 1)
        if self.cell == "lstm":
            states = torch.lstm(steps, [start, start], weights, *shape)[0]
        elif self.cell == "gru":
            states = torch.gru(steps, start, weights, *shape)[0]
        elif self.cell == "rnn_relu":
            states = torch.rnn_relu(steps, start, weights, *shape)[0]
        else:
            states = torch.rnn_tanh(steps, start, weights, *shape)[0]
        return states.permute(1, 2, 0)


class AtEnd(nn.Module):
    """(B, F_i, T) tensors -> (B, sum of F_i): their values at step `lengths` - 1, or at the last.

    `padded` reads the last step of all of them, whatever their lengths. The last `n_backward`
    tensors, which end there, are read at their first step.
    """

    def __init__(self, padded: bool, n_backward: int = 0) -> None:
        super().__init__()
        self.padded, self.n_backward = padded, n_backward

    def forward(self, first: Tensor, *others: Tensor, lengths: Tensor | None = None) -> Tensor:
        found = []
        given = (first, *others)
        for i, x in enumerate(given):
            if i >= len(given) - self.n_backward:
                found.append(x[:, :, 0])
            elif lengths is None or self.padded:
                found.append(x[:, :, -1])
            else:
                at = (lengths - 1)[:, None, None].expand(-1, x.shape[1], 1)
                found.append(x.gather(2, at)[:, :, 0])
        return torch.cat(found, 1)
