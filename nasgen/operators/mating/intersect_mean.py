"""Only what all parents have, as strong as their mean weight is large (the prose of Chung 2017).

The paper's text says that children have what their parents share; its equations 4 and 5 are a union
(see `mean`). The first choice for several parents. With an environment, what is shared is thinned
by R^(1/m) only (equation 6): children are drawn independently, so m of them share little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasgen.phenotype.survival import Array, Mask


def intersect_mean(
    name: str, weights: Sequence[Array], supports: Sequence[Mask], rng: np.random.Generator
) -> tuple[Array, Mask]:
    """Return |mean of the weights| and the intersection of the supports."""
    total = np.zeros(weights[0].shape)  # float64, in which no sum of float32 weights overflows
    for weight in weights:
        total += weight
    support = np.logical_and.reduce(list(supports))
    return np.where(support, np.abs(total) / len(weights), 0.0), support
