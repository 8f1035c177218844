"""Tuning finds good settings, tells what it cannot do, and goes on where it was."""

from pathlib import Path

import pytest

from nasgen.errors import ConfigError, EvaluationError
from nasgen.store.tuning import Draw, optimise


def bowl(draw: Draw) -> float:
    x = draw.suggest_float("x", -3.0, 3.0)
    n = draw.suggest_int("n", 1, 8)
    return (x - 1) ** 2 + (n - 3) ** 2 + (draw.suggest_categorical("kind", ["a", "b"]) == "a")


def test_the_bottom_of_a_bowl_is_found_and_the_same_seed_finds_the_same() -> None:
    best = optimise(bowl, n_trials=60, seed=3, direction="minimize")
    assert best.value < 1
    assert best.params["kind"] == "b"
    assert best.n_trials == 60
    assert optimise(bowl, n_trials=60, seed=3, direction="minimize") == best


def test_the_direction_says_which_end_is_good() -> None:
    best = optimise(bowl, n_trials=30, seed=0, direction="maximize")
    assert best.value > 20


def test_settings_in_use_are_tried_first_and_never_lost() -> None:
    tried = []

    def score(draw: Draw) -> float:
        tried.append(draw.suggest_float("x", 0.0, 1.0))
        return -abs(tried[-1] - 0.125)

    best = optimise(score, n_trials=5, seed=0, direction="maximize", first=[{"x": 0.125}])
    assert tried[0] == 0.125
    assert best.params == {"x": 0.125}


def test_an_interrupted_tuning_goes_on_where_it_was(tmp_path: Path) -> None:
    where = {"storage": tmp_path / "study.db", "study_name": "s"}
    drawn = []

    def score(draw: Draw) -> float:
        drawn.append(draw.suggest_float("x", 0.0, 1.0))
        return drawn[-1]

    optimise(score, n_trials=3, seed=1, direction="maximize", **where)
    best = optimise(score, n_trials=5, seed=1, direction="maximize", **where)
    assert len(drawn) == 5
    assert len(set(drawn)) == 5
    assert best.value == max(drawn)
    assert best.n_trials == 5


def test_a_hopeless_trial_is_pruned_and_is_never_the_best() -> None:
    steps = []

    def score(draw: Draw) -> float:
        x = draw.suggest_float("x", 0.0, 1.0)
        steps.append(0)
        for step in range(4):
            draw.report(x, step)
            draw.prune()
            steps[-1] += 1
        return x

    best = optimise(score, n_trials=20, seed=0, direction="maximize")
    assert min(steps) < 4
    assert best.n_trials == sum(n == 4 for n in steps)


def test_wrong_settings_and_scores_that_are_none_are_told() -> None:
    with pytest.raises(ConfigError, match="'up'"):
        optimise(bowl, n_trials=1, seed=0, direction="up")
    with pytest.raises(ConfigError, match="at least 1"):
        optimise(bowl, n_trials=0, seed=0, direction="minimize")
    with pytest.raises(EvaluationError, match="finite"):
        optimise(lambda draw: float("nan"), n_trials=2, seed=0, direction="minimize")
