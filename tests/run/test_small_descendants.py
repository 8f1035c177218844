"""A search for small networks: sizes as objectives, regrowth, and what ancestors teach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

import nasgen
from nasgen.cli.app import app
from nasgen.errors import StoreError
from nasgen.phenotype import survival
from nasgen.runs.garbage import collect_garbage
from nasgen.runs.progress import value
from nasgen.store.ledger import Ledger
from nasgen.store.trial import Trial

SIZES = ("n_synapses", "storage_bytes", "synaptic_efficiency", "cluster_efficiency")
TINY: dict[str, Any] = {
    "data": {"source": "digits"},
    "space": {"max_channels": 10, "max_vertices": 6, "max_depth": 6},
    "algorithm": {
        "name": "nsga2", "population": 4, "crossover_prob": 0.0, "retention": 0.5,
        "mutations": {"regrow": 3.0, "channels": 1.0}, "prunings": {"magnitude": 3.0},
        "operators": {"regrow": {"share": 0.3}},
    },
    "objectives": {"names": ["val_accuracy", *SIZES], "constraint": ["synaptic_efficiency < 30"]},
    "training": {"epochs": 0.2, "fraction": 0.3, "distil": 0.5},
    "execution": {"executor": "serial"},
    "budget": {"trials": 16},
    "finish": {"networks": 1, "epochs": 0.3},
    "ensemble": {"candidates": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    return nasgen.run(TINY, out=tmp_path_factory.mktemp("small") / "run")


def first_of_line(run: nasgen.Run, trial: Trial) -> Trial:
    """Return the ancestor of a trial, itself if it is one."""
    while trial.parents:
        trial = run.trials[trial.parents[0]]
    return trial


def test_sizes_are_those_of_the_network_and_efficiencies_those_of_its_line(
    run: nasgen.Run,
) -> None:
    assert {t.state for t in run.trials} == {"COMPLETE"}
    for trial in run.trials:
        assert set(trial.objectives) == {"val_accuracy", *SIZES}
        ancestor = first_of_line(run, trial)
        ratio = ancestor.objectives["n_synapses"] / trial.objectives["n_synapses"]
        assert trial.objectives["synaptic_efficiency"] == pytest.approx(ratio)
        kernels = ancestor.metrics["n_kernels"] / trial.metrics["n_kernels"]
        assert trial.objectives["cluster_efficiency"] == pytest.approx(kernels)
        if trial.is_sparse and run.folder.artifacts.exists(trial.refs["support"]):
            masks = run.folder.artifacts.load(trial.refs["support"])
            own = {n: m for n, m in masks.items() if m.ndim > 1 and "head" not in n}
            assert trial.objectives["n_synapses"] == survival.n_synapses(own)
    pruned = [t for t in run.trials if t.operator == "magnitude"]
    assert any(t.objectives["synaptic_efficiency"] > 1.8 for t in pruned)


def test_what_was_pruned_regrows_in_sparse_networks_alone(run: nasgen.Run) -> None:
    grown = [t for t in run.trials if t.operator == "regrow"]
    assert grown, "no network was regrown; take another seed"
    parents = [run.trials[t.parents[0]] for t in grown]
    assert all(parent.is_sparse for parent in parents)
    pairs = list(zip(grown, parents, strict=True))
    assert all(t.objectives["n_synapses"] >= p.objectives["n_synapses"] for t, p in pairs)
    assert any(t.objectives["n_synapses"] > p.objectives["n_synapses"] for t, p in pairs)
    assert all(t.derivation and t.derivation["settings"]["options"] for t in grown)
    refused = run.record["operators"]["regrow"]
    assert refused["dense"] > 0  # in the driver, at the cost of no training


def test_ancestors_alone_keep_their_answers_as_long_as_others_learn(run: nasgen.Run) -> None:
    for trial in run.trials:
        assert ("logits" in trial.refs) == (not trial.parents)
    collect_garbage(run)
    stored = run.folder.artifacts.stored()
    kept = [t for t in run.trials if t.weights_ref in stored]
    assert kept
    assert {first_of_line(run, t).refs["logits"] for t in kept} <= stored


def test_sizes_are_shown_where_networks_are(run: nasgen.Run) -> None:
    told = CliRunner().invoke(app, ["show", str(run.path)], env={"COLUMNS": "200"}).stdout
    assert all(name in told for name in SIZES)
    best = next(t for t in run.ranked if t.is_sparse)
    one = CliRunner().invoke(app, ["show", str(run.path), "--trial", str(best.seq)]).stdout
    ratio = value("synaptic_efficiency", best.objectives["synaptic_efficiency"])
    assert f"synaptic_efficiency: {ratio}" in one
    assert ratio.endswith("×")
    assert "n_filters: " in one
    assert "synaptic efficiency" in run.report_path.read_text(encoding="utf-8")


def test_a_descendant_is_trained_again_and_tuned_from_its_weights(run: nasgen.Run) -> None:
    artifacts = run.folder.artifacts
    kept = [t for t in run.ranked if t.derivation is not None and artifacts.exists(t.weights_ref)]
    child = next(t for t in kept if t.is_sparse)
    train = ["train", str(run.path), "--trial", str(child.seq), "--epochs", "0.1", "--threads", "1"]
    taught = json.loads(CliRunner().invoke(app, [*train, "--json"]).stdout)
    alone = json.loads(
        CliRunner().invoke(app, [*train, "--json", "--set", "training.distil=0"]).stdout
    )
    assert taught["begins"] == alone["begins"] == "weights"
    masks = artifacts.load(child.refs["support"])
    weights = [load_file(record["weights"]) for record in (taught, alone)]
    before = artifacts.load(str(child.weights_ref))
    for name, mask in masks.items():
        assert not any(found[name][~mask].any() for found in weights)
    names = [name for name in masks if name.endswith("weight") and masks[name].ndim > 1]
    assert any(not np.array_equal(weights[0][n], weights[1][n]) for n in names)  # it was taught
    # A tenth of an epoch from there is nearer to where it was than new weights are.
    own, new = (
        sum(float(np.square(w[n] - before[n]).sum()) for n in names)
        for w in (weights[0], {n: -before[n] for n in names})
    )
    assert own < new / 4
    assert "went on from the weights" in CliRunner().invoke(app, train).stdout
    tune = ["tune", str(run.path), "--trials", "1", "--epochs", "0.1", "--threads", "1", "--json"]
    done = CliRunner().invoke(app, tune)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["trials"]["complete"] == 1
    ref = first_of_line(run, child).refs["logits"]
    hidden = artifacts.path(ref).rename(run.path / "elsewhere")
    try:
        lost = CliRunner().invoke(app, train)
    finally:
        hidden.rename(artifacts.path(ref))
    assert lost.exit_code == 2
    assert "the logits of trial" in lost.output
    assert "training.distil = 0" in " ".join(lost.output.split())


def test_a_search_that_was_killed_learns_the_same_again(
    run: nasgen.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = Ledger.tell

    def dies(ledger: Ledger, trial: Trial) -> None:
        if trial.seq == 9:
            raise KeyboardInterrupt
        tell(ledger, trial)

    monkeypatch.setattr(Ledger, "tell", dies)
    with pytest.raises(KeyboardInterrupt):
        nasgen.run(TINY, out=tmp_path / "run")
    monkeypatch.undo()
    # What others learn from is gone and comes back: the run stops in between and loses nothing.
    artifacts = nasgen.load(tmp_path / "run").folder.artifacts
    trials = nasgen.load(tmp_path / "run").trials
    refs = {t.refs["logits"] for t in trials if "logits" in t.refs}
    hidden = {ref: artifacts.path(ref).rename(tmp_path / ref) for ref in refs}
    with pytest.raises(StoreError, match=r"the logits of trial \d+, .*are gone: artifact"):
        nasgen.resume(tmp_path / "run")
    for ref, file in hidden.items():
        file.rename(artifacts.path(ref))
    resumed = nasgen.resume(tmp_path / "run").trials
    assert [t.refs for t in resumed] == [t.refs for t in run.trials]


def test_what_is_more_efficient_than_allowed_is_not_trained(tmp_path: Path) -> None:
    section = {"mutations": {"channels": 1.0}, "prunings": {"magnitude": 3.0}, "population": 2}
    tables = TINY | {
        "algorithm": section | {"crossover_prob": 0.0, "name": "genetic"},
        "objectives": {"names": ["val_accuracy"], "constraint": ["synaptic_efficiency < 1.01"]},
        "training": {"epochs": 0.1, "fraction": 0.3},
        "budget": {"trials": 6},
        "finish": {"networks": 0},
    }
    made = nasgen.run(tables, out=tmp_path / "run").trials
    pruned = [t for t in made if t.operator == "magnitude"]
    assert pruned
    assert {(t.failure_kind, t.train_s) for t in pruned} == {("infeasible", 0.0)}
    assert all("synaptic_efficiency is " in str(t.failure) for t in pruned)
    assert not any("logits" in t.refs for t in made)
    assert np.isfinite([t.metrics["n_synapses"] for t in made]).all()
