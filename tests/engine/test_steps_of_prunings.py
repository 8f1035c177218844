"""Steps of a pruning: how many stay after each, without training anything."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from nasgen.engine.algorithms.prune import Prune
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Individual, fitness_class
from nasgen.engine.operators import Operator, Operators
from nasgen.engine.proposal import Proposal
from nasgen.engine.steps import Steps
from nasgen.errors import ConfigError
from nasgen.genotypes.derivation import Derivation
from nasgen.search_spaces.dag_cnn import DagCnn

FIRST = 1000
SPACE = DagCnn(max_channels=16)
PRUNING = Operator(
    "magnitude",
    lambda: None,
    group="prunings",
    runs_in="worker",
    settings={"retention": 0.8},
    draws=False,
)


def taken(steps: Steps, dies: int = 0) -> list[int]:
    """Return how many stay after each step, where `dies` more die with what each takes."""
    assert not list(steps.problems())
    left, before = [FIRST], 0
    while (found := steps.next(before, FIRST, left[-1])) is not None:
        before, settings = found
        kept = settings["keep"]
        if "bucket" in settings:
            kept = max(kept, left[-1] - 150)  # what the bucket holds here
        left.append(max(1, kept - dies))
        assert before <= steps.most
    return left


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (Steps(0.8), [1000, 200]),
        (Steps(0.8, "iterative", steps=4), [1000, 800, 600, 400, 200]),
        (Steps(0.8, "iterative", of_original=0.3), [1000, 700, 400, 200]),
        (Steps(0.8, "relative", of_remaining=0.5), [1000, 500, 250, 200]),
        (Steps(0.5, "fixed-size", size=200), [1000, 800, 600, 500]),
        (Steps(0.5, "fixed-size", size=200, steps=2), [1000, 800, 600]),
        (Steps(0.4, "bucket", bucket=3.0), [1000, 850, 700, 600]),
        (Steps(0.8, "gradual", steps=2), [1000, 300, 200]),
    ],
)
def test_the_numbers_after_each_step(steps: Steps, expected: list[int]) -> None:
    assert taken(steps) == expected


@pytest.mark.parametrize("target", [0.001, 0.5, 0.8, 0.999])
@pytest.mark.parametrize("dies", [0, 13])
@pytest.mark.parametrize(
    "more",
    [
        {"strategy": "one-shot"},
        {"strategy": "iterative"},
        {"strategy": "iterative", "of_original": 0.07},
        {"strategy": "relative", "of_remaining": 0.3},
        {"strategy": "relative", "of_remaining": 0.999},
        {"strategy": "fixed-size", "size": 90},
        {"strategy": "gradual", "steps": 7},
    ],
)
def test_every_strategy_comes_to_the_target_and_no_step_takes_nothing(
    more: dict[str, Any], dies: int, target: float
) -> None:
    steps = Steps(target, **more)
    left = taken(steps, dies)
    assert all(a > b for a, b in pairwise(left))
    assert left[-1] <= steps.goal(FIRST)
    assert dies or left[-1] == steps.goal(FIRST)
    assert len(left) <= steps.most + 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"target": 1.0}, "algorithm.target.*above 0 and below 1 .* got 1.0"),
        ({"target": float("nan")}, "algorithm.target.*got nan"),
        ({"strategy": "fixed-size"}, "algorithm.size.*a number above 0 with strategy"),
        ({"strategy": "bucket"}, "algorithm.bucket.*a number above 0 with strategy"),
        ({"size": 3}, "algorithm.size.*none with strategy = 'one-shot', got 3"),
        ({"strategy": "relative", "of_remaining": 1.0}, "algorithm.of_remaining.*below 1"),
        ({"strategy": "gradual", "steps": 0}, "algorithm.steps.*1 or more, got 0"),
        ({"population": 2}, "algorithm.population.*one line of networks, got 2"),
        ({"rounds": 2, "epochs": 0.0}, "algorithm.rounds.*1 where epochs are 0, got 2"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Prune(options.pop("population", 1), seed=0, **options)


def test_all_mistakes_are_said_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        Prune(1, seed=0, target=2.0, strategy="gradual", steps=0, gain=-1.0)
    assert len(error.value.problems) == 3


def played(values: list[float | None], **options: Any) -> tuple[Prune, list[Proposal]]:
    """Return the algorithm at its end, and what it asked for; `values` are the results."""
    algorithm = Prune(1, seed=4, **options)
    algorithm.begin(Breeder(SPACE, Operators((PRUNING,)), lambda proposal: True))
    counts: dict[int, Any] = {}
    algorithm.counts = lambda seq: counts[seq]
    asked: list[Proposal] = []
    n = FIRST
    for seq, value in enumerate(values):
        proposal = algorithm.ask()
        if proposal is None:
            break
        asked.append(proposal)
        if value is None:
            algorithm.tell_failed(seq)
            continue
        if isinstance(proposal.genotype, Derivation):
            n = proposal.genotype.settings["keep"]
        counts[seq] = {"n_synapses": n}
        fitness = fitness_class(("maximize",))()
        fitness.set([value])
        genotype = SPACE.seed(None) if seq == 0 else asked[0].genotype  # type: ignore[arg-type]
        algorithm.tell(Individual(seq, genotype, fitness, proposal.parents, identity=f"t{seq}"))
    assert algorithm.ask() is None
    return algorithm, asked


def test_each_step_prunes_what_the_last_one_left() -> None:
    algorithm, asked = played([0.9] * 4, strategy="iterative", steps=3, target=0.6, compact=False)
    assert [proposal.operator for proposal in asked] == ["seed"] + ["magnitude"] * 3
    assert [proposal.parents for proposal in asked] == [(), (0,), (1,), (2,)]
    settings = [proposal.genotype.settings for proposal in asked[1:]]  # type: ignore[attr-defined]
    assert [one["keep"] for one in settings] == [800, 600, 400]
    assert all(one["compact"] is False for one in settings)
    assert algorithm.has_ended
    assert algorithm.n_trials == 4


def test_a_step_is_trained_on_as_long_as_that_gains() -> None:
    values = [0.9, 0.5, 0.6, 0.6, 0.4, 0.45, 0.5, 0.55]
    algorithm, asked = played(
        values, strategy="iterative", steps=2, target=0.5, rounds=3, epochs=1.0
    )
    # Trial 3 gained nothing, so trial 2 is pruned on; trials 4, 5 and 6 are all rounds there are.
    assert [p.operator for p in asked] == [
        "seed", "magnitude", "continue", "continue", "magnitude", "continue", "continue",
    ]  # fmt: skip
    assert [p.parents for p in asked] == [(), (0,), (1,), (2,), (2,), (4,), (5,)]
    assert [p.generation for p in asked] == [0, 1, 1, 1, 2, 2, 2]
    assert [i.seq for i in algorithm.population] == [6]


def test_a_failure_ends_it_with_what_there_is() -> None:
    algorithm, asked = played([0.9, 0.8, None], strategy="iterative", steps=3)
    assert len(asked) == 3
    assert "step 2 failed" in algorithm.why_ended
    assert [i.seq for i in algorithm.population] == [1]
    algorithm, _ = played([None])
    assert "could not be trained" in algorithm.why_ended
