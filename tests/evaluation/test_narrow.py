"""Maps side by side: the gradients are those of each map alone, and only narrow maps stand so."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from nasgen.evaluation import narrow
from nasgen.evaluation.precision import mixed_precision

CPU = torch.device("cpu")
NARROW, USUAL = "_ConvolutionBackward", "ConvolutionBackward0"


@pytest.fixture
def with_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processor have the unit, whatever it has."""
    monkeypatch.setattr(narrow, "pays", lambda: True)


def draws(*shapes: Sequence[int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in shapes
    ]


@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (7, 7), (1, 3), (3, 1)])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 3), (8, 8)])
def test_gradients_are_those_of_torch(kernel: tuple[int, int], size: tuple[int, int]) -> None:
    x, weight, bias, seen = draws((8, 3, *size), (4, 3, *kernel), (4,), (8, 4, *size))
    padding = (kernel[0] // 2, kernel[1] // 2)
    assert narrow.n_beside(8, size[1], padding[1]) > 1
    found = [
        torch.autograd.grad((made * seen).sum(), (x, weight, bias))
        for made in (
            narrow._Convolution.apply(x, weight, bias, padding),
            torch.conv2d(x, weight, bias, padding=padding),
        )
    ]
    torch.testing.assert_close(*found)


def test_second_derivatives_are_there() -> None:
    x, weight = draws((4, 2, 3, 3), (2, 2, 3, 3))
    assert torch.autograd.gradgradcheck(
        lambda *given: narrow._Convolution.apply(*given, None, (1, 1)), (x, weight)
    )


def test_maps_stand_in_a_row_with_a_gap_behind_each() -> None:
    maps = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 2, 3, 2)
    rows = narrow.side_by_side(maps, 2, 1)
    assert rows.shape == (2, 2, 3, 6)
    assert rows[0, 0, 0].tolist() == [0, 0, 0, 1, 1, 0]
    assert rows[1, 1, 2].tolist() == [2, 2, 0, 3, 3, 0]


@pytest.mark.parametrize(("n_maps", "width", "expected"), [
    (64, 8, 8), (64, 4, 8), (64, 3, 16), (64, 1, 32), (12, 4, 4), (7, 4, 1), (64, 40, 1),
])  # fmt: skip
def test_as_many_maps_as_a_row_wants_and_the_batch_allows(
    n_maps: int, width: int, expected: int
) -> None:
    assert narrow.n_beside(n_maps, width, 1) == expected


def made_by(x: Tensor, layer: nn.Module) -> tuple[Tensor, str]:
    """Return the layer's output in bfloat16 and the name of what computes its gradients."""
    _, (autocast, _) = mixed_precision("bfloat16", CPU, 32)
    with autocast:
        made = layer(x)
    assert made.grad_fn is not None
    return made, made.grad_fn.name()


@pytest.mark.parametrize(
    ("settings", "width", "n_maps", "expected"),
    [
        ({"kernel_size": 3, "padding": 1}, 4, 16, NARROW),
        ({"kernel_size": 5, "padding": 2, "bias": False}, 8, 16, NARROW),
        ({"kernel_size": 3, "padding": 1}, 9, 16, USUAL),  # wide enough
        ({"kernel_size": 3, "padding": 1}, 4, 15, USUAL),  # maps that stand in no rows
        ({"kernel_size": 3, "padding": 1, "stride": 2}, 4, 16, USUAL),
        ({"kernel_size": 3, "padding": 1, "groups": 4}, 4, 16, USUAL),
        ({"kernel_size": 3, "padding": 2, "dilation": 2}, 4, 16, USUAL),
        ({"kernel_size": 3, "padding": 0}, 4, 16, USUAL),
        ({"kernel_size": 3, "padding": "same"}, 4, 16, USUAL),
        ({"kernel_size": 4, "padding": 2}, 4, 16, USUAL),
        ({"kernel_size": 1}, 4, 16, USUAL),
    ],
)
def test_only_narrow_maps_stand_side_by_side(
    with_unit: None, settings: dict[str, object], width: int, n_maps: int, expected: str
) -> None:
    x = torch.randn(n_maps, 4, width, width)
    assert made_by(x, nn.Conv2d(4, 8, **settings))[1] == expected  # type: ignore[arg-type]


def test_what_autocast_would_leave_alone_stays_as_it_is(with_unit: None) -> None:
    layer, x = nn.Conv2d(4, 8, 3, padding=1), torch.randn(16, 4, 4, 4)
    _, (autocast, _) = mixed_precision("bfloat16", CPU, 32)
    with autocast, torch.autocast("cpu", enabled=False):
        assert layer(x).dtype == torch.float32
    with autocast:
        assert layer.double()(x.double()).dtype == torch.float64
        weight = torch.randn(2, 8, 4, 3, 3, requires_grad=True)  # of two networks
        made = torch.func.vmap(lambda w: torch.conv2d(x, w, None, (1, 1), (1, 1), (1, 1), 1))(
            weight
        )
    assert made.shape == (2, 16, 8, 4, 4)


def test_nothing_changes_without_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrow, "pays", lambda: False)
    assert made_by(torch.randn(16, 4, 4, 4), nn.Conv2d(4, 8, 3, padding=1))[1] == USUAL


def test_a_layer_answers_and_learns_as_without(
    with_unit: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(8, 8, 3, padding=1), torch.randn(32, 8, 4, 4, requires_grad=True)

    def learned() -> list[Tensor]:
        made, _ = made_by(x, layer)
        assert made.dtype == torch.bfloat16
        return [made, *torch.autograd.grad(made.float().square().sum(), (x, *layer.parameters()))]

    ours = learned()
    again = learned()
    monkeypatch.setattr(narrow, "pays", lambda: False)
    usual = learned()
    assert all(map(torch.equal, ours, again))
    assert torch.equal(ours[0], usual[0])
    for a, b in zip(ours, usual, strict=True):
        torch.testing.assert_close(
            a.float(), b.float(), rtol=0.02, atol=0.02 * b.abs().max().item()
        )
    frozen = nn.Conv2d(8, 8, 3, padding=1).requires_grad_(False)
    monkeypatch.setattr(narrow, "pays", lambda: True)
    assert made_by(x, frozen)[1] == USUAL
