"""The folder of an ensemble: it answers without its runs, and says what is wrong with it."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.ensembles import calibration
from nasgen.errors import ConfigError, StoreError
from nasgen.evaluation.interval import wilson
from nasgen.evaluation.tasks.classification import Classification
from nasgen.registry import code
from nasgen.runs import ensembled
from nasgen.runs.ensembled import RECORD, Ensembled, is_one
from nasgen.store import beside
from nasgen.store.artifacts import Artifacts

TABLES: dict[str, Any] = {
    "algorithm": {"name": "random"},
    "training": {"epochs": 6.0},
    "execution": {"executor": "serial"},
    "budget": {"trials": 4},
    "finish": {"networks": 0},
    "store": {"keep_weights": "all"},
}
METHOD = """
from dataclasses import dataclass
import nasgen

@nasgen.ensemble("best-few")
@dataclass(frozen=True)
class BestFew(nasgen.EnsembleMethod):
    n: int = 1

    def choose(self, candidates):
        return [(member, 1 / self.n) for member in candidates.members[: self.n]]
"""
METHODS = ("average", "weighted", "greedy", "stack", "diverse", "soup")


def _rows(seed: int, n_classes: int = 3, width: int = 4) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    y = np.arange(150) % n_classes
    return rng.normal(size=(150, width)) + 0.8 * y[:, None], y


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on the same data, `a` and `b`; others on other data; the ensemble `both`."""
    home = tmp_path_factory.mktemp("folder")
    np.savez(home / "rows.npz", **dict(zip(("x_train", "y_train"), _rows(0), strict=True)))
    source = {"data": {"source": f"npz:{home / 'rows.npz'}"}}
    for seed, name in enumerate("ab"):
        nasgen.run({**TABLES, **source, "seed": seed}, out=home / name)
    split = {"data": {**source["data"], "split_seed": 1}}
    nasgen.run({**TABLES, **split, "budget": {"trials": 1}}, out=home / "split")
    few = {**TABLES, "budget": {"trials": 1}}
    nasgen.run(few, data=_rows(1), out=home / "other")
    nasgen.run(few, data=_rows(0, 2), out=home / "classes")
    x, y = _rows(0)
    nasgen.run(few, data=(x, y + 0.5), out=home / "values")
    found = ensemble(home, "a", "b", "--out", "both", "--method", "average", "--candidates", "2")
    assert found.exit_code == 0, found.output
    return home


def ensemble(home: Path, *arguments: str) -> Result:
    """Call `nasgen ensemble`; what has no dash in front is a path in `home`."""
    paths = ("a", "b", "split", "other", "classes", "values", "both", "both2", "new")
    words = [str(home / a) if a in paths else a for a in arguments]
    return CliRunner().invoke(app, ["ensemble", *words])


def test_the_folder_has_what_its_format_says(made: Path) -> None:
    record = json.loads((made / "both" / RECORD).read_text())
    assert is_one(made / "both")
    assert not is_one(made / "a")
    assert {
        "format", "nasgen", "made", "command", "task", "metric", "classes", "mean_of",
        "temperature", "views", "method", "options", "selected_on", "metrics", "data", "members",
    } == set(record)  # fmt: skip
    assert record["selected_on"] == {"part": "validation", "rows": 12, "by": "accuracy"}
    assert {"val_accuracy", "cross_fitted_accuracy", "test_accuracy", "gap"} <= set(
        record["metrics"]
    )
    assert len(record["members"]) == 4
    for member in record["members"]:
        assert member["weight"] == 0.25
        assert member["run"] in ("a", "b")
        assert Path(member["from"]) == (made / member["run"]).resolve()
        assert (made / "both" / "runs" / member["run"] / "run.json").is_file()
        for ref in member["refs"].values():
            assert (made / "both" / "artifacts" / f"{ref}.safetensors").is_file()
    assert (made / "both" / "transform.json").is_file()


def test_the_report_shows_cost_diversity_calibration_and_errors(made: Path) -> None:
    page = (made / "both" / "report.html").read_text()
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Result", "Members", "Cost against result", "Diversity", "Calibration", "Confusion matrix",
        "Results by class", "Most confident errors", "It was made by",
    ]  # fmt: skip
    assert "http" not in page
    assert "src=" not in page.replace('src="data:', "")
    assert 'class="bad"' not in page
    record = json.loads((made / "both" / RECORD).read_text())
    shown = re.findall(r"95.% interval of the ([a-z-]+) accuracy", page)
    assert shown == ["test", "validation", "cross-fitted"]
    assert record["command"].split()[0] == "nasgen"
    assert f"<code>{html.escape(record['command'])}</code>" in page
    found = Ensembled(made / "both").ensemble
    tests, targets = found.predictions("test"), found.inference.targets("test")
    by_member = page.split("<h2>Members</h2>")[1].split("</section>")[0]
    n_val = len(found.inference.targets("validation"))
    assert f"from {n_val} validation and {len(targets)} test rows" in by_member
    for member in found.members:
        share = member.test_metrics["accuracy"]
        low, high = (f"{100 * bound:.2f}" for bound in wilson(share, len(targets)))
        assert f"{100 * share:.2f}" in by_member
        assert f"({low} – {high}" in by_member
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", page)
    counts = [
        found for row in rows if (found := re.findall(r"heat\d(?: right)?\">(\d*)</td>", row))
    ]
    diagonal = [int(row[i] or 0) for i, row in enumerate(counts)]
    assert len(diagonal) == 3
    assert sum(diagonal) == (tests.argmax(axis=1) == targets).sum()
    sure = [(float(tests[i].max()), i) for i in np.flatnonzero(tests.argmax(axis=1) != targets)]
    first = re.search(r"Most confident errors.*?<tbody><tr><td>(\d+)</td>", page, re.S)
    assert first is not None
    assert int(first.group(1)) == max(sure, key=lambda pair: (pair[0], -pair[1]))[1]


def test_what_load_returns_answers_itself_and_is_short_in_a_console(made: Path) -> None:
    x, _ = _rows(7)
    found = nasgen.load(made / "both")
    np.testing.assert_array_equal(found.predict_proba(x), found.ensemble.predict_proba(x))
    np.testing.assert_array_equal(found.predict(x), found.ensemble.predict(x))
    assert found.classes == ("0", "1", "2")
    run = nasgen.load(made / "a")
    assert repr(found) == f"Ensembled({str(made / 'both')!r})"
    assert repr(run) == f"Run({str(made / 'a')!r})"
    best = run.network().trial.seq
    assert f"a:{best}: 0.25" in repr(found.ensemble)
    written = found.ensemble.export(made / "written", formats="python")
    assert repr(written) == f"Written({str(made / 'written')!r}, formats=['python'])"


def _confident(n: int, wrong: int = 0) -> tuple[Any, Any]:
    """Probabilities of 0.6 for the right class, of `wrong` rows for another one."""
    targets = np.arange(n) % 2
    return np.where(np.eye(2)[(targets + (np.arange(n) < wrong)) % 2] > 0, 0.6, 0.4), targets


def test_few_rows_move_a_temperature_little_and_many_as_far_as_they_say() -> None:
    task = Classification(2)
    right = [calibration.temperature(task, *_confident(n)) for n in (2, 15, 150, 1500)]
    assert 1 > right[0] > right[1] > right[2] > right[3] > calibration.TEMPERATURES[0]
    assert right[1] > 0.3  # of rows that are all right, any lower one would be likelier
    wrong = [calibration.temperature(task, *_confident(n, n * 9 // 20)) for n in (20, 20_000)]
    # Of 55 % right answers: the logit of 0.6 over that of 0.55.
    assert 1 < wrong[0] < wrong[1] == pytest.approx(np.log(1.5) / np.log(0.55 / 0.45), rel=0.03)


def test_a_password_that_was_typed_is_kept_nowhere(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://me:secret@host/runs"
    monkeypatch.setattr(sys, "argv", ["nasgen", "ensemble", "a", "--ledger", url])
    done = ensemble(made, "a", "--out", str(tmp_path / "new"))
    assert done.exit_code == 0, done.output
    for name in (RECORD, "report.html"):
        text = (tmp_path / "new" / name).read_text()
        assert "@host/runs" in text
        assert "secret" not in text


def test_a_soup_of_no_relatives_says_that_it_is_one_network(made: Path) -> None:
    done = ensemble(made, "a", "--method", "soup")
    assert "note: no weights were averaged: no candidate shares the descent" in done.output


def test_show_and_report_point_to_the_report_of_an_ensemble(made: Path) -> None:
    for command in ("show", "report", "status"):
        done = CliRunner().invoke(app, [command, str(made / "both")])
        assert done.exit_code == 2
        said = " ".join(done.output.split())
        assert f"it is an ensemble, whose report is {made / 'both' / 'report.html'}:" in said


def test_what_cannot_be_written_is_said_of_the_folder_that_was_asked_for(tmp_path: Path) -> None:
    def write() -> None:
        with beside.whole(tmp_path / "new") as folder:
            (folder / "artifacts").write_text("in the way")
            Artifacts(folder / "artifacts").save({"a": np.zeros(3)})

    with pytest.raises(StoreError, match=re.escape(f"cannot write {tmp_path / 'new' / 'artif'}")):
        write()
    assert not any(tmp_path.iterdir())


def test_a_trial_of_an_ensemble_is_a_sentence(made: Path) -> None:
    with pytest.raises(ConfigError, match="both is an ensemble, which has no trials"):
        nasgen.load(f"{made / 'both'}:0")


def test_rows_of_a_table_have_no_views(made: Path) -> None:
    said = ensemble(made, "a", "--method", "average", "--views", "6").output
    assert "note: views are of images alone; 6 were asked for" in said
    assert "one view" not in said


def test_it_answers_as_before_without_its_runs_and_data(made: Path, tmp_path: Path) -> None:
    x, _ = _rows(7)
    expected = Ensembled(made / "both").ensemble.predict_proba(x)
    assert Ensembled(made / "both")._repr_html_().count("<svg") == 4
    shares = []
    for name in "ab":
        run = nasgen.load(made / name)
        members = [m for m in Ensembled(made / "both").ensemble.members if m.run == name]
        shares += [run.network(m.trial.seq).predict_proba(x) for m in members]
    np.testing.assert_allclose(np.mean(shares, axis=0), expected, atol=1e-6)
    shutil.copytree(made / "both", tmp_path / "moved")
    for run in (tmp_path / "moved" / "runs").iterdir():  # as on a machine without the data
        text = (run / "config.toml").read_text().replace(str(made), "/nowhere")
        (run / "config.toml").write_text(text)
    moved = Ensembled(tmp_path / "moved").ensemble
    np.testing.assert_array_equal(moved.predict_proba(x), expected)
    assert moved.predict_names(x[:2])[0] in ("0", "1", "2")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_combines_several_runs_within_its_limits(made: Path, method: str) -> None:
    found = ensemble(
        made, "a", "b", "--method", method, "--size", "2", "--select", "nll", "--json",
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    summary = json.loads(found.stdout)
    assert 1 <= len(summary["members"]) <= 2
    assert sum(m["weight"] for m in summary["members"]) == pytest.approx(1, abs=1e-5)
    assert summary["method"] == method
    assert summary["selected_on"]["by"] == "loss"
    gap = summary["val_accuracy"] - summary["test_accuracy_one_view"]
    assert summary["gap"] == pytest.approx(gap)


def test_limits_of_parameters_and_latency_hold_of_all_members_together(made: Path) -> None:
    sizes = sorted(t.metrics["n_params"] for t in nasgen.load(made / "a").ranked)
    limit = int(sizes[0] + sizes[1])
    arguments = ("a", "--max-params", str(limit), "--max-latency", "1000", "--json")
    summary = json.loads(ensemble(made, *arguments).stdout)
    assert summary["n_params"] <= limit
    assert 0 < summary["latency_ms"] <= 1000
    for option, sentence in (
        ("--max-params", f"max_params: expected at least {sizes[0]}, the parameters of the smalle"),
        ("--max-latency", "max_latency_ms: expected at least"),
    ):
        refused = ensemble(made, "a", option, "1" if option == "--max-params" else "1e-9")
        assert refused.exit_code == 2
        assert sentence in refused.stderr


def test_a_method_of_a_plug_in_is_named_and_takes_options(
    made: Path, tmp_path: Path, registry_restored: None
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(METHOD)
    words = ("--plugin", str(file), "--method", "best-few", "--set", "ensemble.n=3", "--json")
    found = ensemble(made, "a", "b", *words)
    assert found.exit_code == 0, found.output
    assert [m["weight"] for m in json.loads(found.stdout)["members"]] == [0.333333] * 3


def test_a_network_of_several_sources_takes_part_once(made: Path, tmp_path: Path) -> None:
    of_both = {(m["run"], m["trial"]) for m in _members_of(made, "both")}
    again = _members_of(made, "a", "b", "both", "--candidates", "2")
    assert len(again) == len(of_both) == 4
    assert {(m["run"], m["trial"]) for m in again} == of_both
    copy = shutil.copytree(made / "both", tmp_path / "copy")
    assert len(_members_of(made, "both", str(copy))) == 4


def _members_of(home: Path, *sources: str) -> list[Any]:
    found = ensemble(home, *sources, "--method", "average", "--json")
    assert found.exit_code == 0, found.output
    members: list[Any] = json.loads(found.stdout)["members"]
    return members


def test_methods_draw_from_the_seed_of_the_first_run(
    made: Path, tmp_path: Path, registry_restored: None
) -> None:
    file = tmp_path / "drawn.py"
    file.write_text(METHOD.replace("[: self.n]", "[candidates.seed :][:1]"))
    words = ("--plugin", str(file), "--method", "best-few", "--json")
    for run, place in (("a", 0), ("b", 1)):  # with the seeds 0 and 1
        found = ensemble(made, run, *words)
        assert found.exit_code == 0, found.output
        (member,) = json.loads(found.stdout)["members"]
        assert member["trial"] == nasgen.load(made / run).networks()[place].trial.seq


def test_a_folder_is_not_made_where_one_stands_and_leaves_of_killed_processes_go(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = ensemble(made, "a", "--out", ".")
    assert found.exit_code == 2
    assert "is the folder that you are in; name a new one" in found.output
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    (left := tmp_path / f".new.{most + 1}.0f.tmp").mkdir()
    os.utime(left, (0, 0))
    assert ensemble(made, "a", "--out", str(tmp_path / "new")).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_limits_that_no_network_keeps_leave_a_run_without_an_ensemble(tmp_path: Path) -> None:
    limits = {"ensemble": {"max_params": 1}, "budget": {"trials": 1}}
    with pytest.warns(UserWarning, match=r"there is no ensemble: ensemble.max_params: expected at"):
        run = nasgen.run({**TABLES, **limits}, data=_rows(0), out=tmp_path / "run")
    assert run.is_complete
    assert run.summary["ensemble"] is None
    assert "ensemble.max_params" in run.report_path.read_text()


def test_a_folder_and_a_run_are_combined_again(made: Path) -> None:
    found = ensemble(made, "both", "a", "--out", "both2", "--mean-of", "logits", "--calibrate")
    assert found.exit_code == 0, found.output
    again = Ensembled(made / "both2")
    assert again.record["mean_of"] == "logits"
    assert again.record["temperature"] != 1.0
    assert again.ensemble.mixing.temperature == again.record["temperature"]
    x, _ = _rows(3)
    np.testing.assert_allclose(again.ensemble.predict_proba(x).sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("a", "other"), "use different data; an ensemble needs the same"),
        (("a", "split"), "use different validation splits"),
        (("a", "classes"), "have different classes, 0, 1, 2 and 0, 1"),
        (("a", "values"), "have different tasks, classification and regression"),
        (("a", "--views", "3"), "--views: expected 1, 2 or 6, got 3"),
        (("a", "--method", "gredy"), "did you mean 'greedy'?"),
        (("a", "--set", "ensemble.bag=2"), "ensemble.bag: expected a share above 0"),
        (("a", "--set", "ensemble.bgas=2"), "'ensemble.bgas' is no setting; did you mean 'bags'?"),
        (("a", "--set", "seed=2"), "--set: expected settings of the ensemble"),
        (("a", "--select", "speed"), "ensemble.select: input should be 'accuracy' or 'nll'"),
        (("values", "--mean-of", "logits"), "Regression has no logits"),
        (("values", "--calibrate"), "Regression has no logits"),
        (("a", "--out", "b"), "exists and is not empty; choose another one"),
        (("new",), "is no nasgen run"),
    ],
)
def test_what_cannot_be_combined_is_said(
    made: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    found = ensemble(made, *arguments)
    assert found.exit_code == 2, found.output
    assert sentence in found.stderr
    assert "bug" not in found.stderr


def test_what_does_not_fit_is_left_out_and_the_rest_is_done(made: Path) -> None:
    found = ensemble(made, "a", "other", "b", "--size", "50", "--method", "average", "--json")
    assert found.exit_code == 0, found.output
    assert {m["run"] for m in json.loads(found.stdout)["members"]} == {"a", "b"}
    assert "other use different data" in found.stderr
    assert "ensemble.size = 50: no more can take part than the 8" in found.stderr


def _record(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        record = json.loads((folder / RECORD).read_text())
        change(record)
        (folder / RECORD).write_text(json.dumps(record))

    return harm


def _artifacts(change: Callable[[Path], Any]) -> Callable[[Path], None]:
    return lambda folder: [change(file) for file in (folder / "artifacts").iterdir()] and None


HARMS: dict[str, Callable[[Path], Any]] = {
    "no JSON": lambda folder: (folder / RECORD).write_text("{"),
    "a list": lambda folder: (folder / RECORD).write_text("[]"),
    "another format": _record(lambda record: record.update(format=2)),
    "no members": _record(lambda record: record.update(members=[])),
    "shares of 2": _record(lambda record: record["members"][0].update(weight=2.0)),
    "a share of text": _record(lambda record: record["members"][0].update(weight="x")),
    "no genotype": _record(lambda record: record["members"][0].pop("genotype")),
    "another folder": _record(lambda record: record["members"][0].update(run="../../a")),
    "a temperature of 0": _record(lambda record: record.update(temperature=0)),
    "a mean of nothing": _record(lambda record: record.update(mean_of="nothing")),
    "another network's weights": _record(
        lambda record: record["members"][0]["refs"].update(
            weights=record["members"][0]["refs"]["predictions"]
        )
    ),
    "weights missing": _artifacts(Path.unlink),
    "weights damaged": _artifacts(lambda file: file.write_bytes(file.read_bytes()[:-3])),
    "data that are a number": _record(lambda record: record.update(data=5)),
    "metrics that are a list": _record(lambda record: record.update(metrics=[])),
    "rows that are a text": _record(lambda record: record.update(selected_on="x")),
    "a metric that is a list": _record(lambda record: record.update(metric=[1])),
    "parameters that are a list": _record(
        lambda record: record["members"][0]["metrics"].update(n_params=[])
    ),
    "a reference that leads away": _record(
        lambda record: record["members"][0]["refs"].update(weights="../../x")
    ),
    "no run": lambda folder: shutil.rmtree(folder / "runs" / "a"),
    "no config": lambda folder: (folder / "runs" / "a" / "config.toml").write_text("= 1"),
    "transform damaged": lambda folder: (folder / "transform.json").write_text("{}"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_folder_is_said_to_be_one(made: Path, tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "both"
    shutil.copytree(made / "both", folder)
    HARMS[harm](folder)
    with pytest.raises(nasgen.NasgenError) as error:
        Ensembled(folder).ensemble.predict_proba(_rows(0)[0])
    assert str(error.value).endswith((".", "?")), error.value
    found = CliRunner().invoke(app, ["ensemble", str(folder)])
    assert "bug" not in found.stderr
    if found.exit_code == 0:  # the others are enough
        assert "is left out" in found.stderr
    else:
        assert found.exit_code == 2
        assert "error: " in found.stderr


def test_a_folder_appears_whole_or_not_at_all(made: Path, tmp_path: Path) -> None:
    found = Ensembled(made / "both")
    ensemble = found.ensemble
    for member in ensemble.members[-1:]:
        member.trial.refs["weights"] = "0" * 40  # type: ignore[index]
    with pytest.raises(StoreError, match="cannot be read"):
        ensembled.write(tmp_path / "new", ensemble, [found.first] * 4, {})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_has_a_remedy_that_fits_an_ensemble(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Ensembled(made / "both")
    ensemble = found.ensemble

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"No space left.*; the runs are as they were") as raised:
        ensembled.write(tmp_path / "new", ensemble, [found.first] * 4, {})
    assert "resumed" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_no_code_in_the_folder_is_run_unasked(
    made: Path, tmp_path: Path, registry_restored: None
) -> None:
    folder = tmp_path / "both"
    shutil.copytree(made / "both", folder)
    mark = tmp_path / "mark"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()")
    digest = code.digest_of(folder / "evil.py")  # all that speaks against it is where it lies
    for run in (folder / "runs").iterdir():
        text = (run / "config.toml").read_text()
        files = f"files = [{json.dumps(str(folder / 'evil.py'))}]"
        (run / "config.toml").write_text(text.replace("files = []", files))
        record = json.loads((run / "run.json").read_text())
        record["plugins"] = {str(folder / "evil.py"): digest}
        (run / "run.json").write_text(json.dumps(record))
    Ensembled(folder).ensemble.predict_proba(_rows(0)[0][:2])
    assert not mark.exists()
