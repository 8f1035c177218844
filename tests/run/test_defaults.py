"""Defaults give way to what is set: only what was set is refused, and only for what was set."""

from __future__ import annotations

from typing import Any

import pytest

from nasgen.errors import ConfigError
from nasgen.runs import reading, suspicious
from nasgen.settings.fidelity import n_finish

TWO = {"names": ["val_accuracy", "n_params"]}


@pytest.mark.parametrize("population", [2, 3, 4])
@pytest.mark.parametrize(
    "name", ["random", "genetic", "aging", "local", "nsga2", "nsga3", "growth", "fixed"]
)
def test_a_small_population_works_with_the_defaults_of_every_algorithm(
    name: str, population: int
) -> None:
    tables: dict[str, Any] = {"algorithm": {"name": name, "population": population}}
    tables["objectives"] = TWO if name.startswith("nsga") else {}
    assert reading.resolved(tables).config.algorithm.population == population


@pytest.mark.parametrize(
    ("tables", "population"),
    [
        ({"algorithm": {"tournament": 9}}, 9),
        ({"algorithm": {"name": "aging", "tournament": 20}}, 20),
        ({"algorithm": {"parents": 6, "matings": {"mean": 1.0}}}, 6),
        ({"algorithm": {"name": "growth", "survivors": 5}}, 4),
        ({"algorithm": {"name": "nsga3"}, "objectives": TWO, "budget": {"trials": 2}}, 4),
    ],
)
def test_a_default_population_has_room_for_what_is_asked_of_it(
    tables: dict[str, Any], population: int
) -> None:
    resolved = reading.resolved({"budget": {"trials": 8}, **tables})
    assert resolved.config.algorithm.population == population


@pytest.mark.parametrize(
    ("rungs", "trials", "population", "n"),
    [(2, 16, 4, 0), (2, 17, 4, 1), (3, 30, 2, 3), (2, 200, 16, 3)],
)
def test_one_generation_of_rungs_fits_a_small_budget(
    rungs: int, trials: int, population: int, n: int
) -> None:
    tables = {"algorithm": {"rungs": rungs}, "budget": {"trials": trials}}
    resolved = reading.resolved(tables)
    assert resolved.config.algorithm.population == population
    assert n_finish(resolved.config, trials) == n
    assert resolved.n_halving + n <= trials


@pytest.mark.parametrize(
    ("options", "adapted"),
    [
        ({"max_vertices": 1}, {"min_depth": 1}),
        ({"max_depth": 1}, {"min_depth": 1}),
        ({"min_depth": 30}, {"max_depth": 30, "max_vertices": 40}),
        ({"min_depth": 50}, {"max_depth": 50, "max_vertices": 50}),
        ({"sample_min_depth": 30}, {"max_depth": 30}),
        ({"sample_max_depth": 1}, {"min_depth": 1}),
        ({"min_stages": 5}, {"max_stages": 5}),
        ({"widths": [8, 1024]}, {"max_channels": 1024}),
        ({"name": "inception", "max_channels": 8}, {"width": 8}),
        ({"name": "mlp", "min_depth": 20}, {"max_depth": 20}),
    ],
)
def test_limits_of_a_space_give_way_to_the_one_that_is_set(
    options: dict[str, Any], adapted: dict[str, Any]
) -> None:
    space = reading.resolved({"space": {"name": "dag-cnn", **options}}).space
    assert {name: getattr(space, name) for name in adapted} == adapted


def test_a_predictor_that_is_asked_for_is_fitted_in_a_short_run() -> None:
    tables = {"predictor": {"name": "ridge"}, "budget": {"trials": 10}}
    resolved = reading.resolved(tables)
    assert resolved.config.predictor.warmup == 5
    assert suspicious.cautions(resolved) == []
    set_too_high = reading.resolved({**tables, "predictor": {"name": "ridge", "warmup": 12}})
    assert set_too_high.config.predictor.warmup == 12
    assert "will never be fitted" in suspicious.cautions(set_too_high)[0]
    # The algorithm's own stays out of short runs.
    assert reading.resolved({"budget": {"trials": 10}}).config.predictor.warmup == 16


def test_a_growth_that_nothing_brings_to_the_end_of_its_schedule_is_suspicious() -> None:
    def said(**more: object) -> list[str]:
        algorithm = {"name": "growth", "last": 0.6, **more}
        tables = {"space": {"name": "inception"}, "algorithm": algorithm, "budget": {"trials": 8}}
        return suspicious.cautions(reading.resolved(tables))

    assert ["finish.networks or algorithm.rounds" in text for text in said()] == [True]
    assert said(rounds=2) == said(last=None) == []


def test_many_finalists_leave_a_search_to_choose_them_from() -> None:
    resolved = reading.resolved({"finish": {"networks": 50}})
    assert resolved.default_trials == 100


@pytest.mark.parametrize("n_trials", [2, 5, 8])
def test_finalists_leave_a_search_to_choose_them_from_in_a_short_run(n_trials: int) -> None:
    config = reading.resolved({"finish": {"networks": n_trials - 1}}).config
    assert n_finish(config, n_trials) == n_trials // 2


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (
            {"algorithm": {"population": 4, "tournament": 9}},
            "algorithm.tournament (genetic): expected 1 to 4, the size of the population, got 9.",
        ),
        (
            {"algorithm": {"name": "aging", "tournament": 10**9}},
            "algorithm.tournament (aging): expected 1 to 16",
        ),
        (
            {"algorithm": {"name": "nsga3", "population": 1}, "objectives": TWO},
            "algorithm.population",
        ),
        ({"algorithm": {"name": "nsga3", "survival": "nsga3"}}, "Options of 'nsga3': none"),
        (
            {"space": {"name": "dag-cnn", "min_depth": 9, "max_depth": 7}},
            "space.min_depth: expected at most max_depth = 7, got 9.",
        ),
        (
            {"algorithm": {"rungs": 3, "population": 4}, "budget": {"trials": 30}},
            "budget.trials: expected at least 52",
        ),
    ],
)
def test_what_was_set_and_contradicts_itself_is_refused(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        reading.resolved(tables)
    assert said in str(caught.value)
    assert "nsga2" not in str(caught.value)  # which nobody named
