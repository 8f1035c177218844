"""A sample plug-in: one mutation. Light to import, because `nasgen list` imports it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nasgen

if TYPE_CHECKING:
    import numpy as np

    from nasgen import Dag
    from nasgen.search_spaces.dag_cnn import DagCnn


@nasgen.mutation("swap-kernels", accepts="dag")
def swap_kernels(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
    """Two convolutions of different kernel size exchange them."""
    convs = [v for v in parent.vertices if v.op == "conv"]
    pairs = [(a, b) for a in convs for b in convs if a.kernel < b.kernel]
    if not pairs:
        raise nasgen.NotApplicable("all convolutions have the same kernel size.")
    a, b = pairs[rng.integers(len(pairs))]
    return parent.change(a.tag, kernel=b.kernel).change(b.tag, kernel=a.kernel)
