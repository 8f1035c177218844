"""What a cell computes, read from the paths that data take through it.

Isomorphic cells have the same paths, whichever way their edges are written. Counts of each kind of
path (White 2021a, BANANAS) leave a predictor to find out what paths have in common; how many of
some operations lie on a path, and how short a way there is with these alone (Kadlecova 2024, GRAF),
says so, and takes far fewer labels.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from itertools import combinations
from typing import ClassVar, Final, final

import numpy as np

from nasgen.genotypes import Dag
from nasgen.genotypes.cell import SKIP
from nasgen.predictors.base import Floats
from nasgen.search_spaces import nasbench201, nasbench_macro

OPS: Final = ("nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
SHORT: Final = {"nor_conv_1x1": "conv1", "nor_conv_3x3": "conv3", "avg_pool_3x3": "pool"}
SETS: Final = tuple(chosen for n in (1, 2, 3) for chosen in combinations(OPS, n))
NO_PATH: Final = 4  # operations: longer than any path of a cell
N_REMEMBERED: Final = 2**15  # cells; more than the benchmark has
# Weights of the benchmark's network outside its cells, and those that a convolution adds to it.
N_BASE: Final = 73_306
N_WEIGHTS: Final = {"nor_conv_1x1": 28_000, "nor_conv_3x3": 243_040}


@final
class NasBench201Features:
    """Features of a NAS-Bench-201 cell, all finite and >= 0, after GRAF (Kadlecova 2024).

    A set is one, two or all three of the operations conv1, conv3 and pool (7 sets). Identities are
    left out everywhere.

    | names | unit |
    |---|---|
    | most:SET, least:SET, mean:SET | operations of the set on a path from input to output |
    | only:SET | paths that have no operation outside the set |
    | shortest:SET | operations on the shortest of these, 4 if there is none |
    | n:OP | live edges of an operation |
    | first:OP, last:OP | paths that begin or end with an operation |
    | n_paths, n_kinds | paths, and different ones among them |
    | n_skips | paths without an operation |
    | log_params | ln of the benchmark network's weights |
    """

    names: ClassVar[tuple[str, ...]] = (
        *(
            f"{what}:{'+'.join(SHORT[op] for op in chosen)}"
            for chosen in SETS
            for what in ("most", "least", "mean", "only", "shortest")
        ),
        *(f"{what}:{SHORT[op]}" for op in OPS for what in ("n", "first", "last")),
        "n_paths",
        "n_kinds",
        "n_skips",
        "log_params",
    )

    def encode(self, genotype: Dag) -> Floats:
        """Return the features in the order of `names`, float64 (48,)."""
        return np.array(_described(nasbench201.TEMPLATE.ops(genotype)))


@lru_cache(N_REMEMBERED)
def _described(ops: tuple[str, ...]) -> tuple[float, ...]:
    template = nasbench201.TEMPLATE
    cell = template.cell(ops)
    paths, live = template.paths(cell), Counter(template.pruned(cell))
    row: list[float] = []
    for chosen in SETS:
        counts = [sum(op in chosen for op in path) for path in paths]
        pure = [len(path) for path, n in zip(paths, counts, strict=True) if n == len(path)]
        most, least = max(counts, default=0), min(counts, default=0)
        mean = sum(counts) / max(1, len(counts))
        row += [most, least, mean, len(pure), min(pure, default=NO_PATH)]
    for op in OPS:
        row += [
            live[op],
            sum(path[:1] == (op,) for path in paths),
            sum(path[-1:] == (op,) for path in paths),
        ]
    weights = N_BASE + sum(n * live[op] for op, n in N_WEIGHTS.items())
    row += [len(paths), len(set(paths)), paths.count(()), math.log(weights)]
    return tuple(map(float, row))


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
