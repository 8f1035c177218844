"""Which clusters of a network live, layer by layer, in a form that can be kept and compared.

A layer is one weight tensor, (out, in, ...). Kernels are named by the gene tags of their two
channels, so those of relatives meet whatever shapes compaction has left (Chung 2018: gene tagging);
by place, that is by the indices in the network as it is, they meet only as far as nothing has left.
No torch here: the driver and the report read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np
import numpy.typing as npt

from nasgen.errors import DamagedError

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Kind = Literal["kernel", "filter"]
Clusters = Mapping[str, Ints]  # layer -> numbers that stand for its living clusters, ascending

PARTS: Final = ("living", "out", "in", "synapses")
SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio
STEPS: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # of splitmix64 (Steele 2014)


@final
@dataclass(frozen=True)
class LayerCensus:
    """One layer: `living[o, i]` says whether the kernel of channels `out[o]` and `into[i]` lives.

    `out` and `into` are int64, different ones for different channels. `place` is that of its step
    in the network, `op` the name of the layer; `n_synapses` counts living weights.
    """

    place: int
    op: str
    living: Bools
    out: Ints
    into: Ints
    n_synapses: int

    def count(self, kind: Kind) -> int:
        """Return how many kernels or filters live."""
        return int(np.count_nonzero(self.living if kind == "kernel" else self.living.any(axis=1)))

    def clusters(self, kind: Kind, tagged: bool) -> Ints:
        """Return a number for each living cluster, by gene tag or by place."""
        if kind == "filter":
            places = np.flatnonzero(self.living.any(axis=1))
            return np.sort(self.out[places]) if tagged else places
        rows, columns = np.nonzero(self.living)
        if not tagged:
            return (rows << 32) + columns
        return np.sort(pairs(self.out[rows], self.into[columns]))


@final
@dataclass(frozen=True)
class Census:
    """The layers of a network by name, which relatives share: "GENE TAG/TENSOR"."""

    layers: Mapping[str, LayerCensus]

    def clusters(self, kind: Kind = "kernel", tagged: bool = True) -> dict[str, Ints]:
        """Return the living clusters of each layer as ascending numbers, by gene tag or by place.

        Equal numbers in a layer of two networks mean the same cluster.
        """
        return {name: layer.clusters(kind, tagged) for name, layer in self.layers.items()}

    def count(self, kind: Kind) -> int:
        """Return how many kernels or filters live in all layers."""
        return sum(layer.count(kind) for layer in self.layers.values())

    @property
    def n_synapses(self) -> int:
        """How many weights live; the classifier and biases do not count."""
        return sum(layer.n_synapses for layer in self.layers.values())

    @property
    def counts(self) -> dict[str, int]:
        """The numbers under the names of metrics."""
        clusters = {"n_kernels": self.count("kernel"), "n_filters": self.count("filter")}
        return {"n_synapses": self.n_synapses, **clusters}

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return arrays for the store."""
        return {
            f"{layer.place}|{layer.op}|{name}|{part}": value
            for name, layer in self.layers.items()
            for part, value in zip(
                PARTS,
                (layer.living, layer.out, layer.into, np.array([layer.n_synapses], np.int64)),
                strict=True,
            )
        }

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Census:
        """Return what `to_arrays` has written; DamagedError for other arrays."""
        found: dict[tuple[int, str, str], dict[str, npt.NDArray[Any]]] = {}
        try:
            for full, value in arrays.items():
                place, op, name, part = full.split("|")
                found.setdefault((int(place), op, name), {})[part] = value
            layers = {key: _layer(*key[:2], parts) for key, parts in sorted(found.items())}
        except (ValueError, KeyError, IndexError) as error:
            raise DamagedError(f"these arrays are no clusters of a network ({error}).") from None
        return cls({name: layer for (_, _, name), layer in layers.items()})


def _layer(place: int, op: str, parts: Mapping[str, npt.NDArray[Any]]) -> LayerCensus:
    living, out, into, synapses = (parts[part] for part in PARTS)
    if living.dtype != np.bool_ or living.shape != (len(out), len(into)):
        raise ValueError(f"{living.dtype} of shape {living.shape} for {len(out)} x {len(into)}")
    if out.dtype != np.int64 or into.dtype != np.int64:
        raise ValueError(f"channels of {out.dtype} and {into.dtype}")
    return LayerCensus(place, op, living, out, into, int(synapses[0]))


def channels(own: Ints | None, n: int) -> Ints:
    """Return a number for each index of an axis: its gene tag, or its place where it has none.

    Where an axis repeats a tag, as the gates of a GRU and the pixels of a flattened channel do, the
    second and further ones get numbers that follow from the tag and how often it came before.
    """
    if own is None:
        return np.arange(n, dtype=np.int64)
    order = np.argsort(own, kind="stable")
    ascending = own[order]
    first = np.searchsorted(ascending, ascending, side="left")
    before = np.empty(n, np.int64)
    before[order] = np.arange(n) - first
    repeated = mixed(own.view(np.uint64) + before.view(np.uint64) * SPREAD)
    return np.where(before > 0, repeated, own)


def pairs(first: Ints, second: Ints) -> Ints:
    """Return a number for each pair; that two pairs get the same one has odds of 1 in 2**64."""
    return mixed(mixed(first.view(np.uint64)).view(np.uint64) + second.view(np.uint64))


def mixed(values: npt.NDArray[np.uint64]) -> Ints:
    """Return the numbers with all bits mixed, one to one."""
    for shift, factor in STEPS:
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return (values ^ (values >> np.uint64(31))).view(np.int64)
