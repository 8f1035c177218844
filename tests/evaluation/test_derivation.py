"""A worker makes the network of a derivation: sound supports, smaller networks, named faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasgen import registry
from nasgen.evaluation.evaluator import Evaluator
from nasgen.genotypes import Dag, Draft
from nasgen.genotypes.derivation import Derivation
from nasgen.operators.crossover.subgraph import subgraph
from nasgen.operators.morphism.zero_widen import zero_widen
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.store.artifacts import Artifacts

pytestmark = pytest.mark.usefixtures("registry_restored")
SPACE = {"max_channels": 16, "max_vertices": 5, "max_depth": 5, "max_stages": 1}
Json = dict[str, Any]


class Worker:
    """An evaluator, and trained parents as jobs bring them."""

    def __init__(
        self,
        folder: Path,
        constraints: tuple[str, ...] = (),
        space: Json | None = None,
        data: str = "digits",
    ) -> None:
        context = {
            "seed": 0,
            "space": space or {"name": "dag-cnn", **SPACE},
            "data": {"source": data},
            "training": {},
            "objectives": ["val_accuracy", "n_params"],
            "constraints": list(constraints),
        }
        self.evaluator = Evaluator(json.loads(json.dumps(context)), Artifacts(folder))
        self.space = DagCnn(**SPACE)

    def run(self, genotype: Any, parents: tuple[Json, ...] = (), **more: Any) -> Json:
        inherit = {"parents": list(parents), "plan": more.pop("plan", {})} if parents else None
        fidelity = {"epochs": 0.25, "fraction": 0.25, "seconds": None}
        return self.evaluator.evaluate(
            {
                "seq": 7, "attempt": 1, "genotype": genotype.to_json(), "fidelity": fidelity,
                "seed": 3, "inherit": inherit,
            } | more
        )  # fmt: skip

    def told(self, result: Json, genotype: Any, identity: str) -> Json:
        assert result["state"] == "COMPLETE", result["failure"]
        made = result.get("genotype") or genotype.to_json()
        return {"genotype": made, "refs": result["refs"], "identity": identity}

    def parent(self, seed: int, dag: Dag | None = None) -> Json:
        dag = dag or self.space.sample(np.random.default_rng(seed)).mint(0, seed)
        return self.told(self.run(dag), dag, f"parent{seed}")

    def derived(
        self, group: str, name: str, *parents: Json, seed: int = 5, **settings: Any
    ) -> Json:
        names = tuple(parent["identity"] for parent in parents)
        return self.run(Derivation(names, group, name, settings, seed), parents)

    def loaded(self, result: Json, name: str) -> Any:
        return self.evaluator.artifacts.load(result["refs"][name])


def assert_sparse(worker: Worker, result: Json) -> None:
    """Weights outside the support are exactly 0 after training, and inside they are not all 0."""
    assert result["state"] == "COMPLETE", result["failure"]
    weights, masks = worker.loaded(result, "weights"), worker.loaded(result, "support")
    assert any(not mask.all() for mask in masks.values())
    for name, mask in masks.items():
        assert not weights[name][~mask].any(), name
        assert weights[name][mask].any() or not mask.any(), name


@pytest.mark.parametrize("name", ["magnitude", "random"])
def test_a_pruned_child_keeps_its_share_and_its_zeros(name: str, tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    parent = worker.parent(1)
    first = worker.derived("prunings", name, parent, retention=0.5)
    assert_sparse(worker, first)
    again = worker.derived("prunings", name, parent, retention=0.5)
    assert again["refs"] == first["refs"]
    other = worker.derived("prunings", name, parent, retention=0.5, seed=6)
    assert (other["refs"]["support"] == first["refs"]["support"]) == (name == "magnitude")
    before, left = first["metrics"]["n_living_parents"][0], first["metrics"]["n_living"]
    assert 0.4 * before < left < 0.65 * before  # the classifier is never pruned
    assert first["genotype"]["kind"] == "dag"


def test_a_parent_that_diverged_is_not_shown_to_an_operator(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    parent = worker.parent(1)
    artifacts = worker.evaluator.artifacts
    weights = artifacts.load(parent["refs"]["weights"])
    name = next(name for name in weights if weights[name].ndim == 4)
    weights[name] = np.full_like(weights[name], np.nan)
    sick = parent | {"refs": parent["refs"] | {"weights": artifacts.save(weights)}}
    result = worker.derived("prunings", "magnitude", sick, retention=0.5)
    assert (result["state"], result["failure_kind"]) == ("FAILED", "inheritance")
    assert f"'{name}' holds NaN or infinite values" in result["failure"]


def test_prune_then_widen_then_cross(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    draft = Draft()
    last = draft.input
    for _ in range(2):
        last = draft.add("conv", [last], channels=8, kernel=3)
    draft.connect(last, draft.output)
    parent = worker.parent(1, draft.freeze().mint(0, 1))
    pruned = worker.derived("prunings", "magnitude", parent, retention=0.4)
    given = worker.told(pruned, None, "pruned")
    rng = np.random.default_rng(0)
    child = zero_widen(Dag.from_json(given["genotype"]), worker.space, rng).mint(0, 2)
    wide = worker.run(child.genotype, (given,), plan=child.plan)
    assert_sparse(worker, wide)
    assert wide["metrics"]["n_living"] > pruned["metrics"]["n_living"]
    wider = worker.told(wide, child.genotype, "wide")
    other = worker.parent(3)
    pair = [Dag.from_json(one["genotype"]) for one in (wider, other)]
    (crossed, *_) = subgraph(*pair, worker.space, np.random.default_rng(0))
    crossed = crossed.mint(0, 4)
    result = worker.run(crossed, (wider, other))
    assert_sparse(worker, result)
    assert result["metrics"]["n_inherited"] > 0


def test_filters_that_die_leave_the_network(tmp_path: Path) -> None:
    def halves(name: Any, weight: Any, support: Any, budget: int, rng: Any) -> Any:
        """Half of the filters go, of every tensor."""
        kept = support.copy()
        if "bias" not in name:
            kept[: len(kept) // 2] = False
        return kept & (np.cumsum(kept).reshape(kept.shape) <= budget)

    registry.register("prunings", "halves", halves)
    worker = Worker(tmp_path)
    parent = worker.parent(1)
    dense = worker.run(Dag.from_json(parent["genotype"]))["metrics"]
    result = worker.derived("prunings", "halves", parent, retention=0.9)
    assert result["state"] == "COMPLETE", result["failure"]
    old, new = (Dag.from_json(g) for g in (parent["genotype"], result["genotype"]))
    widths = [sum(v.channels for v in dag.inner if v.channel_tags) for dag in (old, new)]
    assert widths[1] < widths[0]
    assert result["metrics"]["flops"] < dense["flops"]
    assert {v.tag for v in new.vertices} == {v.tag for v in old.vertices}
    assert worker.space.problems(new) == []


def test_a_mating_averages_over_those_who_have_a_synapse(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    first = worker.parent(1)
    dag = Dag.from_json(first["genotype"])
    twin = worker.told(worker.run(dag, (first,)), dag, "twin")
    sparse = worker.told(worker.derived("prunings", "random", first, retention=0.5), None, "sparse")
    dense = worker.derived("matings", "mean", first, twin)
    assert "support" not in dense["refs"]  # of two dense parents nothing is pruned
    child = worker.derived("matings", "mean", first, twin, sparse)
    assert_sparse(worker, child)
    living = child["metrics"]["n_living_parents"]
    assert child["metrics"]["n_living"] == pytest.approx(sum(living) / 3, rel=0.02)
    turned = worker.derived("matings", "mean", first, sparse, twin)
    assert turned["refs"]["support"] == child["refs"]["support"]


def test_a_mutation_in_the_worker_may_grow_what_was_pruned(tmp_path: Path) -> None:
    def regrow(name: str, weight: Any, support: Any, rng: np.random.Generator) -> Any:
        return np.where(support, weight, 0.0), support | (rng.random(weight.shape) < 0.3)

    registry.register("mutations", "mine", regrow, runs_in="worker")
    worker = Worker(tmp_path)
    pruned = worker.derived("prunings", "magnitude", worker.parent(1), retention=0.3)
    given = worker.told(pruned, None, "pruned")
    grown = worker.derived("mutations", "mine", given)
    assert_sparse(worker, grown)
    assert grown["metrics"]["n_living"] > pruned["metrics"]["n_living"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda w, s: (np.abs(w[0])[..., :0], s[0]), "expected strengths as an array of numbers"),
        (lambda w, s: (w[0] * np.nan, s[0]), "expected finite strengths, got NaN"),
        (lambda w, s: (np.abs(w[0]), np.ones_like(s[0])), "synapses that no parent has; use"),
        (lambda w, s: w[9], "mating 'mine' raised IndexError"),
        (lambda w, s: (np.abs(w[0]), s[0]).index(3), "mating 'mine' raised ValueError"),
    ],
)
def test_a_mating_that_breaks_its_contract_fails_its_trial_by_name(
    change: Callable[..., Any], expected: str, tmp_path: Path
) -> None:
    registry.register("matings", "mine", lambda name, w, s, rng: change(w, s), n_parents=1)
    worker = Worker(tmp_path)
    pruned = worker.derived("prunings", "random", worker.parent(1), retention=0.5)
    result = worker.derived("matings", "mine", worker.told(pruned, None, "pruned"))
    assert (result["state"], result["failure_kind"]) == ("FAILED", "operator")
    assert expected in result["failure"]
    assert "mating 'mine'" in result["failure"]
    assert result["refs"] == {}


def test_parents_that_are_unknown_or_gone_are_named_with_what_keeps_them(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    parent = worker.parent(1)
    stranger = worker.run(Derivation(("nobody",), "prunings", "magnitude", {}, 1), (parent,))
    assert stranger["failure_kind"] == "inheritance"
    assert "names the parent trial 'nobody', which is none of those given" in stranger["failure"]
    lost = parent | {"refs": parent["refs"] | {"weights": "0" * 40}}
    gone = worker.derived("prunings", "magnitude", lost, retention=0.5)
    assert gone["failure_kind"] == "inheritance"
    assert "the weights of parent trial 'parent1' are gone" in gone["failure"]
    assert (
        "store.keep_weights = 'all'"
        in worker.derived("prunings", "magnitude", parent | {"refs": {"weights": "1" * 40}})[
            "failure"
        ]
    )


def test_what_breaks_a_constraint_after_sampling_is_not_trained(tmp_path: Path) -> None:
    free, bound = Worker(tmp_path), Worker(tmp_path, ("n_params < 10",))
    parent = free.parent(1)
    result = bound.derived("prunings", "magnitude", parent, retention=0.9)
    assert (result["state"], result["failure_kind"]) == ("FAILED", "infeasible")
    assert "expected < 10" in result["failure"]
    assert result["train_s"] == 0
    assert result["genotype"]["kind"] == "dag"


def test_a_child_of_a_sparse_parent_is_judged_by_what_of_it_exists(tmp_path: Path) -> None:
    free = Worker(tmp_path)
    pruned = free.derived("prunings", "magnitude", free.parent(1), retention=0.3)
    given = free.told(pruned, None, "pruned")
    dag, n = Dag.from_json(given["genotype"]), pruned["metrics"]["n_params"]

    def bred(operator: str, bound: str) -> Json:
        inherit = {"parents": [given], "plan": {}, "operator": operator}
        return Worker(tmp_path, (bound,)).run(dag, inherit=inherit)

    assert free.run(dag)["metrics"]["n_params"] > n
    assert bred("relabel", f"n_params <= {n}")["state"] == "COMPLETE"
    refused = bred("relabel", f"n_params < {n}")
    assert (refused["failure_kind"], refused["train_s"]) == ("infeasible", 0)
    # Its parent broke the bound, and so will it: it goes on nevertheless.
    assert bred("continue", f"n_params < {n}")["state"] == "COMPLETE"
