"""What a report says about answers to test rows: it agrees with the network that gave them."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, binomtest

import nasgen
from nasgen.data.base import make
from nasgen.errors import StoreError
from nasgen.evaluation import looking
from nasgen.evaluation.interval import paired, wilson
from nasgen.evaluation.tasks.classification import Classification
from nasgen.evaluation.tasks.regression import Regression
from nasgen.export.folder import Written
from nasgen.report import answers, numbers
from nasgen.report.answers import Answered
from nasgen.runs import commands, exporting, tested
from nasgen.runs.results import Run
from nasgen.runs.segments import leg_record
from nasgen.runs.session import run as search
from tests.report.test_report_page import Checker


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search on pictures of three kinds, some of them alike, so that there are errors."""
    home = tmp_path_factory.mktemp("answered")
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = rng.integers(0, 200, (120, 1, 6, 6)) + 12 * y[:, None, None, None]
    np.savez(home / "rows.npz", x=x.astype(np.uint8), y=y)
    return search(
        {
            "data": {"source": f"npz:{home / 'rows.npz'}"},
            "budget": {"trials": 4},
            "training": {"epochs": 1},
            "finish": {"networks": 2, "epochs": 24},
            "ensemble": {"name": "average"},
            "algorithm": {"name": "random"},
            "execution": {"executor": "serial"},
        },
        out=home / "run",
    )


def _page(run: Run) -> str:
    return run.report_path.read_text(encoding="utf-8").replace("\u202f", " ")


def test_what_a_run_keeps_is_what_its_networks_answer(made: Run) -> None:
    kept = tested.read(made, made.summary)
    targets, x = made.dataset.targets_test, made.dataset.x_test
    for found, network in ((kept.best, made.network()), (kept.ensemble, made.ensemble)):
        assert found is not None
        proba = network.predict_proba(x)
        given = proba.argmax(axis=1)
        for (i, j), n in found.counts.items():
            assert n == ((targets == i) & (given == j)).sum()
        assert sum(found.counts.values()) == found.n_rows == len(targets)
        assert found.n_right == (given == targets).sum()
        sure = [m.confidence for m in found.mistakes]
        assert sure == sorted(sure, reverse=True)  # type: ignore[type-var]
        assert {m.row for m in found.mistakes} == set(np.flatnonzero(given != targets)[:24])
        for m in found.mistakes:
            assert m.answered == made.classes[given[m.row]] != m.true
            assert m.confidence == pytest.approx(proba[m.row].max(), abs=1e-5)
            assert m.png is not None
            assert m.png.startswith(b"\x89PNG")


def test_the_page_shows_them_with_intervals_and_numbers_of_rows(made: Run) -> None:
    page, best = _page(made), tested.read(made, made.summary).best
    assert best is not None
    assert page.count('class="dense confusion"') == 2
    assert page.count("<img ") == page.count('src="data:image/png;base64,') > 0
    assert "img-src data:" in page
    low, high = wilson(best.n_right / best.n_rows, best.n_rows)
    assert f"{best.n_right} of {best.n_rows} images right" in page
    assert f"{100 * low:.2f} – {100 * high:.2f} %" in page
    assert f"on {best.n_rows} test images" in page
    assert f"on {tested.read(made, made.summary).n_val} validation images" in page
    checker = Checker()
    checker.feed(page)
    assert checker.open == []


def test_no_report_needs_the_data_again(made: Run, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(made.path, copy)
    config = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(config.replace("rows.npz", "gone.npz"))
    run = nasgen.load(copy)
    run.report()
    assert _page(run).count('class="dense confusion"') == 2


@pytest.mark.parametrize("damage", ["gone", "half", "counts", "format"])
def test_a_run_that_has_kept_no_answers_says_so(made: Run, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "run"
    shutil.copytree(made.path, copy)
    file = copy / tested.FILE
    text = file.read_text()
    data = json.loads(text)
    if damage == "gone":
        file.unlink()
    elif damage == "half":
        file.write_text(text[: len(text) // 2])
    elif damage == "counts":
        data["best"]["counts"][0][0] = 9
        file.write_text(json.dumps(data))
    else:
        file.write_text(json.dumps(data | {"format": 99}))
    run = nasgen.load(copy)
    run.report()
    page = _page(run)
    assert "Answers to single test images are not known" in page
    assert ("version that did not keep them" if damage == "gone" else "is damaged") in page
    assert "confusion" not in page.split("<body>")[1].replace("Confusion", "")


def test_values_get_errors_and_the_rows_that_are_furthest_off() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 2)).astype(np.float32)
    dataset = make("values", x, x[:, 0] * 3, task="regression")
    task = Regression.fit(dataset, np.arange(len(dataset.targets)))
    truth = dataset.targets_test
    given = truth + rng.normal(size=len(truth)).astype(np.float32)
    found = tested.answered(task, dataset, given, ())
    again = tested.of_json(json.loads(json.dumps(tested.to_json(found))), len(truth), "rows", ())
    assert found == again
    (values,) = found.values
    assert values.rmse == pytest.approx(task.measured(given, truth)["rmse"])
    assert values.errors[0.5] == pytest.approx(np.median(given - truth), abs=1e-5)
    furthest = int(np.abs(given - truth).argmax())
    assert found.mistakes[0].row == furthest
    assert [heading for heading, _ in answers.parts(found)] == [
        "Answers and truth",
        "Largest errors",
    ]


def test_answers_of_another_kind_are_counted_alone() -> None:
    x = np.zeros((40, 1, 4, 4), np.uint8)
    dataset = make("classes", x, np.arange(40) % 2)
    odd = np.zeros((len(dataset.targets_test), 5), np.float32)  # not one for each class
    found = tested.answered(Classification(2), dataset, odd, ("a", "b"))
    assert found == Answered(len(odd), "images")
    assert answers.parts(found) == []


def test_many_classes_are_a_list_of_confusions() -> None:
    names = tuple(f"c{i}" for i in range(40))
    counts = {(i, i): 5 for i in range(40)} | {(3, 4): 7, (9, 2): 1}
    found = Answered(208, "rows", names, counts)
    (heading, drawn), (_, by_class), _ = answers.parts(found)
    assert heading == "Confusion matrix"
    rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>", "".join(drawn))
    assert rows == [("c3", "c4", "7"), ("c9", "c2", "1")]
    assert "c4 (7)" in "".join(by_class)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 30), (29, 30), (30, 30), (611, 1000)])
def test_the_interval_is_that_of_wilson(k: int, n: int) -> None:
    expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-4)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.98])
def test_a_paired_interval_holds_the_true_difference(share: float) -> None:
    """Over all outcomes of two independent networks on 60 rows, exactly."""
    n, other = 60, 0.9 * share
    won, lost = share * (1 - other), other * (1 - share)
    held = 0.0
    for b in range(n + 1):
        for c in range(n + 1 - b):
            chance: Any = binom.pmf(b, n, won) * binom.pmf(c, n - b, lost / (1 - won))
            if chance > 1e-9:
                low, high = paired(b, c, n)
                held += float(chance) * (low <= share - other <= high)
    assert held > 0.93


def test_a_segment_remembers_its_command_line_without_passwords() -> None:
    words = ["search", "--set", "store.ledger=postgresql://anna:s3cret@db/x"]
    assert leg_record(1, None)["command"] == ""
    with commands.executing(words):
        assert leg_record(1, None)["command"] == (
            "nasgen search --set store.ledger=postgresql://***@db/x"
        )
    assert leg_record(1, None)["command"] == ""


def _unpacked(page: str) -> dict[str, Any]:
    found = re.search(r'<template id="packed">(.*?)</template>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(found[1]), -15))
    return data


def test_every_trial_opens_with_drawing_curve_and_settings(made: Run) -> None:
    packed = _unpacked(_page(made))
    assert {int(seq) for seq in packed["trials"]} == {t.seq for t in made.trials}
    assert len(packed["networks"]) == len({t.key for t in made.trials})
    for trial in made.trials:
        head, network, tail = packed["trials"][str(trial.seq)]
        body = head + packed["networks"][network] + tail
        checker = Checker()
        checker.feed(body)
        assert checker.open == []
        tags = [tag for tag, _ in checker.tags]
        assert tags.count("svg") == 2  # the drawing and the curve
        opened = {a["data-trial"] for tag, a in checker.tags if tag == "button"}
        family = {*trial.parents, *(t.seq for t in made.trials if trial.seq in t.parents)}
        assert opened == {str(seq) for seq in family}
        assert f"Trial {trial.seq}" in checker.text
        assert str(trial.seed) in checker.text
        assert f"--trial {trial.seq}" in checker.text
        value = f"{100 * trial.objectives['val_accuracy']:.2f}\u202f%"
        assert value in checker.text


def test_the_page_names_trials_by_links_that_open_them(made: Run) -> None:
    page = Checker()
    page.feed(_page(made))
    opened = [(tag, a["data-trial"]) for tag, a in page.tags if "data-trial" in a]
    assert {seq for tag, seq in opened if tag == "a"} == {str(t.seq) for t in made.trials}
    assert {tag for tag, _ in opened} >= {"a", "circle", "path", "g"}


def test_finalists_have_validation_curves(made: Run) -> None:
    last = [t for t in made.trials if t.phase == "finish"]
    for trial in last:
        looks = [row for row in trial.curve if "val_loss" in row]
        assert looks
        assert trial.curve[-1] not in looks  # the end is measured on all rows, for the metrics
        assert all(0 <= row["val_accuracy"] <= 1 for row in looks)
    assert not any("val_loss" in row for t in made.trials if t not in last for row in t.curve)
    page = _page(made)
    assert "validation loss" in page
    assert page.count("dashed") > len(last)
    every = looking.every
    assert every(1, 1000) == 1
    for n_rows, n_train in ((144, 1293), (2000, 45_000), (30, 60)):
        assert n_rows / every(n_rows, n_train) <= 0.01 * 3 * n_train


def test_what_the_search_cost_is_the_sum_of_its_trainings(made: Run) -> None:
    page = _page(made).split('id="cost"')[1].split("</section>")[0]
    cells = re.findall(r"<td>([^<]*)</td>", page.split("Beside a random network")[0])
    rows = {cells[i]: cells[i + 1 : i + 4] for i in range(0, len(cells), 4)}
    kept = tested.read(made, made.summary)
    n_train = made.record["data"]["n_train"] - (kept.n_val or 0)
    flops = sum(3 * t.metrics["flops"] * t.metrics["epochs_done"] * n_train for t in made.trials)
    assert rows["all together"][0] == str(len(made.trials))
    assert rows["all together"][2] == numbers.count(flops).replace("\u202f", " ")
    row = made.summary["baseline"]
    assert made.trial(row["trial"]).phase == "finish"
    assert "Beside a random network" in page
    kept_best = kept.best
    assert kept_best is not None
    if row["trial"] != made.summary["best"]["trial"]:
        won = kept_best.n_right - row["test_accuracy"] * kept_best.n_rows
        assert row["won"] - row["lost"] == pytest.approx(won)


def test_exports_are_linked_while_they_are_there(made: Run, tmp_path: Path) -> None:
    folder = made.path.parent / "an export"
    folder.mkdir()
    (folder / "model.py").write_text("")
    (folder / "README.md").write_text("")
    formats = {"python": {"file": "model.py"}, "onnx": {"reason": "none"}}
    for _ in range(2):
        assert exporting.noted(made, "trial 1", Written(folder, {"formats": formats})) == ""
    page = _page(made)
    assert page.count('href="./../an%20export"') == 1
    assert 'href="./../an%20export/model.py"' in page
    assert "onnx" not in page.split("Exported files")[1].split("</ul>")[0]
    shutil.rmtree(folder)
    made.report()
    assert "Exported files" not in _page(made)
    (made.path / exporting.FILE).write_text('{"exports": [{"path": 3}, 4]}')
    assert exporting.links(made) == []


def test_what_is_exported_from_python_is_linked(made: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    network = made.network()
    network.export(made.path.parent / "of-python", formats="python", check_on=8)
    made.ensemble.export(made.path / "inside", formats="python", check_on=8)
    found = {row["name"]: row for row in exporting.links(made)}
    assert found["of-python"]["of"] == f"trial {network.trial.seq}"
    assert found["inside"]["of"] == "ensemble"
    page = _page(made)
    assert 'href="./../of-python/model.py"' in page
    assert 'href="./inside/model.py"' in page

    def full(*given: object) -> None:
        raise StoreError("no space is left.")

    monkeypatch.setattr(type(made.folder), "write_json", full)
    with pytest.warns(UserWarning, match=r"report does not link to .*no space is left"):
        written = network.export(made.path.parent / "another", formats="python", check_on=8)
    assert written.path.is_dir()


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no browser")
def test_in_a_browser_a_trial_opens_by_its_address(made: Run) -> None:
    trial = made.trials[1]
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000")
    address = f"{made.report_path.resolve().as_uri()}#trial-{trial.seq}"
    done = subprocess.run(
        [str(CHROMIUM), *flags, "--dump-dom", address], capture_output=True, text=True, timeout=120
    )
    page = done.stdout
    opened = re.search(r"<dialog id=\"opened\"[^>]* open=.*?</dialog>", page, re.DOTALL)
    assert opened is not None, done.stderr[-500:]
    assert f'Trial {trial.seq} <span class="quiet">' in opened[0]
    assert opened[0].count("<svg") == 2
    marks = re.findall(r"<(?:circle|path)[^>]*data-trial=[^>]*>", page)
    assert marks
    assert all('role="button"' in mark and "aria-label=" in mark for mark in marks)
    charts = [svg for svg in re.findall(r"<svg[^>]*>", page) if 'role="group"' in svg]
    stops = re.findall(r'<(?:circle|path|g)[^>]*tabindex="0"[^>]*>', page)
    assert len(stops) == len(charts) > 0
