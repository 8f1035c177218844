"""Layers of recurrent units in training step by step, their backward passes written out.

For what torch's fused kernels cannot do: the inputs' share of the gates comes from elsewhere, such
as from products block by block. Automatic differentiation would take some sixty calls for a step of
a gated layer; here it is about fifteen. The gradients of gates are that of the state times factors
which are made of all steps at once, and those of weights are one product over all steps.

Everything stands as (T, rows, B): steps, units gate by gate, sequences. Gates stand as in torch:
r, z, n for a GRU and i, f, g, o for an LSTM.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SATURATED: Final = 20.0  # tanh of it is 1 in double precision too


def states(cell: str, read: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the states (T, n, B) of a layer of units that begin with 0.

    `read` (T, gates * n, B) is W x and its bias, `weight` (gates * n, n) and `bias` (gates * n,)
    belong to the state before. There is no second derivative.
    """
    function = FUNCTIONS.get(cell, _Plain)
    found: Tensor = function.apply(read, weight, bias, cell)
    return found


def _tanh(values: Tensor) -> Tensor:
    """Make values their tanh, in place: with e = exp(2 x) - 1 it is e / (e + 2).

    It is as precise as torch's tanh, which takes several times as long. By a sigmoid it would be
    faster still, but wrong near 0 in single precision. At `SATURATED` it is 1, and e still finite.
    """
    e = values.clamp_(max=SATURATED).mul_(2).expm1_()
    return e.div_(e + 2)


def _of_tanh(values: Tensor) -> Tensor:
    """Return the derivatives of a tanh, 1 - values^2, in one pass."""
    return torch.addcmul(values.new_ones(()), values, values, value=-1)


def _of_sigmoid(values: Tensor, out: Tensor) -> Tensor:
    """Make `out` the derivatives of a sigmoid, values - values^2, in one pass, and return it."""
    return torch.addcmul(values, values, values, value=-1, out=out)


def _of_weights(gradients: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of weight and bias, of those (T, rows, B) of what they give."""
    flat = gradients.transpose(0, 1).flatten(1)
    return flat @ before.transpose(0, 1).flatten(1).t(), flat.sum(1)


def _before(values: Tensor) -> Tensor:
    """Return what was there one step before, at first 0."""
    return torch.cat((torch.zeros_like(values[:1]), values[:-1]))


class _Plain(torch.autograd.Function):
    """h' = act(W x + U h + b), act tanh or max(0, .)."""

    @staticmethod
    def forward(ctx: Any, read: Tensor, weight: Tensor, bias: Tensor, cell: str) -> Tensor:
        values = read + bias[:, None]
        for t in range(len(values)):
            if t:
                values[t].addmm_(weight, values[t - 1])
            if cell == "rnn_relu":
                values[t].relu_()
            else:
                _tanh(values[t])
        ctx.cell = cell
        ctx.save_for_backward(values, weight)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        values, weight = ctx.saved_tensors
        is_relu = ctx.cell == "rnn_relu"
        slopes = (values > 0).to(values) if is_relu else _of_tanh(values)
        found, across = torch.empty_like(values), weight.t()
        for t in reversed(range(len(values))):
            own = given[t] if t == len(values) - 1 else torch.addmm(given[t], across, found[t + 1])
            torch.mul(own, slopes[t], out=found[t])
        return found, *_of_weights(found, _before(values)), None


class _Gru(torch.autograd.Function):
    """r, z = sigmoid(W x + U h + b), n = tanh(W x + r (U h + b)), h' = n + z (h - n)."""

    @staticmethod
    def forward(ctx: Any, read: Tensor, weight: Tensor, bias: Tensor, cell: str) -> Tensor:
        n = weight.shape[1]
        found = read.new_empty(len(read), n, read.shape[2])
        gates, candidates = torch.empty_like(read[:, : 2 * n]), torch.empty_like(found)
        heard, column = torch.empty_like(read), bias[:, None]
        state = torch.zeros_like(found[0])
        for t in range(len(read)):
            of_state = torch.addmm(column, weight, state, out=heard[t])
            gate = torch.add(read[t, : 2 * n], of_state[: 2 * n], out=gates[t]).sigmoid_()
            fresh = torch.addcmul(read[t, 2 * n :], gate[:n], of_state[2 * n :], out=candidates[t])
            state = torch.lerp(_tanh(fresh), state, gate[n:], out=found[t])
        ctx.save_for_backward(found, gates, candidates, heard[:, 2 * n :], weight)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        found, gates, candidates, heard, weight = ctx.saved_tensors
        n_steps, n, n_rows = found.shape
        reset, kept, before = gates[:, :n], gates[:, n:], _before(found)
        slopes = _of_tanh(candidates)
        through = torch.addcmul(slopes, slopes, kept, value=-1)
        factors = found.new_empty(n_steps, 3, n, n_rows)
        _of_sigmoid(reset, factors[:, 0]).mul_(through).mul_(heard)
        _of_sigmoid(kept, factors[:, 1]).mul_(before - candidates)
        torch.mul(through, reset, out=factors[:, 2])
        of_states, across = torch.empty_like(found), weight.t()
        carried = torch.zeros_like(found[0])
        for t in reversed(range(n_steps)):
            own = torch.add(given[t], carried, out=of_states[t])
            factors[t].mul_(own)  # (3, n, B): gradients of the gates from here on
            carried = torch.addmm(own * kept[t], across, factors[t].view(3 * n, n_rows))
        heard_of = factors.view(n_steps, 3 * n, n_rows)
        read = torch.cat((heard_of[:, : 2 * n], of_states * through), 1)
        return read, *_of_weights(heard_of, before), None


class _Lstm(torch.autograd.Function):
    """i, f, o = sigmoid(W x + U h + b), g = tanh(...), c' = f c + i g, h' = o tanh(c')."""

    @staticmethod
    def forward(ctx: Any, read: Tensor, weight: Tensor, bias: Tensor, cell: str) -> Tensor:
        n = weight.shape[1]
        gates = read + bias[:, None]
        found = read.new_empty(len(read), n, read.shape[2])
        cells, shown = torch.empty_like(found), torch.empty_like(found)
        content = torch.zeros_like(found[0])
        for t in range(len(read)):
            gate = gates[t].addmm_(weight, found[t - 1]) if t else gates[t]
            gate[: 2 * n].sigmoid_()
            _tanh(gate[2 * n : 3 * n])
            gate[3 * n :].sigmoid_()
            torch.mul(gate[n : 2 * n], content, out=cells[t])
            content = cells[t].addcmul_(gate[:n], gate[2 * n : 3 * n])
            torch.mul(gate[3 * n :], _tanh(shown[t].copy_(content)), out=found[t])
        ctx.save_for_backward(found, gates, cells, shown, weight)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        found, gates, cells, shown, weight = ctx.saved_tensors
        n_steps, n, n_rows = found.shape
        entered, kept, fresh, opened = gates.unflatten(1, (4, n)).unbind(1)
        slopes = _of_tanh(shown).mul_(opened)
        # What a gradient of the cell, or of the state, is times for each gate.
        factors = found.new_empty(n_steps, 4, n, n_rows)
        _of_sigmoid(entered, factors[:, 0]).mul_(fresh)
        _of_sigmoid(kept, factors[:, 1]).mul_(_before(cells))
        torch.mul(_of_tanh(fresh), entered, out=factors[:, 2])
        _of_sigmoid(opened, factors[:, 3]).mul_(shown)
        across, of_cell = weight.t(), torch.zeros_like(found[0])
        for t in reversed(range(n_steps)):
            last = t == n_steps - 1
            flat = None if last else factors[t + 1].view(4 * n, n_rows)
            of_state = given[t] if flat is None else torch.addmm(given[t], across, flat)
            of_cell = torch.addcmul(of_cell, of_state, slopes[t])
            factors[t, :3].mul_(of_cell)
            factors[t, 3].mul_(of_state)
            of_cell.mul_(kept[t])
        flat = factors.view(n_steps, 4 * n, n_rows)
        return flat, *_of_weights(flat, _before(found)), None


FUNCTIONS: Final[dict[str, type[torch.autograd.Function]]] = {"gru": _Gru, "lstm": _Lstm}
