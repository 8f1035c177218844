"""The support of a network: which of its weights exist. Pruned ones are exactly 0 and stay it.

A support is {tensor name: bool array}, under the network's tensor names, for its parameters; a
tensor that is missing is there as a whole. It moves to relatives by the same heredity plans as the
weights (`moved`). `Support` keeps a network to it and is the only place that does: it sets what is
outside to +0.0 when it is made and after every update of the optimiser that it follows. So nothing
can bring a weight back: no momentum, weight decay, average of snapshots, loss scale, nor a network
that trains on the same storage (see `SharedParameters`, which shares only what has equal supports).

**Dead channels** (`closed`). A filter or dense unit that nothing feeds would still answer with its
bias or, behind a norm, its shift. In the closed form of a support bias, gain and shift of such a
unit are outside too, so its output is exactly 0 in training and in evaluation, with any running
statistics, and nothing has to be folded into what reads it (with zero padding that would be wrong
at the borders). Weights that lead from a dead channel or to one are outside as well: what counts as
living does live. See `channels` for what is dead. Every `Support` is closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor

from nasgen.errors import IncompatibleError
from nasgen.genotypes import Plan
from nasgen.phenotype.channels import Bools, flow, limited
from nasgen.phenotype.heredity import align
from nasgen.phenotype.network import Network, parameter_shapes, structure
from nasgen.phenotype.survival import Masks
from nasgen.search_spaces.blueprint import Blueprint

# Integers of the size of a float: times 1 keeps all its bits, times 0 gives +0.0, also of NaN.
INTEGERS: Final = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@final
class Support:
    """Keeps named parameters at 0 outside their masks; `of` makes it for a network.

    `masks` are boolean tensors of the parameters' shapes; a parameter without one is left alone.
    """

    def __init__(self, parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
        self.masks = dict(masks)
        self._pruned = [(parameters[n], m) for n, m in masks.items() if not bool(m.all())]
        self._views: list[Tensor] = []
        self._factors: list[Tensor] = []
        self.apply()

    @classmethod
    def of(cls, network: Network, arrays: Mapping[str, Any]) -> Support:
        """Close a support and apply it to the network, on the device where it is.

        Raises IncompatibleError for an array that is not one of the network's, or not boolean.
        """
        found = closed(network.blueprint, arrays)
        masks = {name: torch.from_numpy(mask) for name, mask in found.items()}
        return cls(dict(network.named_parameters()), masks)

    @torch.no_grad()
    def apply(self) -> None:
        """Set everything outside the support to +0.0, whatever it is."""
        pairs = zip(self._views, self._pruned, strict=False)
        if any(view.data_ptr() != p.data_ptr() for view, (p, _) in pairs):
            self._views = []  # the parameters were moved
        if not self._views:
            self._views = [p.detach().view(INTEGERS[p.element_size()]) for p, _ in self._pruned]
            self._factors = [
                torch.empty_like(view).copy_(mask)
                for view, (_, mask) in zip(self._views, self._pruned, strict=True)
            ]
        if self._views:
            torch._foreach_mul_(self._views, self._factors)

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Apply the support after each update of an optimiser."""
        optimizer.register_step_post_hook(lambda *_: self.apply())

    def to_arrays(self) -> dict[str, Bools]:
        """Return the support of every parameter, for the store and for operators."""
        return {name: mask.cpu().numpy() for name, mask in self.masks.items()}


def completed(blueprint: Blueprint, arrays: Mapping[str, Any]) -> dict[str, Bools]:
    """Return the support of every parameter of a blueprint's network: True where none is given.

    What the blueprint's links leave out is in no support. Nothing is allocated but the masks.
    Raises IncompatibleError for an unknown name, another shape or values that are not boolean.
    """
    shapes = parameter_shapes(blueprint)
    for name, mask in arrays.items():
        if name not in shapes:
            raise IncompatibleError(
                f"support: the network has no parameter '{name}'; expected some of "
                f"{', '.join(list(shapes)[:3])} ... It belongs to another genotype."
            )
        got = np.asarray(mask)
        if got.dtype != np.bool_ or got.shape != shapes[name]:
            raise IncompatibleError(
                f"support: expected a boolean array of shape {shapes[name]} for '{name}', got "
                f"{got.dtype} of shape {got.shape}."
            )
    found = {
        name: np.array(arrays[name]) if name in arrays else np.ones(shape, np.bool_)
        for name, shape in shapes.items()
    }
    for name, mask in structure(blueprint).items():
        found[name] &= mask
    return found


def closed(blueprint: Blueprint, arrays: Mapping[str, Any]) -> dict[str, Bools]:
    """Return a support of every parameter in which no value belongs to a dead channel.

    Idempotent, and never larger than what is given. Raises like `completed`.
    """
    masks = completed(blueprint, arrays)
    found = flow(blueprint, masks)
    for wire in () if all(mask.all() for mask in masks.values()) else found.wires:
        if wire.opaque:
            continue
        keep = {"in": found.fed[wire.reads]}
        if wire.step.role != "head":
            keep |= {"out": found.live[wire.own], "self": found.live[wire.own]}
        for name, axes in wire.tensors.items():
            masks[name] = limited(masks[name], axes, keep)
    return masks


def moved(
    blueprint: Blueprint, parents: Sequence[tuple[Blueprint, Mapping[str, Any]]], plan: Plan
) -> dict[str, Bools]:
    """Return the closed support of a child, moved from its parents' by the plan of its weights.

    What is new in the child is in the support. Where a plan averages parents, a weight is in it
    that any of these parents has. Raises like `heredity.align`.
    """
    # Moved is what is absent: what is fresh, and the border of a larger kernel, are then there.
    fresh = _absent(blueprint, {})
    givers = [(b, _absent(b, masks)) for b, masks in parents]
    found, _ = align(blueprint, fresh, givers, plan, scaled=False)
    return closed(blueprint, {name: (t < 1 - 1e-6).numpy() for name, t in found.items()})


def _absent(blueprint: Blueprint, arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    masks, own = completed(blueprint, arrays), structure(blueprint)
    # What the graph never had was not pruned: a child whose graph has it has it.
    gone = {name: own[name] & ~mask if name in own else ~mask for name, mask in masks.items()}
    return {name: torch.from_numpy(mask).float() for name, mask in gone.items()}


def n_params(masks: Masks) -> int:
    """Return how many parameters a support holds."""
    return sum(int(mask.sum()) for mask in masks.values())


def n_living(masks: Masks) -> int:
    """Return how many synapses a closed support holds: weights, not biases, gains or shifts."""
    return n_params({name: mask for name, mask in masks.items() if mask.ndim > 1})
