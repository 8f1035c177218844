"""A damaged artifact costs the network whose it is, never the run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen.errors import DamagedError, NotApplicable, StoreError
from nasgen.loop.materials import Materials
from nasgen.runs.combining import combine_runs
from nasgen.runs.session import resume
from nasgen.store.artifacts import Artifacts
from nasgen.store.trial import Trial

ROWS = "size,town,y\n" + "".join(
    f"{i % 7},{('Ulm', 'Kiel')[i % 2]},{('a', 'b')[i % 3 % 2]}\n" for i in range(80)
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    folder = tmp_path_factory.mktemp("damage")
    (folder / "rows.csv").write_text(ROWS)
    tables = {
        "data": {"source": f"csv:{folder / 'rows.csv'}?target=y"},
        "algorithm": {"name": "random"},
        "training": {"epochs": 0.5},
        "ensemble": {"name": "average"},  # all candidates are members
        "execution": {"executor": "serial"},
        "budget": {"trials": 4},
        "finish": {"networks": 0},
    }
    return nasgen.run(tables, out=folder / "run")


@pytest.fixture
def run(finished: nasgen.Run, tmp_path: Path) -> nasgen.Run:
    """A copy of the run as a kill before its summary leaves it."""
    shutil.copytree(finished.path, tmp_path / "run")
    record = json.loads((tmp_path / "run/run.json").read_text())
    (tmp_path / "run/run.json").write_text(json.dumps({**record, "summary": None}))
    return nasgen.load(tmp_path / "run")


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flipped, cut, emptied])
@pytest.mark.parametrize("names", [("weights",), ("weights", "predictions")])
def test_a_damaged_candidate_is_left_out_with_a_warning(
    run: nasgen.Run, names: tuple[str, ...], damage: Callable[[Path], None]
) -> None:
    loser = run.ranked[-1]
    for name in names:
        damage(run.folder.artifacts.path(loser.refs[name]))
    with pytest.warns(UserWarning, match=rf"^trial {loser.seq} of run is left out: artifact .*"):
        finished = resume(run.path)
    summary = finished.summary
    seqs = {m["trial"] for m in summary["ensemble"]["members"]}
    assert seqs == {t.seq for t in run.trials} - {loser.seq}
    assert summary["best"]["test_accuracy"] is not None
    assert f"rial {loser.seq} of run is left out" in finished.report_path.read_text()
    with pytest.warns(UserWarning, match="is left out"):
        assert len(combine_runs([finished]).members) == 3


def test_damaged_predictions_alone_cost_a_pass_and_nothing_else(run: nasgen.Run) -> None:
    flipped(run.folder.artifacts.path(run.ranked[-1].refs["predictions"]))
    assert len(resume(run.path).summary["ensemble"]["members"]) == 4


def test_a_run_of_damaged_networks_is_finished_all_the_same(run: nasgen.Run) -> None:
    for trial in run.trials:
        flipped(run.folder.artifacts.path(trial.refs["weights"]))
    with pytest.warns(UserWarning, match="damaged|no candidate") as caught:
        summary = resume(run.path).summary
    said = [str(w.message) for w in caught]
    assert said[0].startswith(f"trial {run.ranked[0].seq} could not be tested: artifact")
    assert said[-1].startswith("there is no ensemble: no candidate of it can be read")
    assert (summary["best"]["test_accuracy"], summary["ensemble"]) == (None, None)
    assert summary["best"]["val_accuracy"] is not None
    with pytest.raises(StoreError, match="no cand"), pytest.warns(UserWarning, match="left"):
        combine_runs([run])
    with pytest.raises(DamagedError, match="does not match its name"):
        run.network().predict([{"size": 1, "town": "Ulm"}])


def test_weights_of_another_network_are_named(run: nasgen.Run) -> None:
    first, other = (t for t in run.ranked if t.metrics["n_params"] in _two_sizes(run))
    network = run.network(first.seq)
    with pytest.raises(DamagedError, match=r"the weights \w+ do not fit their network \("):
        network.inference.predict(first.genotype, other.refs["weights"], "test")


def _two_sizes(run: nasgen.Run) -> list[float]:
    sizes = sorted({t.metrics["n_params"] for t in run.trials})
    return [sizes[0], sizes[-1]]


def _headed(header: Mapping[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(8)


@pytest.mark.parametrize(
    "header",
    [
        {"w": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}},
        {"w": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}},
        {"w": {"dtype": "F32", "shape": [10**19, 10**19], "data_offsets": [0, 8]}},
        {"w": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
        {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 80]}},
        {"w": 1},
        [],
    ],
)
def test_tensors_that_numpy_cannot_hold_are_a_damaged_artifact(header: Any, tmp_path: Path) -> None:
    import hashlib

    data = _headed(header)
    ref = hashlib.blake2b(data, digest_size=20).hexdigest()
    artifacts = Artifacts(tmp_path)
    artifacts.path(ref).write_bytes(data)
    with pytest.raises(DamagedError, match="cannot be read as arrays"):
        artifacts.load(ref)


def test_an_operator_does_not_apply_to_a_parent_whose_tensors_are_damaged(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    ref = artifacts.save({"w": np.ones(3, np.float32)})
    flipped(artifacts.path(ref))
    parent = Trial(3, "COMPLETE", {}, "key", "identity", "sample", refs={"weights": ref})
    with pytest.raises(NotApplicable, match="is damaged") as caught:
        Materials([parent], ("weights",), artifacts.load)["weights"]
    assert caught.value.kind == "damaged"
