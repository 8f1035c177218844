"""Pruning beside the paper, at its smallest: methods, strategies, controls, resumed rows."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from nasgen.papers import preset, prunings, stier2021_pruning
from nasgen.papers.base import Reproduction, Request
from nasgen.papers.prunings import at_share
from nasgen.papers.stier2021_pruning import METHODS, SCALES
from nasgen.runs import reading
from nasgen.runs.results import Run
from nasgen.settings.config import read_toml
from tests.papers.schema import assert_summary

ONE = replace(SCALES["tiny"], networks=("mlp-100",), first_epochs=2.0, epochs=0.5)
SAID: list[str] = []


def made_up(*steps: tuple[int, float]) -> dict[str, Any]:
    return {"steps": [{"n": n, "test": test, "val": test} for n, test in steps]}


def test_accuracies_lie_between_the_steps_that_enclose_them() -> None:
    row = made_up((1000, 0.99), (500, 0.98), (50, 0.9))
    assert at_share(row, 0.5) == 0.98
    assert at_share(row, 0.0) == 0.99
    middle = 1 - math.sqrt(500 * 50) / 1000  # half-way in the logarithm of what is left
    assert at_share(row, middle) == pytest.approx(0.94)
    assert math.isnan(at_share(row, 0.96)), "no step has gone as far"
    assert at_share(made_up((1000, 0.9), (199, 0.8)), 0.8) == 0.8, "what died with others is no gap"


def test_relative_lines_of_every_scale_meet_80_percent_and_end_at_a_56th() -> None:
    from nasgen.engine.steps import Steps

    for scale in SCALES.values():
        steps = Steps(stier2021_pruning.LAST, "relative", of_remaining=scale.of_remaining)
        n_first = left = 79_400
        seen = []
        while (following := steps.next(len(seen), n_first, left)) is not None:
            left = following[1]["keep"]
            seen.append(left)
        assert seen[scale.to_headline - 1] == pytest.approx(0.2 * n_first, abs=2)
        assert seen[-1] == round(n_first / 56)
    told = read_toml(preset(stier2021_pruning.PAPER))["algorithm"]
    assert told["of_remaining"] == pytest.approx(SCALES["quick"].of_remaining, abs=1e-4)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Request, Reproduction]:
    request = Request("tiny", "digits", tmp_path_factory.mktemp("pruning"), note=SAID.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SCALES, "tiny", ONE)
        patch.setattr(prunings, "LONG_S", 0.0)
        return request, stier2021_pruning.reproduce(request)


def test_every_method_strategy_and_control_begins_with_the_same_network(
    made: tuple[Request, Reproduction],
) -> None:
    _, found = made
    rows = {row["arm"]: row for row in found.rows if "arm" in row}
    lines = [f"{m}-{s}" for s in ("relative", "fixed-size") for m in METHODS]
    assert list(rows) == [prunings.BASE, *lines, "dense", "small"]
    first = rows[prunings.BASE]["steps"][0]
    n = first["n"]
    assert n == 64 * 100 + 100 * 10  # digits have 8 x 8 pixels; the classifier counts
    for arm in lines:
        begun, *steps = rows[arm]["steps"]
        assert (begun["n"], begun["val"], begun["test"]) == (n, first["val"], first["test"])
        assert begun["epochs"] == 0
        assert not rows[arm]["failure"]
        sizes = [step["n"] for step in steps]
        assert sizes == sorted(sizes, reverse=True)
        # What then reads or feeds nothing leaves as well, so that there may be fewer.
        wanted = n / 56 if "relative" in arm else 0.05 * n
        assert 0 < sizes[-1] <= wanted + 1, arm
        assert all(step["epochs"] == pytest.approx(ONE.epochs, rel=0.1) for step in steps)
    at_80 = {arm: rows[arm]["steps"][ONE.to_headline]["n"] for arm in lines[:5]}
    assert max(at_80.values()) <= 0.2 * n + 1
    assert at_80["class-uniform-relative"] > 0.1 * n
    assert at_80["obd-relative"] > 0.1 * n
    for control in ("dense", "small"):
        (only,) = rows[control]["steps"]
        assert only["epochs"] == pytest.approx(ONE.control_epochs, rel=0.1)
    assert rows["small"]["steps"][0]["n"] == pytest.approx(0.2 * n, rel=0.1)
    assert rows["dense"]["steps"][0]["n"] == n
    tests = [[step["test"] for step in rows[f"{m}-relative"]["steps"]] for m in METHODS]
    assert tests[0] != tests[1], "one threshold for both layers is not one for each of them"
    assert "seed 0: mlp-100 takes about" in " ".join(SAID[:2]), "said before the first line"


def test_the_summary_has_the_papers_figures_and_what_should_be_reached(
    made: tuple[Request, Reproduction],
) -> None:
    request, found = made
    assert_summary(found.summary(stier2021_pruning.PAPER), stier2021_pruning.PAPER, "tiny")
    papers = {(c.setting, c.arm): c.paper for c in found.compared if c.metric == "test accuracy"}
    of_blinded = "784-100-10, magnitude, class-blinded, relative"
    assert papers["80 % gone", of_blinded] == 0.975
    assert papers["before pruning", "784-100-10, dense"] == 0.970
    assert papers["80 % gone", of_blinded.replace("blinded", "uniform")] is None
    deep = {
        c.arm: c.ours
        for c in found.compared
        if (c.setting, c.metric) == ("95 % gone", "test accuracy") and "relative" in c.arm
    }
    assert len(deep) == len(METHODS)
    by_words = {arm.split(", ", 1)[1]: float(ours or 0) for arm, ours in deep.items()}
    for method in ("class-uniform", "obd"):
        assert by_words[f"{METHODS[method]}, relative"] > by_words["random, relative"]
    assert all(target.met is None for target in found.targets), "one seed cannot tell"
    page = found.page.read_text()
    assert "<svg" in page
    assert found.page == request.out / "stier2021-pruning.html"


def test_pruned_weights_are_zero_and_nothing_is_measured_twice(
    made: tuple[Request, Reproduction], monkeypatch: pytest.MonkeyPatch
) -> None:
    request, found = made
    (folder,) = request.out.glob("tiny-*/seed0/mlp-100")
    run = Run.open(folder / "magnitude-relative")
    last = max(run.trials, key=lambda t: t.seq)
    weights = run.folder.artifacts.load(str(last.weights_ref))
    masks = run.folder.artifacts.load(last.refs["support"])
    assert any(not mask.all() for mask in masks.values())
    assert all(not weights[name][~mask].any() for name, mask in masks.items())
    file = request.out / "stier2021-pruning.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-3]) + "\n" + lines[-3][:40])  # as a kill leaves it
    monkeypatch.setitem(SCALES, "tiny", ONE)
    told: list[str] = []
    again = replace(request, listeners=(lambda event, data: told.append(event),))
    repeated = stier2021_pruning.reproduce(again)
    before, now = ([r for r in of.rows if "arm" in r] for of in (found, repeated))
    assert [row["steps"] for row in now] == [row["steps"] for row in before]
    assert "told" not in told, "nothing was trained"
    assert len(file.read_text().splitlines()) == len(lines)
    assert [json.loads(line)["arm"] for line in lines] == [row["arm"] for row in before]
    wrong = [row for row in repeated.rows if row.get("kind") == "error of the paper"]
    assert "97.0 % before" in wrong[0]["the paper"]
    assert wrong[0]["here"].endswith(" points"), "class-blinded minus the control"


def test_the_preset_prunes_784_100_10(made: tuple[Request, Reproduction]) -> None:
    config = reading.resolved(read_toml(preset(stier2021_pruning.PAPER))).config
    assert config.origin.network == "mlp-100"
    assert config.algorithm.options["strategy"] == "relative"
