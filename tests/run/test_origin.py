"""A run begins with a network: a named one, that of a file, the best or any trial of a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen.errors import ConfigError
from nasgen.runs import reading
from nasgen.runs.garbage import collect_garbage
from nasgen.search_spaces import networks

TINY: dict[str, Any] = {
    "algorithm": {"name": "random", "population": 2},
    "budget": {"trials": 3},
    "finish": {"networks": 0},
    "training": {"epochs": 1, "fraction": 0.3},
    "space": {"max_channels": 16},
    "execution": {"executor": "serial"},
}
FIXED: dict[str, Any] = {**TINY, "algorithm": {"name": "fixed"}, "budget": {}}


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    return nasgen.run(TINY, out=tmp_path_factory.mktemp("other") / "run")


def begun(network: str | Path, out: Path, **more: Any) -> nasgen.Run:
    return nasgen.run({**FIXED, "origin": {"network": str(network)}, **more}, out=out)


def test_a_name_is_a_network_of_the_catalogue() -> None:
    assert "resnet9" in networks.names()
    for name in networks.names():
        origin = reading.resolved({"origin": {"network": name}}).origin
        assert origin is not None
        assert not origin.refs
        assert nasgen.Dag.from_json(networks.read(name)["genotype"]).key == origin.genotype.key


def test_a_trial_of_another_run_begins_with_its_weights(other: nasgen.Run, tmp_path: Path) -> None:
    """Trained next to nothing it answers as the other run's network does."""
    copy = tmp_path / "other"
    shutil.copytree(other.path, copy)
    almost = {"training": {"epochs": 0.001, "lr": 1e-9}}
    run = begun(f"{copy}:1", tmp_path / "run", **almost)
    shutil.rmtree(copy)  # the run does not depend on it
    (trial,) = run.trials
    theirs = other.trial(1)
    assert trial.key == theirs.key
    assert trial.goes_on
    assert trial.metrics["n_fresh"] == trial.metrics.get("n_zero", 0) == 0
    ours = run.folder.artifacts.load(str(trial.weights_ref))
    before = other.folder.artifacts.load(str(theirs.weights_ref))
    assert ours.keys() == before.keys()
    for name, values in before.items():
        if "num_batches" not in name and "running" not in name:
            assert np.allclose(ours[name], values, atol=1e-5), name
    scratch = begun(_file(theirs.genotype, tmp_path), tmp_path / "scratch", **almost)
    assert "n_fresh" not in scratch.trials[0].metrics
    assert scratch.trials[0].identity != trial.identity, "the weights are part of the identity"
    collect_garbage(run)
    origin = nasgen.load(run.path).resolved.origin
    assert origin is not None
    assert run.folder.artifacts.exists(origin.refs["weights"])
    more = nasgen.resume(run.path, trials="+1")
    assert more.trials[0].identity == trial.identity


def _file(genotype: Any, folder: Path) -> Path:
    (folder / "net.json").write_text(json.dumps(dict(genotype)))
    return folder / "net.json"


def test_a_run_alone_means_its_best_network(other: nasgen.Run) -> None:
    tables = {"space": TINY["space"], "origin": {"network": str(other.path)}}
    origin = reading.resolved(tables).origin
    assert origin is not None
    assert origin.genotype.key == other.trial().key
    assert origin.refs == {"weights": other.trial().weights_ref}


def test_growth_begins_with_the_weights_too(other: nasgen.Run, tmp_path: Path) -> None:
    growth = {"name": "growth", "members": 2, "survivors": 1, "rounds": 1}
    run = begun(other.path, tmp_path / "run", algorithm=growth)
    assert run.trials[0].metrics["n_fresh"] == 0
    assert [t.state for t in run.trials] == ["COMPLETE"] * 3
    assert all(t.parents for t in run.trials[1:])


def test_without_kept_weights_it_starts_from_scratch_and_says_so(
    other: nasgen.Run, tmp_path: Path
) -> None:
    copy = tmp_path / "other"
    shutil.copytree(other.path, copy)
    shutil.rmtree(copy / "artifacts")
    heard: list[str] = []

    def listen(event: str, data: Any) -> None:
        heard.extend([data["text"]] if event == "caution" else [])

    tables = {**FIXED, "origin": {"network": f"{copy}:0"}}
    run = nasgen.run(tables, out=tmp_path / "run", listeners=(listen,))
    assert any("the weights of trial 0 are missing (" in text for text in heard)
    assert not run.trials[0].goes_on
    assert run.trials[0].state == "COMPLETE"


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("resnet8", "origin.network: resnet8 is no network; did you mean 'resnet9'"),
        ("nowhere.json", r"nowhere\.json cannot be read \(No such file"),
        ("{tmp}", "is a folder without a run in it; expected a name"),
        ("{run}:99", "expected a trial from 0 to 2 behind the colon, got '99'"),
        ("{run}:best", "expected a trial from 0 to 2 behind the colon, got 'best'"),
    ],
)
def test_what_is_no_network_is_one_sentence(
    network: str, said: str, other: nasgen.Run, tmp_path: Path
) -> None:
    given = network.format(tmp=tmp_path, run=other.path)
    with pytest.raises(ConfigError, match=said) as caught:
        reading.resolved({"space": TINY["space"], "origin": {"network": given}})
    assert len(caught.value.problems) == 1


def test_a_network_that_is_illegal_here_is_refused_with_the_space(other: nasgen.Run) -> None:
    tables = {"space": {"max_channels": 8, "max_depth": 2}, "origin": {"network": "resnet9"}}
    with pytest.raises(ConfigError, match="resnet9 is not legal in the space 'dag-cnn'"):
        reading.resolved(tables)


def test_what_a_network_has_too_much_is_named_by_its_place() -> None:
    """A network from a file has no gene tags yet that anybody could know."""
    tables = {"space": {"name": "mlp"}, "origin": {"network": "lenet"}}
    with pytest.raises(ConfigError, match=r"lenet is not legal .*: vertex 2 \('pad'\): unknown op"):
        reading.resolved(tables)


def test_the_former_key_names_the_new_one() -> None:
    with pytest.raises(ConfigError, match=r"'origin\.genotype' is not a setting; did you mean 'n"):
        reading.resolved({"origin": {"genotype": "net.json"}})


def test_a_run_that_is_named_from_a_config_file_is_found_beside_it(
    other: nasgen.Run, tmp_path: Path
) -> None:
    from nasgen.settings.config import read_toml

    shutil.copytree(other.path, tmp_path / "other")
    for given, expected in (
        ("other:1", str(tmp_path / "other:1")),
        ("other", str(tmp_path / "other")),
        ("resnet9", "resnet9"),
    ):
        (tmp_path / "search.toml").write_text(f'[origin]\nnetwork = "{given}"\n')
        assert read_toml(tmp_path / "search.toml")["origin"]["network"] == expected
