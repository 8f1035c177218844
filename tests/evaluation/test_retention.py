"""What children keep is counted on what their parents have, also where channels meet by place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasgen.evaluation import shared
from nasgen.evaluation.average import measure_statistics
from nasgen.evaluation.batches import answered
from nasgen.evaluation.derivation import Deriver
from nasgen.genotypes.derivation import Derivation
from nasgen.search_spaces.recurrent import chain as stack
from tests.evaluation.test_derivation import Json, Worker
from tests.evaluation.test_synthesis import chain

UNITS = ("synapses", "kernels", "filters")


def generations(
    worker: Worker, mating: str, n: int, m: int = 3, first: Any = None, **settings: Any
) -> list[Any]:
    """Return (child's metrics, its parents' metrics) of each child of n generations of m."""
    first = first or chain(16, 16, 16).mint(0, 1)
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


def test_kernels_whose_owners_share_too_little_are_kept_whole_and_over_shrunk(
    tmp_path: Path,
) -> None:
    """`product` unites kernels, but in a kernel it intersects what its owners have.

    Owners of the first generation were thinned apart by R each, so m of them share about R**m of a
    kernel, which is less than R of what each has.
    """
    env = {"name": "random", "retention_clusters": 0.9, "retention_synapses": 0.6}
    found = generations(Worker(tmp_path), "product", 2, environment=env)
    for child, _ in found[:3]:
        assert not child["over_shrunk"]
        assert child["kept_synapses"] == pytest.approx(0.54, abs=0.06)
    for child, _ in found[3:]:
        assert child["over_shrunk"]
        assert child["kept_synapses"] < 0.47
        assert child["kept_kernels"] == pytest.approx(0.9, abs=0.1)


@pytest.mark.parametrize("cluster", ["kernel", "filter"])
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru"])
def test_clusters_of_recurrent_layers_go_through_all_gates_and_both_matrices(
    cell: str, cluster: str, tmp_path: Path
) -> None:
    space = {"name": "recurrent", "embedding": 6}
    worker = Worker(tmp_path, space=space, data="reber:n=200&seed=1")
    env = {
        "name": "factor", "cluster": cluster, "retention_clusters": 0.7, "retention_synapses": 0.99,
    }  # fmt: skip
    first = stack(cell, [12, 12]).mint(0, 1)
    found = generations(worker, "mean", 2, first=first, environment=env)
    assert found[0][1][0]["n_filters"] == 6 + 2 * 12  # hidden units, through all gates
    assert found[0][1][0]["n_kernels"] == 6 * 128 + 12 * 18 + 12 * 24
    gaps = []
    for child, parents in found:
        for unit in UNITS:
            mean = np.mean([p[f"n_{unit}"] for p in parents])
            assert child[f"kept_{unit}"] == pytest.approx(child[f"n_{unit}"] / mean, rel=1e-9)
        assert child["over_shrunk"] or child[f"kept_{cluster}s_wanted"] == pytest.approx(0.7)
        gaps.append(child[f"kept_{cluster}s"] - child[f"kept_{cluster}s_wanted"])
    assert abs(np.mean(gaps[:3])) < 0.1  # gates by themselves would leave 0.27 more of a GRU


@pytest.mark.parametrize(("group", "name"), [("matings", "mean"), ("prunings", "magnitude")])
def test_the_statistics_of_norms_are_those_of_the_child_before_it_is_trained(
    group: str, name: str, tmp_path: Path
) -> None:
    """Its parents have other synapses, so other activations; nothing else would mend that."""
    worker, first = Worker(tmp_path), chain(16, 16).mint(0, 1)
    parent = worker.told(worker.run(first), first, "parent")
    settings: Json = {"environment": {"name": "factor"}} if group == "matings" else {}
    settings |= {} if group == "matings" else {"retention": 0.4}
    derivation = Derivation(("parent",), group, name, settings, 5)
    inference = worker.evaluator.inference
    made = Deriver(inference).derive(derivation, {"parents": [parent]}, seed=3)
    parents = {n: t.clone() for n, t in made.network.state_dict().items() if "running" in n}
    rows = shared.prepared(inference.data, "train")
    inputs = inference.feed.batch({k: torch.from_numpy(v) for k, v in rows.items()})
    measure_statistics(made.network, [lambda: answered(made.network, inputs)])
    none = {"epochs": 0.0, "fraction": 1.0, "seconds": None}
    result = worker.run(derivation, (parent,), fidelity=none)
    child = worker.loaded(result, "weights")
    own = {n: t.numpy() for n, t in made.network.state_dict().items() if "running" in n}
    gaps, before = (
        np.array([np.abs(found[n] - t).mean() / np.abs(t).mean() for n, t in own.items()])
        for found in (child, {n: t.numpy() for n, t in parents.items()})
    )
    assert (gaps < 0.1).all()
    assert before[-2:].min() > 2 * gaps.max(), "the case shows nothing"
