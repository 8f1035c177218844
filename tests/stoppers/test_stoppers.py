"""What stoppers decide on curves that are known, without a search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen import registry
from nasgen.errors import DataError
from nasgen.predictors.curve import CurveRegression, Curves, extrapolated
from nasgen.stoppers.base import Curve, Direction, Stopper

NAMES = registry.names("stoppers")


def _curves(n: int, n_epochs: int = 6, noise: float = 0.01, seed: int = 0) -> list[Curve]:
    """Curves a * (1 - 2**-t) that end at their asymptote a in [0, 1], the worst first."""
    rng = np.random.default_rng(seed)
    return [
        Curve(
            seq,
            {t: a * (1 - 2.0**-t) + noise * rng.standard_normal() for t in range(1, n_epochs)},
            a,
        )
        for seq, a in enumerate(np.linspace(0, 1, n).tolist())
    ]


def _made(name: str, direction: Direction = "maximize", **options: float) -> Stopper:
    if name == "threshold":
        options = {"lower": -10.0, **options}
    made: Stopper = registry.resolve("stoppers", name)(direction, **options)
    return made


def _stop(stopper: Stopper, values: list[float], others: list[Curve]) -> int | None:
    """Return the epoch after which a training is stopped."""
    watch = stopper.watch(len(others), 6, others)
    return next((epoch for epoch, v in enumerate(values, 1) if watch(epoch, v)), None)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_is_stopped_without_others_to_compare_with(name: str) -> None:
    assert _stop(_made(name), [0.1, 0.2, 0.3], []) is None


@pytest.mark.parametrize("name", sorted({*NAMES} - {"threshold"}))
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_hopeless_are_stopped_and_the_best_never(name: str, direction: Direction) -> None:
    sign = 1 if direction == "maximize" else -1
    others = [
        Curve(c.seq, {t: sign * v for t, v in c.values.items()}, sign * (c.final or 0.0))
        for c in _curves(20)
    ]
    stopper = _made(name, direction, **({"patience": 0} if name == "patient" else {}))
    hopeless = [-0.1, -0.11, -0.12, -0.13, -0.14]
    assert _stop(stopper, [sign * v for v in hopeless], others) is not None
    assert _stop(stopper, [sign * v for v in (0.6, 0.8, 0.9, 0.95, 1.0)], others) is None


def test_a_threshold_bounds_both_sides() -> None:
    assert _stop(_made("threshold", lower=0.15), [0.2, 0.3, 0.1], []) == 3
    assert _stop(_made("threshold", upper=2.0), [0.2, 3.0], []) == 2


def test_the_median_is_that_of_completed_trainings_at_the_same_epoch() -> None:
    others = [Curve(i, {1: float(i)}, 1.0) for i in range(5)]
    others += [Curve(5 + i, {1: 100.0}) for i in range(9)]  # pruned: no part of the median
    assert _stop(_made("median"), [1.9], others) == 1
    assert _stop(_made("median"), [2.0], others) is None
    assert _stop(_made("median", n_startup_trials=6), [0.0], others) is None
    assert _stop(_made("median"), [0.0], [Curve(c.seq, {2: 9.0}, 9.0) for c in others]) is None


def test_successive_halving_lets_one_in_eta_go_on() -> None:
    others = [Curve(i, {1: float(i)}) for i in range(29)]
    stopper = _made("successive-halving", reduction_factor=3)
    stopped = [_stop(stopper, [v + 0.5], others) is not None for v in range(29)]
    assert stopped == sorted(stopped, reverse=True)
    assert sum(not s for s in stopped) == 10


def test_hyperband_puts_trials_into_brackets_by_their_number() -> None:
    others = [Curve(i, {1: 1.0, 2: 1.0, 3: 1.0}, 1.0) for i in range(30)]
    stopper = _made("hyperband")
    epochs = set()
    for seq in range(30, 60):
        watch = stopper.watch(seq, 9, others)
        epochs.add(next((t for t in range(1, 9) if watch(t, 0.0)), None))
    assert epochs == {1, 3, None}  # which begin at 1, 3 and 9 of 9 epochs


# ---- extrapolation -------------------------------------------------------------------------------


def test_a_final_value_is_predicted_within_its_deviation() -> None:
    others = _curves(30)
    for epoch in (1, 2, 4):
        errors = []
        for curve in _curves(40, seed=1):
            seen = {t: v for t, v in curve.values.items() if t <= epoch}
            found = extrapolated(seen, others)
            assert found is not None
            mean, std, _ = found
            assert abs(mean - (curve.final or 0.0)) < 0.15
            errors.append((mean - (curve.final or 0.0)) / std)
        assert 0.5 < np.std(errors) < 2.0  # an honest deviation
    early, late = (
        extrapolated({t: 0.5 * (1 - 2.0**-t) for t in range(1, n + 1)}, others) for n in (1, 5)
    )
    assert early is not None
    assert late is not None
    assert late[1] < early[1]


def test_an_extrapolation_answers_like_a_predictor() -> None:
    curves = _curves(30)
    finals = np.array([curve.final for curve in curves])
    looks = np.array([[curve.values[epoch] for epoch in (1, 2, 3)] for curve in curves])
    model = CurveRegression()
    assert model.fit(looks[:20], finals[:20]) is model
    mean, std = model.predict(looks[20:], return_std=True)
    assert mean.shape == std.shape == (10,)
    assert (std > 0).all()
    assert np.array_equal(mean, model.predict(looks[20:]))
    assert np.corrcoef(mean, finals[20:])[0, 1] > 0.5
    found = extrapolated({2: looks[20, 1], 3: looks[20, 2]}, curves[:20])
    assert found == (mean[0], std[0], model.freedom)
    with pytest.raises(DataError, match="at least 4 finished trainings, got 3"):
        CurveRegression().fit(looks[:3], finals[:3])


def test_curves_that_cross_are_told_apart_where_the_median_is_wrong() -> None:
    # The slow ones end higher: what is low after the first epoch is worth training on.
    others = [Curve(i, {1: 0.5 - i / 40, 2: 0.55 - i / 80}, 0.6 + i / 50) for i in range(20)]
    slow = [0.5 - 18 / 40, 0.55 - 18 / 80]
    assert _stop(_made("median"), slow, others) == 1
    assert _stop(_made("curve"), slow, others) is None
    assert _stop(_made("curve"), [0.5, 0.55], others) == 1


def test_constant_missing_and_few_curves_stop_nobody() -> None:
    constant = [Curve(i, dict.fromkeys(range(1, 6), 0.1), 0.1) for i in range(20)]
    assert _stop(Curves("maximize"), [0.1, 0.1, 0.0], constant) is None
    assert extrapolated({1: 0.1, 2: 0.1}, constant) is None
    flat = [Curve(i, dict.fromkeys(range(1, 6), 0.1), i / 20) for i in range(20)]
    assert _stop(Curves("maximize"), [0.1, 0.1, 0.1], flat) is None
    assert extrapolated({3: 0.1}, [Curve(i, {1: 0.1}, i / 20) for i in range(20)]) is None
    assert extrapolated({1: 0.1, 2: 0.2}, _curves(4)) is not None
    assert extrapolated({1: 0.1, 2: 0.2}, _curves(3)) is None


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=4),
    st.lists(
        st.tuples(
            st.dictionaries(st.integers(1, 5), st.floats(-1e3, 1e3), max_size=5),
            st.none() | st.floats(-1e3, 1e3),
        ),
        max_size=12,
    ),
)
def test_whatever_the_curves_a_prediction_is_finite_or_none(
    values: list[float], others: list[tuple[dict[int, float], float | None]]
) -> None:
    curves = [Curve(seq, seen, final) for seq, (seen, final) in enumerate(others)]
    found = extrapolated(dict(enumerate(values, 1)), curves)
    assert found is None or (np.isfinite(found).all() and found[1] >= 0)
    assert [Curve.from_json(c.to_json()) for c in curves] == curves
