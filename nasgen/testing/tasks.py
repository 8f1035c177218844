"""The contract of a task: losses have gradients, metrics are those it names, means are answers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nasgen import registry, seeding
from nasgen.data.base import Dataset, load
from nasgen.data.split import split
from nasgen.evaluation.tasks.base import Task, combined
from nasgen.settings import objectives
from nasgen.testing.base import NAME_DATA, Contract, Outcome, Rule, examine_all

N_ROWS = 30
Array = NDArray[Any]


def check(group: str, name: str) -> Outcome:
    """Apply every rule to a task, on data that are for it."""
    if not datasets(name):
        note = (
            f"there are no data for the task '{name}'; register a data set of that task {NAME_DATA}"
        )
        return Outcome(problems=(note,))
    return examine_all(RULES, group, name)


def datasets(name: str) -> list[Dataset]:
    """Return small data for a task: own ones for built-in tasks, else plug-ins' examples."""
    rng = seeding.generator(0, "contract task")
    x = rng.normal(size=(N_ROWS, 3))
    targets: dict[str, list[Array]] = {
        "classification": [np.arange(N_ROWS) % 2, np.arange(N_ROWS) % 4],
        "regression": [rng.normal(50, 9, N_ROWS), rng.normal(-2, 1e-3, (N_ROWS, 2))],
    }
    found = []
    for i, y in enumerate(targets.get(name, [])):
        classes = tuple(str(c) for c in range(int(y.max()) + 1)) if y.dtype == np.int64 else ()
        half = N_ROWS // 2
        parts = ({"x": x[:half]}, y[:half], {"x": x[half:]}, y[half:])
        found.append(Dataset(f"data {i}", *parts, classes, "plain", name))
    for scheme, entry in registry.entries("datasets").items():
        if entry.origin != "built-in" and "example" in entry.options:
            example = str(entry.options["example"])
            dataset = load(f"{scheme}:{example}" if example else scheme)
            if dataset.task == name:
                found.append(dataset)
    return found


def _fitted(name: str) -> Iterator[tuple[Dataset, Array, Task]]:
    """Yield data, their training targets, and the task fitted on them."""
    for dataset in datasets(name):
        rows = split(dataset, 0.25, 0).train
        yield dataset, dataset.targets[rows], registry.resolve("tasks", name).fit(dataset, rows)


def _outputs(task: Task, n: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn((n, task.n_outputs), generator=draw)


def _answers(task: Task, outputs: torch.Tensor) -> Array:
    with torch.no_grad():
        found: Array = task.predictions(outputs).numpy()
    return found


def describes(name: str) -> Iterator[str]:
    """It is a Task whose metrics have a loss, and whose first objective is registered for it."""
    target = registry.resolve("tasks", name)
    derived = isinstance(target, type) and issubclass(target, Task)
    yield "" if derived else "expected a class derived from nasgen.Task."
    complete = {"loss", target.metric} <= set(target.metrics)
    yield (
        "" if complete else f"metrics: expected 'loss' and '{target.metric}', got {target.metrics}."
    )
    first = str(registry.get("tasks", name).options.get("objective"))
    if first not in registry.names("objectives"):
        yield f'expected options={{"objective": NAME}} of a registered objective, got {first!r}.'
        return
    objectives.named(first)
    metric = registry.get("objectives", first).options.get("metric")
    fits = metric is None or metric in target.metrics
    yield "" if fits else f"its objective '{first}' reads '{metric}', which it does not measure."


def kept(name: str) -> Iterator[str]:
    """What `restore` makes of its state, through JSON, answers and measures as it does."""
    for dataset, targets, task in _fitted(name):
        facts, arrays = task.state()
        again = type(task).restore(json.loads(json.dumps(facts)), arrays)
        outputs = _outputs(task, len(targets))
        first, second = (_answers(of, outputs) for of in (task, again))
        same = again.n_outputs == task.n_outputs and np.array_equal(first, second)
        same = same and task.measured(first, targets) == again.measured(second, targets)
        yield "" if same else f"{dataset.name}: the restored task answers or measures otherwise."


def learns(name: str) -> Iterator[str]:
    """Following the gradient of the loss makes the loss of the same rows less, and it is finite."""
    for dataset, targets, task in _fitted(name):
        wanted = torch.from_numpy(np.ascontiguousarray(task.prepared(targets)))
        outputs = _outputs(task, len(targets)).requires_grad_()
        losses = []
        for _ in range(30):
            loss = task.loss(outputs, wanted)
            losses.append(float(loss.detach()))
            (gradient,) = torch.autograd.grad(loss, outputs)
            outputs = (outputs - len(targets) * 0.2 * gradient).detach().requires_grad_()
        sound = loss.ndim == 0 and all(map(math.isfinite, losses))
        yield "" if sound else f"{dataset.name}: the loss must be one finite number, got {losses}."
        less = losses[-1] < losses[0]
        yield "" if less else f"{dataset.name}: the loss does not fall along its gradient."
        before, after = (
            task.measured(_answers(task, o), targets)["loss"]
            for o in (_outputs(task, len(targets)), outputs)
        )
        better = after < before
        yield "" if better else f"{dataset.name}: training's loss fell, the measured one did not."


def measures(name: str) -> Iterator[str]:
    """It measures just what it names, finite, and tells right from wrong."""
    for dataset, targets, task in _fitted(name):
        answers = _answers(task, _outputs(task, len(targets)))
        found = task.measured(answers, targets)
        named = set(found) == set(task.metrics)
        yield "" if named else f"{dataset.name}: metrics names {task.metrics}, got {sorted(found)}."
        finite = all(type(v) is float and math.isfinite(v) for v in found.values())
        yield "" if finite else f"{dataset.name}: expected finite floats, got {found}."
        right = task.correct(answers, targets)
        sound = right.shape == (len(targets),) and right.dtype == np.bool_
        yield "" if sound else f"{dataset.name}: correct must be (B,) bool, got {right.shape}."


def combines(name: str) -> Iterator[str]:
    """Means of predictions are predictions, and `scores` orders them as the metric does."""
    for dataset, targets, task in _fitted(name):
        answers = [_answers(task, _outputs(task, len(targets), seed)) for seed in range(4)]
        mixed = combined(answers, [0.25] * 4)
        decided = task.decided(mixed)
        sound = mixed.shape == answers[0].shape and len(decided) == len(targets)
        yield "" if sound else f"{dataset.name}: a mean of predictions is no prediction."
        scores = task.scores(np.stack([*answers, mixed]), targets)
        if len(scores) != 5 or not all(isinstance(s, tuple) for s in scores):
            yield f"{dataset.name}: scores must be a tuple for each candidate, got {scores}."
            continue
        sign = 1.0 if task.direction == "maximize" else -1.0
        values = [sign * task.measured(a, targets)[task.metric] for a in [*answers, mixed]]
        best = max(range(5), key=lambda i: scores[i])
        top = values[best] >= max(values) - 1e-6 * max(1.0, abs(max(values)))
        yield "" if top else f"{dataset.name}: scores and '{task.metric}' disagree on the best."


def teaches(name: str) -> Iterator[str]:
    """Of a task that distils: the teacher's own answers have the least loss, others a gradient."""
    for dataset, targets, task in _fitted(name):
        if not task.distils:
            yield ""
            continue
        n = len(targets)
        for temperature in (1.0, 4.0):
            first, second = (task.softened(_outputs(task, n, s), temperature) for s in (1, 2))
            same = task.distilled(_outputs(task, n, 1), first, temperature)
            other = _outputs(task, n, 3).requires_grad_()
            loss = task.distilled(other, first, temperature)
            mixed = task.distilled(other, (first + second) / 2, temperature)
            (gradient,) = torch.autograd.grad(mixed, other)
            losses = [one.detach() for one in (same, loss, mixed)]
            sound = all(one.ndim == 0 and math.isfinite(float(one)) for one in losses)
            sound = sound and bool(gradient.any()) and bool(gradient.isfinite().all())
            yield "" if sound else f"{dataset.name}: soft targets, or their mean, give no loss."
            least = float(same.detach()) < float(loss.detach())
            yield "" if least else f"{dataset.name}: the teacher's own answers have not the least."


def stands_alone(name: str) -> Iterator[str]:
    """Where it has a module for export, that answers as `predictions` does."""
    for dataset, targets, task in _fitted(name):
        module, outputs = task.standalone(), _outputs(task, len(targets))
        if module is None:
            yield ""
            continue
        with torch.no_grad():
            found = module.eval()(outputs).numpy()
        wanted = _answers(task, outputs)
        alike = found.shape == wanted.shape and np.allclose(found, wanted, rtol=1e-5, atol=1e-6)
        yield "" if alike else f"{dataset.name}: `standalone` answers otherwise than `predictions`."


RULES: tuple[Rule, ...] = (describes, kept, learns, measures, combines, teaches, stands_alone)


class TaskContract(Contract):
    """Inherit and set `name`."""

    group = "tasks"

    def test_it_says_what_it_is(self) -> None:
        """A Task, with a loss among its metrics and an objective."""
        self.holds(describes)

    def test_its_state_is_all_it_is(self) -> None:
        """It is kept with a run and restored from there."""
        self.holds(kept)

    def test_its_loss_can_be_followed(self) -> None:
        """Its gradient leads to better answers."""
        self.holds(learns)

    def test_it_measures_what_it_names(self) -> None:
        """In finite numbers."""
        self.holds(measures)

    def test_its_answers_can_be_averaged(self) -> None:
        """Ensembles do."""
        self.holds(combines)

    def test_its_answers_can_be_learnt_from(self) -> None:
        """Where it says so."""
        self.holds(teaches)

    def test_exported_networks_answer_as_it_does(self) -> None:
        """Where it has a module for them."""
        self.holds(stands_alone)
