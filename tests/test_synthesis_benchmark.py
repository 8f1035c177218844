"""benchmarks/synthesis.py measures what it says, on a small run, and its tables miss no goal."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

import nasgen
from nasgen import papers
from nasgen.genotypes import Draft
from nasgen.runs import reading

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
    few = best | {"kernels": 600, "cluster_efficiency": 12.0}
    *_, line = readers.lines([few])
    assert line.reached, "five times as fast is three times as fast"
