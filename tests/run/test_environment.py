"""[environment] in a search: what derivations are told, what trials report, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nasgen
from nasgen.engine.operators import ranks
from nasgen.errors import ConfigError
from nasgen.runs import reading

FACTOR = {"name": "factor", "retention_clusters": 0.9}


def tables(**environment: Any) -> dict[str, Any]:
    matings = {"mean": 1.0, "fitness-mean": 1.0}
    return {
        "algorithm": {"population": 4, "matings": matings, "crossovers": {}, "crossover_prob": 1.0},
        "environment": environment,
    }


def test_derivations_carry_the_environment_and_draw_where_it_does() -> None:
    found = {op.name: op for op in reading.resolved(tables(**FACTOR)).operators.table}
    assert found["mean"].settings == {"environment": FACTOR}
    assert found["mean"].draws
    assert found["fitness-mean"].artifacts == ("weights", "support")
    exact = reading.resolved(tables(name="rank")).operators.table
    assert not next(op for op in exact if op.name == "mean").draws
    assert found["mean"].settings == {"environment": FACTOR}, "what is usual is not named"
    by_place = reading.resolved(tables(**FACTOR, tags=False, weights="fittest")).operators.table
    other = next(op for op in by_place if op.name == "mean").settings
    assert other == {"environment": FACTOR, "tags": False, "weights": "fittest"}
    without = reading.resolved(tables(name="none")).operators.table
    assert all(op.settings == {} for op in without if op.group == "matings")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"name": "facter"}, "'facter' is not registered; did you mean 'factor'?"),
        ({"name": "factor", "retention": 0.9}, "'environment.retention' is no setting; did you"),
        ({"name": "factor", "retention_clusters": 1.0}, "above 0 and below 1, got 1.0"),
        ({"name": "factor", "retention_clusters": "much"}, "retention_clusters: input should be a"),
        ({"name": "rank", "score": "size"}, "environment.score: input should be 'magnitude'"),
        ({"weights": "best"}, "environment.weights: input should be 'mean', 'fittest' or 'reinit'"),
        ({"cap": 0.8}, "'environment.cap' is an option of an environment; name one"),
        ({"name": "rank", "generations": 5}, "generations: expected environment.final beside it"),
    ],
)
def test_wrong_environments_are_one_sentence(environment: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        reading.resolved(tables(**environment))
    assert said in str(caught.value)
    assert len(caught.value.problems) == 1


def test_equal_parents_share_their_rank() -> None:
    class Of:
        def __init__(self, fitness: float) -> None:
            self.fitness = fitness

    assert ranks([Of(f) for f in (0.5, 0.9, 0.5, 0.1)]) == [2.5, 1, 2.5, 4]  # type: ignore[list-item]


def test_a_search_mates_in_its_environment_and_says_what_was_kept(tmp_path: Path) -> None:
    run = nasgen.run(
        {
            **tables(**FACTOR),
            "budget": {"trials": 9},
            "finish": {"networks": 0},
            "training": {"epochs": 0.3, "fraction": 0.3},
            "space": {"max_channels": 12, "max_vertices": 5, "max_depth": 4, "max_stages": 1},
            "execution": {"executor": "serial"},
        },
        out=tmp_path / "run",
    )
    mated = [t for t in run.trials if t.operator in ("mean", "fitness-mean") and t.derivation]
    assert mated
    for trial in mated:
        settings = trial.derivation["settings"]
        assert settings["environment"] == FACTOR
        assert settings["generation"] == trial.generation >= 1
        assert settings["m"] == 2
        assert ("ranks" in settings) == (trial.operator == "fitness-mean")
        if trial.state == "COMPLETE":
            assert 0 < trial.metrics["kept_synapses"] <= 1
            assert trial.metrics["kept_kernels_wanted"] <= 0.9 + 1e-9
    more = nasgen.resume(run.path, trials="+2")
    assert [t.identity for t in more.trials[:9]] == [t.identity for t in run.trials]
