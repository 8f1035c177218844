"""Several feature sets side by side: "structural+zero-cost"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from nasgen.genotypes import Genotype
from nasgen.predictors.base import Features, Floats, encode_all


@final
class Joined:
    """The features of all `parts` in order; of several with one name the first."""

    def __init__(self, parts: Sequence[Features]) -> None:
        self.parts = tuple(parts)
        every = [name for part in self.parts for name in part.names]
        self.names: tuple[str, ...] = tuple(dict.fromkeys(every))
        self._places = [every.index(name) for name in self.names]

    def encode(self, genotype: Genotype) -> Floats:
        """Return the features in the order of `names`, float64 (f,)."""
        row: Floats = self.encode_all([genotype])[0]
        return row

    def encode_all(self, genotypes: Sequence[Genotype]) -> Floats:
        """Return the features of one or more genotypes, float64 (n, f)."""
        joined: Floats = np.hstack([encode_all(part, genotypes) for part in self.parts])
        return joined[:, self._places]
