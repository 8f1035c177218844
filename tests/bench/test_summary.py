"""Figures of a bench: intervals hold, seeds are paired, and workers change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from nasgen.bench import play
from nasgen.bench.play import Played
from nasgen.bench.summary import spread, summary, to_optimum
from nasgen.errors import ConfigError, UnknownNameError
from nasgen.seeding import generator


def test_intervals_shrink_with_the_seeds_and_hold_the_mean() -> None:
    rng = generator(0, "intervals", 0)
    hits = 0
    for _ in range(200):
        found = spread(rng.normal(90.0, 1.0, size=10))
        hits += abs(found["mean"] - 90.0) <= found["ci95"]
    assert hits / 200 == pytest.approx(0.95, abs=0.05)
    assert spread(np.array([90.0])) == {"mean": 90.0, "sd": None, "ci95": None}


def test_differences_are_paired_by_seed() -> None:
    """Seeds that differ much among themselves do not blur a difference that each of them shows."""
    rng = generator(0, "pairs", 0)
    base = np.sort(rng.normal(80.0, 5.0, size=(30, 1)).repeat(2, axis=1), axis=1)
    better = base + 0.1 + rng.normal(0, 0.01, size=base.shape)
    asked = np.full(30, 2)
    runs = {"local": Played(base, base, asked), "genetic": Played(better, base, asked)}
    found = summary("nasbench201", runs, [1, 2], 30)["algorithms"]
    assert "minus_local" not in found["local"]
    difference = found["genetic"]["minus_local"]["val"]["2"]
    assert difference["mean"] == pytest.approx(0.1, abs=0.02)
    assert difference["ci95"] < 0.02 < found["genetic"]["val"]["2"]["ci95"]
    assert found["genetic"]["minus_local"]["test"]["1"]["mean"] == 0.0


def test_the_median_counts_seeds_that_never_got_there_as_the_last() -> None:
    hits = np.zeros((5, 10), dtype=bool)
    for row, start in enumerate((2, 4, 7)):
        hits[row, start:] = True
    assert to_optimum(hits)["median"] == 8.0
    assert to_optimum(hits[1:]) == {
        "median": None, "n_reached": 2, "n_seeds": 4, "within": 10
    }  # fmt: skip


def test_results_do_not_depend_on_the_number_of_workers() -> None:
    names = ["local", "genetic+rank"]
    ticks: list[str] = []
    one = play.played("nasbench201", names, range(3), 24, tick=ticks.append)
    two = play.played("nasbench201", names, range(3), 24, workers=2)
    assert sorted(ticks) == sorted(names * 3)
    for name in names:
        assert (one[name].val == two[name].val).all()
        assert (one[name].test == two[name].test).all()


def test_one_operator_can_be_left_alone() -> None:
    def section(algorithm: str) -> tuple[set[str], set[str], float]:
        found = play.resolved("synthetic-dag", algorithm, 0).config.algorithm
        return set(found.mutations), set(found.crossovers), found.crossover_prob

    everything = section("genetic")
    assert {"relabel", "insert-subgraph"} < everything[0]
    assert section("genetic/mutations")[2] == 0.0
    assert section("genetic/path")[:2] == (everything[0], {"path"})
    assert section("genetic/relabel") == ({"relabel"}, everything[1], 0.0)
    with pytest.raises(UnknownNameError, match="did you mean 'layer'"):
        play.resolved("synthetic-dag", "genetic/layers", 0)


@pytest.mark.parametrize("algorithm", ["lineage", "growth", "synthesis", "prune"])
def test_what_goes_on_from_weights_finds_none_on_a_bench(algorithm: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"'{algorithm}' .* a bench does not have; compare random"
    ):
        play.resolved("synthetic-dag", algorithm, 0)


def test_settings_replace_those_of_an_algorithm() -> None:
    settings = {"algorithm": {"population": 7, "tournament": 3}, "predictor": {"warmup": 9}}
    config = play.resolved("nasbench201", "genetic+rank", 0, settings).config
    assert config.algorithm.population == 7
    assert config.predictor.warmup == 9
    with pytest.raises(ConfigError, match="--workers"):
        play.played("nasbench201", ["local"], [0], 5, workers=0)
