"""What children keep is counted on what their parents have, also where channels meet by place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.test_derivation import Json, Worker
from tests.evaluation.test_synthesis import chain

UNITS = ("synapses", "kernels", "filters")


def generations(worker: Worker, mating: str, n: int, m: int = 3, **settings: Any) -> list[Any]:
    """Return (child's metrics, its parents' metrics) of each child of n generations of m."""
    first = chain(16, 16, 16).mint(0, 1)
    result = worker.run(first)
    parents = [worker.told(result, first, "ancestor") | {"metrics": result["metrics"]}]
    found = []
    for generation in range(1, n + 1):
        children: list[Json] = []
        for i in range(m):
            more = {"generation": generation, "m": m, **settings}
            child = worker.derived("matings", mating, *parents, seed=10 * generation + i, **more)
            children.append(
                worker.told(child, None, f"{generation}-{i}") | {"metrics": child["metrics"]}
            )
            found.append((child["metrics"], [p["metrics"] for p in parents]))
        parents = children
    return found


@pytest.mark.parametrize("tags", [True, False])
@pytest.mark.parametrize("name", ["factor", "rank"])
@pytest.mark.parametrize("cluster", ["kernel", "filter"])
def test_what_is_kept_is_a_share_of_what_the_parents_have(
    cluster: str, name: str, tags: bool, tmp_path: Path
) -> None:
    """By the numbers that the ledger has of them, whatever a common frame has left out."""
    options = {"cluster_first": True} if name == "rank" else {}
    env = {
        "name": name, "cluster": cluster, "retention_clusters": 0.6, "retention_synapses": 0.85,
        **options, "noise": 0.3,
    }  # fmt: skip
    found = generations(Worker(tmp_path), "mean", 3, environment=env, tags=tags)
    gaps = []
    for child, parents in found:
        for unit in UNITS:
            mean = np.mean([p[f"n_{unit}"] for p in parents])
            assert child[f"kept_{unit}"] == pytest.approx(child[f"n_{unit}"] / mean, rel=1e-9)
        wanted = child[f"kept_{cluster}s_wanted"]
        assert child["over_shrunk"] or wanted == pytest.approx(0.6)
        gaps.append(child[f"kept_{cluster}s"] - wanted)
    assert abs(np.mean(gaps)) < 0.1
