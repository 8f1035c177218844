"""How fast a network is: timed on a few batches, and what follows for the threads."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nasgen.evaluation import speed
from nasgen.evaluation.batches import Batches
from nasgen.evaluation.evaluator import Evaluator
from nasgen.evaluation.pace import Pace
from nasgen.phenotype.network import build
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings.fidelity import THREADS_GAIN as GAIN
from nasgen.settings.fidelity import fastest
from nasgen.store.artifacts import Artifacts

CONTEXT: dict[str, Any] = {
    "seed": 0,
    "space": {"name": "dag-cnn", "max_channels": 512},
    "data": {"source": "digits"},
    "training": {},
    "objectives": ["val_accuracy"],
    "device": "cpu",
    "threads": 1,
}


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    return Evaluator(CONTEXT, Artifacts(tmp_path_factory.mktemp("speed")))


def _genotype(seed: int, widen: float = 1.0) -> dict[str, Any]:
    space = DagCnn(max_channels=512)
    drawn = space.sample(np.random.default_rng(seed))
    return (space.widened(drawn, widen) if widen > 1 else drawn).mint(0, seed).to_json()


def _timed(evaluator: Evaluator, genotypes: list[Any], counts: list[int]) -> dict[str, Any]:
    wanted = {"threads": counts, "limit_s": 0.05}
    job = {"seq": -1, "attempt": 1, "seed": 3, "genotypes": genotypes, "speed": wanted}
    return evaluator.evaluate(json.loads(json.dumps(job)))


def test_a_network_is_timed_and_the_process_is_as_before(evaluator: Evaluator) -> None:
    state, n_threads = torch.random.get_rng_state(), torch.get_num_threads()
    kept = evaluator.artifacts.stored()  # type: ignore[attr-defined]
    result = _timed(evaluator, [_genotype(0)], [1, 2])
    assert result["state"] == "COMPLETE", result["failure"]
    metrics, times = json.loads(json.dumps(result))["metrics"], ("val", "answer", "wall")
    assert "1" in metrics["row_s"]
    assert set(metrics["row_s"]) <= {"1", "2"}
    for seconds in (*metrics["row_s"].values(), *(metrics[f"{k}_s"] for k in times)):
        assert 0 < seconds < 60
    # Validation has more rows than one, and its time is of them all.
    assert metrics["wall_s"] > metrics["row_s"]["1"]
    n_val = len(evaluator.inference.targets("validation"))
    assert metrics["val_s"] == pytest.approx(n_val * metrics["answer_s"])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == n_threads
    assert evaluator.artifacts.stored() == kept  # type: ignore[attr-defined]


def test_the_network_of_median_operations_is_timed(evaluator: Evaluator) -> None:
    drawn = [_genotype(seed) for seed in range(5)]
    flops = sorted(_timed(evaluator, [one], [1])["metrics"]["flops"] for one in drawn)
    assert _timed(evaluator, drawn, [1])["metrics"]["flops"] == flops[2]
    broken = {"kind": "dag"}
    result = _timed(evaluator, [broken, drawn[0], broken], [1])
    assert result["state"] == "COMPLETE"
    result = _timed(evaluator, [broken], [1])
    assert result["state"] == "FAILED"
    assert "can be built" in result["failure"]


def test_a_larger_network_is_slower(evaluator: Evaluator) -> None:
    small, large = (
        _timed(evaluator, [_genotype(3, widen)], [1])["metrics"] for widen in (1.0, 6.0)
    )
    assert large["row_s"]["1"] > 2 * small["row_s"]["1"]
    assert large["val_s"] > small["val_s"]


@given(st.dictionaries(st.integers(1, 64), st.floats(1e-6, 1e3), min_size=1))
def test_more_threads_are_taken_only_where_they_gain(found: dict[int, float]) -> None:
    n = fastest(found)
    best = min(found.values())
    assert found[n] * GAIN < best <= found[n]
    assert all(found[fewer] * GAIN >= best for fewer in found if fewer < n)


@given(
    st.lists(st.sampled_from([1, 2, 4, 8, 16]), min_size=1, unique=True).map(sorted),
    st.integers(0, 2**32 - 1),
)
def test_turns_decide_as_quiet_ones_would(counts: list[int], seed: int) -> None:
    """Less than half of the turns may be slow without any effect, the first ones included."""
    quiet = {1: 1.3, 2: 0.6, 4: 0.5, 8: 0.7, 16: 0.2}
    rng, asked = np.random.default_rng(seed), list[int]()
    slow = {n: set(rng.choice(11, 5, replace=False)) for n in counts}

    def turn(n: int) -> tuple[float, int]:
        slower = rng.uniform(1.5, 10.0) if asked.count(n) in slow[n] else 1.0
        asked.append(n)
        return 0.1, round(1e6 / quiet[n] / slower)

    found = speed.in_turns(counts, turn, 1.05)  # eleven turns, of which five may be slow
    far = {n for n in found if quiet[n] > speed.FAR * min(quiet[m] for m in found)}
    assert all(6 <= asked.count(n) <= 11 for n in found)
    for n in found.keys() - far:
        assert asked.count(n) == 11
        assert found[n] == pytest.approx(quiet[n] * 1e-7, rel=1e-3)
    assert fastest(found) == fastest({n: quiet[n] for n in found})
    assert list(found) == counts  # none of these is far slower than fewer threads


def test_threads_far_slower_than_others_get_half_of_the_time_and_more_are_not_tried() -> None:
    quiet, asked = {1: 1.0, 2: 0.4, 4: 0.9, 8: 0.1}, list[int]()

    def turn(n: int) -> tuple[float, int]:
        asked.append(n)
        return 0.1, round(1e6 / quiet[n])

    found = speed.in_turns([1, 2, 4, 8], turn, 0.95)
    assert found == pytest.approx({1: 1e-7, 2: 4e-8, 4: 9e-8})
    assert [asked.count(n) for n in quiet] == [5, 10, 5, 0]


@pytest.mark.parametrize("n_slow", [1, 2])
def test_first_turns_that_were_slow_decide_nothing(n_slow: int) -> None:
    """Also where the limit allows no more than a few turns."""
    quiet, asked = {1: 1.0, 2: 0.6, 4: 0.4}, list[int]()

    def turn(n: int) -> tuple[float, int]:
        asked.append(n)
        return quiet[n] * (4 if n == 2 and asked.count(n) <= n_slow else 1), 1

    found = speed.in_turns([1, 2, 4], turn, 1.2)
    assert found.keys() == quiet.keys()
    assert all(asked.count(n) >= 3 for n in quiet)
    assert fastest(found) == 4


def test_what_prepares_a_turn_counts_in_the_limit() -> None:
    asked: list[int] = []

    def turn(n: int) -> tuple[float, int]:
        asked.append(n)
        time.sleep(0.02)
        return 1e-6, 1

    speed.in_turns([1], turn, 0.1)
    assert len(asked) <= 5


def test_threads_for_answers_are_chosen_once(evaluator: Evaluator) -> None:
    network = build(evaluator.inference.decode(_genotype(0))[1], 0)
    answering = speed.Answering(evaluator.inference, network, [1, 2])
    assert answering.row_s(0.01) > 0
    (chosen,) = answering.threads
    assert chosen in (1, 2)
    assert answering.row_s() > 0
    assert answering.threads == [chosen]


class _Sleeping(nn.Linear):
    """Takes as many seconds for an answer as `naps` say, the last of them again and again."""

    naps: list[float]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(self.naps.pop(0) if len(self.naps) > 1 else self.naps[0])
        return super().forward(x)


def _trainings(
    evaluator: Evaluator, naps: list[float], limit_s: float
) -> tuple[Batches, speed.Trainings]:
    network = _Sleeping(4, 2)
    network.naps = naps
    rows, targets = torch.zeros(64, 4), torch.zeros(64, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    batches = Batches(dict, {"x": rows}, targets, torch.arange(64), 16, generator)
    loss = nn.functional.cross_entropy
    recipe = evaluator.recipe
    return batches, speed.Trainings(network, batches, loss, recipe, limit_s)  # type: ignore[arg-type]


@pytest.mark.parametrize("limit_s", [0.003, 0.02, 0.04])
def test_steps_longer_than_the_limit_are_few(evaluator: Evaluator, limit_s: float) -> None:
    batches, trainings = _trainings(evaluator, [0.05], limit_s)
    found = speed.in_turns([1, 2], trainings.turn, limit_s)
    assert all(16 * seconds > 0.05 for seconds in found.values())
    assert 2 <= batches.position <= 1 + 2 * speed.N_TURNS


@pytest.mark.parametrize("naps", [[0.06, 0.001], [0.06, 0.06, 0.001]])
def test_the_first_steps_decide_nothing(evaluator: Evaluator, naps: list[float]) -> None:
    limit_s = 0.05
    batches, trainings = _trainings(evaluator, naps, limit_s)
    found = speed.in_turns([1], trainings.turn, limit_s)
    assert found[1] * 16 < 0.03
    assert batches.position >= 1 + 3


@pytest.mark.parametrize("limit_s", [1e-6, 0.2])
def test_images_of_all_sizes_of_a_schedule_are_timed(evaluator: Evaluator, limit_s: float) -> None:
    """Each number of threads gets the same: small images gain less by them."""
    batches, trainings = _trainings(evaluator, [0.0], limit_s)
    seen: list[float] = []
    stream = batches.stream

    def noted() -> Iterator[Any]:
        for batch in stream():
            seen.append(batches.progress)
            yield batch

    batches.stream = noted  # type: ignore[method-assign]
    for _ in range(3 * len(speed.PLACES)):
        trainings.turn(1)
    turns = [place for place, _ in itertools.groupby(seen)]  # also where a turn is several steps
    assert turns == 3 * list(speed.PLACES)
    assert len(trainings.found[1]) == len(turns)


def test_speeds_are_averaged_as_by_a_training_that_time_ends(evaluator: Evaluator) -> None:
    """Half of the time at 1 s a row and half at 4 s: 2.5 rows in 4 s. One slow turn is left out."""
    _, trainings = _trainings(evaluator, [0.0], 1.0)
    sizes = [1.0, 4.0, 1.0, 4.0]
    assert len(sizes) == len(speed.PLACES)
    trainings.found = {1: [*sizes, 9.0, 4.0, 1.0, 4.0, *sizes], 2: [0.5] * 4}
    assert trainings.row_s() == pytest.approx({1: 1.6, 2: 0.5})
    trainings.found[4] = [2.0]  # given up early: all are compared at what it has seen
    assert trainings.row_s() == pytest.approx({1: 1.0, 2: 0.5, 4: 2.0})


def test_a_training_that_averages_its_weights_is_timed_without_it(tmp_path: Path) -> None:
    averaging = Evaluator({**CONTEXT, "training": {"average": 0.2}}, Artifacts(tmp_path))
    result = _timed(averaging, [_genotype(0)], [1])
    assert result["state"] == "COMPLETE", result["failure"]
    assert result["metrics"]["row_s"]["1"] > 0


def test_the_fastest_threads_answer_and_small_batches_decide_nothing() -> None:
    before, used = torch.get_num_threads(), []

    def answer(pace: Pace, n_rows: int, is_full: bool) -> None:
        with pace.batch(n_rows, is_full):
            n = torch.get_num_threads()
            used.append(n)
            time.sleep({1: 0.02, 2: 0.005, 3: 0.04}[n])

    pace = Pace([1, 2, 3])
    for n_rows in (4, 500):
        answer(pace, n_rows, is_full=False)
    assert used == [1, 3]
    assert pace.chosen is None
    for _ in range(6):
        answer(pace, 512, is_full=True)
    assert used[2:] == [1, 1, 2, 3, 2, 2]
    assert pace.chosen == 2
    answer(pace, 4, is_full=False)
    assert used[-1] == 2
    answer(given := Pace([3]), 4, is_full=False)
    assert given.chosen == used[-1] == 3
    assert torch.get_num_threads() == before


def test_a_training_shorter_than_an_update_says_what_it_does(
    evaluator: Evaluator, tmp_path: Path
) -> None:
    rows = []
    job = {
        "seq": 0, "attempt": 1, "genotype": _genotype(0), "seed": 0, "inherit": None,
        "fidelity": {"epochs": 1e-3, "fraction": 1.0, "seconds": None}, "wants": [],
    }  # fmt: skip
    result = evaluator.evaluate(job, lambda row: not rows.append(row))
    assert result["state"] == "COMPLETE"
    assert rows[-1]["epoch"] == rows[-1]["n_epochs"] == result["metrics"]["epochs_done"] > 1e-3
