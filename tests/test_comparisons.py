"""An ensemble beside its best network, a search beside scikit-learn: measured, read, shown."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, r2_score

import nasgen

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
N_TRIALS = 3


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests import scripts of benchmarks/ by their names."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def greedy() -> Any:
    return importlib.import_module("greedy")


@pytest.fixture
def tables() -> Any:
    return importlib.import_module("ten_tables")


@pytest.fixture
def paired() -> Any:
    return importlib.import_module("paired")


@pytest.fixture
def ranked() -> Any:
    return importlib.import_module("ranked")


@pytest.fixture(scope="module")
def estimator(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A search on half of the wines."""
    from sklearn.datasets import load_wine

    x, y = load_wine(return_X_y=True)
    found = nasgen.NASClassifier(
        trials=N_TRIALS,
        algorithm="random",
        validation_fraction=0.3,
        settings={"training.epochs": 4, "finish.networks": 0},
        random_state=0,
        keep_in=tmp_path_factory.mktemp("compared"),
    )
    return found.fit(x[::2], y[::2])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    """A search on the wines with test rows, in a folder of the name that pays.py gives."""
    from sklearn.datasets import load_wine

    x, y = load_wine(return_X_y=True)
    folder = tmp_path_factory.mktemp("runs")
    table = folder / "wine.csv"
    names = [*(f"c{i}" for i in range(x.shape[1])), "kind"]
    rows = np.column_stack([x, y])
    np.savetxt(table, rows, delimiter=",", header=",".join(names), comments="", fmt="%g")
    return nasgen.run(
        {
            "data": {"source": f"csv:{table}?target=kind", "validation": 0.3},
            "algorithm": {"name": "random"},
            "budget": {"trials": N_TRIALS},
            "training": {"epochs": 4},
            "finish": {"networks": 0},
        },
        out=folder / "wine-1m-default-0",
    )


def _shares(probabilities: Any) -> Any:
    """Return float32 probabilities as float64 ones that sum to 1, as scikit-learn wants them."""
    shares = np.asarray(probabilities, dtype=float)
    return shares / shares.sum(axis=1, keepdims=True)


# ---- measuring -----------------------------------------------------------------------------------


def test_network_and_ensemble_are_chosen_by_one_criterion_and_tested_alike(
    greedy: Any, run: nasgen.Run
) -> None:
    found = greedy.compared(nasgen.load(run.path))
    assert (found["candidates"], found["trained"], found["views"]) == (N_TRIALS, N_TRIALS, 1)
    assert found["recipe"] == run.record["recipe"], "rows of other recipes are no comparison"
    by = found["by"]
    # On the rows that choose, greedy selection cannot be worse than what it begins with.
    accuracy, nll = by["accuracy"], by["nll"]
    assert accuracy["ensemble"]["val"]["accuracy"] >= accuracy["network"]["val"]["accuracy"]
    assert nll["ensemble"]["val"]["loss"] <= nll["network"]["val"]["loss"]
    truth = run.inference.targets("validation")
    losses = [log_loss(truth, _shares(network.validation)) for network in run.networks()]
    assert nll["network"]["val"]["loss"] == pytest.approx(min(losses), rel=1e-5)
    assert accuracy["network"]["test"] == pytest.approx(run.network().test_metrics)
    assert accuracy["network"]["test_one_view"] == accuracy["network"]["test"]
    for part, plain in nll.items():  # a temperature of 1 would change nothing
        calibrated = by["nll, calibrated"][part]
        assert calibrated["val"]["loss"] < plain["val"]["loss"]
        assert calibrated["val"]["accuracy"] == plain["val"]["accuracy"]
    assert set(accuracy["ensemble"]["cross_fitted"]) == {"accuracy", "loss"}


def test_a_kept_run_counts_if_it_is_the_search_of_that_name(
    greedy: Any, run: nasgen.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="expected a search for data, seconds and seed"):
        greedy.finished(run.path, "digits-1m", 0)
    monkeypatch.setattr(greedy, "in_seconds", lambda budget: None)  # this one has trials
    monkeypatch.setitem(greedy.pays.SOURCES, "wine", run.config.data.source)
    found = greedy.measure("default", "wine-1m", run.config.seed, run.path.parent, Path("unused"))
    assert found["by"] == greedy.compared(run)["by"]


def test_arms_differ_from_the_default_search_by_their_finalists_alone(greedy: Any) -> None:
    default = greedy.command("default", "fashion-5m", 3)
    assert greedy.command("finalists-2", "fashion-5m", 3) == [
        *default, "--set", "finish.networks=2"
    ]  # fmt: skip
    assert default == greedy.pays.command("default", "fashion-5m", 3)


def test_scores_are_those_of_scikit_learn(tables: Any, estimator: Any) -> None:
    data = tables.table("wine", 0)
    found = tables.tested(data, estimator)
    for part, answers in (("scores", estimator), ("network", estimator.run_.network())):
        shares = _shares(answers.predict_proba(data.x_test))
        own = accuracy_score(data.y_test, shares.argmax(axis=1))
        assert found[part]["accuracy"] == pytest.approx(own)
        assert found[part]["nll"] == pytest.approx(log_loss(data.y_test, shares), rel=1e-4)
    assert found["settings"]["trials"]["complete"] == N_TRIALS
    values = tables.table("diabetes", 0)
    net = tables.fitted(tables.linear(False, 1.0), values)
    expected = r2_score(values.y_test, tables.answers(net, values))
    assert values.scores(tables.answers(net, values))["r2"] == pytest.approx(expected)


def test_ten_tables_are_split_the_same_way_for_all(tables: Any) -> None:
    assert len(tables.SOURCES) == 10
    for name in tables.SOURCES:
        one, again = tables.table(name, 1), tables.table(name, 1)
        assert np.array_equal(one.x_test, again.x_test)
        assert np.isfinite(one.x).all()
        assert len(one.y_test) == pytest.approx(0.3 * (len(one.y) + len(one.y_test)), abs=1)
        assert np.issubdtype(one.y.dtype, np.integer) == one.classes
        assert len(one.validating.y) + len(one.validating.y_test) == len(one.y)


@pytest.mark.parametrize("method", ["tuned-boosting", "mlp"])
def test_a_setting_is_the_same_whenever_it_is_made(tables: Any, method: str) -> None:
    made = [
        [str(make().get_params()) for make in tables.settings_of(method, True, 5)] for _ in "ab"
    ]
    assert made[0] == made[1]
    assert len(set(made[0])) == tables.MOST_SETTINGS
    assert made[0][0] == str(tables.settings_of(method, True, 5)[0].func(True, 5).get_params())


def test_settings_are_chosen_on_held_out_rows_within_the_time(
    tables: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "n_cores", lambda: 1)
    data = tables.table("wine", 0)
    losses = [
        tables.judged(make, data.validating)[0] for make in tables.settings_of("linear", True, 0)
    ]
    found = tables.chosen("linear", data, 0, 60.0)
    assert found["settings"] == {"tried": 7, "chosen": int(np.argmin(losses))}
    assert found["scores"]["accuracy"] > 0.9
    assert tables.chosen("mlp", data, 0, 0.0)["settings"] == {"tried": 1, "chosen": 0}


def test_what_stands_there_is_not_measured_again(
    tables: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    asked = ["--tables", "iris", "--methods", "linear", "--seeds", "0", "1"]
    tables.main(asked)
    lines = (tmp_path / "ten-tables.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(r["table"], r["method"], r["seed"]) for r in rows] == [
        ("iris", "linear", 0), ("iris", "linear", 1)
    ]  # fmt: skip

    def fails(name: str, method: str, seed: int) -> Any:
        raise nasgen.NasgenError("no time")

    monkeypatch.setattr(tables, "measure", fails)
    tables.main(asked)
    with pytest.raises(SystemExit, match="1 fits failed and have no row; repeat the command"):
        tables.main([*asked, "2"])


# ---- reading -------------------------------------------------------------------------------------


def rows_of(
    gains: list[float], task: str = "fashion-5m", arm: str = "default"
) -> list[dict[str, Any]]:
    """Return rows whose ensemble is better by some shares, and 0.01 too good on validation rows."""

    def part(own: float, members: int) -> dict[str, Any]:
        tests = {"accuracy": 0.9 + own, "loss": 0.3 - own}
        val = {"accuracy": 0.91 + own, "loss": 0.28 - own}
        return {"members": members, "val": val, "test": tests, "test_one_view": tests}

    return [
        {
            "task": task, "arm": arm, "seed": seed,
            "by": {by: {"network": part(0.0, 1), "ensemble": part(gain, 3)}
                   for by in ("accuracy", "nll")},
        }
        for seed, gain in enumerate(gains)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("gains", "reached"),
    [
        ([0.01] * 9 + [-0.02], True),
        ([0.01] * 8 + [-0.02, 0.0], False),  # as good is not better
        ([0.01] * 9, None),  # too few seeds
    ],
)
def test_nine_of_ten_seeds_must_be_better(
    paired: Any, gains: list[float], reached: bool | None
) -> None:
    n = len(gains)
    found = {line.what: line for line in paired.lines(rows_of(gains))}
    line = found[
        f"Fashion-MNIST, 5 minutes, seeds: {n}, default: greedy ensemble minus best network, both "
        "by accuracy, test accuracy"
    ]
    assert line.reached is reached
    assert line.measured.endswith(f"better in {sum(g > 0 for g in gains)} of {n}")
    assert [other.goal for other in found.values()].count("") == len(found) - 1


def test_digits_must_lose_no_accuracy_in_the_mean(paired: Any) -> None:
    for last, reached in ((-0.05, True), (-0.2, False)):
        found = paired.lines(rows_of([0.01] * 9 + [last], "digits-1m"))
        goals = [line for line in found if line.goal]
        assert [("nll" in line.what, line.reached) for line in goals] == [
            (True, reached),
            (True, True),
        ]


def test_the_table_has_the_gap_between_selection_and_test(paired: Any) -> None:
    [_, _, accuracy, nll, *_] = paired.table(rows_of([0.01, 0.03])).splitlines()
    cells = [cell.strip() for cell in accuracy.strip("|").split("|")]
    assert cells[:8] == [
        "Fashion-MNIST, 5 minutes", "default", "accuracy", "accuracy", "2", "3.0", "90.00", "92.00"
    ]  # fmt: skip
    assert cells[8].startswith("+2.00 ± 12.7")
    # Two of ten seeds: the goal is said and not judged.
    assert cells[9:] == ["2 of 2", "better in ≥ 9 of 10", "–", "+1.00", "+1.00"]
    assert nll.rstrip("| ").endswith("+0.0200 | +0.0200")  # the loss was too small where it chose


def test_several_finalists_are_compared_with_the_default_searchs_network(paired: Any) -> None:
    rows = [*rows_of([0.0, 0.0]), *rows_of([0.02, 0.01, 0.5], arm="finalists-2")]
    [accuracy, nll] = paired.beside_default(rows)
    assert accuracy.what.startswith("Fashion-MNIST, 5 minutes, seeds: 2: ensemble of finalists-2 ")
    assert accuracy.measured.startswith("+1.50 ±")
    assert nll.measured.startswith("-0.0150 ±")
    assert nll.measured.endswith("better in 2 of 2")


def test_ranks_are_means_over_whole_tables_and_equals_share_theirs(ranked: Any) -> None:
    def row(table: str, method: str, score: float, kind: str = "accuracy") -> dict[str, Any]:
        found = {"table": table, "method": method, "seed": 0, "rows": 100, "scores": {kind: score}}
        return {**found, "network": found["scores"]} if method == "nasgen" else found

    rows = [
        row("a", "nasgen", 0.9), row("a", "mlp", 0.9), row("a", "linear", 0.8),
        row("b", "nasgen", 0.1, "r2"), row("b", "mlp", 0.3, "r2"), row("b", "linear", 0.2, "r2"),
        row("c", "linear", 0.99),
    ]  # fmt: skip
    ranks = ranked.mean_ranks(rows)
    assert ranks == {"nasgen": (2.25, 2), "mlp": (1.25, 2), "linear": (2.5, 2)}
    text = ranked.table(rows).splitlines()
    assert text[2] == "| a | 100 | 0 | accuracy | 90.00 | 90.00 | 90.00 | 80.00 |"
    assert text[3] == "| b | 100 | 0 | R² | 10.00 | 10.00 | 30.00 | 20.00 |"
    assert text[4] == "| c | 100 | 0 | accuracy | – | – | – | 99.00 |"
    assert text[5] == "| **mean rank** | | | | **2.25** | – | **1.25** | **2.50** |"
    best, *_ = ranked.lines(rows)
    assert best.what == "2 tables, a minute each: mean rank of MLP, tuned, of 3"
    assert best.measured == "1.25"
