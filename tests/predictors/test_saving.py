"""What screening saved: nothing by lots, all rejected trainings by foresight, never more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen.predictors.saving import MIN_SLICE, trainings

FEW = settings(deadline=None, max_examples=30)
LABELS = st.lists(st.integers(-50, 50), min_size=MIN_SLICE, max_size=30)


def chosen(n: int, k: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Return labels of n candidates, each the best of k by labels seen through noise."""
    labels = rng.normal(size=(n, k))
    places = (labels + noise * rng.normal(size=(n, k))).argmax(axis=1)
    return labels[np.arange(n), places]


@pytest.mark.parametrize("k", [2, 3, 5])
def test_perfect_foresight_saves_every_rejected_training(k: int) -> None:
    rng = np.random.default_rng(k)
    saved = trainings(chosen(3000, k, 0.0, rng), rng.normal(size=3000), k)
    assert saved is not None
    assert 0.8 * (k - 1) < saved / 3000 <= k - 1


def test_a_better_eye_saves_more_and_drawing_lots_saves_nothing() -> None:
    rng = np.random.default_rng(0)
    each = []
    for noise in (0.0, 1.0, 1e9):
        found = [trainings(chosen(40, 3, noise, rng), rng.normal(size=30), 3) for _ in range(100)]
        each.append(np.mean([s / 40 for s in found if s is not None]))
    assert each[0] > each[1] + 0.3 > 0.6
    assert abs(each[2]) < 0.1


@FEW
@given(LABELS, LABELS, st.integers(1, 6))
def test_it_is_bounded_and_needs_the_order_alone_to_have_a_sign(
    screened: list[int], unscreened: list[int], k: int
) -> None:
    a, b = np.array(screened, dtype=float), np.array(unscreened, dtype=float)
    saved = trainings(a, b, k)
    if np.ptp(b) == 0:
        assert saved is None
        return
    assert saved is not None
    assert abs(saved) <= len(a) * (k - 1) + 1e-9
    assert saved * (a.mean() - b.mean()) >= 0
    assert trainings(3 * a + 7, 3 * b + 7, k) == pytest.approx(saved, abs=1e-6)
    if a.mean() != b.mean():
        assert trainings(-a, -b, k) == pytest.approx(-saved, abs=1e-6)


def test_the_slice_limits_what_can_be_told() -> None:
    slice_ = np.arange(float(MIN_SLICE))
    assert trainings(np.full(4, 99.0), slice_, 1000) == pytest.approx(4 * (MIN_SLICE - 1))
    assert trainings(np.full(4, 99.0), slice_[1:], 3) is None
    assert trainings(np.array([]), slice_, 3) is None
    assert trainings(np.ones(4), np.ones(MIN_SLICE), 3) is None


def test_among_ties_at_the_top_further_draws_save_nothing() -> None:
    slice_ = np.array([0.0] + [1.0] * 9)  # any two of them hold a best one
    assert trainings(np.ones(6), slice_, 5) == pytest.approx(6 * 1)
