"""A run begins with designs, says which, by how much evolution beats them, and resumes the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli.app import app
from nasgen.loop.gains import first_of, gained
from nasgen.report.gains import sentence
from nasgen.runs import designs, reading
from nasgen.runs.session import resume, verify
from nasgen.settings.fidelity import Fidelity
from nasgen.settings.objectives import Objective
from nasgen.store import migrations
from nasgen.store.trial import Trial

TINY: dict[str, Any] = {
    "space": {"max_channels": 12, "max_stages": 2},
    "algorithm": {"population": 3, "offspring": 2},
    "training": {"epochs": 0.1, "fraction": 0.3},
    "finish": {"networks": 1, "epochs": 0.2, "widen": 1},
    "budget": {"trials": 7},
    "predictor": {"name": "none"},
    "execution": {"executor": "serial", "device": "cpu"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    return nasgen.run(TINY, out=tmp_path_factory.mktemp("runs") / "run")


def test_the_first_generation_is_the_designs_of_the_space_for_the_data(run: nasgen.Run) -> None:
    expected = run.resolved.space.designs((1, 8, 8), 10)
    first = [t for t in run.trials if t.generation == 0 and t.phase == "search"]
    assert [t.operator for t in first] == ["design"] * 3
    assert [(t.design, t.key) for t in first] == [(d.name, d.genotype.key) for d in expected[:3]]
    assert all(t.design is None for t in run.trials[3:])
    assert [t.history_row().get("design") for t in first] == [t.design for t in first]


def test_summary_report_and_show_say_what_evolution_added(run: nasgen.Run) -> None:
    found = run.summary["evolution"]
    assert found["phase"] == "search"
    assert found["design"]["name"] in {t.design for t in run.trials[:3]}
    values = [t.objectives["val_accuracy"] for t in run.trials[:6]]
    assert found["design"]["value"] == max(values[:3])
    assert found["evolved"]["value"] == max(values[3:])
    assert found["gain"] == found["evolved"]["value"] - found["design"]["value"]
    said = sentence(found)
    assert f"best design {found['design']['name']} " in said
    assert said in run.report_path.read_text()
    shown = CliRunner().invoke(app, ["show", str(run.path), "--history"]).output
    assert f"design {run.trials[0].design}" in shown
    status = CliRunner().invoke(app, ["status", str(run.path)]).output
    assert "search: best evolved" in status
    assert f"best design {found['design']['name']} " in status


def test_candidates_are_the_same_when_they_are_made_again(run: nasgen.Run) -> None:
    assert verify(run.path) == []


def test_a_run_that_was_stopped_goes_on_with_the_next_design(tmp_path: Path) -> None:
    class Stop(Exception):  # noqa: N818
        pass

    def stop(event: str, data: Any) -> None:
        if event == "told" and data["trial"].seq == 1:
            raise Stop

    with pytest.raises(Stop):
        nasgen.run(TINY, out=tmp_path / "run", listeners=(stop,))
    whole = resume(tmp_path / "run")
    names = [d.name for d in whole.resolved.space.designs((1, 8, 8), 10)[:3]]
    assert [t.design for t in whole.trials[:3]] == names
    assert verify(tmp_path / "run") == []


@pytest.mark.parametrize("section", [{"designs": False}, {"name": "random"}])
def test_controls_draw(section: dict[str, Any], tmp_path: Path) -> None:
    tables = {**TINY, "algorithm": {"population": 2, **section}, "budget": {"trials": 3}}
    drawn = nasgen.run({**tables, "finish": {"networks": 0}}, out=tmp_path / "run")
    assert {t.operator for t in drawn.trials[:2]} == {"sample"}
    assert drawn.summary["evolution"]["design"] is None


def test_presets_that_reproduce_a_paper_draw_as_the_paper_does() -> None:
    from nasgen import papers
    from nasgen.settings.config import read_toml

    for name in ("stier2021", "stier2021-crossover"):
        assert reading.resolved(read_toml(papers.preset(name))).config.algorithm.designs is False


def test_an_older_run_goes_on_drawing() -> None:
    migrated = migrations.config({"algorithm": {"name": "genetic"}}, 2)
    assert migrated["algorithm"] == {"name": "genetic", "designs": False}
    assert migrations.config({"algorithm": {"name": "genetic"}}, 3)["algorithm"] == {
        "name": "genetic"
    }


def test_a_longer_budget_affords_more_and_few_rows_less() -> None:
    def macs(time: str | None, n_train: int) -> float | None:
        tables = {"budget": {"time": time}} if time else {}
        return designs.affordable_macs(reading.resolved(tables).config, n_train)

    assert macs(None, 45_000) is None
    minute, ten, hour = (macs(time, 45_000) or 0.0 for time in ("1m", "10m", "1h"))
    assert minute < ten < hour
    assert (macs("1h", 1_000) or 0.0) < minute


def test_a_faster_machine_affords_more_as_its_plan_recorded() -> None:
    config = reading.resolved({"budget": {"time": "10m"}}).config

    def macs(flops: float, image_s: float, is_new: bool = True) -> float:
        plan = {"speed": {"image_s_all": image_s}, "flops": flops}
        if is_new:
            plan["pace"] = designs.pace(flops, image_s)
        return designs.affordable_macs(config, 45_000, designs.pace_of(plan)) or 0.0

    usual = designs.affordable_macs(config, 45_000)
    assert macs(5.4e7, 1e-3) == macs(4e7, 1e-3, is_new=False) == usual, "the usual speed"
    for is_new in (True, False):
        assert macs(4e7, 2.5e-4, is_new) == pytest.approx(2 * macs(4e7, 1e-3, is_new))
        assert macs(8e7, 1e-3, is_new) == macs(4e7, 5e-4, is_new), "whichever network was timed"
        assert macs(0.0, 1e-3, is_new) == usual, "a network without operations says nothing"


def test_designs_are_listed_and_one_is_shown_as_a_network_to_begin_with(tmp_path: Path) -> None:
    rows = [
        json.loads(line)
        for line in CliRunner().invoke(app, ["list", "designs", "--json"]).output.splitlines()
    ]
    assert {row["space"] for row in rows} == {"dag-cnn", "inception", "mlp", "recurrent"}
    name = rows[0]["name"]
    output = CliRunner().invoke(app, ["list", "designs", name]).output
    (tmp_path / "net.json").write_text(output)
    origin = reading.resolved({"origin": {"network": str(tmp_path / "net.json")}}).origin
    assert origin is not None
    assert origin.genotype.outline().inner
    result = CliRunner().invoke(app, ["list", "designs", "resnet9w16"])
    assert result.exit_code == 2
    assert "did you mean 'resnet9-" in result.output


# ---- what evolution added ------------------------------------------------------------------------

UP = (Objective("val_accuracy", "maximize", ""),)


def trial(seq: int, value: float, operator: str = "relabel", **more: Any) -> Trial:
    state = more.pop("state", "COMPLETE")
    return Trial(
        seq, state, {}, f"k{seq}", f"i{seq}", operator,
        objectives={"val_accuracy": value, "val_loss": value}, **more,
    )  # fmt: skip


def design(seq: int, value: float, name: str = "one") -> Trial:
    return trial(seq, value, "design", screening={"design": name})


def test_the_best_of_each_origin_is_compared_in_the_direction_of_the_objective() -> None:
    trials = [design(0, 0.8, "a"), design(1, 0.7, "b"), trial(2, 0.75, "sample"), trial(3, 0.9)]
    found = gained(trials, UP)
    assert found is not None
    assert found["design"] == {"name": "a", "trial": 0, "value": 0.8}
    assert found["draw"] == {"trial": 2, "value": 0.75}
    assert found["evolved"] == {"trial": 3, "value": 0.9}
    assert (found["over"], found["gain"]) == ("design", pytest.approx(0.1))
    down = gained(trials, (Objective("val_loss", "minimize", ""),))
    assert down is not None
    assert (down["design"]["name"], down["gain"]) == ("b", pytest.approx(-0.2))
    assert "(+0.200)" in sentence(down), "the sign is that of the objective"


def test_a_design_that_is_trained_on_stays_one_and_equal_parts_are_compared() -> None:
    trials = [
        design(0, 0.8), trial(1, 0.81), trial(2, 0.85, "continue", parents=(0,), goes_on=True),
        trial(3, 0.9, "finish", parents=(2,), phase="finish"),
    ]  # fmt: skip
    by_seq = {t.seq: t for t in trials}
    assert first_of(trials[3], by_seq).seq == 0
    found = gained(trials, UP)
    assert found is not None
    assert (found["phase"], found["evolved"]["trial"]) == ("search", 1)
    both = [*trials, trial(4, 0.92, "finish", parents=(1,), phase="finish")]
    found = gained(both, UP)
    assert found is not None
    assert (found["phase"], found["gain"]) == ("finish", pytest.approx(0.02))
    assert (found["design"]["name"], found["evolved"]["trial"]) == ("one", 4)


def test_what_descends_from_a_finalist_has_had_more_training() -> None:
    """A later segment breeds on the finalists of the one before."""
    trials = [
        design(0, 0.8), trial(1, 0.7),
        trial(2, 0.85, "finish", parents=(0,), phase="finish"),
        trial(3, 0.82, "finish", parents=(1,), phase="finish"),
        trial(4, 0.86, parents=(2,)),
        trial(5, 0.99, "finish", parents=(4,), phase="finish"),
    ]  # fmt: skip
    found = gained(trials, UP)
    assert found is not None
    assert (found["phase"], found["evolved"]["trial"]) == ("finish", 3)
    assert found["gain"] == pytest.approx(-0.03)


def test_networks_are_compared_where_their_stretches_end() -> None:
    one, two = Fidelity(begin=0.0, end=0.1), Fidelity(begin=0.1, end=0.2)
    trials = [
        replace(design(0, 0.5, "a"), fidelity=one),
        replace(design(1, 0.8, "b"), fidelity=one),
        trial(2, 0.7, "continue", parents=(0,), goes_on=True, fidelity=two),
        trial(3, 0.65, parents=(0,), fidelity=two),
    ]
    found = gained(trials, UP)
    assert found is not None
    assert found["design"] == {"name": "a", "trial": 2, "value": 0.7}
    assert found["gain"] == pytest.approx(-0.05)


def test_rungs_failures_and_infeasible_networks_are_no_comparison() -> None:
    low, high = (Fidelity(1.0, rung=rung, rungs=2) for rung in (0, 1))
    trials = [
        replace(design(0, 0.5), fidelity=low),
        replace(trial(1, 0.6), fidelity=low),
        trial(2, 0.9, "continue", parents=(1,), goes_on=True, fidelity=high),
        trial(3, 0.99, fidelity=low, violation=1.0),
        trial(4, 0.99, fidelity=low, state="FAILED"),
    ]
    found = gained(trials, UP)
    assert found is not None
    assert (found["gain"], found["evolved"]["trial"]) == (pytest.approx(0.1), 1)
    assert gained([], UP) is None
    assert sentence(None) == ""
    alone = gained([design(0, 0.5)], UP)
    assert alone is not None
    assert (alone["gain"], alone["over"], alone["evolved"]) == (None, None, None)
    assert sentence(alone) == "best design one 50.00\u202f%"


def test_descendants_are_compared_with_the_one_network_that_they_come_from() -> None:
    """Not with a draw: synthesis and growth begin with a network of their own."""
    ancestor = trial(0, 0.98, "seed", metrics={"n_synapses": 1000})
    children = [trial(s, v, "mean", metrics={"n_synapses": 250}) for s, v in ((1, 0.9), (2, 0.97))]
    found = gained([ancestor, *children], UP)
    assert found is not None
    assert (found["over"], found["draw"]) == ("ancestor", None)
    assert (found["ancestor"]["trial"], found["gain"]) == (0, pytest.approx(-0.01))
    said = sentence(found).replace("\u202f", " ").replace("\u2212", "-")
    assert said == ("best descendant 97.00 % (-1.0 pts, 4 times fewer synapses), ancestor 98.00 %")
    old = {k: v for k, v in found.items() if k != "ancestor"} | {
        "over": "draw",
        "draw": {"value": 0.98},
    }
    assert "best evolved" in sentence(old)
    assert "best draw" in sentence(old)
