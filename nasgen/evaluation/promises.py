"""What plug-ins promise, checked where it is used: values of objectives and scores, and layers.

A layer that breaks its promise can train all the same, and its results mean nothing. Each one that
a plug-in brings is asked on two rows, alone, before its network is trained. Built-in layers are
held to more by the contract suites.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from nasgen import registry
from nasgen.errors import FOREIGN, EvaluationError, NasgenError
from nasgen.evaluation.batches import answered
from nasgen.evaluation.metrics import Measured
from nasgen.phenotype.lent import lent
from nasgen.phenotype.network import Network
from nasgen.search_spaces.blueprint import Step


def number(value: Any, what: str) -> float:
    """Return a value as a float: a number, or an array or tensor of one; EvaluationError else.

    A whole number beyond all floats is infinite, as in floating point.
    """
    found = value
    if getattr(value, "ndim", None) == 0 or getattr(value, "shape", None) == (1,):
        found = value.item()
    if isinstance(found, bool) or not isinstance(found, Real):
        raise EvaluationError(f"{what} must return a number, got {_shown(value)}.")
    try:
        return float(found)
    except OverflowError:
        return math.inf if found == abs(found) else -math.inf


def value_of(name: str, objective: Callable[[Measured], float], measured: Measured) -> float:
    """Return an objective of a network; EvaluationError where it fails, or is no number."""
    try:
        value = objective(measured)
    except FOREIGN as error:
        raise EvaluationError(
            f"objective '{name}' failed with {type(error).__name__}: {error}"
        ) from error
    return number(value, f"objective '{name}'")


def check_layers(network: Network, example: Mapping[str, Tensor]) -> None:
    """Raise EvaluationError when a layer of a plug-in does not do what it promises.

    It returns one tensor of the shape that `out_shape` says, through which gradients reach its
    inputs, and leaves torch's gradient mode as it is, in training and in evaluation. `example` is
    one row. The network is left as it was.
    """
    foreign = [step for step in network.blueprint.steps if _is_foreign(step)]
    if not foreign:
        return
    checks = [_Check(step, network.steps[step.name]) for step in foreign]
    rows = {name: torch.cat([row, row]) for name, row in example.items()}
    was_training = network.training
    buffers = [buffer.clone() for buffer in network.buffers()]  # such as running statistics
    try:
        for mode in (True, False):
            with lent(), torch.enable_grad():
                answered(network.train(mode), rows)
    except NasgenError:
        raise
    except FOREIGN as error:
        inside = next((check for check in checks if check.is_inside), None)
        is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if inside is None or is_memory or "can't allocate memory" in str(error):
            raise
        raise EvaluationError(f"{inside.who} raised {type(error).__name__}: {error}") from error
    finally:
        for check in checks:
            check.end()
        network.train(was_training)
        with torch.no_grad():
            for buffer, before in zip(network.buffers(), buffers, strict=True):
                buffer.copy_(before)


class _Check:
    """Watches one layer while it runs."""

    def __init__(self, step: Step, module: nn.Module) -> None:
        self.who = f"layer '{step.layer}'"
        self.step = step
        self.is_inside = False
        self._inputs: list[Tensor] = []
        self._handles = [
            module.register_forward_pre_hook(self._before),
            module.register_forward_hook(self._after),
        ]

    def end(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _before(self, module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        # Of their own, so that it shows whether gradients of this very layer reach them.
        own = tuple(
            v.detach().requires_grad_() if isinstance(v, Tensor) and v.is_floating_point() else v
            for v in given
        )
        self._inputs = [v for v in own if isinstance(v, Tensor) and v.requires_grad]
        self.is_inside = True
        return own

    def _after(self, module: nn.Module, given: tuple[Any, ...], output: Any) -> Tensor:
        expected = (2, *self.step.out_shape)
        if not isinstance(output, Tensor):
            got = type(output).__name__
            raise EvaluationError(f"{self.who} must return a tensor {expected}, got {got}.")
        if tuple(output.shape) != expected:
            raise EvaluationError(
                f"{self.who} must return a tensor {expected}, as its out_shape says for two rows, "
                f"got {tuple(output.shape)}."
            )
        if not torch.is_grad_enabled():
            raise EvaluationError(
                f"{self.who} switches gradients off for all that comes after it; torch.no_grad() "
                "must end inside."
            )
        if self._inputs and not self._reaches(output):
            raise EvaluationError(
                f"{self.who} detaches its output from its inputs, so that no layer before it would "
                "learn. Take out detach(), no_grad() and operations without a gradient."
            )
        self.is_inside = False
        return output.detach()

    def _reaches(self, output: Tensor) -> bool:
        if not output.requires_grad:
            return False
        found = torch.autograd.grad(output.sum(), self._inputs, allow_unused=True)
        return any(gradient is not None for gradient in found)


def _is_foreign(step: Step) -> bool:
    return registry.get("layers", step.layer).origin != "built-in"


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:80] + '…'} ({type(value).__name__})"
