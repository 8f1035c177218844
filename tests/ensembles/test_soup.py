"""Means of weights: of relatives alone, with statistics measured anew, kept like any member."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nasgen
from nasgen.ensembles.choosing import choose
from nasgen.ensembles.trained import TrainedEnsemble, TrainedNetwork
from nasgen.evaluation import shared, soup
from nasgen.runs import combining, ensembled, garbage
from nasgen.settings.ensemble import Ensemble

TABLES: dict[str, Any] = {
    "algorithm": {"name": "genetic", "population": 3},
    "training": {"epochs": 4.0, "inherit_weights": True},
    "execution": {"executor": "serial"},
    "budget": {"trials": 7},
    "finish": {"networks": 2},
    "predictor": {"name": "none"},
    "store": {"keep_weights": "all"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    """A run whose finalists go on from their own weights: each is a relative of its source."""
    rng = np.random.default_rng(0)
    y = np.arange(240) % 3
    x = rng.normal(size=(240, 6)) + 0.8 * y[:, None]
    return nasgen.run(TABLES, data=(x, y), out=tmp_path_factory.mktemp("soup") / "run")


@pytest.fixture(scope="module")
def relatives(run: nasgen.Run) -> tuple[TrainedNetwork, TrainedNetwork]:
    networks = run.networks()
    found = [(a, b) for a, b in combinations(networks, 2) if a.is_relative(b)]
    assert {frozenset((a.trial.seq, b.trial.seq)) for a, b in found} == {
        frozenset((t.seq, t.parents[0])) for t in run.trials if t.phase == "finish"
    }
    return found[0]


def test_a_network_of_other_origin_is_no_relative_however_alike(
    run: nasgen.Run, relatives: tuple[TrainedNetwork, TrainedNetwork]
) -> None:
    first, second = relatives
    assert first.is_relative(second)
    stranger = replace(second, ancestors=frozenset({99}))  # the same network from other weights
    assert not first.is_relative(stranger)
    other_tags = replace(second, trial=replace(second.trial, tags=(1, 2, 3)))
    assert not first.is_relative(other_tags)
    of_another_run = replace(second, inference=nasgen.load(run.path).inference)
    assert not first.is_relative(of_another_run)


def test_weights_are_averaged_and_statistics_measured(
    relatives: tuple[TrainedNetwork, TrainedNetwork],
) -> None:
    first, second = relatives
    mean = first.averaged_with([second])
    inference = first.inference
    parts = [inference.network(n.trial.genotype, n.weights_ref) for n in (first, second)]
    found = inference.network(mean.trial.genotype, mean.weights_ref)
    for name, weight in found.named_parameters():
        values = [dict(part.named_parameters())[name] for part in parts]
        torch.testing.assert_close(weight, (values[0] + values[1]) / 2)
    moments = [n for n, _ in found.named_buffers() if n.endswith("running_var")]
    assert moments
    plain = [dict(part.named_buffers())[moments[0]] for part in parts]
    own = dict(found.named_buffers())[moments[0]]
    assert not torch.allclose(own, (plain[0] + plain[1]) / 2, rtol=1e-3)
    # They are those of the training rows, as the mean of the weights sees them.
    seen: dict[str, torch.Tensor] = {}
    norm = dict(found.named_modules())[moments[0].rpartition(".")[0]]
    norm.register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
    rows = shared.split(inference.data, 1.0).train  # type: ignore[attr-defined]
    prepared = shared.prepared(inference.data, "train")  # type: ignore[attr-defined]
    inference.answers(found, prepared, rows)  # type: ignore[attr-defined]
    torch.testing.assert_close(own, seen["x"].var(0, unbiased=True), rtol=1e-4, atol=1e-6)


def test_statistics_count_rows_alike_and_draw_nothing_of_the_caller(
    run: nasgen.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    inference: Any = run.inference
    rows = shared.split(inference.data, 1.0).train
    trial = next(t for t in run.trials if len(t.genotype["vertices"]) == 4)  # a chain of two
    whole = soup.averaged(inference, [(trial.genotype, trial.weights_ref)])
    # Behind all batches there would be one of two rows, which counted as much as the others.
    monkeypatch.setattr(type(inference.feed), "rows_at_once", len(rows) - 2)
    almost = soup.averaged(inference, [(trial.genotype, trial.weights_ref)])
    names = [name for name in whole if name.endswith("running_var")]
    assert names
    for name in names:
        np.testing.assert_allclose(almost[name], whole[name], rtol=0.05, atol=1e-3)

    genotype: Any = run.network(trial.seq).genotype
    first = next(v for v in genotype.order if v.op == "dense")
    changed = genotype.change(first.tag, "dropout", rate=0.5).to_json()
    begun = inference.begun(inference.decode(changed)[1], 0)
    store = soup.InMemory(run.folder.artifacts)
    ref = store.save({name: tensor.numpy() for name, tensor in begun.state_dict().items()})
    monkeypatch.setattr(inference, "artifacts", store)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(soup.averaged(inference, [(changed, ref)]))
        assert torch.initial_seed() == seed
        assert float(torch.rand(())) == float(torch.rand((), generator=_at(seed)))
    for name, value in found[0].items():
        np.testing.assert_array_equal(found[1][name], value)


def _at(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_mean_is_made_once_and_the_same_each_time(
    run: nasgen.Run, relatives: tuple[TrainedNetwork, TrainedNetwork]
) -> None:
    first, second = relatives
    mean = first.averaged_with([second])
    assert first.averaged_with([second]) is mean
    assert mean.averaged == (first.trial.seq, second.trial.seq)
    assert repr(mean).endswith(f"averaged={mean.averaged})")
    again = nasgen.load(run.path)
    other = again.network(first.trial.seq).averaged_with([again.network(second.trial.seq)])
    assert other.weights_ref == mean.weights_ref
    assert not run.folder.artifacts.exists(mean.weights_ref)  # nothing was written to the run


def test_a_soup_is_an_ensemble_of_one_that_a_run_and_a_folder_keep(
    run: nasgen.Run, relatives: tuple[TrainedNetwork, TrainedNetwork], tmp_path: Path
) -> None:
    first, second = relatives
    mean = first.averaged_with([second])
    x = run.dataset.x_test
    expected = mean.predict_proba(x)
    soup = TrainedEnsemble((mean,), (1.0,), section=Ensemble(name="soup"))
    summary = combining.ensemble_summary(soup)
    assert summary["members"][0]["averaged"] == list(mean.averaged)
    folder = ensembled.write(tmp_path / "soup", soup, [run], summary)
    np.testing.assert_array_equal(
        ensembled.Ensembled(folder).ensemble.predict_proba(x), expected.astype(np.float64)
    )
    shutil.copytree(run.path, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    record["summary"]["ensemble"] = summary
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    assert garbage.members(record) == frozenset(mean.averaged)
    kept = nasgen.load(tmp_path / "run")
    np.testing.assert_allclose(kept.ensemble.predict_proba(x), expected, atol=1e-6)


def test_parts_whose_weights_are_gone_take_no_part(
    run: nasgen.Run, relatives: tuple[TrainedNetwork, TrainedNetwork], tmp_path: Path
) -> None:
    first, second = relatives
    shutil.copytree(run.path, tmp_path / "run")
    copy = nasgen.load(tmp_path / "run")
    networks = [copy.network(n.trial.seq) for n in (first, second)]
    copy.folder.artifacts.remove([networks[1].weights_ref])
    said: list[str] = []
    found = choose(networks, Ensemble(name="soup"), said.append)
    assert [m.trial.seq for m in found.members] == [first.trial.seq]
    assert len(said) == 1
    assert f"trial {second.trial.seq} of run is not averaged with others: artifact" in said[0]
