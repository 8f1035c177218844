"""Synthesis to a wanted size: it is met by the networks that are trained, mutated ones too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli.app import app
from nasgen.errors import ConfigError
from nasgen.phenotype.census import Census
from nasgen.runs import reading
from nasgen.settings.config import merge

FINAL, GENERATIONS, M = 0.1, 3, 3
TINY: dict[str, Any] = {
    "data": {"source": "digits"},
    "space": {"max_channels": 32, "max_stages": 2},
    "algorithm": {
        "name": "synthesis", "population": 3, "parents": M, "generations": GENERATIONS,
        "first_epochs": 0.5, "epochs": 0.1,
    },
    "environment": {"final": FINAL, "generations": GENERATIONS},
    "training": {"fraction": 0.5},
    "finish": {"networks": 0},
    "ensemble": {"candidates": 3},
    "execution": {"executor": "serial"},
}  # fmt: skip
MUTATED = {
    "mating": "mean", "mutation_prob": 1.0, "mutations": {"regrow": 1.0},
    "operators": {"regrow": {"share": 0.2}},
}  # fmt: skip


def synthesised(out: Path, algorithm: dict[str, Any], **environment: Any) -> nasgen.Run:
    return nasgen.run(merge(TINY, {"algorithm": algorithm, "environment": environment}), out=out)


@pytest.fixture(scope="module")
def mutated(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    """Children of three parents, each mutated before it is trained."""
    return synthesised(tmp_path_factory.mktemp("mutated") / "run", MUTATED, name="normaliser")


def sizes(run: nasgen.Run, generation: int) -> list[int]:
    found = [t for t in run.trials if t.generation == generation]
    assert {t.state for t in found} == {"COMPLETE"}, [t.failure for t in found]
    return [int(t.metrics["n_synapses"]) for t in found]


def wanted(run: nasgen.Run, generation: int) -> float:
    (ancestor,) = sizes(run, 0)
    return ancestor * (FINAL + (1 - FINAL) * (1 - generation / GENERATIONS) ** 3)


def masks(run: nasgen.Run, trial: Any) -> dict[str, Any]:
    found = run.folder.artifacts.load(trial.refs["support"])
    return {n: m for n, m in found.items() if m.ndim > 1 and "head" not in n}


@pytest.mark.parametrize("name", ["factor", "random"])
def test_the_number_that_was_asked_for_is_that_of_the_trained_networks(
    name: str, tmp_path: Path
) -> None:
    """Kernels that survive hold more than their share, and what is dead leaves: both counted."""
    alone = {"population": 1, "parents": 1}
    run = synthesised(tmp_path / "run", alone, name=name, cluster="filter", floor=2)
    for generation in range(1, GENERATIONS + 1):
        n = wanted(run, generation)
        assert sizes(run, generation) == pytest.approx([n], abs=n**0.5)
    last = run.trials[-1]
    assert last.metrics["synaptic_efficiency"] == pytest.approx(1 / FINAL, rel=0.1)
    assert last.metrics["n_synapses"] == sum(int(m.sum()) for m in masks(run, last).values())


def test_what_a_mutation_brings_back_takes_the_place_of_the_weakest(mutated: nasgen.Run) -> None:
    for generation in range(1, GENERATIONS + 1):
        n = wanted(mutated, generation)
        assert sizes(mutated, generation) == pytest.approx([n] * 3, abs=max(n**0.5, 0.02 * n))
    for trial in mutated.trials[1:]:
        assert trial.operator == "mean"
        assert len(trial.parents) == (M if trial.generation > 1 else 1)
        assert trial.derivation["settings"]["mutations"] == [["regrow", {"share": 0.2}]]
        assert 0.1 < trial.metrics["n_regrown"] / trial.metrics["n_synapses"] < 0.25


def test_kernels_come_back_that_no_parent_had(mutated: nasgen.Run) -> None:
    def kernels(trial: Any) -> dict[str, set[int]]:
        found = Census.of(mutated.folder.artifacts.load(trial.refs["clusters"]))
        return {name: set(own.tolist()) for name, own in found.clusters("kernel").items()}

    n_new = dict.fromkeys(range(1, GENERATIONS + 1), 0)
    for trial in mutated.trials[1:]:
        parents = [kernels(mutated.trials[seq]) for seq in trial.parents]
        for name, own in kernels(trial).items():
            n_new[trial.generation] += len(own - set.union(*(p[name] for p in parents)))
    assert n_new[1] == 0, "an ancestor has all of them"
    assert n_new[GENERATIONS] > 0


def test_a_resumed_run_makes_the_same_mutated_children(mutated: nasgen.Run, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["resume", str(mutated.path), "--verify", "--quiet"])
    assert done.exit_code == 0, done.output
    assert "differ" not in done.output
    again = synthesised(tmp_path / "run", MUTATED, name="normaliser")
    assert [(t.derivation, t.refs) for t in again.trials] == [
        (t.derivation, t.refs) for t in mutated.trials
    ]


@pytest.mark.parametrize(
    ("algorithm", "said"),
    [
        ({"mutation_prob": 0.5}, r"such as regrow = 1.0; none is named"),
        ({"mutation_prob": 0.5, "mutations": {"relabel": 1}}, "such as regrow = 1.0; got relabel"),
        ({"mutation_prob": 1.5, "mutations": {"regrow": 1}}, r"a share in \[0, 1\], got 1.5"),
    ],
)
def test_mutations_that_cannot_be_are_one_sentence(algorithm: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=rf"algorithm.mutation_prob.*{said}") as caught:
        reading.resolved(merge(TINY, {"algorithm": algorithm}))
    assert len(caught.value.problems) == 1
