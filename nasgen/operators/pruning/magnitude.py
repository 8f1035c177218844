"""The largest weights of the network stay (Stier 2021, section 4.1: class-blinded magnitude).

One threshold for all layers, so a layer whose weights are small loses more of them. Exact: of equal
weights the first ones stay.
"""

from __future__ import annotations

import numpy as np

from nasgen.phenotype.survival import Arrays, Masks, strongest


def magnitude(
    name: tuple[str, ...],
    weight: Arrays,
    support: Masks,
    budget: int,
    rng: np.random.Generator,
) -> Masks:
    """Return the support of the `budget` largest weights of all tensors, {name: array}."""
    return strongest({n: np.abs(w) for n, w in weight.items()}, support, budget)
