"""Recurrent layers step by step compute, and learn, as torch's own kernels do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nasgen.evaluation.unrolled import states
from nasgen.genotypes.recurrent import CELLS
from nasgen.layers.modules import Recurring


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("n_steps", "n_rows", "n"), [(7, 4, 5), (1, 3, 1)])
def test_states_and_gradients_are_those_of_the_fused_layer(
    cell: str, n_steps: int, n_rows: int, n: int
) -> None:
    torch.manual_seed(0)
    layer = Recurring(cell, 6, n).double()
    weights: list[Any] = list(layer.parameters())
    x = torch.randn(n_rows, 6, n_steps, dtype=torch.float64, requires_grad=True)
    seen = torch.randn(n_rows, n, n_steps, dtype=torch.float64)
    expected = layer(x)
    wanted = torch.autograd.grad((expected * seen).sum(), [x, *weights])
    read = torch.einsum("gf,bft->tgb", layer.weight_ih, x) + layer.bias_ih[:, None]
    found = states(cell, read, layer.weight_hh, layer.bias_hh).permute(2, 1, 0)
    gradients = torch.autograd.grad((found * seen).sum(), [x, *weights])
    assert torch.allclose(found, expected, atol=1e-12)
    for got, want in zip(gradients, wanted, strict=True):
        assert torch.allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_states_keep_single_precision_however_small_they_are(cell: str) -> None:
    torch.manual_seed(0)
    n, scales = 3, torch.logspace(-9, 0, 37, dtype=torch.float64)
    layer = Recurring(cell, 6, n).double()
    gates = len(layer.weight_ih)
    read = torch.randn(4, gates, 1, dtype=torch.float64) * scales
    bias = torch.zeros(gates, dtype=torch.float64)
    # Of one step: what follows adds, and may come close to 0.
    first = states(cell, read[:1].float(), layer.weight_hh.float(), bias.float())
    exact = states(cell, read[:1], layer.weight_hh, bias)
    assert ((first - exact).abs() <= 1e-6 * exact.abs() + 1e-30).all()
    assert torch.allclose(
        states(cell, read.float(), layer.weight_hh.float(), bias.float()).double(),
        states(cell, read, layer.weight_hh, bias),
        atol=2e-6,
    )
    ends = torch.tensor([[-1e4, 1e4, 0.0]]).expand(1, gates, 3)
    assert states(cell, ends, layer.weight_hh.float(), bias.float()).isfinite().all()
