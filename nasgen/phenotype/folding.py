"""The weights of a layer as one array whose first two axes are (outgoing channel, incoming one).

Most layers have one such tensor. A recurrent layer has two, for what comes in and for its own
state, and the rows of its gates stand one behind another: row g H + j belongs to gate g of unit j.
Joined, all that leads to unit j stands in row j, over all gates, (H, n_in + H, gates); so prunings
and counts know a hidden unit as what convolutions have as a filter, and one connection of two
units, through all gates, as a kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from nasgen.phenotype.network import PREFIX, roles
from nasgen.phenotype.survival import Array
from nasgen.search_spaces.blueprint import Blueprint

Part = tuple[str, int, tuple[int, ...]]  # tensor, gates, shape


@final
@dataclass(frozen=True)
class Folding:
    """How tensors are joined; `layers` holds the parts of each joined array, under its name.

    That is the name of its first tensor.
    """

    layers: Mapping[str, Sequence[Part]]

    @classmethod
    def of(cls, blueprint: Blueprint, shapes: Mapping[str, Sequence[int]]) -> Folding:
        """Return how the named tensors of a network are joined."""
        steps = {step.name: step for step in blueprint.steps}
        by_step: dict[str, list[Part]] = {}
        for name, shape in shapes.items():
            step_name, _, inner = name.removeprefix(f"{PREFIX}.").partition(".")
            first = roles(steps[step_name], inner, len(shape))[0]
            n_gates = first[1] if first is not None and first[0] == "out" else 1
            by_step.setdefault(step_name, []).append((name, n_gates, tuple(shape)))
        found: dict[str, Sequence[Part]] = {}
        for parts in by_step.values():
            alike = {(gates, shape[0], shape[2:]) for _, gates, shape in parts}
            for group in [parts] if len(alike) == 1 else [[part] for part in parts]:
                found[group[0][0]] = tuple(group)
        return cls(found)

    def joined(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the arrays of the tensors, joined."""
        return {name: self._joined(parts, arrays) for name, parts in self.layers.items()}

    def products(self, pairs: Mapping[tuple[str, str], Array]) -> dict[str, Array]:
        """Return what each joined array reads, multiplied with itself: (n, n), or (gates, n, n).

        `pairs` has, for two tensors of a layer, the products of what one reads with what the other
        reads, (n, m), or (gates, n, m).
        """
        return {
            name: np.block([[pairs[a, b] for b, *_ in parts] for a, *_ in parts])
            for name, parts in self.layers.items()
        }

    def apart(self, joined: Mapping[str, Array]) -> dict[str, Array]:
        """Return joined arrays as those of the tensors."""
        found: dict[str, Array] = {}
        for name, array in joined.items():
            parts = self.layers[name]
            pieces = [array]
            if len(parts) > 1:
                ends = np.cumsum([shape[1] for _, _, shape in parts])[:-1]
                pieces = np.split(array, ends, axis=1)
            for (tensor, gates, shape), piece in zip(parts, pieces, strict=True):
                back = piece if gates == 1 else np.moveaxis(piece, -1, 0)
                found[tensor] = np.ascontiguousarray(back).reshape(shape)
        return found

    def _joined(self, parts: Sequence[Part], arrays: Mapping[str, Array]) -> Array:
        if len(parts) == 1 and parts[0][1] == 1:
            return arrays[parts[0][0]]
        folded = [
            arrays[tensor]
            if gates == 1
            else np.moveaxis(arrays[tensor].reshape(gates, shape[0] // gates, *shape[1:]), 0, -1)
            for tensor, gates, shape in parts
        ]
        return np.concatenate(folded, axis=1)
