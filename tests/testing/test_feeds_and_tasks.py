"""The suites of feeds and tasks find what they are for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen import registry
from nasgen.data.base import Dataset
from nasgen.errors import IncompatibleError
from nasgen.evaluation.feeds.base import Feed
from nasgen.evaluation.tasks.base import Task
from nasgen.testing import check, feeds, tasks

pytestmark = pytest.mark.usefixtures("registry_restored")


def _rows(rest: str) -> Dataset:
    x = np.random.default_rng(0).normal(3, 2, (40, 4)).astype(np.float32)
    y = np.arange(40) % 2
    return Dataset("rows", x[:30], y[:30], x[30:], y[30:], ("a", "b"), "rows", "classification")


class Rows(Feed):
    """Rows of four numbers, centred."""

    def __init__(self, mean: Any) -> None:
        self.mean = mean

    @classmethod
    def fit(cls, dataset: Any, rows: Any) -> Rows:
        return cls(dataset.inputs["x"][rows].mean(axis=0))

    @classmethod
    def restore(cls, facts: Any, arrays: Any) -> Rows:
        return cls(arrays["mean"])

    def state(self) -> Any:
        return {}, {"mean": self.mean}

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (4,)

    def read(self, raw: Any) -> Any:
        return {"x": np.asarray(raw, np.float32)}

    def prepared(self, stored: Any) -> Any:
        return {"x": stored["x"] - self.mean}

    def batch(self, prepared: Any) -> Any:
        return prepared

    def example(self) -> Any:
        import torch

        return {"x": torch.zeros(1, 4)}


class Forgets(Rows):
    @classmethod
    def restore(cls, facts: Any, arrays: Any) -> Rows:
        return cls(np.zeros(4, np.float32))


class LooksEverywhere(Rows):
    @classmethod
    def fit(cls, dataset: Any, rows: Any) -> Rows:
        return cls(dataset.inputs["x"].mean(axis=0))


class LooksAround(Rows):
    def batch(self, prepared: Any) -> Any:
        return {"x": prepared["x"] - prepared["x"].mean(0)}


class Overwrites(Rows):
    def prepared(self, stored: Any) -> Any:
        stored["x"] -= self.mean
        return {"x": stored["x"]}


class StartsAnew(Rows):
    def batches(self, *given: Any) -> Any:
        from nasgen.evaluation.batches import Batches

        class Anew(Batches):
            def epoch(self) -> Any:
                self.first = 0
                return super().epoch()

        prepared, *others, _ = given
        return Anew(self.batch, prepared, *others)


class Reversed(Rows):
    """Sound: the numbers backwards are a view."""

    @classmethod
    def views(cls, recipe: Any) -> Any:
        return ("backwards",)

    def viewed(self, batch: Any, view: Any) -> Any:
        return {"x": batch["x"].flip(1)}


class Cuts(Reversed):
    def viewed(self, batch: Any, view: Any) -> Any:
        return {"x": batch["x"][1:]}


class ReversesTheBatch(Reversed):
    def viewed(self, batch: Any, view: Any) -> Any:
        batch["x"].mul_(-1)
        return batch


def _settling(found: Any) -> Any:
    """Return a feed that settles what it is told to."""
    return type("Settling", (Rows,), {"settled": classmethod(lambda cls, *given: found)})


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Rows, ""),
        (Reversed, ""),
        (Cuts, "the view backwards has other inputs or shapes than the batch"),
        (ReversesTheBatch, "views changed the batch"),
        (Forgets, "the restored feed prepares other batches"),
        (LooksEverywhere, "rows outside of the training part had a say"),
        (LooksAround, "a row alone gets another answer than in a batch"),
        (Overwrites, "it changed the stored arrays"),
        (StartsAnew, "an epoch must begin with the batch number `first`"),
        (_settling({"lr": 0.2, "flip": None}), ""),
        (_settling(None), "feed 'rows': `settled` must return a dict of settings of [training]"),
        (_settling({"flipp": True}), "'training.flipp' is not a setting; did you mean 'flip'?"),
        (_settling({"lr": "fast"}), "feed 'rows': `settled`: training.lr: input should be"),
    ],
)
def test_the_suite_of_feeds_finds(target: Any, words: str) -> None:
    registry.register("datasets", "rows", _rows, options={"example": ""})
    registry.register("feeds", "rows", target, options={"space": "mlp"})
    outcome = feeds.check("feeds", "rows")
    assert outcome.n_checked
    assert any(words in p for p in outcome.problems) if words else not outcome.problems


class SettlesTheRate(Rows):
    @classmethod
    def settled(cls, *given: Any) -> Any:
        return {"lr": 0.2}


def test_a_run_ends_before_it_begins_where_its_feed_settles_what_is_set(tmp_path: Path) -> None:
    registry.register("feeds", "rows", SettlesTheRate, options={"space": "mlp"})
    serial = {"executor": "serial"}
    tables = {"training": {"lr": 0.1}, "budget": {"trials": 1}, "execution": serial}
    said = r"feed 'rows': `settled` must .* got training.lr = 0.2, which is 0.1 already"
    with pytest.raises(IncompatibleError, match=said):
        nasgen.run(tables, data=_rows(""), out=tmp_path / "run", plugins=[SettlesTheRate])
    assert not (tmp_path / "run").exists()


def test_feeds_and_tasks_without_data_are_not_called_fine() -> None:
    registry.register("feeds", "rows", Rows, options={"space": "mlp"})
    registry.register("tasks", "ranks", Task, options={"objective": "val_accuracy"})
    for group, name in (("feeds", "rows"), ("tasks", "ranks")):
        finding = check.check_member(group, name)
        assert not finding.ok
        assert "register a data set" in finding.message


class Plain(Task):
    """Two classes by one number: right is the sign."""

    metrics = ("accuracy", "loss")
    metric = "accuracy"

    @classmethod
    def fit(cls, dataset: Any, rows: Any) -> Plain:
        return cls()

    @classmethod
    def restore(cls, facts: Any, arrays: Any) -> Plain:
        return cls()

    def state(self) -> Any:
        return {}, {}

    @property
    def n_outputs(self) -> int:
        return 1

    def loss(self, outputs: Any, targets: Any, smoothing: float = 0.0) -> Any:
        import torch.nn.functional as F

        return F.softplus(-outputs[:, 0] * (2.0 * targets - 1)).mean()

    def predictions(self, outputs: Any) -> Any:
        return outputs[:, 0]

    def measured(self, predictions: Any, targets: Any) -> dict[str, float]:
        wrong = -predictions * (2.0 * targets - 1)
        return {
            "accuracy": float((wrong < 0).mean()),
            "loss": float(np.logaddexp(0, wrong.astype(np.float64)).mean()),
        }

    def correct(self, predictions: Any, targets: Any) -> Any:
        return (predictions > 0) == (targets > 0)


class Unmeasured(Plain):
    metrics = ("accuracy", "loss", "f1")


class Backwards(Plain):
    def loss(self, outputs: Any, targets: Any, smoothing: float = 0.0) -> Any:
        return super().loss(outputs, 1 - targets)


class Worst(Plain):
    direction = "minimize"

    def scores(self, candidates: Any, targets: Any) -> Any:
        return [(self.measured(c, targets)["accuracy"],) for c in candidates]


def _signs(rest: str) -> Dataset:
    data = _rows(rest)
    halves = (data.inputs["x"], data.targets, data.inputs_test["x"], data.targets_test)
    return Dataset("signs", *halves, ("a", "b"), "rows", "signs")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Plain, ""),
        (Unmeasured, "metrics names ('accuracy', 'loss', 'f1'), got ['accuracy', 'loss']"),
        (Backwards, "training's loss fell, the measured one did not"),
        (Worst, "scores and 'accuracy' disagree on the best"),
    ],
)
def test_the_suite_of_tasks_finds(target: Any, words: str) -> None:
    registry.register("datasets", "signs", _signs, options={"example": ""})
    registry.register("tasks", "signs", target, options={"objective": "val_accuracy"})
    outcome = tasks.check("tasks", "signs")
    assert outcome.n_checked
    assert any(words in p for p in outcome.problems) if words else not outcome.problems
