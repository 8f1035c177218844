"""Time of the canonical key on graphs of search size and on graphs made to be hard.

Run: python benchmarks/canonical_key.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable

from nasgen.genotypes import Dag, Draft
from nasgen.genotypes.canonical import key

CONV = {"kernel": 3, "channels": 8}


def residual(n_blocks: int) -> Dag:
    """`n_blocks` times conv, conv, sum with the block's input: 3 vertices a block."""
    draft = Draft()
    here = draft.add("conv", [draft.input], **CONV)
    for _ in range(n_blocks):
        inside = draft.add("conv", [draft.add("conv", [here], **CONV)], **CONV)
        here = draft.add("sum", [here, inside])
    draft.connect(here, draft.output)
    return draft.freeze()


def parallel(n: int, length: int) -> Dag:
    """`n` equal chains of `length` convolutions, summed."""
    draft = Draft()
    ends = []
    for _ in range(n):
        here = draft.input
        for _ in range(length):
            here = draft.add("conv", [here], **CONV)
        ends.append(here)
    draft.connect(draft.add("sum", ends), draft.output)
    return draft.freeze()


def bipartite(n: int, pairs: Iterable[tuple[int, int]]) -> Dag:
    """`n` equal convolutions feeding `n` sums by the given pairs, all joined."""
    draft = Draft()
    left = [draft.add("conv", [draft.input], **CONV) for _ in range(n)]
    right = [draft.add("sum") for _ in range(n)]
    for a, b in pairs:
        draft.connect(left[a], right[b])
    draft.connect(draft.add("concat", right), draft.output)
    return draft.freeze()


def main() -> None:
    """Print one JSON object: the best timing of each graph."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    grid = [(i, j) for i in range(12) for j in range(12)]
    graphs = {
        "residual chain, 33 inner": residual(11),
        "residual chain, 100 inner": residual(33),
        "residual chain, 1000 inner": residual(333),
        "8 equal chains of 3": parallel(8, 3),
        "32 equal chains of 3": parallel(32, 3),
        "complete 12 x 12 sums": bipartite(12, grid),
        "crown 12 x 12 sums": bipartite(12, [(i, j) for i, j in grid if i != j]),
        "cycle of 40": bipartite(20, [(i, (i + d) % 20) for i in range(20) for d in (0, 1)]),
    }
    found = {}
    for name, dag in graphs.items():
        times = []
        for _ in range(rounds):
            fresh = Dag(dag.vertices, dag.edges)
            start = time.perf_counter()
            key(fresh)
            times.append(time.perf_counter() - start)
        found[name] = {
            "vertices": len(dag.vertices), "edges": len(dag.edges),
            "key_ms": round(1000 * min(times), 3),
        }  # fmt: skip
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
