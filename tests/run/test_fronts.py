"""A search for several objectives returns a front: its members are trained longer and tested."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.loop import front
from nasgen.loop.ranks import ranked
from nasgen.runs import reading
from nasgen.settings import fidelity
from nasgen.settings.fidelity import Fidelity
from nasgen.settings.objectives import Objective
from nasgen.store.trial import Trial
from tests.played import Played, resolved_of

TWO = (Objective("val_accuracy", "maximize"), Objective("n_params", "minimize"))


def trial(seq: int, *values: float, **more: Any) -> Trial:
    objectives = dict(zip(("val_accuracy", "n_params"), values, strict=True))
    usual: dict[str, Any] = {
        "state": "COMPLETE", "genotype": {}, "key": f"k{seq}", "identity": str(seq),
        "operator": "sample", "fidelity": Fidelity(), "metrics": {"val_loss": 1.0},
    }  # fmt: skip
    return Trial(seq=seq, objectives=objectives, **{**usual, **more})


def dominates(a: Trial, b: Trial) -> bool:
    x, y = ((-t.objectives["val_accuracy"], t.objectives["n_params"], t.violation) for t in (a, b))
    return all(p <= q for p, q in zip(x, y, strict=True)) and x != y


values = st.tuples(st.integers(0, 4).map(float), st.integers(0, 4).map(float))


@given(st.lists(values, min_size=1, max_size=14), st.integers(1, 14))
def test_the_best_and_the_front_are_dominated_by_none(
    points: list[tuple[float, float]], n: int
) -> None:
    # The loss says the opposite of the second objective, as that of large networks may.
    trials = [trial(i, a, p, metrics={"val_loss": 5 - p}) for i, (a, p) in enumerate(points)]
    order = ranked(trials, TWO)
    found = front.front(trials, TWO)
    assert found[0] is order[0]
    assert not any(dominates(other, t) for t in found for other in trials)
    whole = {tuple(t.objectives.values()) for t in trials}
    kept = {tuple(t.objectives.values()) for t in found}
    assert len(kept) == len(found)  # equals once
    for point in whole - kept:
        assert any(dominates(t, trial(99, *point)) for t in found)
    # The finalists: none is left out that dominates one which is taken; the best stays.
    chosen = front.finalists(order, TWO, n)
    assert len(chosen) == min(n, len(trials))
    assert order[0] in chosen
    rest = [t for t in trials if t not in chosen]
    assert not any(dominates(left, taken) for left in rest for taken in chosen)


def test_of_a_long_front_those_that_lie_apart_are_trained_longer() -> None:
    accuracies = [0.99, 0.98, 0.97, 0.96, 0.8, 0.5]
    trials = [trial(i, a, 100 * a) for i, a in enumerate(accuracies)]
    assert {t.seq for t in front.finalists(trials, TWO, 4)} == {0, 2, 4, 5} or {
        t.seq for t in front.finalists(trials, TWO, 4)
    } == {0, 3, 4, 5}
    assert [t.seq for t in front.finalists(trials, TWO, 1)] == [0]
    assert [t.seq for t in front.finalists(trials, TWO[:1], 3)] == [0, 1, 2]


def test_what_was_trained_longer_is_returned() -> None:
    search = [trial(i, a, p) for i, (a, p) in enumerate([(0.9, 50), (0.8, 40), (0.7, 10)])]
    more = {"phase": "finish", "operator": "finish"}
    done = [
        trial(3, 0.95, 50, parents=(0,), key="k0", **more),
        trial(4, 0.75, 60, parents=(1,), key="k1", **more),
    ]
    assert front.returned(search, TWO) == search
    assert front.returned([*search, *done], TWO) == done[:1]
    assert front.left_out([*search, *done], TWO) == 1  # trial 2
    assert front.left_out(search, TWO) == 0


def test_the_front_gets_its_places_by_default() -> None:
    pareto = reading.resolved({"objectives": {"names": ["val_accuracy", "n_params"]}}).config
    assert [fidelity.n_finish(pareto, n) for n in (3, 8, 40, 1000)] == [0, 2, 10, 16]
    timed = pareto.model_copy(update={"budget": pareto.budget.model_copy(update={"time": 1200.0})})
    assert fidelity.n_finish(timed, None) == 8


def test_a_search_trains_its_front_longer() -> None:
    names = ["val_accuracy", "n_params"]
    trials = Played(resolved_of("nsga2", objectives={"names": names}), 40, 6).run()
    searched = [t for t in trials if t.phase == "search"]
    finished = [t for t in trials if t.phase == "finish"]
    sources = {t.parents[0] for t in finished}
    assert len(finished) == 6
    whole = front.front(searched, TWO)
    assert sources == {t.seq for t in front.finalists(ranked(searched, TWO), TWO, 6)}
    assert len(sources & {t.seq for t in whole}) == min(6, len(whole))
    assert not any(dominates(a, b) or dominates(b, a) for a, b in combinations(whole, 2))


@pytest.fixture(scope="module")
def pareto(tmp_path_factory: pytest.TempPathFactory) -> tuple[nasgen.Run, dict[str, Any], str]:
    """`nasgen search --preset pareto` on a small table, with its JSON and its text."""
    folder = tmp_path_factory.mktemp("pareto")
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{'no' if a * b > 0 else 'yes'}" for a, b in rng.normal(size=(90, 2))]
    (folder / "rows.csv").write_text("\n".join(["a,b,y", *rows]))
    settings = ["algorithm.population=4", "execution.executor=serial", "training.epochs=1"]
    out = CliRunner().invoke(
        app,
        ["search", "--preset", "pareto", "--data", f"csv:{folder / 'rows.csv'}?target=y",
         "--trials", "16", "--json", "--quiet", "--out", str(folder / "run"),
         *(part for setting in settings for part in ("--set", setting))],
    )  # fmt: skip
    assert out.exit_code == 0, out.output
    text = CliRunner().invoke(app, ["status", str(folder / "run")]).stdout
    return nasgen.load(folder / "run"), json.loads(out.stdout), text


def test_the_pareto_preset_returns_a_front_that_is_finished_and_tested(
    pareto: tuple[nasgen.Run, dict[str, Any], str],
) -> None:
    run, summary, text = pareto
    members = [run.trial(row["trial"]) for row in summary["front"]]
    assert members == run.front
    assert all(t.phase == "finish" for t in members)
    assert not any(dominates(a, b) for a in members for b in members)
    assert summary["best"]["trial"] == members[0].seq == run.best.seq  # type: ignore[union-attr]
    finished = [t for t in run.trials if t.phase == "finish"]
    assert len(finished) == 4
    assert not any(dominates(t, member) for t in finished for member in members)
    for row, member in zip(summary["front"], members, strict=True):
        assert row["objectives"] == member.objectives
        assert row["test_accuracy"] == run.network(member.seq).test_accuracy
        assert f"{100 * row['test_accuracy']:.2f} %" in text


def test_the_report_shows_the_front_with_its_tests(
    pareto: tuple[nasgen.Run, dict[str, Any], str],
) -> None:
    run, summary, _ = pareto
    page = run.report_path.read_text()
    table = page[page.index("<h3>Front of") :]
    table = table[: table.index("</table>")]
    assert "test accuracy" in table
    for row in summary["front"]:
        assert f'data-trial="{row["trial"]}">{row["trial"]}</a></th>' in table
    assert table.count('<th scope="row"') == len(summary["front"])


def test_one_objective_has_no_front(tmp_path: Path) -> None:
    data = np.arange(80.0).reshape(40, 2) % 7, np.arange(40) % 2
    run = nasgen.run(
        {"training": {"epochs": 0.5}, "algorithm": {"name": "fixed"}, "finish": {"networks": 0},
         "execution": {"executor": "serial"}},
        data=data, out=tmp_path / "run",
    )  # fmt: skip
    assert run.front == []
    assert "front" not in run.summary
