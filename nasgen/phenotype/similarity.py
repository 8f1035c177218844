"""How alike the supports of relatives are: overlap (Chung 2018, equation 4) and what corrects it.

Clusters are kernels or filters, numbered by gene tag or by place (`nasgen.phenotype.census`). All
measures are None where they are not defined, such as the overlap of a network without clusters with
another: that of nothing is no agreement. High overlap of networks that have hardly anything left is
no agreement either, so report the density beside it. No torch here: the driver selects by these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from nasgen.phenotype.census import Clusters

Array = npt.NDArray[Any]
AT_ONCE: Final = 1 << 20  # clusters of a layer that are compared at a time

# Arrays of numbers of clusters whose last axis are the layers: those of the first network, of the
# second, of both, and of their ancestor (NaN where that is not known).
Measure = Callable[[Array, Array, Array, Array], Array]


def overlap(own: Array, other: Array, both: Array, of: Array) -> Array:
    """Return |A and B| / |A|: the share of A that B has too (equation 4); not symmetric."""
    return _ratio(both.sum(-1), own.sum(-1))


def jaccard(own: Array, other: Array, both: Array, of: Array) -> Array:
    """Return |A and B| / |A or B|."""
    return _ratio(both.sum(-1), (own + other - both).sum(-1))


def corrected(own: Array, other: Array, both: Array, of: Array) -> Array:
    """Return (observed - expected) / (1 - expected) of the overlap: 0 by chance, 1 if A is in B.

    Expected is what A would share with as many clusters as B has in each layer, drawn at random:
    the sum over layers of |A_l| |B_l| / n_l, as a share of |A|. NaN where B has everything.
    """
    expected = np.where(own > 0, _ratio(own * other, of), 0.0)
    chance = _ratio(expected.sum(-1), own.sum(-1))
    return _ratio(overlap(own, other, both, of) - chance, 1.0 - chance)


def mutual_information(own: Array, other: Array, both: Array, of: Array) -> Array:
    """Return the bits that the support of one says about that of the other, over all layers.

    The mean over clusters of the mutual information of "A has it" and "B has it" in its layer; 0
    where they are independent, and where one of them has all of a layer or nothing.
    """
    cells = np.stack([both, own - both, other - both, of - own - other + both])  # of a 2 x 2 table
    rows, columns = np.stack([own, own, of - own, of - own]), np.stack([other, of - other] * 2)
    beyond_chance = np.where(cells > 0, _ratio(cells * of, rows * columns), 1.0)
    bits = np.where(cells > 0, cells * np.log2(beyond_chance), 0.0)
    return _ratio(np.where(np.isnan(of), np.nan, bits.sum(0)).sum(-1), of.sum(-1))


MEASURES: Final[Mapping[str, Measure]] = {
    "overlap": overlap,
    "jaccard": jaccard,
    "corrected": corrected,
    "mutual_information": mutual_information,
}


@final
class Shared:
    """What networks have in common, pair by pair and layer by layer.

    A layer had all the clusters that the `ancestors` or the networks have; without ancestors, what
    is measured against chance is not defined.
    """

    def __init__(self, members: Sequence[Clusters], ancestors: Sequence[Clusters] = ()) -> None:
        everybody, n = [*members, *ancestors], len(members)
        self.layers = tuple(dict.fromkeys(name for one in (*ancestors, *members) for name in one))
        self.of = np.full(len(self.layers), np.nan)
        self.both = np.zeros((n, n, len(self.layers)))
        for i, name in enumerate(self.layers):
            parts = [np.asarray(one.get(name, ()), np.int64) for one in everybody]
            found, places = np.unique(np.concatenate(parts), return_inverse=True)
            rows = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
            has = np.zeros((len(parts), len(found)), np.bool_)
            has[rows, places] = True
            for start in range(0, len(found), AT_ONCE):
                some = has[:n, start : start + AT_ONCE].astype(np.float32)  # exact up to 2**24
                self.both[:, :, i] += some @ some.T
            if ancestors:
                self.of[i] = len(found)

    def pairs(self, measure: Measure = overlap) -> Array:
        """Return the measure of each with each, (members, members); NaN where it is undefined."""
        return measure(*self._counts())

    def mean(self, measure: Measure = overlap) -> float | None:
        """Return the mean over ordered pairs of different members, as Chung 2018 does.

        Pairs for which it is not defined are left out; None if that are all.
        """
        return _mean(self.pairs(measure))

    def by_layer(self, measure: Measure = overlap) -> dict[str, float | None]:
        """Return what `mean` gives in each layer alone."""
        found = measure(*(counts[..., None] for counts in self._counts()))
        return {name: _mean(found[:, :, i]) for i, name in enumerate(self.layers)}

    def _counts(self) -> tuple[Array, Array, Array, Array]:
        n = np.einsum("iil->il", self.both)
        own, other, of = n[:, None, :], n[None, :, :], self.of
        shape = self.both.shape
        return (
            np.broadcast_to(own, shape),
            np.broadcast_to(other, shape),
            self.both,
            np.broadcast_to(of, shape),
        )


def between(
    a: Clusters, b: Clusters, ancestor: Clusters | None = None, measure: Measure = overlap
) -> float | None:
    """Return a measure of two networks, None where it is not defined."""
    shared = Shared([a, b], () if ancestor is None else [ancestor])
    found = float(shared.pairs(measure)[0, 1])
    return None if np.isnan(found) else found


def _mean(pairs: Array) -> float | None:
    values = pairs[~np.eye(len(pairs), dtype=bool)]
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None


def _ratio(part: Array, whole: Array) -> Array:
    """Return part / whole, NaN where that is not defined."""
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
