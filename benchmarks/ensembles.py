"""Time and memory of choosing an ensemble among many networks, from made-up predictions.

Run: python benchmarks/ensembles.py [--members 200] [--rows 10000] [--classes 100] [--rounds 25]
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

from nasgen import registry
from nasgen.ensembles.base import Candidate, Candidates
from nasgen.ensembles.choosing import asked
from nasgen.evaluation.tasks.classification import Classification

METHODS = ("greedy", "average", "weighted", "stack", "diverse")


def candidates(n: int, n_rows: int, n_classes: int, rounds: int) -> Candidates:
    """Return networks that are right on about 60 % of the rows, and on partly the same ones."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, n_rows)
    hardness = rng.normal(2.6, 1.2, n_rows).astype(np.float32)
    common = rng.normal(0, 0.7, (n_rows, n_classes)).astype(np.float32)
    members = []
    for _ in range(n):
        logits = common + rng.normal(0, 0.7, (n_rows, n_classes)).astype(np.float32)
        logits[np.arange(n_rows), labels] += hardness + np.float32(rng.normal(0, 0.1))
        odds = np.exp(2 * logits)
        members.append(Candidate(odds / odds.sum(axis=1, keepdims=True)))
    found = Candidates(tuple(members), labels, Classification(n_classes), rounds=rounds)
    return found.ranked()


def main() -> None:
    """Print one JSON object: seconds of each method, memory of the whole process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=200)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    given = parser.parse_args()
    found = candidates(given.members, given.rows, given.classes, given.rounds)
    result: dict[str, object] = {"members": given.members, "rows": given.rows}
    result["best_accuracy"] = found.score([(found.members[0], 1.0)])[0]
    for name in given.methods:
        began, cpu = time.perf_counter(), time.process_time()
        mix = asked(registry.resolve("ensembles", name)(), found, name)
        result[name] = {
            "seconds": round(time.perf_counter() - began, 2),
            "cpu_s": round(time.process_time() - cpu, 2),
            "members": len(mix),
            "accuracy": found.score(mix)[0],
        }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**result, "peak_gib": round(peak / 2**20, 2)}, indent=2))


if __name__ == "__main__":
    main()
