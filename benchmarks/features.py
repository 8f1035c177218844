"""Genotypes a CPU second that each feature set encodes, one core, thirty inner vertices a genotype.

Run: python benchmarks/features.py [--genotypes 1000]
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from nasgen import registry
from nasgen.errors import NotApplicable
from nasgen.genotypes import Dag
from nasgen.genotypes.kinds import accepted
from nasgen.operators.mutation.insert_skip import insert_skip
from nasgen.operators.mutation.insert_subgraph import insert_subgraph
from nasgen.predictors.base import encode_all
from nasgen.search_spaces.dag_cnn import DagCnn

N_VERTICES = 30


def grown(space: DagCnn, rng: np.random.Generator) -> Dag:
    """Return a sample that was mutated until it had thirty inner vertices."""
    dag = space.sample(rng)
    while len(dag.inner) < N_VERTICES:
        try:
            dag = (insert_skip if rng.random() < 0.3 else insert_subgraph)(dag, space, rng)
        except NotApplicable:
            dag = space.sample(rng)
    return dag


def feature_sets() -> list[str]:
    """Return the feature sets that read graphs of free topology and need nothing else."""
    spaces = [registry.resolve("search_spaces", name) for name in registry.names("search_spaces")]
    of_one_space = {space.features for space in spaces}
    return [
        entry.name
        for entry in registry.entries("features").values()
        if accepted(entry) is Dag and not entry.requires and entry.name not in of_one_space
    ]


def main() -> None:
    """Print the best of twenty rounds for each feature set; graphs are new, none is remembered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genotypes", type=int, default=1000)
    n = parser.parse_args().genotypes
    space, rng = DagCnn(max_vertices=N_VERTICES), np.random.default_rng(0)
    pool = [grown(space, rng) for _ in range(50)]
    for name in feature_sets():
        features = registry.resolve("features", name)()
        times = []
        for _ in range(20):
            fresh = [Dag(dag.vertices, dag.edges) for dag in (pool * (n // 50 + 1))[:n]]
            start = time.process_time()
            encode_all(features, fresh)
            times.append(time.process_time() - start)
        print(
            json.dumps({"features": name, "genotypes": n, "per_cpu_second": round(n / min(times))})
        )


if __name__ == "__main__":
    main()
