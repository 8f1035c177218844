"""Every method with every strategy: numbers are exact after each step, whatever is equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nasgen.engine.steps import STRATEGIES, Steps
from nasgen.phenotype import saliency
from tests.operators.test_prunings import METHODS, SHAPES, Arrays, network, pruning_of

STEPS: dict[str, dict[str, Any]] = {
    "one-shot": {},
    "iterative": {"steps": 3},
    "relative": {"of_remaining": 0.4},
    "fixed-size": {"size": 70},
    "bucket": {"steps": 4},
    "gradual": {"steps": 3},
}
# Which share stays after each step, by the definitions.
WANTED = {
    "one-shot": [0.3],
    "iterative": [1 - 0.7 * k / 3 for k in (1, 2, 3)],
    "gradual": [1 - 0.7 * (1 - (1 - k / 3) ** 3) for k in (1, 2, 3)],
}


def count(support: Arrays, granularity: str = "weight") -> int:
    return saliency.n_units(support, granularity)


def lost(method: str, weights: Arrays, before: Arrays, after: Arrays) -> float:
    """Return the sum of the saliencies of what left, each by the method's own definition."""
    pruning = pruning_of(method, weights, {})
    if pruning.entry.scope == "network":
        rngs = dict.fromkeys(SHAPES, pruning.rng(tuple(SHAPES)))
    else:
        rngs = {n: pruning.rng(n) for n in SHAPES}
    values = pruning.function.saliencies(weights, before, rngs, **pruning.given)
    gone = {n: before[n] & ~after[n] for n in SHAPES}
    return sum(float(values[n][gone[n]].sum(dtype=np.float64)) for n in SHAPES)


def test_all_strategies_are_here() -> None:
    assert set(STEPS) == set(STRATEGIES)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("what", ["drawn", "equal"])
def test_numbers_are_exact_after_each_step(method: str, strategy: Any, what: str) -> None:
    weights, support = network(what, 0.9)
    n_first = count(support)
    options = dict(STEPS[strategy])
    if strategy == "bucket":
        nothing = {n: np.zeros_like(mask) for n, mask in support.items()}
        options["bucket"] = 0.1 * lost(method, weights, support, nothing)
    steps = Steps(0.7, strategy, **options)
    left, before = [n_first], 0
    while (found := steps.next(before, n_first, left[-1])) is not None:
        before, settings = found
        changed, kept = pruning_of(method, weights, settings).left(weights, support)
        assert all((kept[n] <= support[n]).all() for n in SHAPES)
        n = count(kept)
        if strategy == "bucket":
            bucket = settings["bucket"]
            assert lost(method, weights, support, kept) <= bucket * (1 + 1e-9)
            if n > settings["keep"]:
                _, more = pruning_of(method, weights, {"keep": n - 1}).left(weights, support)
                assert lost(method, weights, support, more) > bucket * (1 - 1e-9)
        else:
            assert n == settings["keep"]
        left.append(n)
        weights = {n: np.where(kept[n], changed.get(n, weights[n]), 0) for n in SHAPES}
        support = kept
    goal = round(0.3 * n_first)
    if strategy in WANTED:
        assert left[1:] == [round(share * n_first) for share in WANTED[strategy]]
    elif strategy == "fixed-size":
        assert left == [*range(n_first, goal, -70), goal]
    elif strategy == "relative":
        assert left[1:-1] == [round(0.6 * n) for n in left[:-2]]
    else:
        assert 1 < len(left) <= 5
        assert left == sorted(set(left), reverse=True)
    assert left[-1] == goal or strategy == "bucket"


def test_of_equals_the_first_stay() -> None:
    weights, support = network("equal", 0.8)
    n = count(support)
    _, kept = pruning_of("class-uniform", weights, {"keep": n // 3}).left(weights, support)
    for name, mask in kept.items():
        places = np.flatnonzero(support[name])
        assert np.array_equal(np.flatnonzero(mask), places[: mask.sum()])
    _, kept = pruning_of("magnitude", weights, {"keep": n // 3}).left(weights, support)
    assert count(kept) == n // 3
    # One stays in each layer, then all of the first layers before any of the next.
    assert kept["c"].sum() == kept["b"].sum() == 1
    places = np.flatnonzero(support["a"])
    assert np.array_equal(np.flatnonzero(kept["a"]), places[: kept["a"].sum()])
