"""Synthesis that is killed, that loses files, whose plug-ins or options are wrong."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen import papers, registry
from nasgen.errors import ConfigError, OperatorError
from nasgen.runs import reading, suspicious
from nasgen.settings.config import merge, read_toml
from nasgen.settings.writing import to_toml
from tests import forked

TINY: dict[str, Any] = {
    "data": {"source": "digits"},
    "space": {"max_channels": 16, "max_stages": 2},
    "algorithm": {
        "name": "synthesis", "population": 3, "parents": 3, "generations": 3, "first_epochs": 0.5,
        "epochs": 0.1,
    },
    "training": {"fraction": 0.5},
    "finish": {"networks": 0},
    "ensemble": {"candidates": 3},
    "execution": {"executor": "serial"},
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    """An ancestor and three generations of three children, each of three parents."""
    return nasgen.run(TINY, out=tmp_path_factory.mktemp("synthesis") / "run")


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_a_killed_synthesis_resumes_to_the_same_supports(
    run: nasgen.Run, tmp_path: Path, executor: str
) -> None:
    """Killed in a generation, between two children or while one or two of them train."""
    workers = 2 if executor == "processes" else 1
    execution = {"executor": executor, "workers": workers}
    config, out = tmp_path / "search.toml", tmp_path / "run"
    config.write_text(to_toml(reading.resolved(merge(TINY, {"execution": execution})).config))
    log = out / "log.jsonl"

    def is_time() -> bool:
        return log.exists() and log.read_text().count('"told"') >= 3 + workers

    forked.killed(["search", config, "--out", out], tmp_path / "said", is_time)
    assert len(nasgen.load(out).trials) < 10
    resumed = nasgen.resume(out, workers=1)
    assert [t.refs for t in resumed.trials] == [t.refs for t in run.trials]
    assert [(t.key, t.derivation) for t in resumed.trials] == [
        (t.key, t.derivation) for t in run.trials
    ]
    assert all("support" in t.refs for t in resumed.trials[1:])


@pytest.mark.filterwarnings("ignore:trial 9 of run is left out")  # of the ensemble
@pytest.mark.parametrize("lost", ["weights", "support"])
def test_a_parent_whose_file_is_damaged_has_no_children_and_the_others_have(
    lost: str, run: nasgen.Run, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    (file,) = [f for f in (copy / "artifacts").rglob(f"*{run.trials[-1].refs[lost]}*")]
    file.write_bytes(file.read_bytes()[:-9])
    resumed = _with_a_fourth_generation(copy)
    children = resumed.trials[10:]
    assert {t.parents[0] for t in children} <= {7, 8, 9}
    assert (9,) in {t.parents for t in children}, "the case is not reached"
    for trial in children:
        assert (trial.failure_kind == "inheritance") == (trial.parents == (9,)), trial.failure
        if trial.parents == (9,):
            assert f"the {lost} of parent trial 9" in str(trial.failure)


def _with_a_fourth_generation(path: Path) -> nasgen.Run:
    """Resume a run with one more generation, of one parent each."""
    tables = nasgen.load(path).folder.config_tables()
    more = {"algorithm": {"generations": 4, "parents": 1}}
    (path / "config.toml").write_text(to_toml(reading.resolved(merge(tables, more)).config))
    return nasgen.resume(path, trials="+6")


@pytest.mark.usefixtures("registry_restored")
@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda w, s: (np.abs(w[0])[:-1], s[0]), "shape"),
        (lambda w, s: (np.full(w[0].shape, np.nan), s[0]), "finite"),
        (lambda w, s: (np.abs(w[0]), np.ones_like(s[0])), "support"),
    ],
)
def test_a_broken_mating_stops_the_search_which_goes_on_when_it_is_mended(
    returned: Any, said: str, tmp_path: Path
) -> None:
    def broken(name: str, weights: Any, supports: Any, rng: Any) -> Any:
        return returned(weights, supports)

    nasgen.mating("mine", n_parents=(1, 9))(broken)
    section = {"mating": "mine", "population": 1, "parents": 1, "generations": 2}
    tables = merge(TINY, {"algorithm": {**section, "first_epochs": 0.1}})
    with pytest.raises(OperatorError, match=rf"mating 'mine'.*{said}"):
        nasgen.run(tables, out=tmp_path / "run")
    registry.unregister("matings", "mine")
    nasgen.mating("mine", n_parents=(1, 9))(registry.resolve("matings", "mean"))
    assert [t.state for t in nasgen.resume(tmp_path / "run").trials] == ["COMPLETE"] * 3


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"parents": 5}, "algorithm.parents: expected at most algorithm.population = 3, .* got 5"),
        ({"range": 0}, r"algorithm.range \(synthesis\): expected at least 1, got 0"),
        ({"ancestors": 0}, "algorithm.ancestors"),
        ({"generations": 0}, "algorithm.generations"),
        ({"epochs": 0.0}, "algorithm.epochs"),
        ({"drop": -0.1}, r"algorithm.drop \(synthesis\): expected a number of 0 or more, got -0.1"),
        ({"drop": float("nan")}, "algorithm.drop"),
        ({"mating": "maen"}, "mating 'maen' is not registered; did you mean 'mean'"),
        ({"mating": "mean", "matings": {"product": 1}}, "which names product, got 'mean'"),
        ({"selection": "rendom"}, "selection 'rendom' is not registered; did you mean 'random'"),
        ({"population": 0}, "algorithm.population"),
        ({"rungs": 2}, "algorithm.rungs"),
    ],
)
def test_wrong_options_are_one_sentence(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        reading.resolved(merge(TINY, {"algorithm": tables}))
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("retention", [0.0, 1.0, float("nan"), "most"])
def test_a_retention_that_is_none_is_refused(retention: Any) -> None:
    with pytest.raises(ConfigError, match=r"environment.retention_synapses.*got") as caught:
        reading.resolved(merge(TINY, {"environment": {"retention_synapses": retention}}))
    assert len(caught.value.problems) == 1


def test_what_is_left_open_is_written_out() -> None:
    bare = reading.resolved({"algorithm": {"name": "synthesis"}}).config
    assert (bare.algorithm.population, bare.algorithm.parents) == (4, 2)
    assert (bare.algorithm.matings, bare.environment.name) == ({"intersect-mean": 1.0}, "factor")
    assert not bare.algorithm.mutations
    assert not bare.algorithm.crossovers
    many = reading.resolved({"algorithm": {"name": "synthesis", "parents": 5}}).config
    assert many.algorithm.population == 5
    alone = reading.resolved({"algorithm": {"name": "synthesis", "population": 1}}).config
    assert alone.algorithm.parents == 1
    assert reading.resolved(alone.model_dump(exclude_unset=True)).config == alone


@pytest.mark.parametrize(
    ("name", "m", "share"),
    [
        ("shafiee2016", 1, 0.64), ("chung2017", 5, 0.5332), ("chung2018", 5, 0.878),
        ("synthesis", 1, 0.2608),
    ],
)  # fmt: skip
def test_presets_of_papers_say_what_the_papers_do(name: str, m: int, share: float) -> None:
    resolved = reading.resolved(read_toml(papers.preset(name)))
    config, lenet = resolved.config, reading.resolved({"origin": {"network": "lenet"}}).origin
    assert resolved.origin is not None
    assert lenet is not None
    assert resolved.origin.genotype.key == lenet.genotype.key
    assert (config.algorithm.name, config.algorithm.parents) == ("synthesis", m)
    kept = config.environment.options
    assert kept["retention_clusters"] * kept["retention_synapses"] == pytest.approx(share, abs=1e-3)
    assert resolved.default_trials == 1 + config.algorithm.options["generations"] * m
    assert config.store.keep_weights == "all", "small ones are dominated, and there to be taken"


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"environment": {"name": "rank"}}, "the 3 children of one ancestor would be equal"),
        ({"environment": {"name": "rank", "noise": 0.1}}, ""),
        ({"environment": {"name": "rank"}, "algorithm": {"population": 1, "parents": 1}}, ""),
        ({"algorithm": {"ancestors": 2}}, "a mean over descendants of 2 networks"),
        (
            {"environment": {"final": 0.1, "generations": 5}},
            "ends in generation 5 and the search with 3 .*so environment.final is not reached",
        ),
        ({"environment": {"final": 0.1, "generations": 3}}, ""),
        ({"environment": {"final": 0.1}}, ""),
        (
            {"environment": {"final": 0.1}, "budget": {"trials": 7}},
            r"generation 3 and the search with 2 \(budget.trials\), so environment.final is not",
        ),
        (
            {"environment": {"final": 0.1}, "algorithm": {"generations": "3", "ancestors": "1"}},
            "",
        ),
        ({"objectives": {"constraint": ["n_params < 9k"]}}, "'n_params < 9k' is known before"),
    ],
)
def test_what_can_hardly_be_meant_is_said(tables: dict[str, Any], said: str) -> None:
    texts = suspicious.cautions(reading.resolved(merge(TINY, tables)))
    assert [bool(re.search(said, text)) for text in texts] == ([True] if said else [])
