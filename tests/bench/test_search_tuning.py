"""Tuning of the search itself: on what is not reported, never worse than what is in use."""

from __future__ import annotations

import tomllib

import pytest

from nasgen.bench import play
from nasgen.bench.tuning import current, tables, tune
from nasgen.errors import ConfigError, UnknownNameError
from nasgen.settings.config import merge


def test_settings_in_use_are_what_is_played() -> None:
    found = tables(current())
    assert found["algorithm"] == {"name": "genetic", **play.SCREENED["genetic"]}
    assert found["predictor"] == {"name": "rank", **play.PREDICTOR}


def test_the_best_settings_are_a_config_that_plays_as_well_as_it_says() -> None:
    ticks: list[None] = []
    found = tune("nasbench-macro", n_trials=3, seeds=2, seed=1, tick=lambda: ticks.append(None))
    assert len(ticks) == 3
    assert found["bench"] == "nasbench-macro:mean_acc"
    assert found["value"] >= found["baseline"] > 90
    assert tomllib.loads(found["toml"]) == found["best"]
    runs = play.played("nasbench-macro", ["genetic+rank"], [1, 2], 100, settings=found["best"])
    looks = runs["genetic+rank"].val[:, [24, 49, 99]]
    assert looks.mean() == pytest.approx(found["value"], abs=1e-3)
    assert merge({}, found["best"]) == found["best"]


@pytest.mark.parametrize("bench", ["nasbench201", "nasbench201:c10v_valid_200"])
def test_the_column_that_is_reported_is_refused(bench: str) -> None:
    with pytest.raises(ConfigError, match="nasbench201:c100_test_200"):
        tune(bench)


def test_wrong_benches_are_told() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'nasbench201'"):
        tune("nasbench20")
    with pytest.raises(ConfigError, match="no signal"):
        tune("nasbench201:c10")
