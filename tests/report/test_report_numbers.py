"""Numbers and axes of the report."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen.report import numbers
from nasgen.report.scale import axis, linear_ticks, log_ticks, robust

FLOATS = st.floats(-1e9, 1e9, allow_nan=False)


def plain(text: str) -> str:
    return text.replace(numbers.GAP, " ").replace(numbers.MINUS, "-")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("val_accuracy", 0.8412, "84.12 %"),
        ("val_accuracy", 0.99234, "99.23 %"),
        ("val_accuracy", 0.99999, "> 99.99 %"),
        ("val_accuracy", 1.0, "100 %"),
        ("error_rate", 0.0, "0.00 %"),
        ("share", 0.8412, "84.1 %"),
        ("n_params", 108_000, "108 k"),
        ("n_params", 999_960, "1.00 M"),
        ("n_params", 640, "640"),
        ("flops", 30_200_000, "30.2 M"),
        ("latency_ms", 1.8444, "1.84 ms"),
        ("storage_bytes", 3902.0, "3.90 kB"),
        ("storage_bytes", 640, "640 B"),
        ("synaptic_efficiency", 124.97, "125×"),
        ("images_per_s", 3902.0, "3.90 k/s"),
        ("train_s", 245.0, "4 min 5 s"),
        ("train_s", 59.99, "1 min"),
        ("train_s", 86400 * 2 + 3 * 3600, "2 d 3 h"),
        ("train_s", 0.0, "0 s"),
        ("loss", 0.123456, "0.123"),
        ("val_accuracy", None, "–"),
        ("val_accuracy", math.nan, "–"),
        ("val_accuracy", "<b>", "–"),
    ],
)
def test_a_quantity_is_written_in_its_unit(name: str, value: object, expected: str) -> None:
    assert plain(numbers.quantity(name, value)) == expected


def test_a_change_is_signed_and_shares_change_by_points() -> None:
    assert plain(numbers.change("val_accuracy", 0.012)) == "+1.2 pts"
    assert plain(numbers.change("n_params", -2_000.0)) == "-2 k"
    assert plain(numbers.change("val_accuracy", 0.0)) == "±0.0 pts"


@given(FLOATS, FLOATS)
@settings(deadline=None, max_examples=60)
def test_ticks_are_round_inside_the_range_and_few(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    if high - low <= 1e-6 * max(1.0, abs(low), abs(high)):
        return
    ticks = linear_ticks(low, high)
    step = high - low
    assert 2 <= len(ticks) <= 11
    assert all(low - 1e-6 * step <= t <= high + 1e-6 * step for t in ticks)
    assert list(ticks) == sorted(set(ticks))


@given(st.floats(1e-6, 1e9), st.floats(10, 1e9))
@settings(deadline=None, max_examples=60)
def test_logarithmic_ticks_lie_inside_and_are_few(low: float, ratio: float) -> None:
    ticks = log_ticks(low, low * ratio)
    assert 1 <= len(ticks) <= 7
    assert all(low * 0.99 <= t <= low * ratio * 1.01 for t in ticks)


@given(st.lists(FLOATS, max_size=30))
@settings(deadline=None, max_examples=60)
def test_every_value_lies_on_its_axis_and_order_is_kept(values: list[float]) -> None:
    made = axis(values)
    placed = [made.place(v) for v in sorted(values)]
    assert all(0 <= p <= 1 for p in placed)
    assert placed == sorted(placed)


def test_wide_positive_values_get_a_logarithmic_axis() -> None:
    assert axis([1e3, 1e6]).log
    assert not axis([1e3, 2e3]).log
    assert not axis([0.0, 1e6]).log


def test_only_bad_outliers_are_left_off_the_axis() -> None:
    good = [0.80 + 0.001 * i for i in range(30)]
    kept, n_off = robust([*good, 0.1], maximize=True)
    assert n_off == 1
    assert min(kept) == 0.80
    assert robust([*good, 0.99], maximize=True)[1] == 0
    assert robust([*good, 5.0], maximize=False)[1] == 1
