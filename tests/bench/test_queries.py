"""What a query is: a hole costs one, an estimate none, and longer searches are cut to fewer."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nasgen.bench import play
from nasgen.bench.finished import Finished, Kept, package_code
from nasgen.cli import app
from nasgen.errors import ConfigError, DataError
from nasgen.store.trial import Trial
from tests.bench.chains import N_EPOCHS, rows, written
from tests.conftest import forget

pytestmark = pytest.mark.usefixtures("registry_restored")


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def holed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bench of which five of fourteen networks are holes."""
    return written(tmp_path_factory.mktemp("holed"), rows()[:3] + rows()[5:9] + rows()[12:])


def trial(seq: int, state: Any, **more: Any) -> Trial:
    return Trial(seq, state, {}, str(seq), str(seq), "sample", **more)


def test_a_hole_is_a_query_that_found_nothing() -> None:
    def known(seq: int, value: float) -> Trial:
        found = {"val_accuracy": value, "test_accuracy": value - 0.1, "epochs_done": 4.0}
        return trial(seq, "COMPLETE", metrics=found)

    hole = trial(1, "FAILED", failure="no row")
    found = Finished.of([known(0, 0.5), hole, hole, known(3, 0.7)], 4)
    assert (found.at, found.spent, found.n_queries) == ((1.0, 4.0), 4.0, 4)
    assert found.curves(5)[0] == pytest.approx([50, 50, 50, 70, 70])
    assert (found.n_holes, found.n_trials) == (2, 4)
    nothing = Finished.of([hole, hole], 4)
    assert nothing.nothing == "asked for 2 networks, none with a score; the first: no row"
    assert np.isnan(nothing.curves(5)).all()
    assert Finished.from_json(nothing.to_json()) == nothing == nothing.until(5)


def test_curves_of_a_table_with_holes_end_where_the_budget_does(holed: Path) -> None:
    found = play.finished(str(holed), "random", 0, 9)
    assert found.n_holes > 0
    assert found.n_holes + len(found.val) == found.n_trials == found.n_queries == 9
    known = len(found.val)
    assert found.at[known - 1] > known  # what was burnt lies between the networks that are known
    done = invoke("bench", str(holed), "--algorithms", "random", "--seeds", "2", "--queries", "4,9",
                  "--workers", "1", "--json")  # fmt: skip
    values = json.loads(done.stdout)["algorithms"]["random"]
    assert (values["n_asked"]["min"], values["padded"]) == (9, [])


def test_a_seed_that_meets_no_score_is_named_and_ends_no_comparison(tmp_path: Path) -> None:
    file, kept = written(tmp_path, rows()[5:9]), tmp_path / "rows.jsonl"
    call = ("bench", str(file), "--algorithms", "random,local", "--seeds", "6", "--queries", "2",
            "--workers", "1", "--rows", str(kept))  # fmt: skip
    done = invoke(*call, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["algorithms"]["random"]
    unscored = [*map(int, found["unscored"])]
    assert 0 < len(unscored) < 6
    best = [
        play.finished(str(file), "random", seed, 2).curves(2)[0, -1]
        for seed in range(6)
        if seed not in unscored
    ]
    assert found["val"]["2"]["mean"] == pytest.approx(np.mean(best), abs=1e-3)
    text = kept.read_text()
    assert len(text.splitlines()) == 12
    shown = invoke(*call, "--plot", str(tmp_path / "plot.svg"))
    assert kept.read_text() == text, "nothing is played again"
    assert f"random: {len(unscored)} of 6 searches met no network with a score" in shown.stdout
    said = f"Seed {unscored[0]} asked for 2 networks, none with a score; the first: the table"
    assert said in shown.stdout
    assert "nan" not in (tmp_path / "plot.svg").read_text().lower()


def test_where_no_seed_meets_a_score_there_is_nothing_to_compare(tmp_path: Path) -> None:
    file = written(tmp_path, rows()[-1:])
    done = invoke("bench", str(file), "--algorithms", "random", "--seeds", "2", "--queries", "1",
                  "--workers", "1")  # fmt: skip
    assert done.exit_code == 2
    assert "random with seed 0 asked for 1 network, none with a score; the first" in done.output


def test_estimated_networks_are_no_queries() -> None:
    settings = {"predictor": {"mode": "substitute"}}
    found = play.finished("nasbench201", "genetic+rank", 0, 30, settings=settings)
    assert len(found.val) == found.n_trials == found.n_queries == 30


SEARCHES = {
    "random": {},
    "local": {},
    "stopped": {"stopping": {"stopper": "median", "n_startup_trials": 2}},
    "rungs": {"algorithm": {"rungs": 2, "eta": 3, "population": 2}},
}


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("shorter", [3, 5])
def test_a_longer_search_that_is_cut_is_the_shorter_one(
    holed: Path, name: str, shorter: int, tmp_path: Path
) -> None:
    algorithm = name if name in ("random", "local") else "random"
    given = {"bench": str(holed), "algorithm": algorithm, "seed": 1, "signal": None,
             "settings": SEARCHES[name]}  # fmt: skip
    short, long = (play.finished(**given, n_queries=n) for n in (shorter, 9))
    assert len(long.ends) > len(short.ends)
    assert asdict(long.until(shorter)) == asdict(short)
    kept = Kept(tmp_path / "rows.jsonl")
    kept.add({**given, "n_queries": 9}, long)
    again = Kept(kept.file).get({**given, "n_queries": shorter})
    assert again is not None
    counted = ("n_queries", "n_holes", "n_trials")
    assert [getattr(again, c) for c in counted] == [getattr(short, c) for c in counted]
    assert again.curves(shorter) == pytest.approx(short.curves(shorter), abs=1e-4)


def test_a_kept_search_that_knew_nothing_yet_does_not_answer_for_a_shorter_one(
    holed: Path, tmp_path: Path
) -> None:
    given = {"bench": str(holed), "algorithm": "random", "seed": 0}
    kept = Kept(tmp_path / "rows.jsonl")
    late = Finished((60.0,), (59.0,), (3.0,), (1.0, 2.0, 3.0), (1.0, 2.0))
    kept.add({**given, "n_queries": 3}, late)
    assert kept.get({**given, "n_queries": 2}) is None
    assert kept.get({**given, "n_queries": 3}) is not None


def test_rows_are_of_the_table_that_was_searched(tmp_path: Path) -> None:
    kept, given = tmp_path / "rows.jsonl", rows()
    file = written(tmp_path, given)
    call = ("bench", str(file), "--algorithms", "random", "--seeds", "2", "--queries", "9",
            "--workers", "1", "--rows", str(kept), "--json")  # fmt: skip
    first = invoke(*call)
    assert first.exit_code == 0, first.output
    text = file.read_bytes()
    forget()
    for row in given:
        row["val"] = (np.array(row["val"]) / 2).tolist()
    assert written(tmp_path, given).read_bytes() == text  # only the data beside it has changed
    second = invoke(*call)
    assert len(kept.read_text().splitlines()) == 4
    one, two = (json.loads(done.stdout) for done in (first, second))
    assert two["optimum"] == pytest.approx(one["optimum"] / 2)
    best = (found["algorithms"]["random"]["val"]["9"]["mean"] for found in (one, two))
    assert next(best) > 1.9 * next(best)


def test_rows_of_an_older_version_are_left_and_played_again(holed: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    play_ = {"bench": str(holed), "algorithm": "random", "seed": 0, "n_queries": 5}
    Kept(file).add(play_, play.finished(**play_))
    row = json.loads(file.read_text())
    del row["search"]["table"], row["found"]["ends"], row["found"]["holes"]
    row["found"] |= {"spent": 4.0, "n_holes": 1, "n_trials": 5}
    file.write_text(json.dumps(row) + "\n")
    assert Kept(file).get(play_) is None
    done = invoke("bench", str(holed), "--algorithms", "random", "--seeds", "1", "--queries", "5",
                  "--workers", "1", "--rows", str(file))  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "1 search of an older version" in done.output.replace("\n", " ")
    assert json.loads(file.read_text().splitlines()[0]) == row
    assert len(file.read_text().splitlines()) == 2


def test_rows_name_code_and_machine_and_those_of_other_code_are_counted(
    holed: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    call = ("bench", str(holed), "--algorithms", "random", "--queries", "4", "--workers", "1",
            "--rows", str(file), "--json", "--seeds")  # fmt: skip
    first, present = invoke(*call, "2"), package_code()
    assert json.loads(first.stdout)["code"] == {"present": present, "searches": {present: 2}}
    assert "other code" not in first.stderr
    made = [json.loads(line) for line in file.read_text().splitlines()]
    assert {row["code"] for row in made} == {present}
    assert all(row["machine"]["cores"] >= 1 and row["measured"] for row in made)
    made[0]["code"] = "older"
    del made[1]["code"], made[1]["machine"]  # as rows were before
    file.write_text("".join(json.dumps(row) + "\n" for row in made))
    second = invoke(*call, "3")
    searches = {"older": 1, "not recorded": 1, present: 1}
    assert json.loads(second.stdout)["code"] == {"present": present, "searches": searches}
    said = second.stderr.replace("\n", " ")
    assert "2 of 3 searches are rows that other code has made: older, not recorded;" in said
    assert len(file.read_text().splitlines()) == 3


# ---- signals with curves of their own ------------------------------------------------------------


def test_each_signal_has_the_epochs_of_its_own_curve(tmp_path: Path) -> None:
    given = rows()
    for row in given:
        row["short"], row["once"] = row["val"][:4], row["val"][-1]
    file = written(tmp_path, given, signals={"val": "test", "short": "test", "once": "test"})
    settings = {"stopping": {"stopper": "median", "n_startup_trials": 2}}
    for signal, n in (("val", N_EPOCHS), ("short", 4)):
        found = play.finished(str(file), "random", 0, 6, signal, settings)
        shares = np.diff([0.0, *found.ends])
        assert min(shares) < 0.9  # some were stopped, after whole epochs of this curve
        assert shares * n == pytest.approx(np.round(shares * n))
        assert max(shares) == pytest.approx(1.0)
    with pytest.raises(ConfigError, match=r"'once' of .* has no learning curve"):
        play.finished(str(file), "random", 0, 6, "once", settings)


def test_a_file_of_rows_outlives_what_was_cut_off_and_keeps_what_is_of_others(
    holed: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    plays = [
        {"bench": str(holed), "algorithm": "random", "seed": seed, "n_queries": 4}
        for seed in (0, 1)
    ]
    Kept(file)
    assert not file.exists(), "nothing was played"
    Kept(file).add(plays[0], play.finished(**plays[0]))
    file.write_text(file.read_text().rstrip("\n"))  # its end of line was not written
    Kept(file).add(plays[1], play.finished(**plays[1]))
    assert [Kept(file).get(each) is None for each in plays] == [False, False]
    for other in (b"a note", b"\xff\xfe", b'{"a": 1}', b"{{ title }}"):
        file.write_bytes(other)
        done = invoke("bench", str(holed), "--rows", str(file))
        assert done.exit_code == 2
        assert "line 1: expected" in done.output
        assert file.read_bytes() == other


def test_of_rows_of_one_search_the_longest_counts_and_a_damaged_one_is_named(
    holed: Path, tmp_path: Path
) -> None:
    file = tmp_path / "new" / "rows.jsonl"  # whose folder is made
    given = {"bench": str(holed), "algorithm": "random", "seed": 0}
    one, other = Kept(file), Kept(file)
    for kept, n in ((one, 6), (other, 4)):  # as two processes at once
        kept.add({**given, "n_queries": n}, play.finished(**given, n_queries=n))
    found = Kept(file).get({**given, "n_queries": 6})
    assert found is not None
    assert found.n_queries == 6
    row = json.loads(file.read_text().splitlines()[0])
    empty: dict[str, Any] = {"val": [], "test": [], "at": []}  # without a reason
    several: list[dict[str, Any]] = [{"ends": []}, {"at": []}, {"val": [10**400]}, empty]
    for damaged in several:
        file.write_text(json.dumps({**row, "found": {**row["found"], **damaged}}) + "\n")
        with pytest.raises(DataError, match="line 1: expected a search"):
            Kept(file)
