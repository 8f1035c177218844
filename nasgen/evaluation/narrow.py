"""Gradients of convolutions on narrow maps, on processors with AMX.

A matrix unit for bfloat16 multiplies 32 values of a row of a map at once, and a row of 4 leaves
most of it idle: the gradient of the weights then takes several times as long as that of the
inputs. Here maps stand side by side, with a gap of zeros behind each, so that a row has at least
`WIDE` values. The sums are the same, added in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# On two cores of an Intel Xeon, 128 maps: the gradient of 3x3 weights from 192 to 192 channels took
# 3.8 instead of 11.5 ms on maps of 3x3, 4.5 instead of 14.4 on 4x4; from 96 to 192 channels 3.9
# instead of 9.5 on 6x6 and 8.0 instead of 13.3 on 8x8; on 12x12 and 16x16 nothing was gained. With
# AVX512_BF16 alone (ONEDNN_MAX_CPU_ISA, busy cores) it took less on some maps and more on others.
NARROW: Final = 8  # values of the widest rows that stand side by side
WIDE: Final = 40
UNIT: Final = "amx_bf16"
CAST: Final = frozenset({torch.float32, torch.bfloat16})


def has_unit(*names: str) -> bool:
    """Tell whether the processor has one of these; a torch that cannot tell counts as without."""
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(found.get(name) for name in names)


def pays() -> bool:
    """Tell whether the processor has a matrix unit that narrow maps leave idle."""
    return has_unit(UNIT)


class NarrowMaps(TorchFunctionMode):
    """While it is entered, convolutions in bfloat16 compute their gradients as said above.

    Those with another stride, dilation or padding than a layer that keeps the map's size has, with
    groups, or with kernels of 1x1 are computed as always.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.conv2d and not kwargs and len(args) == 7 and _is_narrow(*args):
            x, weight, bias, _, padding, *_ = args
            kind = torch.bfloat16
            return _Convolution.apply(
                x.to(kind), weight.to(kind), None if bias is None else bias.to(kind), padding
            )
        return func(*args, **(kwargs or {}))


class Within(AbstractContextManager[None]):
    """Several contexts as one, which may be entered again and again."""

    def __init__(self, *contexts: AbstractContextManager[Any]) -> None:
        self.contexts = contexts

    def __enter__(self) -> None:
        for context in self.contexts:
            context.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for context in reversed(self.contexts):
            context.__exit__(kind, error, trace)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return torch.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (x, weight) = grads, ctx.saved_tensors
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        n = n_beside(len(x), x.shape[-1], ctx.padding[-1])
        inputs, _, bias = _gradients(grad, x, weight, ctx.padding, (of_x, False, of_bias))
        if not of_weight:
            return inputs, None, bias, None
        gap = ctx.padding[-1]
        wide = side_by_side(grad, n, gap), side_by_side(x, n, gap)
        _, weights, _ = _gradients(*wide, weight, ctx.padding, (False, True, False))
        return inputs, weights, bias, None


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, padding: Sequence[int], wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    if not any(wanted):
        return None, None, None
    found: tuple[Tensor | None, Tensor | None, Tensor | None]
    found = torch.ops.aten.convolution_backward(
        grad, x, weight, [len(weight)], [1, 1], padding, [1, 1], False, [0, 0], 1, wanted
    )
    return found


def _is_narrow(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> bool:
    is_trained = torch.is_grad_enabled() and weight.requires_grad and x.ndim == 4
    # A layer may leave autocast, which leaves other types alone; `torch.func` wants other rules.
    is_cast = torch.is_autocast_enabled("cpu") and {x.dtype, weight.dtype} <= CAST
    if not is_trained or not is_cast or torch._C._are_functorch_transforms_active():
        return False
    if groups != 1 or stride != (1, 1) or dilation != (1, 1):
        return False
    kernel = tuple(weight.shape[2:])
    if padding != tuple(side // 2 for side in kernel) or kernel[-1] % 2 == 0 or kernel == (1, 1):
        return False
    return x.shape[-1] <= NARROW and n_beside(len(x), x.shape[-1], padding[-1]) > 1


def n_beside(n_maps: int, width: int, gap: int) -> int:
    """Return how many maps stand in a row: a power of two that divides their number."""
    n = 1
    while n * (width + gap) < WIDE and n_maps % (2 * n) == 0:
        n *= 2
    return n


def side_by_side(maps: Tensor, n: int, gap: int) -> Tensor:
    """Return maps (B, C, H, W) as (B / n, C, H, n * (W + gap)), channels last in memory."""
    b, c, h, w = maps.shape
    rows = maps.new_zeros(b // n, h, n, w + gap, c)
    rows[:, :, :, :w] = maps.permute(0, 2, 3, 1).reshape(b // n, n, h, w, c).transpose(1, 2)
    return rows.view(b // n, h, n * (w + gap), c).permute(0, 3, 1, 2)
