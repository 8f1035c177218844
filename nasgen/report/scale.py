"""Axes: where a value lies and which round numbers to write beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

LOG_RATIO = 8.0  # positive values that span more than this are drawn on a logarithmic axis


@dataclass(frozen=True)
class Axis:
    """A range of values, how it is divided and what it is called.

    `name` is the quantity (it decides how ticks are written), `label` the words beside the axis.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    name: str = ""
    label: str = ""
    log: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies: 0 at the low end, 1 at the high end, clipped to [0, 1]."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, self.low))
        return min(1.0, max(0.0, (value - low) / (high - low)))


def linear_ticks(low: float, high: float, n: int = 5) -> tuple[float, ...]:
    """Return about `n` round numbers (1, 2 or 5 times a power of ten) inside [low, high]."""
    if not high > low:
        return (low,)
    raw = (high - low) / max(1, n)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(float(f"{i * step:.12g}") for i in range(first, last + 1))


def log_ticks(low: float, high: float, n: int = 7) -> tuple[float, ...]:
    """Return 1, 2, 5 times powers of ten inside [low, high], powers alone when those are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = tuple(
            float(f"{m * 10.0**p:.12g}")
            for p in powers
            for m in steps
            if low * 0.999 <= m * 10.0**p <= high * 1.001
        )
        if len(ticks) <= n:
            return ticks
    return ticks[:: math.ceil(len(ticks) / n)]


def axis(
    values: Iterable[float],
    name: str = "",
    label: str = "",
    log: bool | None = None,
    whole: bool = False,
) -> Axis:
    """Return an axis around the values with a little air; no values give the range 0 to 1.

    `log` None: chosen by LOG_RATIO. `whole`: ticks are integers (trial numbers, epochs).
    """
    found = list(values) or [0.0, 1.0]
    low, high = min(found), max(found)
    logarithmic = low > 0 and high / low > LOG_RATIO if log is None else log and low > 0
    if logarithmic:
        low, high = low / 1.15, high * 1.15
        ticks = log_ticks(low, high)
        if len(ticks) >= 2:
            return Axis(low, high, ticks, name, label, True)
    if whole:
        low, high = low - 0.5, high + 0.5
    else:
        air = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
        low, high = low - air, high + air
    ticks = linear_ticks(low, high)
    if whole:
        ticks = tuple(t for t in ticks if t.is_integer()) or (round(low + 0.5),)
    return Axis(low, high, ticks, name, label)


def robust(values: Iterable[float], maximize: bool) -> tuple[list[float], int]:
    """Return the values to scale an axis by and how many bad outliers were left out.

    Networks that learned nothing would squeeze all others into a thin line: values on the bad side
    that lie further out than 1.5 times the spread of the middle 80 % are drawn at the edge instead.
    """
    found = sorted(values)
    if len(found) < 8:
        return found, 0
    first, last = found[len(found) // 10], found[-1 - len(found) // 10]
    reach = 1.5 * (last - first)
    kept = [v for v in found if (v >= first - reach if maximize else v <= last + reach)]
    return kept, len(found) - len(kept)
