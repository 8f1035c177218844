"""What a cell computes, read as the paths that data take through it (White 2021a, BANANAS).

Isomorphic cells have the same paths, whichever way their edges are written.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import product
from typing import ClassVar, Final, final

import numpy as np

from nasgen.genotypes import Dag
from nasgen.genotypes.cell import SKIP
from nasgen.predictors.base import Floats
from nasgen.search_spaces import nasbench201, nasbench_macro

OPS: Final = ("nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
PATHS: Final = tuple(path for length in range(4) for path in product(OPS, repeat=length))
# Weights of the benchmark's network outside its cells, and those that a convolution adds to it.
N_BASE: Final = 73_306
N_WEIGHTS: Final = {"nor_conv_1x1": 28_000, "nor_conv_3x3": 243_040}


@final
class NasBench201Features:
    """Features of a NAS-Bench-201 cell, all finite and >= 0.

    | names | unit |
    |---|---|
    | path:A>B>C | paths with these operations, identities left out (40 kinds) |
    | n_OP | live edges of an operation, identities left out |
    | log_params | ln of the benchmark network's weights |
    | depth | operations on the longest path |
    """

    names: ClassVar[tuple[str, ...]] = (
        *("path:" + ">".join(path) for path in PATHS),
        *(f"n_{op}" for op in OPS),
        "log_params",
        "depth",
    )

    def encode(self, genotype: Dag) -> Floats:
        """Return the features in the order of `names`, float64 (45,)."""
        template = nasbench201.TEMPLATE
        paths = template.paths(genotype)
        counts = Counter(paths)
        ops = Counter(template.pruned(genotype))
        weights = N_BASE + sum(n * ops[op] for op, n in N_WEIGHTS.items())
        depth = max((len(path) for path in paths), default=0)
        return np.array(
            [
                *(counts[path] for path in PATHS),
                *(ops[op] for op in OPS),
                math.log(weights),
                depth,
            ],
            dtype=np.float64,
        )


@final
class NasBenchMacroFeatures:
    """Features of a NAS-Bench-Macro network: its blocks, packed to the front of each stage.

    | names | unit |
    |---|---|
    | sS_iI_BLOCK | 1 if block I of stage S is of this kind, counted without identities |
    | log_params | ln of the approximate weights, in those of the smallest block |
    | depth | blocks but identities |
    """

    names: ClassVar[tuple[str, ...]] = (
        *(
            f"s{stage}_i{i}_{block}"
            for stage, n in enumerate(nasbench_macro.STAGES)
            for i in range(n)
            for block in nasbench_macro.BLOCKS
        ),
        "log_params",
        "depth",
    )

    def encode(self, genotype: Dag) -> Floats:
        """Return the features in the order of `names`, float64 (18,)."""
        ops = list(nasbench_macro.TEMPLATE.ops(genotype))
        row: list[float] = []
        weights, depth = 1.0, 0
        for stage, n in enumerate(nasbench_macro.STAGES):
            own, ops = ops[:n], ops[n:]
            kept = [own[0], *(op for op in own[1:] if op != SKIP)]
            kept += [SKIP] * (n - len(kept))
            blocks = [op.removeprefix("reduce_") for op in kept]
            row += [float(b == kind) for b in blocks for kind in nasbench_macro.BLOCKS]
            found = Counter(blocks)
            # A block of expansion 6 has twice the weights of 3; channels double with the stage.
            weights += 4**stage * (found["mb3_k3"] + 2 * found["mb6_k5"])
            depth += sum(found[kind] for kind in nasbench_macro.BLOCKS)
        return np.array([*row, math.log(weights), depth], dtype=np.float64)
