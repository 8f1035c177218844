"""The contract of an objective: a direction, one finite number, and nothing changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch

from nasgen import registry, seeding
from nasgen.errors import FOREIGN, EvaluationError
from nasgen.evaluation import living, measure
from nasgen.evaluation.metrics import Measured
from nasgen.evaluation.promises import number
from nasgen.phenotype.network import build
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.testing.base import Contract, Outcome, examine_all

N_IMAGES, N_CLASSES = 40, 4
SHAPE = (1, 8, 8)
LAYERS = ("conv", "max_pool", "sum")  # networks are kept longer than plug-ins are loaded
ANSWERS = ("right", "wrong", "unsure", "mixed")  # how the network answers the validation images


def check(group: str, name: str) -> Outcome:
    """Apply every rule to an objective."""
    return examine_all(RULES, group, name)


@cache
def _network(seed: int) -> tuple[Any, ...]:
    space = DagCnn(max_channels=16, layers=LAYERS)
    genotype = space.sample(seeding.generator(0, "contract objective", seed)).mint(0, seed)
    blueprint = space.blueprint(genotype, SHAPE, N_CLASSES)
    return genotype, blueprint, build(blueprint, seed)


@cache
def _sizes(seed: int) -> dict[str, Any]:
    _, blueprint, network = _network(seed)
    sizes = living.measured(blueprint, network, None)
    return {
        "n_params": measure.n_params(network),
        "flops": measure.flops(network, measure.zeros(SHAPE)),
        **sizes,
        **living.efficiencies(sizes, ()),
    }


def measured(answers: str, seed: int = 0, with_labels: bool = True) -> Measured:
    """Return a trial as an evaluator hands it over; without labels nothing was validated."""
    genotype, blueprint, network = _network(seed)
    rng = seeding.generator(0, "contract answers", seed)
    labels = np.arange(N_IMAGES, dtype=np.int64) % N_CLASSES
    scores = rng.dirichlet(np.ones(N_CLASSES), N_IMAGES)
    if answers in ("right", "wrong"):
        scores = np.eye(N_CLASSES)[(labels + (answers == "wrong")) % N_CLASSES]
    elif answers == "unsure":
        scores = np.full((N_IMAGES, N_CLASSES), 1 / N_CLASSES)
    probabilities = scores.astype(np.float32)
    chosen = np.maximum(probabilities[np.arange(N_IMAGES), labels], np.finfo(np.float32).tiny)
    metrics: dict[str, float | str | None] = {
        "val_accuracy": float((probabilities.argmax(1) == labels).mean()),
        "val_loss": float(-np.log(chosen.astype(np.float64)).mean()),
        "train_loss": 0.5,
        **_sizes(seed),
        "epochs_done": 1.0,
        "images_per_s": 1000.0,
        "precision": "float32",
        "val_s": 0.01,
    }
    if not with_labels:
        metrics |= {"val_accuracy": None, "val_loss": None}
    return Measured(
        genotype,
        blueprint,
        network.eval(),
        metrics,
        probabilities if with_labels else None,
        labels if with_labels else None,
        torch.device("cpu"),
    )


def _asked(name: str, trial: Measured) -> Measured:
    """Return the trial with the metric that an objective reads, whatever task measures it."""
    metric = registry.get("objectives", name).options.get("metric")
    if metric is None or f"val_{metric}" in trial.metrics:
        return trial
    value = None if trial.targets is None else 0.5
    return replace(trial, metrics={**trial.metrics, f"val_{metric}": value})


def _objective(name: str) -> Callable[[Measured], Any]:
    objective: Callable[[Measured], Any] = registry.resolve("objectives", name)
    return lambda trial: objective(_asked(name, trial))


def directed(name: str) -> Iterator[str]:
    """It says what is better."""
    direction = registry.get("objectives", name).options.get("direction")
    yield (
        ""
        if direction in ("maximize", "minimize")
        else 'expected options={"direction": "maximize"} or "minimize" in its decorator, '
        f"got {direction!r}."
    )


def finite(name: str) -> Iterator[str]:
    """It returns one finite number, however good the network is."""
    for seed in range(2):
        for answers in ANSWERS:
            value = _objective(name)(measured(answers, seed))
            yield (
                ""
                if _is_number(value)
                else (
                    f"expected a finite number for a network whose answers are {answers}, "
                    f"got {value!r}."
                )
            )


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(number(value, "it"))
    except EvaluationError:
        return False


def unvalidated(name: str) -> Iterator[str]:
    """Without validation images it returns a finite number or raises, but never NaN."""
    trial = measured("mixed", with_labels=False)
    try:
        value = _objective(name)(trial)
    except FOREIGN:
        yield ""  # the evaluator then leaves the objective out
        return
    yield (
        ""
        if _is_number(value)
        else (f"without validation images: expected an error or a finite number, got {value!r}.")
    )


def pure(name: str) -> Iterator[str]:
    """It gives one value for one trial, and leaves network, metrics and predictions as they are."""
    for answers in ANSWERS:
        trial = measured(answers)
        before = _copy(trial)
        values = [float(_objective(name)(trial)) for _ in range(2)]
        same = values[0] == values[1]
        yield "" if same else f"two values for one trial: {values[0]} and {values[1]}."
        changed = [k for k, v in _copy(trial).items() if not _equal(v, before[k])]
        yield f"it changed the trial: {', '.join(changed)}." if changed else ""


def _copy(trial: Measured) -> dict[str, Any]:
    return {
        "metrics": dict(trial.metrics),
        "probabilities": np.array(trial.probabilities),
        "labels": np.array(trial.labels),
        "network.training": [m.training for m in trial.network.modules()],
        **{k: v.numpy().copy() for k, v in trial.network.state_dict().items()},
    }


def _equal(a: Any, b: Any) -> bool:
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else bool(a == b)


RULES = (directed, finite, unvalidated, pure)


class ObjectiveContract(Contract):
    """Inherit and set `name`."""

    group = "objectives"

    def test_it_has_a_direction(self) -> None:
        """maximize or minimize."""
        self.holds(directed)

    def test_it_is_finite(self) -> None:
        """For perfect, useless and undecided networks."""
        self.holds(finite)

    def test_it_is_never_nan_without_validation_images(self) -> None:
        """It may raise instead."""
        self.holds(unvalidated)

    def test_it_is_pure(self) -> None:
        """One value for one trial, which stays as it was."""
        self.holds(pure)
