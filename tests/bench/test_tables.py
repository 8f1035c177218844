"""Tables: complete, true to the public files, and searched through the same loop as real runs."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from nasgen import registry
from nasgen.bench import play
from nasgen.bench.evaluator import make
from nasgen.bench.labels import of_bench
from nasgen.bench.plot import svg
from nasgen.bench.summary import summary
from nasgen.bench.table import NAMES, load
from nasgen.cli import app
from nasgen.errors import ConfigError, EvaluationError, UnknownNameError
from nasgen.genotypes import kinds
from nasgen.runs import reading

DATA = Path(os.environ.get("NASGEN_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_its_network(name: str) -> None:
    table = load(name)
    n = len(next(iter(table.columns.values())))
    assert n == np.prod([len(c) for c in table.template.choices])
    for row in (0, 1, n // 2, n - 1):
        assert table.row(table.genotype(row)) == row


def test_the_best_values_are_those_that_are_published() -> None:
    cells, chain = load("nasbench201").columns, load("nasbench-macro").columns
    assert cells["c10v_valid_200"].max() == pytest.approx(91.6067, abs=1e-4)
    assert cells["c10_test_200"].max() == pytest.approx(94.3733, abs=1e-4)
    assert cells["c100_test_200"].max() == pytest.approx(73.5133, abs=1e-4)
    assert cells["in16_test_200"].max() == pytest.approx(47.3111, abs=1e-4)
    assert chain["mean_acc"].max() == pytest.approx(93.1267, abs=1e-4)
    best = load("nasbench-macro").genotype(int(chain["mean_acc"].argmax()))
    assert "".join(map(str, load("nasbench-macro").template.codes(best))) == "22212202"


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file", "key", "column"),
    [
        ("nasbench201", "nasbench201.csv.gz", "ops", "c10v_valid_200"),
        ("nasbench201", "nasbench201.csv.gz", "ops", "c100_valid_12ep"),
        ("nasbench201", "nasbench201.csv.gz", "ops", "in16_valid_12ep"),
        ("nasbench-macro", "nasbench_macro_cifar10.csv.gz", "arch", "mean_acc"),
    ],
)
def test_the_tables_say_what_the_public_files_say(
    name: str, file: str, key: str, column: str
) -> None:
    path = DATA / "nas" / file
    if not path.is_file():
        pytest.skip(f"{path} is missing; set NASGEN_DATA")
    table = load(name)
    with gzip.open(path, "rt", newline="") as opened:
        for i, row in enumerate(csv.DictReader(opened)):
            if i % 97:
                continue
            codes = [int(c) for c in row[key]]
            ops = [c[x] for c, x in zip(table.template.choices, codes, strict=True)]
            found = table.columns[column][table.row(table.template.cell(ops))]
            assert float(found) == pytest.approx(float(row[column]), abs=1e-4)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'nasbench201'"):
        load("nasbench-201")
    with pytest.raises(ConfigError, match="did you mean 'c10_valid_12ep'"):
        load("nasbench201").signal("c10_valid_12")


def test_an_evaluator_gives_fractions_and_hides_the_test_from_the_search() -> None:
    table = load("nasbench201")
    job = {"seq": 3, "genotype": table.genotype(777).to_json()}
    result = make({"bench": "nasbench201"}).evaluate(job, lambda row: True)
    assert result["objectives"] == {
        "val_accuracy": pytest.approx(float(table.columns["c10v_valid_200"][777]) / 100)
    }
    assert result["metrics"]["test_accuracy"] == pytest.approx(
        float(table.columns["c10_test_200"][777]) / 100
    )


def test_a_network_without_a_score_fails_and_the_search_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = load("nasbench201")
    holes = table.columns["c10v_valid_200"].copy()
    holes[::3] = np.nan
    monkeypatch.setitem(table.columns, "c10v_valid_200", holes)  # type: ignore[arg-type]
    job = {"seq": 3, "genotype": table.genotype(777).to_json()}
    result = make({"bench": "nasbench201"}).evaluate(job, lambda row: True)
    assert (result["seq"], result["state"]) == (3, "FAILED")
    assert result["failure"] == "row 777 of nasbench201 has no c10v_valid_200."
    assert "objectives" not in result
    for algorithm in ("random", "aging", "local", "genetic+rank"):
        values, reported = play.play("nasbench201", algorithm, 0, 40)
        assert 10 < len(values) == len(reported) < 40
        assert np.isfinite([*values, *reported]).all()
    runs = play.played("nasbench201", ["random"], range(2), 40)
    assert np.isfinite(runs["random"].val).all()
    found = summary("nasbench201", runs, [5, 40], 2)
    assert found["optimum"] == pytest.approx(float(np.nanmax(holes)), abs=1e-4)
    random = found["algorithms"]["random"]
    assert random["n_asked"] == {"min": 40, "mean": 40.0}
    assert random["padded"] == []
    assert 0 < random["n_holes"]["mean"] < 30


def test_a_row_or_a_reported_score_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = load("nasbench201")
    for column in ("c10_test_200", "c10v_valid_200"):
        with monkeypatch.context() as patch:
            patch.setitem(table.columns, column, table.columns[column][:700])  # type: ignore[arg-type]
            job = {"seq": 0, "genotype": table.genotype(777).to_json()}
            result = make({"bench": "nasbench201"}).evaluate(job, lambda row: True)
            assert result["failure"] == f"row 777 of nasbench201 has no {column}."


def test_a_table_without_any_score_is_an_error_that_names_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = load("nasbench-macro")
    empty = np.full_like(table.columns["mean_acc"], np.nan)
    monkeypatch.setitem(table.columns, "mean_acc", empty)  # type: ignore[arg-type]
    with pytest.raises(
        EvaluationError, match=r"10 networks, none .* row \d+ of nasbench-macro has"
    ):
        play.play("nasbench-macro", "random", 0, 10)


def test_the_different_networks_of_the_chain_are_all_counted() -> None:
    table = load("nasbench-macro")
    assert len({table.genotype(row).key for row in range(3**8)}) == table.n_networks


def test_the_optimum_of_a_table_is_a_network_whose_report_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = load("nasbench201")
    searched, reported = (table.columns[c].copy() for c in ("c10v_valid_200", "c10_test_200"))
    best, second = np.argsort(searched)[::-1][:2]
    reported[best] = np.nan
    monkeypatch.setitem(table.columns, "c10_test_200", reported)  # type: ignore[arg-type]
    assert table.optimum("c10v_valid_200") == pytest.approx(float(searched[second]))


def test_other_data_sets_are_searched_on_validation_and_reported_on_test() -> None:
    table = load("nasbench201")
    assert table.signal("c100_valid_12ep")[1] == "c100_test_200"
    assert table.signal("in16_valid_12ep")[1] == "in16_test_200"
    for searched, reported in table.signals.items():
        assert np.isfinite(table.columns[searched]).all()
        ranks = (np.argsort(np.argsort(table.columns[c])) for c in (searched, reported))
        assert np.corrcoef(*ranks)[0, 1] > 0.75


@pytest.mark.parametrize("low", ["c10v_valid_200@12", "c10_valid_12ep@12", "c10v_valid_200"])
def test_a_column_without_a_curve_has_no_epochs_to_read(low: str) -> None:
    with pytest.raises(ConfigError, match=r"has no learning curve|is what is predicted"):
        of_bench("nasbench201", wanted=range(1000, 1005), low=[low])


# ---- searching -----------------------------------------------------------------------------------


def test_each_space_gets_the_operators_that_work_on_it() -> None:
    for space, mutations in (("dag-cnn", "relabel"), ("nasbench201", "relabel-edge")):
        section = reading.resolved({"space": {"name": space}}).config.algorithm
        assert mutations in section.mutations
        accepted = {kinds.accepted(registry.get("mutations", m)) for m in section.mutations}
        accepted |= {kinds.accepted(registry.get("crossovers", c)) for c in section.crossovers}
        assert len(accepted) == 1
    with pytest.raises(ConfigError, match="'relabel' does not work on the cell genotypes"):
        reading.resolved(
            {"space": {"name": "nasbench201"}, "algorithm": {"mutations": {"relabel": 1.0}}}
        )


@pytest.mark.parametrize("algorithm", ["random", "aging", "local", "genetic", "genetic+rank"])
def test_a_played_search_repeats_and_asks_for_every_network_once(algorithm: str) -> None:
    values, reported = play.play("nasbench201", algorithm, 1, 40)
    assert len(values) == len(reported) == 40
    assert play.play("nasbench201", algorithm, 1, 40) == (values, reported)
    assert play.play("nasbench201", algorithm, 2, 40) != (values, reported)


def test_curves_rise_and_report_the_network_that_was_best_when_looked_at() -> None:
    values, reported = play.play("nasbench201", "random", 0, 30)
    run = play.played("nasbench201", ["random"], [0], 30)["random"]
    assert (np.diff(run.val[0]) >= 0).all()
    for q in range(30):
        best = int(np.argmax(values[: q + 1]))
        assert run.val[0, q] == values[best]
        assert run.test[0, q] == reported[best]


def test_local_search_beats_random_search_on_the_table() -> None:
    runs = play.played("nasbench201", ["random", "local"], range(6), 50)
    assert runs["local"].val[:, -1].mean() > runs["random"].val[:, -1].mean() + 0.1


def test_a_spent_neighbourhood_is_a_restart() -> None:
    """The chain has sixteen neighbours: a climber that stays on its peak would find nothing new."""
    values, _ = play.play("nasbench-macro", "local", 0, 150)
    assert len(values) == 150


# ---- the command line ----------------------------------------------------------------------------


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_the_command_prints_the_promised_json_and_draws_the_curves(tmp_path: Path) -> None:
    plot = tmp_path / "curves.svg"
    done = invoke(
        "bench", "nasbench-macro", "--algorithms", "local,random", "--seeds", "3",
        "--queries", "20,10", "--plot", str(plot), "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["bench"], found["seeds"], found["signal"]) == ("nasbench-macro", 3, "mean_acc")
    for values in found["algorithms"].values():
        assert {"val", "test", "p_optimum", "queries_to_optimum"} <= set(values)
        assert list(values["val"]) == list(values["p_optimum"]) == ["10", "20"]
        assert set(values["val"]["10"]) == {"mean", "sd", "ci95"}
        assert 10 < values["val"]["10"]["mean"] <= values["val"]["20"]["mean"] < 94
        assert values["n_asked"] == {"min": 20, "mean": 20.0}
        assert values["padded"] == []
    assert found["operators"] == {"mutations": ["relabel-edge"], "crossovers": ["uniform"]}
    root = ElementTree.fromstring(plot.read_text())
    texts = {t.text for t in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"local", "random"} <= texts


def test_the_words_say_which_operators_apply() -> None:
    done = invoke("bench", "nasbench-macro", "--algorithms", "random", "--queries", "4")
    assert "operators that apply: mutations relabel-edge; crossovers uniform" in done.stdout
    assert "*" not in done.stdout


def test_one_seed_has_no_interval() -> None:
    given = ("bench", "nasbench-macro", "--algorithms", "random", "--queries", "4", "--seeds", "1")
    shown = invoke(*given).stdout
    assert "± –" in shown
    assert "± 0.00" not in shown
    at = json.loads(invoke(*given, "--json").stdout)["algorithms"]["random"]["val"]["4"]
    assert (at["sd"], at["ci95"]) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nasbench-macro", "--queries", "10,3970"), "--queries: expected at most 3969"),
        (("nasbench-202",), "did you mean 'nasbench201'"),
        (("nasbench201", "--queries", "10,x"), "--queries: expected 25,50,100"),
        (("nasbench201", "--queries", "0"), "--queries: expected numbers"),
        (("nasbench201", "--algorithms", "lokal"), "did you mean 'local'"),
        (("nasbench201", "--algorithms", "genetic+rigde"), "did you mean 'ridge'"),
        (("synthetic-dag", "--algorithms", "genetic/brigde"), "did you mean 'bridge'"),
        (("nasbench201", "--signal", "c10"), "is no signal"),
        (("nasbench-macro", "--signal", "zzz"), "no signal of nasbench-macro. Expected one of"),
        (("synthetic-dag", "--signal", "zzz"), "no signal of synthetic-dag. Expected"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    done = invoke("bench", *arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_a_plot_holds_one_line_an_algorithm() -> None:
    curve = np.linspace(80, 90, 12)[None]
    runs = {name: play.Played(curve, curve, np.array([12])) for name in "abc"}
    drawn = svg("nasbench201", runs, "c10v_valid_200")
    assert drawn.count('class="line c') == 3
    assert 'class="ribbon' not in drawn  # one seed has no interval


def test_a_plot_shows_the_interval_around_the_mean() -> None:
    def height(spread: float, n_seeds: int) -> float:
        """Return the pixels between the ends of the ribbon at the last query."""
        noise = spread * np.resize([-1.0, 1.0], n_seeds)[:, None]
        val = np.vstack([np.linspace(80, 90, 12) + noise, np.full(12, 60.0), np.full(12, 100.0)])
        run, whole = val[:-2], val[-2:]
        runs = {
            "a": play.Played(run, run, np.full(len(run), 12)),
            "axis": play.Played(whole, whole, np.full(2, 12)),
        }
        drawn = svg("nasbench201", runs, "c10v_valid_200")
        path = re.search(r'd="M([^"]*)Z" class="ribbon c0"', drawn)
        assert path is not None
        points = [tuple(map(float, p.split())) for p in path[1].split("L")]
        assert len(points) == 2 * 8  # queries 5 to 12, there and back
        (x_high, high), (x_low, low) = points[7:9]
        assert x_high == x_low
        return low - high

    assert height(2.0, 6) > height(1.0, 6) > height(1.0, 24) > 0
