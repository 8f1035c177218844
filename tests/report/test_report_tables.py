"""What the report says in numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nasgen.report import page, tables
from nasgen.report.view import ReportView
from nasgen.store.trial import Trial

DAG: dict[str, Any] = {
    "kind": "dag",
    "vertices": [{"tag": 1, "op": "input"}, {"tag": 2, "op": "output"}],
    "edges": [[1, 2]],
}


def trial(seq: int, score: float | None, operator: str = "sample", **fields: Any) -> Trial:
    metrics = {} if score is None else {"val_accuracy": score}
    base = Trial(seq, "COMPLETE", DAG, f"k{seq}", f"i{seq}", operator)
    base = replace(base, metrics=metrics, objectives=dict(metrics))
    return replace(base, **fields)


@pytest.fixture
def view(make_view: Any) -> ReportView:
    trials = [
        trial(0, 0.50),
        trial(1, 0.60),
        trial(2, 0.55, "grow", parents=(0,)),  # +0.05
        trial(3, 0.59, "grow", parents=(0, 1)),  # -0.01 against the better parent
        trial(4, None, "grow", parents=(1,), state="FAILED", failure_kind="memory", failure="A"),
        trial(5, 0.70, "cut", parents=(1,)),  # +0.10
        trial(6, 0.60, "cut", parents=(1,)),  # equal is not better
        trial(7, None, "cut", parents=(4,), state="FAILED", failure_kind="memory", failure="B"),
        trial(8, 0.58, "cut", parents=(4,)),  # the parent has no result: not compared
        trial(9, None, "cut", parents=(1,), state="FAILED", failure_kind=None),
        trial(10, 0.75, "finish", parents=(5,), phase="finish", key="k5"),
    ]
    built = make_view(0, n_finish=0)
    return replace(
        built,
        trials=trials,
        best={"trial": 10},
        operator_failures={"grow": {"duplicate": 4}, "idle": {"not_applicable": 9}},
    )


def test_operators_are_counted_and_compared_with_their_best_parent(view: ReportView) -> None:
    rows = {row.operator: row for row in tables.operator_rows(view)}
    grow, cut, idle = rows["grow"], rows["cut"], rows["idle"]
    assert (grow.n_tried, grow.n_complete, grow.n_failed, grow.n_refused) == (3, 2, 1, 4)
    assert (grow.n_better, grow.n_compared, grow.rate) == (1, 2, 0.5)
    assert grow.median_gain == pytest.approx(0.02)
    assert (cut.n_better, cut.n_compared) == (1, 2)
    assert cut.median_gain == pytest.approx(0.05)
    assert (idle.n_tried, idle.n_refused, idle.rate, idle.median_gain) == (0, 9, None, None)
    assert {row.operator for row in tables.operator_rows(view)[-2:]} == {"sample", "finish"}


def test_refusals_name_their_reason_and_what_was_used_instead(view: ReportView) -> None:
    drawn = trial(11, 0.4, fell_back_from={"bridge": "depth", "grow": "duplicate"})
    other = trial(12, 0.4, "grow", parents=(1,), fell_back_from={"bridge": "no_place"})
    failures = {"bridge": {"no_place": 2, "depth": 5, "size": 1, "infeasible": 0, "mine": 3}}
    changed = replace(view, trials=[*view.trials, drawn, other], operator_failures=failures)
    bridge = next(row for row in tables.operator_rows(changed) if row.operator == "bridge")
    assert bridge.n_refused == 11
    assert list(bridge.reasons.items()) == [("depth", 5), ("mine", 3), ("no_place", 2), ("size", 1)]
    assert (bridge.n_fell_back, bridge.n_tried) == (2, 0)
    text = " ".join(page.render(changed).split())
    assert "depth 5, mine 3, no place 2, size 1" in text
    assert "1 candidate was drawn at random because no operator gave a new one" in text
    assert drawn.fallback == (
        "bridge would have broken the depth limits, grow made only known networks; "
        "a random network was used instead"
    )
    assert other.fallback == "bridge found no place; grow was used instead"
    mine = replace(other, fell_back_from={"bridge": "of_my_own"})
    assert mine.fallback == "bridge did not apply (of my own); grow was used instead"


def test_a_gain_is_an_improvement_when_less_is_better(view: ReportView) -> None:
    turned = replace(view, directions={"val_accuracy": "minimize"})
    assert tables.gain_over_parents(turned, turned.by_seq[5]) == pytest.approx(-0.10)
    assert tables.gain_over_parents(turned, turned.by_seq[3]) == pytest.approx(-0.09)


def test_failures_are_grouped_with_their_first_message(view: ReportView) -> None:
    rows = tables.failure_rows(reversed(view.trials))
    assert [(r.kind, r.seqs) for r in rows] == [("memory", (4, 7)), ("error", (9,))]
    assert rows[0].message == "A"


def test_ancestors_are_complete_and_latest_first(view: ReportView) -> None:
    assert [t.seq for t in tables.ancestors(view, 10)] == [10, 5, 1]
    assert [t.seq for t in tables.ancestors(view, 3)] == [3, 1, 0]
    assert tables.ancestors(view, 99) == []


def test_a_damaged_lineage_with_a_cycle_ends(view: ReportView) -> None:
    trials = [trial(0, 0.5, parents=(1,)), trial(1, 0.6, parents=(0, 1, 77))]
    assert [t.seq for t in tables.ancestors(replace(view, trials=trials), 1)] == [1, 0]


def test_showpieces_are_distinct_architectures_with_the_best_first(view: ReportView) -> None:
    assert [t.seq for t in tables.showpieces(view)] == [10, 1, 6]
    assert [t.seq for t in tables.showpieces(replace(view, best={"trial": 0}))] == [0, 10, 1]


def test_failed_and_unusual_values_are_no_results() -> None:
    assert tables.value(trial(0, 0.5, state="FAILED"), "val_accuracy") is None
    assert tables.value(trial(0, 0.5, state="ESTIMATED"), "val_accuracy") is None
    assert tables.value(trial(0, float("nan")), "val_accuracy") is None
    assert tables.value(trial(0, 0.5), "val_accuracy") == 0.5


@pytest.mark.parametrize("maximize", [(True, False), (False, False, True)])
def test_the_front_holds_exactly_the_points_that_nothing_dominates(
    maximize: tuple[bool, ...],
) -> None:
    rng = np.random.default_rng(0)
    sign = np.where(maximize, -1, 1)
    for _ in range(30):
        values = rng.integers(0, 6, size=(25, len(maximize))).astype(float)
        points = {i: tuple(row) for i, row in enumerate(values.tolist())}
        kept = tables.front(points, maximize)
        costs = values * sign
        dominated = {
            i
            for i in points
            if any((costs[j] <= costs[i]).all() and (costs[j] < costs[i]).any() for j in points)
        }
        assert {points[k] for k in kept} == {points[i] for i in points if i not in dominated}
        assert len({points[k] for k in kept}) == len(kept)


def test_thinning_keeps_what_it_must_and_the_order(make_view: Any) -> None:
    view = make_view(0, n_finish=0, trials=[trial(i, 0.5) for i in range(100)])
    kept = [t.seq for t in tables.thinned(view, 20, keep=(3, 97))]
    assert len(kept) == 20
    assert {3, 97} <= set(kept)
    assert kept == sorted(kept)
    assert len(tables.thinned(view, 500)) == 100
    assert len(tables.thinned(view, 1, keep=(1, 2, 3))) == 3
