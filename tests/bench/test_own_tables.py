"""Tables of anybody's networks: a file that registers one, its curves, its holes, its mistakes."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.bench import play
from nasgen.bench.base import find
from nasgen.bench.evaluator import make
from nasgen.bench.finished import Finished, Kept
from nasgen.bench.labels import of_bench
from nasgen.cli import app
from nasgen.errors import ConfigError, DataError, EvaluationError
from tests.bench.chains import N_EPOCHS, NETWORKS, SPACE, chain, final, rows, table, written
from tests.conftest import forget

EXAMPLE = Path(__file__).parents[2] / "examples" / "mlp_digits.py"
CELL = find("nasbench-macro").genotype(4000)  # type: ignore[attr-defined]
pytestmark = pytest.mark.usefixtures("registry_restored")


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


# ---- the table -----------------------------------------------------------------------------------


def test_a_row_is_found_by_its_network_whatever_its_tags_and_curves_have_epochs() -> None:
    own = table()
    assert (own.n_networks, own.epochs_of("val"), dict(own.space)) == (14, N_EPOCHS, SPACE)
    for dag in NETWORKS:
        twin = dag.mint(3, 5)
        assert own.accuracy(twin, "val") == pytest.approx(final(dag))
        assert own.accuracy(twin, "val", 3) == pytest.approx(final(dag) / 3)
        assert own.accuracy(twin, "test", 3) == pytest.approx(final(dag) - 1)
    assert own.optimum("val") == pytest.approx(max(map(final, NETWORKS)))
    assert own.signal(None) == ("val", "test")
    with pytest.raises(ConfigError, match="did you mean 'val'"):
        own.signal("vall")


def test_scores_may_be_fractions_arrays_and_texts_of_a_file(tmp_path: Path) -> None:
    dag = NETWORKS[0]
    for value in (0.5, "0.5", np.float32(0.5), [0.25, 0.5], "[0.25, 0.5]", np.array([0.25, 0.5])):
        own = table([{"genotype": dag, "val": value, "test": 1}], fractions=True)
        assert own.accuracy(dag, "val") == pytest.approx(50.0)
    text = json.dumps(dag.bare_json()).replace('"', '""')
    (tmp_path / "t.csv").write_text(f'key,genotype,val,test\n{dag.key},"{text}",61,60.5\n')
    own = table(tmp_path / "t.csv")
    assert (own.accuracy(dag, "val"), own.accuracy(dag, "test")) == (61.0, 60.5)


@pytest.mark.parametrize("line", ["x,{},61,60,1", "x,{},61"])
def test_a_row_of_a_file_with_more_or_fewer_cells_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"key,genotype,val,test\n{line}\n")
    with pytest.raises(DataError, match="row 2: expected as many cells as the first row has"):
        table(tmp_path / "t.csv")


def test_what_is_not_in_the_table_is_a_hole() -> None:
    own = table([{**rows()[0], "test": None}, *rows()[1:3]])
    for dag, column in ((NETWORKS[9], "val"), (NETWORKS[0], "test")):
        with pytest.raises(EvaluationError) as caught:
            own.accuracy(dag, column)
        assert caught.value.kind == "hole"


def test_a_key_alone_names_a_cell_and_must_be_one() -> None:
    cells = nasgen.bench  # the decorator and the package are one name
    assert callable(cells)
    space = find("nasbench-macro")
    cell = space.genotype(4000)  # type: ignore[attr-defined]
    other = space.genotype(6000)  # type: ignore[attr-defined]
    given = [
        {"key": cell.key, "val": 70},
        {"key": other.key, "genotype": "", "val": "60"},  # as a file says what is missing
    ]
    own = nasgen.RowTable("nasbench-macro", given, "val")
    assert (own.accuracy(cell, "val"), own.accuracy(other, "val")) == (70.0, 60.0)
    with pytest.raises(DataError, match="row 1: no network of the space has the key 'dag1:abc'"):
        nasgen.RowTable("nasbench-macro", [{"key": "dag1:abc", "val": 70}], "val")


def test_the_optimum_is_a_network_that_a_search_can_be_given() -> None:
    given = sorted(rows(), key=lambda row: final(row["genotype"]))
    given[-1]["test"] = None
    own = table(given)
    assert own.optimum("val") == pytest.approx(final(given[-2]["genotype"]))
    assert own.optimum("val") == pytest.approx(
        max(own.accuracy(dag, "val") for dag in NETWORKS if dag.key != given[-1]["genotype"].key)
    )
    with pytest.raises(DataError, match="no row has scores in both 'val' and 'test'"):
        table([{**given[0], "val": None}, {**given[1], "test": None}])


def test_fractions_that_were_not_named_are_refused(tmp_path: Path) -> None:
    given = [{**row, "val": np.array(row["val"]) / 100} for row in rows()]
    with pytest.raises(DataError, match=r"'val': expected per cent, .* fractions=True"):
        table(given)
    assert table(given, fractions=False).optimum("val") < 1
    given = [{**row, "test": row["test"] / 100} for row in given]
    assert table(given, fractions=True).optimum("val") == pytest.approx(table().optimum("val"))


@pytest.mark.parametrize(
    ("low", "said"),
    [
        ("val@0", "'val@0' .* expected an epoch from 1 to 9"),
        ("val@10", "'val@10' .* expected an epoch from 1 to 9"),
        ("test@2", "'test@2' .* 'test' of .* has no learning curve"),
        ("val", "'val' is what is predicted"),
        ("val@9", "'val@9' is what is predicted"),
        ("val@", "'val@' is no column"),
    ],
)
def test_what_is_read_beside_the_features_is_there_and_is_not_the_label(
    file: Path, low: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        of_bench(str(file), low=[low], features="paths")


def test_a_place_on_the_curve_of_the_label_is_read_beside_the_features(file: Path) -> None:
    found = of_bench(str(file), low=["val@3"], features="paths")
    assert found.X[:, found.names.index("val@3")] == pytest.approx(found.y / 3)


WRONG: list[tuple[Any, str]] = [
    ([], "the table has no rows; expected one a network"),
    (7, "expected rows, one a network, got int"),
    ([3], "row 1: expected a mapping of columns, got int"),
    ([*rows()[:2], {**rows()[2], "val": math.nan}], "row 3: column 'val': expected per cent"),
    ([{**rows()[0], "test": 101}], r"row 1: column 'test': .* \[0, 100\], got 101"),
    ([{**rows()[0], "val": []}], "row 1: column 'val': expected a number or a curve"),
    ([rows()[0], {**rows()[1], "val": [1, 2]}], "row 2: column 'val': expected a curve of 9"),
    ([*rows(), rows()[4]], "rows 5 and 15 are one network, dag1:"),
    ([{"key": "dag1:00", "val": 1, "test": 1}], "row 1: the key 'dag1:00' alone names no network"),
    ([{**rows()[0], "key": "dag1:00"}], "row 1: no such key: 'dag1:00' is written beside"),
    ([{"val": 1, "test": 1}], "row 1: expected a network under 'genotype' or 'key', got neither"),
    ([{"key": 5, "val": 1, "test": 1}], "row 1: .* got the key 5, which is no text"),
    ([{**rows()[0], "test": 10**400}], "row 1: column 'test': expected per cent"),
    ([{"genotype": "{", "val": 1}], "row 1: expected the JSON of a genotype, got '{'"),
    ([{"genotype": {"kind": "dagg"}}], "row 1: expected a genotype whose 'kind'"),
    (
        [{"genotype": chain(4, 4, 4, 4), "val": 1}],
        "row 1: no network of the space 'mlp': expected at most 3",
    ),
    ([{"genotype": CELL, "val": 1}], "row 1: no network of the space 'mlp': expected"),
    ([{"genotype": chain(4), "val": None, "test": 1}], "no row has a score in the column 'val'"),
]


@pytest.mark.parametrize(("given", "said"), WRONG)
def test_wrong_rows_are_named(given: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        table(given)


def test_many_mistakes_are_told_at_once_but_not_all() -> None:
    with pytest.raises(DataError) as caught:
        table([{**row, "val": math.nan} for row in rows()])
    assert len(str(caught.value).splitlines()) == 6
    assert "and 9 more" in str(caught.value)


# ---- searching it --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("own"), rows())


def test_a_file_is_searched_by_the_command(file: Path) -> None:
    done = invoke("bench", str(file), "--algorithms", "random,local,genetic+rank:paths",
                  "--seeds", "3", "--queries", "5,12", "--workers", "1", "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["optimum"] == pytest.approx(max(map(final, NETWORKS)))
    for values in found["algorithms"].values():
        assert values["val"]["12"]["mean"] > 55
        assert values["test"]["12"]["mean"] == pytest.approx(values["val"]["12"]["mean"] - 1)
        assert values["n_holes"] == {"mean": 0.0, "max": 0}
        assert values["n_trials"] == {"mean": 12.0, "max": 12}


def test_workers_of_other_processes_load_the_file(file: Path) -> None:
    one, two = (
        play.played(str(file), ["random"], range(2), 6, workers=n)["random"] for n in (1, 2)
    )
    assert (one.val == two.val).all()


def test_a_stopper_watches_the_curves_and_what_it_saves_is_spent_on_others(file: Path) -> None:
    settings = {"stopping": {"stopper": "median", "n_startup_trials": 2}}
    whole = play.finished(str(file), "random", 0, 6)
    saving = play.finished(str(file), "random", 0, 6, settings=settings)
    assert (whole.n_trials, whole.spent) == (6, 6.0)
    assert saving.n_trials > 6
    assert 6.0 <= saving.spent < 7.0
    assert len(saving.val) < saving.n_trials  # some were stopped
    assert all(a <= b for a, b in zip(saving.at, saving.at[1:], strict=False))


def test_rungs_climb_the_curves_and_only_the_highest_counts(file: Path) -> None:
    settings = {"algorithm": {"rungs": 2, "eta": 3, "population": 2}}
    found = play.finished(str(file), "random", 0, 5, settings=settings)
    # Three networks of three epochs each, then one of them for six more.
    assert found.at[0] == pytest.approx((3 * 3 + 6) / N_EPOCHS)
    ends = [final(dag) for dag in NETWORKS]
    assert all(np.isclose(value, ends).any() for value in found.val)
    curves = found.curves(5)
    assert (np.diff(curves[0]) >= 0).all()
    dag = NETWORKS[5]
    ask = make({"bench": str(file)})
    job = {"seq": 0, "genotype": dag.to_json(), "fidelity": {"epochs": 1.0, "rung": 0, "rungs": 3}}
    first = ask.evaluate(job, lambda row: True)
    assert first["objectives"]["val_accuracy"] == pytest.approx(final(dag) / N_EPOCHS / 100)
    job |= {
        "fidelity": {"epochs": 2.0, "rung": 1, "rungs": 3},
        "inherit": {"parents": [{"refs": first["refs"]}]},
    }
    second = ask.evaluate(job, lambda row: True)
    assert second["objectives"]["val_accuracy"] == pytest.approx(3 * final(dag) / N_EPOCHS / 100)


def test_without_curves_there_is_nothing_to_stop() -> None:
    for settings in ({"stopping": {"stopper": "median"}}, {"algorithm": {"rungs": 2}}):
        with pytest.raises(ConfigError, match="no learning curves"):
            play.finished("nasbench-macro", "random", 0, 8, settings=settings)


def test_a_rung_of_less_than_an_epoch_is_none(file: Path) -> None:
    settings = {"algorithm": {"rungs": 4, "eta": 3, "population": 2}}
    with pytest.raises(ConfigError, match=r"an epoch or more .* 9 epochs, for 4 rungs with eta 3"):
        play.finished(str(file), "random", 0, 5, settings=settings)


def test_holes_cost_a_training_and_are_counted(tmp_path: Path) -> None:
    file = written(tmp_path, rows()[:3] + rows()[5:])
    done = invoke("bench", str(file), "--algorithms", "random", "--seeds", "2", "--queries", "6",
                  "--workers", "1")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "(holes; each has cost a query), mean a search: random" in done.stdout
    found = play.finished(str(file), "random", 0, 6)
    assert found.n_holes > 0
    assert found.n_holes + len(found.val) == found.n_trials == 6


# ---- rows that are kept --------------------------------------------------------------------------


def test_what_a_file_keeps_is_not_played_again(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "rows.jsonl"
    given = ("bench", str(file), "--algorithms", "random", "--queries", "6", "--workers", "1",
             "--rows", str(kept), "--json")  # fmt: skip
    first = invoke(*given, "--seeds", "2")
    assert first.exit_code == 0, first.output
    assert len(kept.read_text().splitlines()) == 2
    kept.write_text(kept.read_text() + '{"search": {"ben')  # it was stopped while it wrote
    played: list[int] = []
    real = play.finished
    monkeypatch.setattr(play, "finished", lambda *a, **k: played.append(k["seed"]) or real(*a, **k))
    again = invoke(*given, "--seeds", "3")
    assert again.exit_code == 0, again.output
    assert played == [2]
    assert len([json.loads(line) for line in kept.read_text().splitlines()]) == 3
    assert json.loads(invoke(*given, "--seeds", "2").stdout) == json.loads(first.stdout)
    fewer = {"bench": str(file), "algorithm": "random", "seed": 0, "signal": None, "settings": None}
    assert isinstance(Kept(kept).get({**fewer, "n_queries": 4}), Finished)
    assert Kept(kept).get({**fewer, "n_queries": 7}) is None


def test_another_file_of_rows_is_refused(file: Path, tmp_path: Path) -> None:
    strange = tmp_path / "rows.jsonl"
    strange.write_text('{"a": 1}\n{"b": 2}\n')
    done = invoke("bench", str(file), "--rows", str(strange), "--workers", "1")
    assert done.exit_code == 2
    assert "line 1: expected a search that `nasgen bench --rows` wrote" in done.output


# ---- files that are none -------------------------------------------------------------------------

BAD = {
    "empty": ("import nasgen\n", "the file registers none"),
    "raises": (
        'import nasgen\n@nasgen.bench("x")\ndef x():\n    return 1 / 0\n',
        "failed with ZeroDivisionError",
    ),
    "other": (
        'import nasgen\n@nasgen.bench("x")\ndef x():\n    return {}\n',
        "expected a nasgen.RowTable, got dict",
    ),
    "norows": (
        'import nasgen\n@nasgen.bench("x")\ndef x():\n    return nasgen.RowTable("mlp", [], "a")\n',
        "the table has no rows",
    ),
    "nospace": (
        'import nasgen\n@nasgen.bench("x")\ndef x():\n'
        '    return nasgen.RowTable("mpl", [{"a": 1}], "a")\n',
        "did you mean 'mlp'",
    ),
    "argument": (
        'import nasgen\n@nasgen.bench("x")\ndef x(seed):\n    return seed\n',
        "expected a function of ()",
    ),
    "two": (
        'import nasgen\n@nasgen.bench("x")\ndef x(): ...\n@nasgen.bench("y")\ndef y(): ...\n',
        "has several benches; name one of them",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_bench_is_one_sentence(name: str, tmp_path: Path) -> None:
    text, said = BAD[name]
    (tmp_path / f"{name}.py").write_text(text)
    done = invoke("bench", str(tmp_path / f"{name}.py"))
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert "bug" not in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.py",), "bench file nowhere.py does not exist"),
        (("nasbench201", "--set", "space.name=mlp"), "expected a setting of algorithm, predictor"),
        (("nasbench201", "--algorithms", "genetic+rank:pahts"), "did you mean 'paths'"),
        (("nasbench201", "--algorithms", "genetic+rank:zero-cost"), "'zero-cost' is computed from"),
        (("nasbench201", "--algorithms", "genetic+zero-cost"), "has none; choose features"),
        (("nasbench201", "--set", "algorithm.name=local"), "named by --algorithms NAME"),
        (("nasbench201", "--set", "predictor.name=gp"), "named by --algorithms NAME+PREDICTOR"),
        (("nasbench201", "--plot", "nowhere/p.svg"), "--plot: nowhere is no folder"),
    ],
)
def test_arguments_that_are_wrong_are_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    done = invoke("bench", *arguments)
    assert done.exit_code == 2
    assert said in done.output


# ---- the example ---------------------------------------------------------------------------------


def test_the_example_is_a_whole_space_and_is_searched_with_and_without_its_curves() -> None:
    forget()
    done = invoke("bench", str(EXAMPLE), "--algorithms", "random,genetic+rank:paths", "--seeds",
                  "2", "--queries", "10,20", "--workers", "1", "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["signal"] == "val_accuracy"
    own = find(str(EXAMPLE))
    assert (own.n_networks, own.epochs_of("val_accuracy")) == (4 + 16 + 64 + 256 + 1024, 20)
    for values in found["algorithms"].values():
        assert values["n_holes"]["max"] == 0  # every network of the space has a row
        assert values["val"]["10"]["mean"] <= values["val"]["20"]["mean"] <= found["optimum"]
    stopped = play.finished(
        str(EXAMPLE), "random", 0, 12, settings={"stopping": {"stopper": "median"}}
    )
    assert stopped.n_trials > 12


def test_the_example_has_as_many_layers_as_its_rows(tmp_path: Path) -> None:
    dag = chain(8, 16, 32, 64, 64)
    text = json.dumps(dag.bare_json()).replace('"', '""')
    rows_ = f'key,genotype,val_accuracy,test_accuracy\n{dag.key},"{text}","[0.25, 0.5]",0.5\n'
    (tmp_path / "mlp_digits.csv.gz").write_bytes(gzip.compress(rows_.encode()))
    (tmp_path / EXAMPLE.name).write_bytes(EXAMPLE.read_bytes())
    own = find(str(tmp_path / EXAMPLE.name))
    assert own.space["max_depth"] == own.space["max_vertices"] == 5
    assert own.accuracy(dag, "val_accuracy") == pytest.approx(50.0)
