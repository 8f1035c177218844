"""Searches with matings and prunings: any algorithm, any operator after them, kill and resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

import nasgen
from nasgen import registry
from nasgen.cli.app import app
from nasgen.errors import ConfigError, OperatorError, StoreError
from nasgen.evaluation.evaluator import Evaluator
from nasgen.genotypes import Dag
from nasgen.loop.materials import Materials
from nasgen.phenotype import survival
from nasgen.runs import reading, tuning
from nasgen.runs.garbage import collect_garbage
from nasgen.runs.retraining import Again
from nasgen.settings.config import merge
from nasgen.settings.writing import to_toml
from nasgen.store.ledger import Ledger
from nasgen.store.trial import Trial
from tests import forked

TINY: dict[str, Any] = {
    "data": {"source": "digits"},
    "space": {"max_channels": 10, "max_vertices": 6, "max_depth": 6},
    "algorithm": {
        "population": 4,
        "crossover_prob": 0.5,
        "parents": 3,
        "matings": {"mean": 2.0},
        "prunings": {"magnitude": 2.0, "random": 1.0},
        "retention": 0.6,
    },
    "training": {"epochs": 0.3, "fraction": 0.5},
    "execution": {"executor": "serial"},
    "budget": {"trials": 14},
    "finish": {"networks": 1, "epochs": 0.3},
    "ensemble": {"candidates": 2},
}


def searched(folder: Path, **tables: Any) -> nasgen.Run:
    return nasgen.run(merge(TINY, tables), out=folder / "run")


@pytest.mark.parametrize("name", ["genetic", "aging", "nsga2", "local", "growth"])
def test_any_algorithm_uses_them(name: str, tmp_path: Path) -> None:
    tables: dict[str, Any] = {"algorithm": {"name": name}}
    if name == "aging":
        tables["algorithm"]["tournament"] = 3
    run = searched(tmp_path, **tables)
    assert {t.state for t in run.trials} == {"COMPLETE"}
    made = [t for t in run.trials if t.derivation is not None]
    assert made
    # Local search has one parent, so it has no use for matings.
    assert ("mean" in {t.operator for t in made}) == (name != "local")
    for trial in made:
        assert Dag.from_json(trial.genotype).key == trial.key
        assert trial.derivation is not None
        identities = [run.trials[seq].identity for seq in trial.parents]
        assert list(trial.derivation["parents"]) == identities
    children = {t.operator for t in run.trials if any(run.trials[p].is_sparse for p in t.parents)}
    if name == "genetic":
        assert children - {"mean", "magnitude", "random", "finish"}, "no other operator took one"
    for trial in run.trials:
        if any(run.trials[seq].is_sparse for seq in trial.parents) and trial.operator != "mean":
            assert trial.is_sparse
    assert run.network().validation.shape[0] > 0
    assert collect_garbage(run) == 0
    assert run.report_path.exists()


def test_a_sparse_network_that_is_trained_again_keeps_its_support(tmp_path: Path) -> None:
    section = {"prunings": {"magnitude": 1.0}, "matings": {}, "mutations": {}, "crossovers": {}}
    run = searched(tmp_path, algorithm=section | {"crossover_prob": 0.0}, budget={"trials": 8})
    sparse = next(t for t in run.trials if t.is_sparse)
    masks = run.folder.artifacts.load(sparse.refs["support"])
    weights = load_file(run.train(sparse.seq, epochs=0.2)["weights"])
    assert all(not weights[name][~mask].any() for name, mask in masks.items())


def test_a_sparse_network_is_tuned_under_its_support(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = {"prunings": {"magnitude": 1.0}, "matings": {}, "mutations": {}, "crossovers": {}}
    run = searched(
        tmp_path, algorithm=section | {"crossover_prob": 0.0}, budget={"trials": 8},
        store={"keep_weights": "all"},
    )  # fmt: skip
    n = sum(t.is_feasible for t in {(t.key, t.refs.get("support")): t for t in run.ranked}.values())
    subject = tuning.best_of(run, epochs=0.1, n=n)
    assert any("support" in network.refs for network in subject.networks)
    assert all(network.begins == "weights" for network in subject.networks if network.refs)
    dense = replace(subject, networks=tuple(Again(genotype) for genotype in subject.genotypes))
    assert subject.digest(0) != dense.digest(0)
    results: list[dict[str, Any]] = []
    evaluate = Evaluator.evaluate

    def heard(self: Evaluator, *arguments: Any) -> dict[str, Any]:
        result = evaluate(self, *arguments)
        results.append(result)
        return result

    monkeypatch.setattr(Evaluator, "evaluate", heard)
    tuning.tune(subject, tmp_path / "tuned", 1, 0)
    supports = [network.refs.get("support") for network in subject.networks]
    kept = [{} if ref is None else run.folder.artifacts.load(ref) for ref in supports]
    living = [sum(int(m.sum()) for m in support.values()) for support in kept]
    trained = [r["metrics"]["n_params"] for r in results[-n:]]
    assert [a for a, b in zip(living, trained, strict=True) if a] == [
        b for a, b in zip(living, trained, strict=True) if a
    ]


def test_one_and_two_workers_make_the_same_sparse_networks(tmp_path: Path) -> None:
    found = []
    for n in (1, 2):
        execution = {"executor": "serial" if n == 1 else "processes", "workers": n}
        made = {"execution": execution, "budget": {"trials": 8}, "finish": {"networks": 0}}
        made["training"] = {"epochs": 0.1, "fraction": 0.2}
        made["algorithm"] = {"matings": {"mean": 20.0}, "prunings": {"magnitude": 20.0}}
        trials = searched(tmp_path / str(n), **made).trials
        found.append([(t.state, t.key, t.parents, t.derivation, t.refs) for t in trials])
        assert {"magnitude", "mean"} <= {t.operator for t in trials}
        assert any("support" in t.refs for t in trials)
    assert found[0] == found[1]


def test_a_killed_search_resumes_to_the_same_supports(tmp_path: Path) -> None:
    config = tmp_path / "search.toml"
    config.write_text(to_toml(reading.resolved(TINY).config))
    nasgen.run(config, out=tmp_path / "a")
    log = tmp_path / "b" / "log.jsonl"

    def is_time() -> bool:
        return log.exists() and log.read_text().count('"told"') >= 7

    forked.killed(["search", config, "--out", tmp_path / "b"], tmp_path / "said", is_time)
    nasgen.resume(tmp_path / "b")
    whole, resumed = (nasgen.load(tmp_path / name).trials for name in "ab")
    assert any(t.is_sparse for t in whole)
    assert [t.refs for t in resumed] == [t.refs for t in whole]
    assert [(t.key, t.derivation) for t in resumed] == [(t.key, t.derivation) for t in whole]


def test_a_cohort_that_is_told_in_part_is_repeated_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its derived members are made again, though the ledger has their networks already."""
    growth = {"name": "growth", "shared": True, "crossover_prob": 0.2}
    tables = {"seed": 3, "algorithm": growth, "budget": {"trials": 8}}
    whole = nasgen.run(merge(TINY, tables), out=tmp_path / "whole").trials
    (cohort,) = {t.cohort for t in whole if t.derivation is not None and t.generation == 1}
    members = [t for t in whole if t.cohort == cohort]
    tell = Ledger.tell

    def dies(ledger: Ledger, trial: Trial) -> None:
        if trial.seq == members[-1].seq:
            raise KeyboardInterrupt
        tell(ledger, trial)

    monkeypatch.setattr(Ledger, "tell", dies)
    with pytest.raises(KeyboardInterrupt):
        nasgen.run(merge(TINY, tables), out=tmp_path / "killed")
    monkeypatch.undo()
    told = nasgen.load(tmp_path / "killed").trials[: members[-1].seq]
    assert any(t.derivation is not None for t in told)
    resumed = nasgen.resume(tmp_path / "killed").trials
    assert [t.refs for t in resumed] == [t.refs for t in whole]


@pytest.mark.usefixtures("registry_restored")
def test_a_broken_pruning_stops_the_run_which_goes_on_when_it_is_mended(tmp_path: Path) -> None:
    @nasgen.pruning("mine")
    def mine(name: str, weight: Any, support: Any, budget: int, rng: Any) -> Any:
        return "nonsense"

    tables = {"matings": {}, "prunings": {"mine": 9.0}, "crossover_prob": 0.0}
    with pytest.raises(OperatorError, match=r"pruning 'mine', tensor .* got str 'nonsense'"):
        nasgen.run({**TINY, "algorithm": {"population": 4, **tables}}, out=tmp_path / "run")
    registry.unregister("prunings", "mine")

    @nasgen.pruning("mine")
    def mended(name: str, weight: Any, support: Any, budget: int, rng: Any) -> Any:
        return survival.strongest(np.abs(weight), support, budget)

    trials = nasgen.resume(tmp_path / "run").trials
    assert {t.state for t in trials} == {"COMPLETE"}
    assert next(t.attempt for t in trials if t.operator == "mine") == 2


def test_parents_whose_weights_are_gone_stop_the_run_which_goes_on_when_they_are_back(
    tmp_path: Path,
) -> None:
    tables = {"matings": {}, "prunings": {"random": 9.0}, "mutations": {}, "crossover_prob": 0.0}
    algorithm = {"population": 4, "name": "genetic", **tables}
    run = nasgen.run({**TINY, "algorithm": algorithm, "budget": {"trials": 5}}, out=tmp_path / "r")
    kept = (run.path / "artifacts").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"requires the weights of trial \d+, but .* is gone"):
        nasgen.resume(run.path, trials="+4")
    for file in kept.iterdir():
        (run.path / "artifacts").mkdir(exist_ok=True)
        file.rename(run.path / "artifacts" / file.name)
    assert len(nasgen.resume(run.path).trials) == 9


def test_what_draws_nothing_is_made_once_of_the_same_parents(tmp_path: Path) -> None:
    tables = {"crossover_prob": 0.0, "prunings": {"magnitude": 3.0}, "mutations": {"channels": 1.0}}
    made = searched(tmp_path, seed=2, algorithm=tables)
    same = [(t.operator, t.parents) for t in made.trials if t.operator == "magnitude"]
    assert made.record["operators"]["magnitude"]["duplicate"] > 0
    assert len(same) > 1
    assert len(set(same)) == len(same)


@pytest.mark.usefixtures("registry_restored")
def test_a_mutation_in_the_driver_gets_the_weights_of_its_parent(tmp_path: Path) -> None:
    seen: list[int] = []

    def narrow(parent: Dag, space: Any, rng: np.random.Generator, given: Any) -> Any:
        (weights,) = given["weights"]
        (support,) = given["support"]
        assert set(support) <= set(weights)
        assert not any(array.flags.writeable for array in weights.values())
        seen.append(sum(array.size for array in weights.values()))
        return registry.resolve("mutations", "relabel")(parent, space, rng)

    registry.register("mutations", "narrow", narrow, requires=("weights", "support"))
    tables = {"mutations": {"narrow": 1.0}, "crossovers": {}, "matings": {}, "crossover_prob": 0.0}
    run = searched(tmp_path, algorithm=tables, store={"keep_weights": "pareto"})
    assert seen
    assert {t.state for t in run.trials} == {"COMPLETE"}


@pytest.mark.usefixtures("registry_restored")
def test_verifying_says_what_cannot_be_made_again_and_the_run_goes_on(tmp_path: Path) -> None:
    plugin = tmp_path / "ops.py"
    plugin.write_text(
        "import nasgen\n"
        "from nasgen.operators.mutation.relabel import relabel\n"
        "@nasgen.mutation('heavy', requires='weights')\n"
        "def heavy(parent, space, rng, given):\n"
        "    assert given['weights']\n"
        "    return relabel(parent, space, rng)\n"
    )
    section = {"mutations": {"heavy": 1.0}, "crossovers": {}, "matings": {}, "prunings": {}}
    section |= {"name": "aging", "tournament": 3, "crossover_prob": 0.0}
    tables = {"plugins": {"files": [str(plugin)]}, "store": {"keep_weights": "pareto"}}
    run = searched(tmp_path, algorithm=section, **tables)
    kept = {ref for t in run.trials for ref in t.refs.values()} & run.folder.artifacts.stored()
    gone = [t for t in run.trials for p in t.parents if t.operator == "heavy"
            and run.trials[p].weights_ref not in kept]  # fmt: skip
    assert gone, "all parents are kept; the case is not reached"
    command = ["resume", str(run.path), "--verify", "--trials", "+1", "--quiet"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    for trial in gone:
        assert f"trial {trial.seq} ('heavy'): cannot be made again, because" in result.output
    assert f"{len(gone)} cannot be made again, because what made them is gone" in result.output
    assert len(nasgen.load(run.path).trials) == len(run.trials) + 1


def test_materials_that_are_gone_are_named_with_what_keeps_them() -> None:
    def gone(ref: str) -> Any:
        raise StoreError("artifact x cannot be read.")

    parent = Trial(4, "COMPLETE", {}, "k", "i", "sample", refs={"weights": "0" * 40})
    given = Materials([parent], ("weights", "support", "predictions"), gone)
    assert given["support"] == ({},)
    with pytest.raises(StoreError, match=r"the weights of trial 4, but artifact x .*'all'"):
        given["weights"]
    with pytest.raises(StoreError, match="requires the predictions of trial 4, but it kept none"):
        given["predictions"]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"matings": {"meen": 1.0}}, "mating 'meen' is not registered; did you mean 'mean'"),
        ({"parents": 5}, "algorithm.parents: expected at most algorithm.population = 4"),
        ({"retention": 1.0}, "algorithm.retention"),
        ({"matings": {"mean": 0.0}}, "algorithm.matings: at least one frequency must be above 0"),
    ],
)
def test_wrong_tables_are_named(section: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        reading.resolved(TINY, overrides=[{"algorithm": section}])
