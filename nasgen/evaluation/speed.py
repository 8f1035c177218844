"""How fast this machine trains a network and answers with it: a few batches of each, timed.

What a time budget buys is planned from it, and the number of threads is chosen by it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, median
from typing import Any, Final

import numpy as np
from torch import nn

from nasgen import seeding
from nasgen.errors import FOREIGN, EvaluationError
from nasgen.evaluation import device, measure
from nasgen.evaluation.batches import Batch, Batches, Run
from nasgen.evaluation.inference import Inference
from nasgen.evaluation.moving import Moving
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.training import Loss, make_optimizer, train
from nasgen.phenotype.lent import lent
from nasgen.phenotype.network import Network, build
from nasgen.settings.config import Training
from nasgen.settings.fidelity import FINISH_WITHIN, Fidelity, thread_counts

# Of the schedule, where steps are timed, any few of the first ones about as large as all together:
# images grow, and threads bring small ones less.
PLACES: Final = (0.375, 0.625, 0.125, 0.875)
MOST_TIMED: Final = 4  # steps that are timed in a turn, after one that warms up
N_TURNS: Final = 4  # at least, for each number of threads, so that all places are timed
SLOW: Final = 5.0  # times the limit: after that, fewer turns must do
FAR: Final = 2.0  # times as slow as the best: not worth all of the time
FAR_SHARE: Final = 0.5  # of the limit for those that are far slower
N_ANSWERED: Final = 128  # rows of a batch that is answered
ANSWERING_SHARE: Final = 0.25  # of the time for timing a training, for timing answers too


def measured(
    inference: Inference,
    recipe: Recipe,
    batches: Batches,
    job: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what a job about speed asks for, in seconds.

    `job` holds "genotypes", of which the one of median operations is timed, "seed", and "speed":
    {"threads": [numbers in rising order], "limit_s", "validation": True by default}. The limit is
    for each number of threads, and exceeded where a few steps take longer; which numbers are tried,
    `in_turns` says. The result is {"row_s": {number of threads: seconds for each row trained on},
    "flops" and "n_params" of the network, "wall_s"} and, if asked for, "answer_s", the seconds for
    each row that is answered by those of the threads that are fastest at it, and "val_s", of a pass
    over the validation rows. Raises EvaluationError when none of the networks can be built.
    """
    began, wanted = time.perf_counter(), job["speed"]
    limit_s = float(wanted["limit_s"])
    network = typical(inference, job["genotypes"], seeding.integer(job["seed"], "weights"))
    example = inference.feed.example()
    facts: dict[str, float] = {}
    facts |= {"flops": measure.flops(network, example), "n_params": measure.n_params(network)}
    network = inference.placed(network)
    trainings = Trainings(network, batches, inference.task.loss, recipe, limit_s)
    forked = [inference.device] if inference.device.type == "cuda" else []
    with lent(devices=forked):  # layers such as dropout draw from it
        in_turns(wanted["threads"], trainings.turn, limit_s)
    found = trainings.row_s()
    if wanted.get("validation", True):
        answering = Answering(inference, network, wanted["threads"])
        facts["answer_s"] = answering.row_s(ANSWERING_SHARE * limit_s)
        facts["val_s"] = len(inference.targets("validation")) * facts["answer_s"]
    by_threads = {str(n): seconds for n, seconds in found.items()}
    return {"row_s": by_threads, **facts, "wall_s": time.perf_counter() - began}


def typical(inference: Inference, genotypes: Sequence[Mapping[str, Any]], seed: int) -> Network:
    """Return the network of median operations; those that cannot be built are passed over."""
    built: list[tuple[int, int, Network]] = []
    failure: BaseException | None = None
    for place, genotype in enumerate(genotypes):
        try:
            network = build(inference.decode(genotype)[1], seed)
            built.append((measure.flops(network, inference.feed.example()), place, network))
        except FOREIGN as error:  # its trial will say what is wrong with it
            failure = error
    if not built:
        raise EvaluationError(f"no network of the first ones can be built: {failure}")
    built.sort(key=lambda one: one[:2])
    return built[len(built) // 2][2]


def in_turns(
    counts: Sequence[int], turn: Callable[[int], tuple[float, int]], limit_s: float
) -> dict[int, float]:
    """Return the seconds a row takes on each number of threads, the median of its turns.

    `turn` times a few steps on a number of threads and returns their seconds and rows. The numbers
    take turns, until each has had `limit_s` seconds, in which a turn's preparations count: what a
    machine does beside this for a second or two then meets all of them, and decides nothing. Each
    has `N_TURNS` at least, unless fewer take `SLOW` limits. A number of threads of which even the
    best turn is `FAR` slower than the best of all gets `FAR_SHARE` of the limit, and more threads
    than those are not tried. Without a limit each has one turn.
    """
    found: dict[int, list[float]] = {}  # seconds for each row, of every turn
    spent: dict[int, float] = {}

    def is_far(n: int) -> bool:
        return min(found[n]) > FAR * min(map(min, found.values()))

    def is_waiting(n: int) -> bool:
        share = SLOW if len(found[n]) < N_TURNS else FAR_SHARE if is_far(n) else 1.0
        return spent[n] < share * limit_s

    waiting, coming = list(counts[:1]), list(counts[1:])
    while waiting:
        for n in waiting:
            began = time.perf_counter()
            seconds, n_rows = turn(n)
            found.setdefault(n, []).append(seconds / n_rows)
            spent[n] = spent.get(n, 0.0) + max(seconds, time.perf_counter() - began)
        waiting = [n for n in found if is_waiting(n)]
        if coming and not is_far(max(found)):
            waiting.append(coming.pop(0))
    return {n: median(values) for n, values in found.items()}


class Trainings:
    """Trains a network for a few steps at a time, on images of all `PLACES`, and times them.

    A turn is at the next place for that number of threads. One step warms up, and up to
    `MOST_TIMED` are timed; where `N_TURNS` of such turns would take longer than `limit_s`, and
    where it isn't known yet, it is one step. The very first step, in which memory is taken and
    kernels are made, doesn't count. Weights stay as they are: with the rate of a training some
    networks would diverge in so many steps.
    """

    def __init__(
        self, network: Network, batches: Batches, loss: Loss, recipe: Recipe, limit_s: float
    ) -> None:
        self.network, self.batches, self.loss, self.limit_s = network, batches, loss, limit_s
        # Averaged weights would be measured on batches in the end.
        self.recipe = replace(recipe, average=0.0, lr=0.0)
        self.optimizer = make_optimizer(network, self.recipe)
        self.is_warm = False
        self.step_s: dict[int, float] = {}  # of the fastest turn, by threads
        self.found: dict[int, list[float]] = {}  # seconds a row of every turn, by threads

    def row_s(self) -> dict[int, float]:
        """Return the seconds a row takes on each number of threads, over a whole training.

        Of the places that all of them have seen. A training that time ends spends as much of it at
        each place, so speeds are averaged: it is shown more of the small images than of the others.
        """
        n_seen = min(len(PLACES), *map(len, self.found.values()))
        return {
            n: 1 / fmean(1 / median(turns[place :: len(PLACES)]) for place in range(n_seen))
            for n, turns in self.found.items()
        }

    def turn(self, n_threads: int) -> tuple[float, int]:
        """Return the seconds of some steps on so many threads, and their rows."""
        turns = self.found.setdefault(n_threads, [])
        place = PLACES[len(turns) % len(PLACES)]
        step_s = self.step_s.get(n_threads, math.inf)
        n = int(self.limit_s / N_TURNS / step_s)  # steps
        with device.threads(n_threads):
            if n > 1 or not self.is_warm:
                self.is_warm = True
                self._steps(1, place)
            n = min(max(1, n - 1), MOST_TIMED)
            seconds, n_rows = self._steps(n, place)
        self.step_s[n_threads] = min(step_s, seconds / n)
        turns.append(seconds / n_rows)
        return seconds, n_rows

    def _steps(self, n: int, place: float) -> tuple[float, int]:
        few = _Few(self.batches, n, place)
        train(self.network, few, self.loss, self.recipe, epochs=1.0, optimizer=self.optimizer)
        return time.perf_counter() - few.began, few.n_rows


class Answering:
    """Measures how fast a network answers, on that number of `threads` that is fastest at it.

    These are numbers in rising order; the first measurement chooses one for all that follow. The
    network may be in training: it is as before afterwards.
    """

    def __init__(self, inference: Inference, network: nn.Module, threads: Sequence[int]) -> None:
        self.inference, self.network, self.threads = inference, network, threads
        self.inputs, targets, rows = inference.part("validation")
        chosen = np.arange(len(targets)) if rows is None else rows
        self.rows = chosen[: min(inference.feed.rows_at_once, N_ANSWERED)]
        self.is_warm = False

    def row_s(self, limit_s: float = 0.0) -> float:
        """Return the seconds for each row, in large batches, timed for about `limit_s` seconds.

        Numbers of threads take turns of a batch, see `in_turns`.
        """
        was_training = self.network.training
        self.network.eval()
        try:
            found = in_turns(self.threads, self._turn, limit_s)
        finally:
            self.network.train(was_training)
        self.threads = [min(found, key=lambda n: found[n])]
        return found[self.threads[0]]

    def _turn(self, n_threads: int) -> tuple[float, int]:
        with self.inference.threads(n_threads):
            for _ in range(1 if self.is_warm else 2):
                began = time.perf_counter()
                self.inference.answers(self.network, self.inputs, self.rows)
            self.is_warm = True
        return time.perf_counter() - began, len(self.rows)


def moving(
    inference: Inference, network: nn.Module, fidelity: Fidelity, training: Training
) -> Moving | None:
    """Return what moves the end of a network's training; None where its fidelity has no ending.

    It answers on the threads that train it, or on fewer.
    """
    if fidelity.ending is None or fidelity.seconds is None:
        return None
    answering = Answering(inference, network, thread_counts(max(1, inference.n_threads)))
    most = FINISH_WITHIN * (training.time_limit or math.inf)
    return Moving(fidelity.seconds, fidelity.ending, answering.row_s, most)


class _Few(Batches):
    """`n_steps` batches of another, as they are at one place of the schedule.

    `began` is when the first was asked for, `n_rows` how many rows they have together.
    """

    def __init__(self, inner: Batches, n_steps: int, place: float) -> None:
        self.inner, self.n, self.place = inner, n_steps, place
        self.device, self.side = inner.device, inner.side
        self.began, self.n_rows = 0.0, 0

    @property
    def n_steps(self) -> int:
        return self.n

    def begin(self, run: Run) -> None:
        self.inner.begin(run)

    def stream(self) -> Iterator[Batch]:
        batches = self.inner.stream()
        self.began = time.perf_counter()
        for _ in range(self.n):
            self.inner.progress = self.place
            found = next(batches)
            self.n_rows += len(found[1])
            yield found
