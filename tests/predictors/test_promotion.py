"""Who climbs to the next rung: the accuracy of a short training, and what features tell."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from nasgen.errors import IncompatibleError
from nasgen.genotypes import Dag, Draft
from nasgen.loop.resuming import verify
from nasgen.predictors.base import Floats
from nasgen.predictors.filter import Filter
from nasgen.predictors.promotion import OnLowFidelity, Promotion
from nasgen.predictors.ridge import ridge
from tests.played import Played, resolved_of, rows

FACTORY = "tests.curve_evaluator:make"


class Counts:
    """Convolutions and other vertices: what a score depends on here."""

    names = ("conv", "other")

    def encode(self, genotype: Any) -> Floats:
        n = sum(v.op == "conv" for v in genotype.inner)
        return np.array([n, len(genotype.inner) - n], dtype=float)


def networks(n: int, seed: int = 0) -> list[Dag]:
    """Return n different chains of convolutions and skips."""
    rng, found = np.random.default_rng(seed), {}
    while len(found) < n:
        draft = Draft()
        here = draft.input
        for is_conv in rng.random(int(rng.integers(2, 12))) < 0.5:
            params = {"channels": int(rng.integers(4, 16)), "kernel": 3} if is_conv else {}
            here = draft.add("conv" if is_conv else "skip", [here], **params)
        draft.connect(here, draft.output)
        dag = draft.freeze()
        found[dag.key] = dag
    return list(found.values())


def values(dags: list[Dag], seed: int = 0) -> tuple[Floats, Floats]:
    """Return the values on a rung and on the next: convolutions learn slowly and become better."""
    quick = np.random.default_rng(seed).normal(0, 1, len(dags))
    n_conv = np.array([Counts().encode(dag)[0] for dag in dags])
    return 0.4 + 0.02 * (quick - n_conv), 0.6 + 0.02 * (quick + n_conv)


def taught(dags: list[Dag], before: Floats, after: Floats, warmup: int = 10) -> Promotion:
    found = Promotion(ridge, Counts(), 0, warmup)
    for seq, (dag, low, high) in enumerate(zip(dags, before, after, strict=True)):
        found.observe(0, seq, dag, low, high)
    return found


def test_a_predictor_learns_what_the_line_leaves_over() -> None:
    rng = np.random.default_rng(0)
    X, low = rng.normal(size=(80, 3)), rng.normal(size=80)  # noqa: N806
    y = 3 * low - 1 + 0.5 * X[:, 1]
    slope, offset = np.polyfit(low, y, 1)
    left = y - (slope * low + offset)
    mean, std = left.mean(), left.std()
    own = ridge(0).fit(X, (left - mean) / std)
    both = np.column_stack([X, low])
    fused = OnLowFidelity(ridge, 0).fit(both, y)
    expected = slope * low + offset + mean + std * own.predict(X)
    assert fused.predict(both) == pytest.approx(expected)
    means, deviations = fused.predict(both, return_std=True)
    assert means == pytest.approx(expected)
    assert deviations == pytest.approx(std * own.predict(X, return_std=True)[1])
    assert np.abs(fused.predict(both) - y).mean() < 0.1 * np.abs(left).mean()
    exact = OnLowFidelity(ridge, 0).fit(both, 2 * low + 1)
    assert exact.predict(both) == pytest.approx(2 * low + 1)
    assert exact.predict(both, return_std=True)[1] == pytest.approx(0)


def test_networks_are_ordered_as_they_will_be_not_as_they_are() -> None:
    dags = networks(70)
    before, after = values(dags)
    expected = taught(dags[:40], before[:40], after[:40]).expected(0, dags[40:], before[40:])
    assert expected is not None
    fused, alone = (kendalltau(x, after[40:]).statistic for x in (expected, before[40:]))
    assert fused > 0.9 > 0.5 > alone
    # A rung of which nothing is known, and too few labels.
    promotion = taught(dags[:40], before[:40], after[:40])
    assert promotion.expected(1, dags[40:], before[40:]) is None
    few = taught(dags[:11], before[:11], after[:11], warmup=12)
    assert few.expected(0, dags[40:], before[40:]) is None


def test_where_the_value_alone_tells_the_order_it_decides() -> None:
    dags = networks(60)
    before, _ = values(dags)
    assert taught(dags, before, 2 * before).expected(0, dags, before) is None
    assert taught(dags, before, np.full(60, 0.5)).expected(0, dags, before) is None


def test_it_does_not_depend_on_the_order_of_labels_nor_on_what_is_not_finite() -> None:
    dags = networks(50)
    before, after = values(dags)
    one = taught(dags[:30], before[:30], after[:30])
    other = Promotion(ridge, Counts(), 0, 10)
    for seq in (*range(29, -1, -1), *range(30)):  # told twice, as after a resume
        other.observe(0, seq, dags[seq], before[seq], after[seq])
    other.observe(0, 40, dags[40], np.nan, 0.5)
    other.observe(0, 41, dags[41], 0.5, np.inf)
    asked = dags[30:], before[30:]
    assert (one.expected(0, *asked) == other.expected(0, *asked)).all()


def test_less_is_better_where_the_objective_is_minimized() -> None:
    dags = networks(60)
    before, after = values(dags)
    found = []
    for sign, direction in ((1.0, "maximize"), (-1.0, "minimize")):
        screen = Filter(ridge, Counts(), seed=0, direction=direction, warmup=10, promotes=True)  # type: ignore[arg-type]
        for seq in range(30):
            screen.climbed(seq, dags[seq], 0, sign * before[seq], sign * after[seq])
        found.append(screen.promising(0, dags[30:], list(sign * before[30:])))
    assert found[0] == pytest.approx(found[1])
    silent = Filter(ridge, Counts(), seed=0)
    silent.climbed(0, dags[0], 0, 0.1, 0.2)
    assert silent.promising(0, dags, list(before)) is None


def test_a_predictor_that_fails_is_named() -> None:
    class Fails:
        def fit(self, X: Floats, y: Floats) -> Any:  # noqa: N803
            raise ZeroDivisionError("by zero")

    dags = networks(30)
    before, after = values(dags)
    screen = Filter(lambda seed: Fails(), Counts(), seed=0, warmup=10, promotes=True)  # type: ignore[arg-type,return-value]
    for seq, dag in enumerate(dags):
        screen.climbed(seq, dag, 0, before[seq], after[seq])
    with pytest.raises(IncompatibleError, match="ZeroDivisionError: by zero"):
        screen.promising(0, dags, list(before))


# ---- in a search ---------------------------------------------------------------------------------


def played(promotes: bool, **more: Any) -> Played:
    """Return a search in rungs on curves of which networks with convolutions climb slowly."""
    predictor = {"name": "ridge", "warmup": 10, "unscreened": 1.0, "promotes": promotes}
    resolved = resolved_of(
        options={"name": "random", "population": 4, "rungs": 2, "eta": 4},
        predictor=predictor,
    )
    return Played(resolved, 80, 0, factory=FACTORY, epochs=4.0, **more)


def climbed(trials: Any) -> Mapping[int, set[int]]:
    """Return whose networks climbed, by generation."""
    found: dict[int, set[int]] = {}
    for trial in trials:
        if trial.fidelity.rung:
            found.setdefault(trial.generation, set()).add(trial.parents[0])
    return found


@pytest.fixture(scope="module")
def fused() -> Any:
    return played(True).run()


def test_a_search_in_rungs_lets_others_climb_once_it_has_labels(fused: Any) -> None:
    plain = climbed(played(False).run())
    with_it = climbed(fused)
    first = [g for g in plain if plain[g] == with_it.get(g)]
    assert {0, 1, 2} <= set(first), "fewer than ten have climbed"
    later = [t for t in fused if t.generation >= 3]
    low = {t.seq: t.objectives["val_accuracy"] for t in later if not t.fidelity.rung}
    moved = 0
    for generation in sorted({t.generation for t in later if t.fidelity.rung}):
        here = sorted(
            (t.seq for t in later if t.generation == generation and t.seq in low),
            key=lambda seq: -low[seq],
        )
        moved += set(here[:4]) != with_it[generation]
    assert moved > 0


@pytest.mark.parametrize(("event", "seq"), [("told", 75), ("submitted", 77)])
def test_a_stopped_search_lets_the_same_climb(fused: Any, event: str, seq: int) -> None:
    ledger = played(True).stopped_at(seq, event)
    assert rows(played(True, ledger=ledger).run()) == rows(fused)


def test_what_is_stored_climbs_without_being_chosen_again_and_verify_compares(
    fused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = played(True)
    stored = whole.run()
    again = played(True, ledger=whole.ledger)
    assert verify(again.search, stored) == []
    refuse = pytest.MonkeyPatch()
    with refuse.context() as patch:
        patch.setattr(Promotion, "expected", lambda *a: pytest.fail("chosen again"))
        resumed = played(True, ledger=whole.ledger)
        resumed.search.run(whole.ledger.trials(), 0)
    # Another choice than the stored one is a difference.
    monkeypatch.setattr(Promotion, "expected", lambda self, rung, g, v: -np.asarray(v))
    found = verify(played(True, ledger=whole.ledger).search, stored)
    assert found
    assert "climbs, recorded is trial" in found[0].what
    assert all(a.trial < b.trial for a, b in pairwise(found))
