"""benchmarks/synthesis.py measures what it says, on a small run, and its tables miss no goal."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import nasgen
from nasgen import papers
from nasgen.genotypes import Draft
from nasgen.runs import reading
from nasgen.settings.config import merge

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("synthesis")


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("synthesised")


def test_a_child_of_five_lenets_is_made_of_all_their_synapses(module: Any) -> None:
    row = module.mating("lenet", "intersect-mean", {"name": "factor"}, n=1)
    assert row["n_weights"] == 143_136
    assert 0 < row["ms"] < 5_000


def test_the_settings_of_the_search_for_all_goals_are_settings_of_a_search(module: Any) -> None:
    smallest = importlib.import_module("smallest")
    config = reading.resolved(smallest.searched()).config
    assert config.algorithm.name == "synthesis"
    assert smallest.MODE.startswith(f"`{config.environment.name}`")
    least = 1 / config.environment.options["final"]
    assert all(g.efficiency < least for g in module.GOALS.values())


def test_the_settings_of_every_arm_are_settings_of_a_search(module: Any) -> None:
    arms = module.arms
    found = {**arms.MODES, **arms.SEVERAL, "evolved": arms.evolved("lenet"), "": arms.LARGE_STEPS}
    for name, arm in found.items():
        # Most of them begin with a run's network, which is trained already.
        ancestor = {"origin": {"network": "lenet"}, "algorithm": {"first_epochs": 1.0}}
        config = reading.resolved(merge(arm.settings(), ancestor)).config
        assert config.algorithm.name == "synthesis", name
        assert 1 / config.environment.options["final"] >= arm.efficiency, name
    sizes = {arms.MODES[name].tables["environment"]["final"] for name in arms.MODES}
    epochs = {
        round(arm.tables["algorithm"]["generations"] * arm.tables["algorithm"]["epochs"], 9)
        for arm in arms.MODES.values()
    }
    assert (len(sizes), len(epochs)) == (1, 1), "modes are compared at equal size and training"


def test_an_arm_is_chosen_trained_on_and_tested_and_goes_on_from_its_run(
    module: Any, readers: Any, tmp_path: Path
) -> None:
    arms = module.arms
    tables = {
        "algorithm": {
            "name": "synthesis", "population": 2, "parents": 2, "generations": 2,
            "first_epochs": 1.0, "epochs": 0.3,
        },
        "space": {"max_channels": 16, "max_stages": 2},
        "environment": {"name": "normaliser", "final": 0.2, "generations": 2},
        "training": {"fraction": 0.5},
    }  # fmt: skip
    arm = arms.Arm(tables, 4.0, 1.5, last=0.5, accuracy=96.0)
    row = json.loads(json.dumps(arms.measure(arm, "digits", 0, tmp_path / "arm-0", 1)))
    assert row["efficiency"] >= 4
    assert row["cluster_efficiency"] >= 1.5
    assert row["generation"] == 2
    assert row["cpu_s"] > 0
    (kept,) = (tmp_path / "arm-0" / "trained").glob("*.json")
    record = json.loads(kept.read_text())
    assert (record["fraction"], record["test_accuracy"]) == (0.5, row["test_accuracy"])
    assert kept.stem.endswith("-0.5-of-the-rows")
    again = arms.measure(arm, "digits", 0, tmp_path / "arm-0", 1)
    assert again["cpu_s"] is None
    assert {k: again[k] for k in ("synapses", "test_accuracy")} == {
        k: row[k] for k in ("synapses", "test_accuracy")
    }
    known = {**row, "figure": "several", "name": "two", "seed": 0}
    (one,), (both,) = (
        list(readers.lines(rows)) for rows in ([known], [known, known | {"seed": 1}])
    )
    assert one.goal == "≥ 96.0 % at ≥ 4 ×, ≥ 1.5 × fewer kernels"
    assert (one.reached, both.reached) == (None, row["test_accuracy"] >= 0.96)
    shown = readers.modes([{**known, "figure": "modes"}]).splitlines()
    assert shown[-1].startswith("| `normaliser` | 2 of 0.3 epochs | 0.5 |")
    with pytest.raises(SystemExit, match=r"expected a network with 99 times fewer synapses"):
        arms.measure(replace(arm, efficiency=99.0), "digits", 0, tmp_path / "arm-0", 1)


def test_networks_of_a_run_are_measured_beside_their_ancestor(
    module: Any, readers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = Draft()
    conv = draft.add("conv", [draft.input], channels=12, kernel=3)
    draft.connect(draft.add("conv", [conv], channels=16, kernel=3), draft.output)
    origin = tmp_path / "origin.json"
    origin.write_text(json.dumps(draft.freeze().to_json()))
    run = nasgen.run(
        papers.preset("synthesis"),
        out=tmp_path / "run",
        overrides=[
            {
                "data": {"source": "digits"},
                "origin": {"network": str(origin)},
                "algorithm": {"generations": 2, "first_epochs": 1, "epochs": 0.5},
                "environment": {"final": 0.1, "generations": 2},
                "training": {"fraction": 0.3},
                "execution": {"executor": "serial"},
            }
        ],
    )
    for where in (module, importlib.import_module("measured")):
        monkeypatch.setattr(where, "N_ROUNDS", 3)
    row = json.loads(json.dumps(module.run_networks(str(run.path))))
    ancestor, *children = row["generations"]
    assert (ancestor["synapses"], ancestor["kernels"]) == (9 * 12 * 17, 12 * 17)
    for before, after in zip(row["generations"], children, strict=False):
        assert after["synapses"] < before["synapses"]
        assert after["gathered"] < after["multiply_adds"] <= before["multiply_adds"]
        assert set(after["ms"]["256"]) == {"ancestor", "compacted", "gathered"}
    assert str(tmp_path) not in json.dumps(row)
    lines = list(readers.lines([{**row, "figure": "networks", "name": "tiny", "seed": 0}]))
    assert [line.goal for line in lines[:2]] == ["", ""]
    assert [line.goal for line in lines[-2:]] == ["≥ 2 ×", "≤ 1.2 ×"]
    assert all(line.reached is not None for line in lines if line.goal)


def test_what_is_missed_stands_as_missed(readers: Any) -> None:
    mating = {
        "figure": "mating", "network": "lenet", "n_weights": 143_136, "mating": "mean",
        "environment": "factor", "parents": 5, "ms": 51.0,
    }  # fmt: skip
    best = {
        "figure": "best", "goal": "125", "data": "mnist:mnist", "mode": "`rank`", "seed": 0,
        "wanted": {"what": "synapses", "efficiency": 125, "accuracy": 99.0}, "synapses": 1100,
        "kernels": 800, "cluster_efficiency": 9.0, "efficiency": 130.1,
        "test_accuracy": 0.9895, "wall_s": 1200.0,
        "ms": {"256": {"ancestor": 40.0, "compacted": 20.0, "gathered": 8.0}},
    }  # fmt: skip
    found = list(readers.lines([mating, mating | {"ms": 49.0}, best, best | {"seed": 1}]))
    assert [line.reached for line in found] == [False, True, False, None]
    assert found[-1].measured == "2.00 × and 5.00 ×"
    line, _ = readers.lines([best | {"test_accuracy": 0.991}])
    assert line.reached is None, "one seed cannot tell"
    line, _ = readers.lines([best | {"test_accuracy": 0.991, "seed": s} for s in (0, 1)])
    assert line.reached
    line, _ = readers.lines(
        [best | {"test_accuracy": 0.991, "seed": s, "wall_s": 2500.0} for s in (0, 1)]
    )
    assert line.reached is False
    single = {"1": {"ancestor": 1.0, "compacted": 0.7, "gathered": 0.8}}
    few = best | {"kernels": 600, "cluster_efficiency": 12.0, "ms": {**best["ms"], **single}}
    latency, fast = list(readers.lines([few, few | {"seed": 1}]))[-2:]
    assert latency.reached, "1 / 0.7 is more than 1.3"
    assert (
        fast.measured == "98.95 % at 12.0 × fewer kernels, 5.00 × (batch 256) and 1.43 × (batch 1)"
    )
    assert fast.reached
    slow = few | {"ms": {**single, "256": {"ancestor": 4.0, "compacted": 2.0, "gathered": 2.0}}}
    assert [line.reached for line in readers.lines([slow])][1:] == [True, False]


def test_generations_with_nothing_tuned_stand_beside_table_1(readers: Any) -> None:
    def row(name: str, val: float, per_generation: float) -> Any:
        generations = [
            {"generation": g, "n": 1, "dead": False, "val": val - 0.001 * g,
             "test": 0.99 - 0.001 * g, "n_synapses": 143136 / per_generation**g}
            for g in range(13)
        ]  # fmt: skip
        return {"figure": "table1", "name": name, "seed": 0, "data": "mnist:mnist",
                "generations": generations}  # fmt: skip

    found = list(readers.lines([row("factor", 0.98, 1.5), row("normaliser", 0.981, 1.5)]))
    efficiencies, accuracies = found[:5], found[5:]
    assert [line.reached for line in efficiencies] == [True, True, False, True, True]
    assert [line.reached for line in accuracies[:5]] == [None] * 5, "not chosen by validation"
    chosen = accuracies[5:]
    assert all("chosen by validation" in line.what for line in chosen)
    assert [line.reached for line in chosen] == [True, True, True, None, None]
