"""Strength is the geometric mean of the owners' weights (Chung 2018, equations 2 and 3).

    M = product over k in K_c of |w_k|^(1 / |K_c|), K_c the parents that have the kernel c

The exponent is not in the paper. Without it a kernel that one parent has beats one that all five
have, because 0.05 is more than 0.05^5. The equations' factors alpha_k are left out: equal for all
parents, they would change every strength by the same factor, which no environment asks for (without
the exponent it would be alpha^|K_c|, another one for each number of owners). Logarithms are added
up, so that nothing underflows.

Kernels are united, but in a kernel its owners are intersected. Owners that were thinned apart may
share fewer synapses than a child should have; then it has all of them, and is over-shrunk.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasgen.phenotype import clusters
from nasgen.phenotype.survival import Array, Mask


def product(
    name: str, weights: Sequence[Array], supports: Sequence[Mask], rng: np.random.Generator
) -> tuple[Array, Mask]:
    """Return strengths, and of the kernels that any parent has what all its owners have.

    M = product over k in K_c of |w_k|^(1 / |K_c|), K_c the parents that have the kernel c (Chung
    2018, equations 2 and 3, as a geometric mean: else few owners would beat many).
    """
    shape = weights[0].shape
    owns = [clusters.spread(clusters.living(support, "kernel"), shape) for support in supports]
    return _geometric(weights, supports, owns)


def product_all(
    name: str, weights: Sequence[Array], supports: Sequence[Mask], rng: np.random.Generator
) -> tuple[Array, Mask]:
    """Return strengths and what all parents have: every parent counts as an owner.

    M = product over k of |w_k|^(1 / m) (Chung 2018, equations 2 and 3, as a geometric mean).
    """
    everywhere = np.ones(weights[0].shape, np.bool_)
    return _geometric(weights, supports, [everywhere] * len(weights))


def _geometric(
    weights: Sequence[Array], supports: Sequence[Mask], owns: Sequence[Mask]
) -> tuple[Array, Mask]:
    total, n_owners = np.zeros(weights[0].shape), np.zeros(weights[0].shape)
    support = np.logical_or.reduce(list(owns))
    for weight, own, has in zip(weights, owns, supports, strict=True):
        size = np.abs(weight, dtype=np.float64)
        total += np.log(size, out=np.zeros(size.shape), where=own & (size > 0))
        support = support & (has | ~own)
        n_owners += own
    mean = np.exp(total / np.maximum(n_owners, 1))
    is_zero = np.logical_or.reduce([(w == 0) & own for w, own in zip(weights, owns, strict=True)])
    return np.where(support & ~is_zero, mean, 0.0), support
