"""Evolutionary synthesis beside the papers, at its smallest: arms, controls, resumed rows."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nasgen.cli import app
from nasgen.papers import (
    REPRODUCTIONS,
    chung2017,
    chung2018,
    curves,
    measuring,
    shafiee2016,
    synthesis,
)
from nasgen.papers.base import Reproduction, Request
from nasgen.papers.smaller import n_synapses_of
from nasgen.phenotype import similarity
from nasgen.phenotype.census import Census
from nasgen.runs.results import Run
from nasgen.settings.fidelity import n_cores
from tests.papers.schema import assert_summary

# One thread, since tests run side by side; some of the images.
SMALL: tuple[dict[str, Any], ...] = (
    {
        "execution": {"executor": "serial", "threads_per_trial": 1},
        "training": {"fraction": 0.6},
    },
)


# ---- the papers' numbers -------------------------------------------------------------------------


def test_the_papers_e_is_the_mean_of_the_layers_and_not_the_ratio_of_the_totals() -> None:
    """F2, T2: 9.715 and 11.54 on MNIST, 5.955 and 6.33 on STL-10."""
    found = {name: paper.both for name, paper in shafiee2016.REPORTED.items()}
    assert found["mnist"] == pytest.approx((9.715, 11.54), abs=0.005)
    assert found["stl10"] == pytest.approx((5.955, 6.33), abs=0.005)
    assert found["cifar10"][0] == pytest.approx(2.826, abs=0.001)
    assert math.isnan(found["cifar10"][1]), (
        "the paper does not say how many kernels its layers have"
    )
    for name, paper in shafiee2016.REPORTED.items():
        assert paper.both[0] == pytest.approx(paper.overall, abs=0.01), name
    assert sum(synthesis.LENET_KERNELS) == 7_200
    sizes = (25, 25, 25, 16)
    of_layers = zip(sizes, synthesis.LENET_KERNELS, strict=True)
    assert sum(a * b for a, b in of_layers) == synthesis.LENET_SYNAPSES


def test_table_1_implies_0_67_of_the_synapses_a_generation_on_mnist_and_less_elsewhere() -> None:
    """F3: about 0.8 of the kernels times 0.8 of the synapses in them, not 0.8."""
    rates = {}
    for name, paper in shafiee2016.REPORTED.items():
        last = max(paper.table1)
        rates[name] = paper.table1[last][0] ** (-1 / (last - 1))
    assert rates == pytest.approx({"mnist": 0.669, "stl10": 0.639, "cifar10": 0.587}, abs=0.001)


def test_overlap_of_independent_survival_is_its_probability() -> None:
    """T4: so the first generation's overlap says which share of the kernels was kept."""
    for p in (0.937, 0.5):
        assert chung2018.independent(p, seed=1) == pytest.approx(p, abs=0.01)


def test_the_paper_is_chosen_by_the_data() -> None:
    reported = shafiee2016.reported
    assert reported("mnist:/data/mnist").table1[13] == (125.09, 0.9775)
    assert reported("npz:/data/stl10-32.npz").table1[10] == (56.27, 0.5658)
    assert reported("cifar10:/data/cifar-10-batches-bin").network == "alexnet-cifar"
    for other in ("digits", "mnist:/data/fashion-mnist", "npz:/data/own.npz"):
        assert not reported(other).layers, other


def test_eleven_cells_are_possible() -> None:
    cells = [cell.key for cell in chung2017._arms(chung2017.SCALES["paper"]).values()]
    own = [key for key in cells if key[0] == chung2017.SUM]
    assert len(own) == 11
    assert (chung2017.SUM, 5, 3) not in own
    assert {m for mating, m, _ in cells if mating == chung2017.PROSE} == {2, 3, 5}


# ---- rows ----------------------------------------------------------------------------------------


def made_up(
    *generations: tuple[float, float], dead: tuple[int, ...] = (), overlap: float | None = None
) -> Any:
    """Return a row of (synapses, test accuracy) a generation."""
    rows = [
        {
            "generation": n, "n": 2, "n_synapses": size, "test": accuracy, "val": accuracy,
            "kernels": [size / 10, size / 5], "dead": n in dead, "n_kernels": size**0.75,
            "overlap": {"overlap": overlap},
        }
        for n, (size, accuracy) in enumerate(generations)
    ]  # fmt: skip
    return {"seed": 0, "arm": "a", "title": "a", "generations": rows}


def test_figures_of_a_generation_are_ratios_to_the_ancestor() -> None:
    row = made_up((1000, 0.99), (500, 0.98), (100, 0.9), (100, 0.1), dead=(3,))
    assert curves.efficiency(row, 2) == 10
    assert math.isnan(curves.efficiency(row, 7))
    assert curves.at_efficiency(row, 2) == pytest.approx(0.98)
    middle = curves.at_efficiency(row, math.sqrt(20))  # half-way between 2 and 10
    assert middle == pytest.approx(0.94)
    assert math.isnan(curves.at_efficiency(row, 11))
    fallen = made_up((1000, 0.99), (10, 0.1), dead=(1,))
    assert math.isnan(curves.at_efficiency(fallen, 5)), "between life and death lies no accuracy"
    assert curves.by_layer(row, 1) == [2, 2]
    assert curves.both_accountings(row, 2) == (10, 10)
    assert synthesis.last_alive(row)["generation"] == 2


def test_what_chung_2017_should_reach_is_counted_where_it_lives_at_150x() -> None:
    name, cell = next(
        (n, c) for n, c in chung2017._arms(chung2017.SCALES["paper"]).items() if c.key[1:] == (5, 5)
    )
    sizes = [(10_000.0, 0.99), (100.0, 0.97), (50.0, 0.96)]
    alive = made_up(*sizes) | {"arm": name}
    dead = made_up(*sizes[:1], (1000.0, 0.9), (10.0, 0.1), dead=(2,)) | {"arm": name, "seed": 1}

    def targets(*rows: Any) -> list[Any]:
        return chung2017._targets(rows, {name: cell}, is_full=True)

    accuracy, clusters = targets(alive)
    assert accuracy.met
    assert 0.96 < float(accuracy.got) < 0.97
    # 100x has 32 times fewer kernels, 200x has 53 times fewer: 150x is in between.
    assert clusters.name.startswith("cluster efficiency at 150x")
    assert 32 < float(clusters.got) < 53
    assert [(t.got, t.met) for t in targets(dead)] == [("alive up to 10x", False)] * 2
    for target in targets(alive, dead):
        assert target.got.endswith(" in 1 of 2 seeds")
        assert target.met is False


@pytest.mark.parametrize(("overlap", "said"), [(0.0, 0.0), (0.8, 0.8), (None, None)])
def test_an_overlap_of_0_is_a_number_and_none_is_not(
    overlap: float | None, said: float | None
) -> None:
    row = made_up((1000, 0.99), (500, 0.1), overlap=overlap, dead=(1,))
    cell = next(iter(chung2017._arms(chung2017.SCALES["paper"]).values()))
    found = chung2017._causes(cell, [row], 1)[-1]
    assert (found.metric, found.ours) == ("overlap of kernels", said)
    assert "collapsed" in found.setting


def test_no_accuracy_of_a_dead_lineage_stands_without_that_word() -> None:
    alive = made_up((1000, 0.99), (500, 0.98), (100, 0.9))
    dead = made_up((1000, 0.99), (500, 0.98), (90, 0.1), dead=(2,))
    ended = made_up((1000, 0.99), (500, 0.98))
    assert curves.setting([alive], 2, "generation 3") == "generation 3"
    assert curves.setting([dead], 2, "generation 3") == "generation 3, collapsed"
    assert curves.setting([ended], 2, "generation 3") == "generation 3, collapsed"
    both = curves.setting([alive, dead], 2, "generation 3")
    assert both == "generation 3, collapsed in 1 of 2 seeds"
    found = curves.compared("a", [dead], 2, "generation 3", {"test accuracy": 0.9775})
    assert all("collapsed" in figure.setting for figure in found)
    drawn = str(curves.figure("accuracy", [alive | {"title": "b"}, dead], []))
    assert "a, seed 0, generation 2: 10.00 % test, collapsed" in drawn
    assert "b, seed 0, generation 2: 90.00 % test<" in drawn
    assert measuring.is_dead(0.11, 10)
    assert measuring.is_dead(None, 10)
    assert not measuring.is_dead(0.5, 10)


# ---- one experiment ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Request, Reproduction]:
    request = Request("tiny", "digits", tmp_path_factory.mktemp("synthesis"), overrides=SMALL)
    return request, shafiee2016.reproduce(request)


def runs(request: Request) -> dict[str, Run]:
    (folder,) = request.out.glob("tiny-*/seed0")
    return {path.name: Run.open(path) for path in sorted(folder.iterdir()) if path.is_dir()}


def test_every_environment_and_control_has_its_row_and_the_epochs_of_a_line(
    made: tuple[Request, Reproduction],
) -> None:
    request, found = made
    scale = shafiee2016.SCALES["tiny"]
    names = [row["arm"] for row in found.rows]
    assert names == [synthesis.ANCESTOR, *shafiee2016.MODES, *synthesis.CONTROLS]
    rows = {row["arm"]: row for row in found.rows}
    factor = rows["factor"]
    last = synthesis.last_alive(factor)["generation"]
    wanted = scale.first_epochs + last * scale.epochs
    first = rows[synthesis.ANCESTOR]["generations"][0]["epochs"]
    for name, row in rows.items():
        assert row["generations"][0]["n"] == 1
        epochs = sum(g["epochs"] for g in row["generations"] if g["n"])
        if name in ("factor", "one-shot", "random"):  # the first of them begins with the ancestor
            epochs += first
        if name in ("factor", *synthesis.CONTROLS):
            assert epochs == pytest.approx(wanted, rel=0.12), name
        if name in (*shafiee2016.MODES, "one-shot", "random"):
            begun = rows[synthesis.ANCESTOR]["generations"][0]
            assert row["generations"][0]["val"] == begun["val"], "it begins with the ancestor"
            assert row["generations"][0]["epochs"] == 0
    for name in ("one-shot", "random", "small"):  # of equal size
        size = curves.mean(rows[name], curves.last(rows[name]), "n_synapses")
        assert size == pytest.approx(curves.mean(factor, last, "n_synapses"), rel=0.1), name
    assert curves.mean(rows["dense"], 0, "n_synapses") == synthesis.LENET_SYNAPSES
    figures = {(c.arm, c.metric): c.ours for c in found.compared if "same epochs" in c.setting}
    assert figures[synthesis.CONTROLS["dense"], "synaptic efficiency"] == 1
    small = curves.mean(rows["small"], 0, "n_synapses")
    assert figures[synthesis.CONTROLS["small"], "synaptic efficiency"] == pytest.approx(
        synthesis.LENET_SYNAPSES / small, rel=1e-3
    )
    assert_summary(found.summary("shafiee2016"), "shafiee2016", "tiny")
    targets = {target.name: target for target in found.targets}
    assert targets["synapses of the ancestor"].got == "143,136"
    assert targets["kernels of the ancestor"].got == "7,200"
    assert all(targets[f"{what} of the ancestor"].met for what in ("synapses", "kernels"))
    page = found.page.read_text()
    assert "<svg" in page
    assert all(title in page for title in synthesis.CONTROLS.values())
    assert request.out / "shafiee2016.html" == found.page


def test_what_died_stays_dead_in_every_generation_of_a_line(
    made: tuple[Request, Reproduction],
) -> None:
    """T3 and T7: supports never grow with one parent, and pruned weights are exactly 0."""
    run = runs(made[0])["factor"]
    children = [t for t in run.trials if t.parents]
    assert len(children) == shafiee2016.SCALES["tiny"].generations
    load, before = run.folder.artifacts.load, None
    for trial in sorted(run.trials, key=lambda t: t.seq):
        living = Census.of(load(trial.refs["clusters"])).clusters()
        assert before is None or similarity.between(living, before) == 1
        before = living
        weights = load(str(trial.weights_ref))
        for name, mask in load(trial.refs["support"]).items() if trial.parents else ():
            assert not weights[name][~mask].any(), name
    kept = [t.metrics["kept_synapses"] / t.metrics["kept_synapses_wanted"] for t in children]
    assert kept == pytest.approx([1.0] * len(kept), abs=0.05)


def test_a_narrow_network_has_about_as_many_synapses(made: tuple[Request, Reproduction]) -> None:
    from nasgen.papers.smaller import narrowed

    run = runs(made[0])[synthesis.ANCESTOR]
    for wanted in (575, 1_525, 20_000, 143_136):
        small = narrowed(run, wanted)
        assert n_synapses_of(run, small) == pytest.approx(wanted, rel=0.2)
    assert n_synapses_of(run, narrowed(run, 1)) == 25 + 25 + 25 + 16


def test_nothing_is_measured_twice_and_a_lost_row_is_read_from_its_run(
    made: tuple[Request, Reproduction],
) -> None:
    request, found = made
    file = request.out / "shafiee2016.jsonl"
    lines = file.read_text().splitlines()
    assert [json.loads(line)["arm"] for line in lines] == [row["arm"] for row in found.rows]
    said: list[str] = []
    told: list[str] = []
    again = Request(
        "tiny", "digits", request.out, overrides=SMALL, note=said.append,
        listeners=(lambda event, data: told.append(event),),
    )  # fmt: skip
    file.write_text("\n".join(lines[:-2]) + "\n" + lines[-2][:50])  # as a kill leaves it
    repeated = shafiee2016.reproduce(again)
    assert [row["arm"] for row in repeated.rows] == [row["arm"] for row in found.rows]
    assert [row["generations"] for row in repeated.rows] == [r["generations"] for r in found.rows]
    assert "told" not in told, "nothing was trained"
    assert [text.partition(": ")[2] for text in said] == [*synthesis.CONTROLS.values()][-2:]


def test_what_is_missing_is_said_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of what is not measured yet: its epochs, answers to images, and reading the data."""
    monkeypatch.setattr(synthesis, "TIMED_S", 0.01)
    request = Request("quick", "digits", tmp_path, overrides=SMALL)
    scale, file = chung2018.SCALES["quick"], synthesis.opened(request, chung2018.PAPER)
    about = synthesis.Paper(chung2018.PAPER, "lenet", {0, 1, 4, 7})
    study = synthesis.Study(about, request, scale, "digits", 0, file)
    arms = list(chung2018.ARMS.values())
    costs = study._costs
    assert min(costs.begin_s, costs.epoch_s, costs.val_s) > 0
    assert costs.test_s == pytest.approx(costs.val_s * 360 / 29, rel=0.05)

    whole = study.forecast(arms)
    epochs = scale.first_epochs + 2 * scale.line_epochs + 2 * scale.generations * scale.epochs
    waves = -(-5 // n_cores())
    epochs += 2 * waves * scale.generations * scale.epochs
    n_trained = 4 + scale.generations * (2 * waves + 1)
    n_tested = 2 * 4 + 4 + 2 * (1 + 3 * 5)
    assert whole == pytest.approx(
        epochs * costs.epoch_s
        + n_trained * costs.val_s
        + n_tested * costs.test_s
        + (5 + 2 * 2) * costs.begin_s
    )
    said: list[str] = []
    synthesis.announce(replace(request, note=said.append), [(study, arms)])
    assert said[0].startswith("to be done: about ")
    assert said[0].endswith("interrupted, the same command goes on.")
    done = {"settings": study.settings, "seed": 0}
    file.read.extend({"arm": name, **done} for name in (synthesis.ANCESTOR, chung2018.TAGGED))
    assert study.forecast(arms) < whole
    every = [*synthesis.CONTROLS, chung2018.UNTAGGED]
    file.read.extend({"arm": name, **done} for name in every)
    synthesis.announce(replace(request, note=said.append), [(study, arms)])
    assert len(said) == 1, "nothing is missing"


# ---- several parents -----------------------------------------------------------------------------


def test_what_is_counted_stands_below_the_tables(made: tuple[Request, Reproduction]) -> None:
    request, found = made
    arguments = ["reproduce", "shafiee2016", "--scale", "tiny", "--data", "digits", "--quiet"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(request.out)])
    assert done.exit_code == 0, done.output
    assert "neither it nor biases count" in done.stdout
    assert "neither it nor biases count" in found.page.read_text()


def test_the_impossible_cell_is_printed_as_the_error_that_it_is(tmp_path: Path) -> None:
    request = Request("tiny", "digits", tmp_path, overrides=SMALL, seeds=(0,))
    file = synthesis.opened(request, chung2017.PAPER)
    about = synthesis.Paper(chung2017.PAPER, "lenet", ())
    scale = chung2017.SCALES["tiny"]
    study = synthesis.Study(about, request, scale, "digits", 0, file)
    found = chung2017._refused(study, 5, 3)
    assert (found.arm, found.metric) == ("5 parents of 3", "error")
    assert isinstance(found.ours, str)
    assert "5" in found.ours
    assert "3" in found.ours
    assert not list(tmp_path.glob("tiny-*")), "nothing was trained"


@pytest.mark.slow
@pytest.mark.parametrize("paper", sorted(REPRODUCTIONS))
def test_the_smallest_scale_of_every_paper_ends_with_one_summary(
    paper: str, tmp_path: Path
) -> None:
    arguments = ["reproduce", paper, "--scale", "tiny", "--json", "--quiet", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    *rows, last = map(json.loads, done.stdout.splitlines())
    assert rows
    assert_summary(last, paper, "tiny")
    assert last["seconds"] < 80
    if paper == "chung2018":
        rows = [row for row in last["rows"] if row["metric"] == "overlap"]
        first = {row["arm"]: row["ours"] for row in rows if row["setting"] == "generation 1"}
        # All children of the first generation have one parent, so tags say nothing yet.
        assert first["with gene tags"] == first["without gene tags"]
        assert first["with gene tags"] == pytest.approx(0.937, abs=0.02)
    if paper == "chung2017":
        assert any(row["metric"] == "error" for row in last["rows"])
