"""Solves for the factor, or the normaliser, at which the expected number of survivors is as wanted.

Both work on all values that compete with each other as one array, and in log space.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from nasgen.phenotype.survival import Array

EXACT: Final = 0.25  # survivors by which the expected number may be off
SLACK: Final = 0.005  # share by which what lives on may be off
MOST_STEPS: Final = 60
MORE: Final = 1.1  # times as many are drawn where too few were
MOST_ATTEMPTS: Final = 10  # at drawing what should live on
BLOCK: Final = 1 << 14  # values that are worked on at once
FARTHEST: Final = 1e12  # largest normaliser: by then all but values of 0 survive


def with_factor(log_p: Array, n: float) -> Array:
    """Return log min(1, phi P), with phi such that the sum of the probabilities is `n`.

    By filling up: what is above 1 counts 1, the rest shares what is left, until nothing more is.
    """
    if n >= len(log_p):
        return np.zeros(len(log_p))
    if n <= 0:
        return np.full(len(log_p), -np.inf)
    shifted = log_p - log_p.max()
    rest, n_full = np.exp(shifted), 0  # those below 1 so far, and how many are not
    while True:
        phi = (n - n_full) / rest.sum()
        is_full = phi * rest >= 1
        if not is_full.any():
            return np.asarray(np.minimum(0.0, np.log(phi) + shifted))
        n_full += int(np.count_nonzero(is_full))
        rest = rest[~is_full]


def with_normaliser(x: Array, n: float) -> Array:
    """Return log min(1, exp(lambda x - 1)), with lambda >= 1 such that the probabilities sum to n.

    `x` are strengths as shares of their layer's largest, so Z = largest / lambda. With a smaller
    lambda the strong would lose more than the weak, and at 0 all survive with 1/e; so where fewer
    are wanted than survive at lambda = 1, Z stays the layer's largest and a factor is solved for,
    as in `with_factor`, which it meets there. So it is where more are wanted than have any
    strength.
    """
    if n >= len(x):
        return np.zeros(len(x))
    if (below := _expected(x, 1.0) - n) > 0:
        return with_factor(x - 1.0, n)
    low, high = 1.0, 2.0
    while (above := _expected(x, high) - n) < 0 and high < FARTHEST:
        low, below, high = high, above, 2.0 * high
    if above < 0:
        return with_factor(np.minimum(0.0, high * x - 1.0), n)
    found = root(lambda value: _expected(x, value) - n, (low, below), (high, above), EXACT)
    return np.minimum(0.0, found * x - 1.0)


def met(
    targets: Sequence[float],
    most: Sequence[float],
    attempt: Callable[[Sequence[float]], tuple[int, int]],
    exactly: bool = False,
    enough: Callable[[], bool] = lambda: True,
) -> None:
    """Call `attempt` with numbers of which as many live on as `targets` say, in all.

    What is drawn may die when what feeds it, or what reads it, is gone; and a layer that would die
    is given something back. `attempt` draws so many of each group and returns (how many were drawn,
    how many are alive then); its draws must be nested, so that more of them means more that live.
    The last attempt counts. `most` are the largest numbers.

    Met is the expected number: what is left of chance stays. `exactly`: it is the number itself.
    Both to within half its square root, or half a percent if that is less. As long as what was
    drawn is not `enough`, more are.
    """
    total, tried = sum(targets), list[tuple[float, float]]()

    def excess(scale: float) -> float:
        numbers = [min(m, scale * t) for t, m in zip(targets, most, strict=True)]
        drawn, alive = attempt(numbers)
        found = alive if exactly or not drawn else sum(numbers) * alive / drawn
        tried.append((abs(found - total), scale))
        return found - total

    tolerance = max(min(SLACK * total, 0.5 * math.sqrt(total)), 0.5)
    farthest = max((m / t for m, t in zip(most, targets, strict=True) if t > 0), default=1.0)
    here = excess(1.0)
    if abs(here) > tolerance:
        end = farthest if here < 0 else 0.0
        there = excess(end)
        if here * there < 0 and abs(there) > tolerance:
            low, high = sorted([(1.0, here), (end, there)])
            root(excess, low, high, tolerance, MOST_ATTEMPTS)
        best = min(tried)
        if best[0] < tried[-1][0]:
            excess(best[1])
    while not enough() and tried[-1][1] < farthest:
        excess(max(MORE * tried[-1][1], 1.0))


def root(
    function: Callable[[float], float],
    low: tuple[float, float],
    high: tuple[float, float],
    tolerance: float,
    n_steps: int = MOST_STEPS,
) -> float:
    """Return where a rising function is 0, by regula falsi (Illinois).

    `low` and `high` are (place, value), below and above 0; the place that is returned was the last
    one that was asked for. It ends when the value is within the tolerance.
    """
    (left, below), (right, above), side = low, high, 0
    found = right
    for _ in range(n_steps):
        found = (left * above - right * below) / (above - below)
        value = function(found)
        if abs(value) <= tolerance or not left < found < right:
            break
        if value > 0:
            right, above = found, value
            below, side = (below / 2 if side == 1 else below), 1
        else:
            left, below = found, value
            above, side = (above / 2 if side == -1 else above), -1
    return found


def _expected(x: Array, normaliser: float) -> float:
    """Return the sum of the probabilities, block by block: a block stays in the nearest cache."""
    total, buffer = 0.0, np.empty(min(BLOCK, len(x)))
    for start in range(0, len(x), BLOCK):
        block = x[start : start + BLOCK]
        p = np.multiply(block, normaliser, out=buffer[: len(block)])
        p -= 1.0
        np.minimum(p, 0.0, out=p)
        np.exp(p, out=p)
        total += float(p.sum())
    return total
