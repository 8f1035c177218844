"""Networks with a support are trained, kept and inherited; members of a cohort keep their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasgen.evaluation.cohort import Cohort
from nasgen.evaluation.recipe import Recipe
from nasgen.genotypes import Dag
from nasgen.phenotype import support
from nasgen.phenotype.network import Network, build
from nasgen.phenotype.shared import SUPPORT, SharedParameters
from nasgen.phenotype.support import Support
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings.config import Training
from tests.evaluation.test_cohort import _dag, _evaluator, _job
from tests.phenotype.pruned import random_support

Json = dict[str, Any]
SPACE = DagCnn(max_channels=32)
SHAPE, N_CLASSES = (1, 8, 8), 10


def _network(dag: Dag, seed: int = 0) -> Network:
    return build(SPACE.blueprint(dag, SHAPE, N_CLASSES), seed)


def _masks(net: Network, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    return support.closed(net.blueprint, random_support(net, np.random.default_rng(seed)))


def _are_zero(values: Any, masks: Any) -> bool:
    return all(not np.asarray(values[name])[~mask].any() for name, mask in masks.items())


def test_a_job_with_a_support_keeps_to_it_and_its_children_have_it(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path, optimizer="sgd")
    store = evaluator.artifacts
    net = _network(_dag())
    masks = _masks(net, 1)
    first = evaluator.evaluate(_job(0, _dag(), support=store.save(masks)))
    assert first["state"] == "COMPLETE", first["failure"]
    weights, kept = (store.load(first["refs"][k]) for k in ("weights", "support"))
    assert all(np.array_equal(kept[name], mask) for name, mask in masks.items())
    assert _are_zero(weights, masks)
    assert first["metrics"]["n_params"] == support.n_params(masks)
    assert first["objectives"]["n_params"] == support.n_params(masks)
    assert first["metrics"]["n_living"] == support.n_living(masks)
    wide = _dag().change(_dag().inner[0].tag, channels=9).mint(0, 1)
    parent = {"genotype": _dag().to_json(), "refs": first["refs"]}
    second = evaluator.evaluate(_job(1, wide, inherit={"parents": [parent], "plan": {}}))
    assert second["state"] == "COMPLETE", second["failure"]
    theirs = store.load(second["refs"]["support"])
    name = "steps.conv_0.conv.weight"
    assert np.array_equal(theirs[name][:6], masks[name])
    assert theirs[name][6:].all()
    assert _are_zero(store.load(second["refs"]["weights"]), theirs)


def test_a_job_without_a_support_has_none(tmp_path: Path) -> None:
    result = _evaluator(tmp_path).evaluate(_job(0, _dag()))
    assert set(result["refs"]) == {"weights", "predictions"}
    assert "n_living" not in result["metrics"]


def test_a_support_that_is_gone_or_of_another_network_fails_the_trial(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path)
    wrong = evaluator.artifacts.save({"steps.conv_0.conv.weight": np.ones((2, 1, 3, 3), np.bool_)})
    for ref in ("0" * 64, wrong):
        result = evaluator.evaluate(_job(0, _dag(), support=ref))
        assert result["state"] == "FAILED"
        assert result["failure_kind"] == "inheritance"
        assert "support" in result["failure"]


def test_members_of_a_cohort_keep_their_own_supports(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path, optimizer="adamw")
    store = evaluator.artifacts
    masks = [_masks(_network(_dag()), seed) for seed in (1, 2)]
    parent = evaluator.evaluate(_job(0, _dag()))
    parents = [{"genotype": _dag().to_json(), "refs": parent["refs"]}]
    jobs = [
        _job(seq, _dag(), inherit={"parents": parents, "plan": {}}, **more)
        for seq, more in ((1, {"support": store.save(masks[0])}), (2, {}),
                          (3, {"support": store.save(masks[1])}))
    ]  # fmt: skip
    results = evaluator.evaluate({"seq": 1, "cohort": jobs})["cohort"]
    assert [r["state"] for r in results] == ["COMPLETE"] * 3, results
    weights = [store.load(r["refs"]["weights"]) for r in results]
    assert _are_zero(weights[0], masks[0])
    assert _are_zero(weights[2], masks[1])
    assert not _are_zero(weights[1], masks[0])
    assert "support" not in results[1]["refs"]


def test_storage_is_shared_only_where_supports_are_equal() -> None:
    """The same zeros, pruned in one network and merely 0 in the other, lie apart."""

    def members(*supports: Any) -> SharedParameters:
        nets = [_network(_dag()) for _ in supports]
        for net in nets:
            Support.of(net, first)
        given = [{SUPPORT: _tensors(masks)} if masks else {} for masks in supports]
        return SharedParameters(zip(nets, given, strict=True))

    first = _masks(_network(_dag()), 1)
    size = sum(p.numel() for p in _network(_dag()).parameters())

    def stored(*supports: Any) -> int:
        return sum(p.numel() for p in members(*supports).parameters())

    assert stored(first, first) == stored(None, None) == size
    pruned = sum(mask.size for mask in first.values() if not mask.all())
    assert pruned > 0
    assert stored(first, None) == stored(None, first) == size + pruned


def _tensors(masks: Any) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(mask) for name, mask in masks.items()}


@pytest.mark.parametrize("n_pruned", [1, 2])
def test_zeros_of_shared_blocks_are_exact_and_the_unpruned_relative_moves(n_pruned: int) -> None:
    masks = _masks(_network(_dag()), 1)
    nets = [_network(_dag()) for _ in range(3)]
    for net in nets:
        Support.of(net, masks)
    states: list[Any] = [{SUPPORT: _tensors(masks)}] * n_pruned + [{}] * (3 - n_pruned)
    cohort = Cohort(zip(nets, states, strict=True), Recipe.of(Training(optimizer="sgd"), SHAPE))
    for step in range(12):
        member = step % 3
        x = torch.randn((4, *SHAPE))
        cohort.optimizer.zero_grad(set_to_none=True)
        cohort.shared(member, x).square().sum().backward()
        cohort.optimizer.step()
    for member, net in enumerate(nets):
        with cohort.shared.released(member):
            values = {name: p.detach().numpy() for name, p in net.named_parameters()}
            assert _are_zero(values, masks) == (member < n_pruned)
