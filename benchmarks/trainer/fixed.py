"""One training of a given network in nasgen's own trainer; tricks override steps of it.

A trick is a class that is derived from `Fixed` and calls `super()`, so several can be combined: an
arm is `type("Arm", (*tricks, Fixed), {})`. Without tricks it is what the evaluator does with a
trial: the same network, batches, optimiser, schedule and seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from nasgen import seeding
from nasgen.evaluation import batches, device, measure, shared
from nasgen.evaluation.images import ImageBatches
from nasgen.evaluation.inference import Inference
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.training import make_optimizer, train
from nasgen.layers.base import Shape
from nasgen.phenotype.network import build
from nasgen.runs.origin import read as read_network
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings.config import Training

Row = dict[str, Any]
MANY_EPOCHS = 100_000.0  # where seconds end the training
WIDEST = 1024  # channels of a layer
BACKWARD = 3  # a step costs about three times the operations of a forward pass


@dataclass(frozen=True)
class Task:
    """What is trained: `network` as [origin] network names it, `widen` times as wide, on `data`.

    `validation` is the share of training images to judge on; with `on_all` they are trained on
    too, and the test images are judged on: for reports, not for choices. Either `seconds` or
    `epochs` is set; `epochs` are those of the plain network, others get as many operations.
    """

    data: str
    network: str
    widen: float
    validation: float
    on_all: bool
    seconds: float | None
    epochs: float | None
    threads: int


class Fixed:
    """The plain training. Steps are called once, in the order in which they stand here."""

    # What a value in the name of an arm sets, as in "norm_biases=16"; "" where there is none.
    option: ClassVar[str] = ""

    def __init__(self, task: Task, seed: int) -> None:
        self.task, self.seed = task, seed
        wide = DagCnn(max_channels=WIDEST)
        found: Any = read_network(task.network, wide, "dag-cnn").genotype
        self.genotype = wide.widened(found, task.widen).mint(0, 0)
        # As it is in the space that searches use, unless that has no place for it.
        most = max(DagCnn().max_channels, *(int(v.get("channels", 0)) for v in self.genotype.inner))
        context = {
            "space": {"name": "dag-cnn", "max_channels": most},
            "data": {"source": task.data, "validation": task.validation},
            "device": "cpu",
            "threads": task.threads,
        }
        self.inference = Inference(context, artifacts=None)  # type: ignore[arg-type]
        self.feed, self.target = self.inference.feed, self.inference.task
        data = self.inference.data
        self.rows = shared.rows(data, 1.0, task.on_all)
        self.inputs, self.targets = shared.tensors(data, "cpu")
        self.recipe = self.make_recipe()

    @classmethod
    def fits(cls, recipe: Recipe) -> bool:
        """Tell whether a trick changes anything for images that are trained on like this."""
        return True

    def some(self, n: int) -> Tensor:
        """Return the first `n` training images as networks read them, (n, C, H, W)."""
        rows = torch.from_numpy(self.rows[:n])
        return self.feed.batch({"x": self.inputs["x"].index_select(0, rows)})["x"]

    # ---- the steps -----------------------------------------------------------------------------

    def make_recipe(self) -> Recipe:
        """Return the settings of the training."""
        return Recipe.of(Training(), self.feed.input_shape)

    def make_network(self, shape: Shape) -> nn.Module:
        """Return the network for rows of a shape, its weights drawn."""
        blueprint = self.inference.space.blueprint(self.genotype, shape, self.target.n_outputs)
        network = build(blueprint, seeding.integer(self.seed, "weights"))
        return self.feed.placed(network, torch.device("cpu"))

    def make_batches(self) -> ImageBatches:
        """Return the batches of the training."""
        made = self.feed.batches(
            self.inputs,
            self.targets,
            torch.from_numpy(self.rows),
            self.recipe.batch_for(len(self.rows)),
            torch.Generator().manual_seed(seeding.integer(self.seed, "batches")),
            self.recipe,
        )
        assert isinstance(made, ImageBatches)
        return made

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser of `self.network`."""
        return make_optimizer(self.network, self.recipe)

    def end(self) -> None:
        """Called after the training: what is left in the network is measured."""

    def flops_a_step(self) -> float:
        """Return the operations of a step beside those of the network."""
        return 0.0

    # ---- what is measured ------------------------------------------------------------------------

    def run(self, flops: float | None) -> Row:
        """Train for the task's seconds, or for as many operations as given, and return the row."""
        with device.threads(self.task.threads), device.flushed_denormals():
            began = time.perf_counter()
            self.network = self.make_network(self.feed.input_shape)
            self.batches = self.make_batches()
            self.optimizer = self.make_optimizer()
            made_s = time.perf_counter() - began  # it counts as training
            epochs, seconds = MANY_EPOCHS, self.task.seconds
            if seconds is None:
                assert flops is not None
                epochs = flops / (self.flops_an_image() * len(self.rows))
            else:
                seconds -= made_s
            loss = partial(self.target.loss, smoothing=self.recipe.label_smoothing)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seeding.integer(self.seed, "training"))
                history = train(
                    self.network, self.batches, loss, self.recipe, epochs, seconds,
                    optimizer=self.optimizer,
                )  # fmt: skip
                self.end()
            self.network.eval()
            return {
                "accuracy": self.accuracies(),
                "train_loss": history.train_loss,
                "epochs": history.epochs_done,
                "images": history.n_rows,
                "pflop": history.n_rows * self.flops_an_image() / 1e15,
                "train_s": round(history.train_s, 3),
                "made_s": round(made_s, 3),
                "images_per_s": round(history.n_rows / history.train_s, 1),
                "n_params": measure.n_params(self.network),
                "precision": history.precision,
            }

    def flops_an_image(self) -> float:
        """Return the operations to train on one image of full size.

        Images that are smaller at first are counted as full ones, in every arm alike.
        """
        own = BACKWARD * measure.flops(self.network, self.feed.example())
        return own + self.flops_a_step() / self.recipe.batch_for(len(self.rows))

    def accuracies(self) -> dict[str, float]:
        """Return the share of images classified correctly, by the number of views of an image."""
        data = self.inference.data
        if self.task.on_all:
            prepared, rows = shared.prepared(data, "test"), None
            targets = shared.data(data).targets_test
        else:
            prepared, rows = shared.prepared(data, "train"), shared.split(data, 1.0).validation
            targets = shared.data(data).targets[rows]
        views = (None, *self.feed.views(self.recipe))
        answers = [self.answers(prepared, rows, view) for view in views]
        found = {}
        for n in dict.fromkeys((1, 1 + self.recipe.flip, len(views))):
            mean = np.mean(answers[:n], axis=0)
            found[str(n)] = float(self.target.correct(mean, targets).mean())
        return found

    def answers(self, prepared: Mapping[str, Any], rows: Any, view: Any) -> np.ndarray[Any, Any]:
        """Return the predictions for a view of images, None for images as they are, (n, ...)."""
        parts = []
        with torch.inference_mode():
            for batch in batches.evaluation_batches(self.feed, prepared, rows, torch.device("cpu")):
                shown = batch if view is None else self.feed.viewed(batch, view)
                outputs = self.network(shown["x"])
                parts.append(self.target.predictions(outputs.float()))
        return torch.cat(parts).numpy()


# ---- what tricks share ---------------------------------------------------------------------------


def regroup(
    optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor], factor: float, **group: Any
) -> dict[str, Any]:
    """Move parameters to a group of their own, with `factor` times the learning rate; return it."""
    moved = list(parameters)
    ids = {id(parameter) for parameter in moved}
    for other in optimizer.param_groups:
        other["params"] = [p for p in other["params"] if id(p) not in ids]
    optimizer.add_param_group({"params": moved, "factor": factor, **group})
    before_steps(optimizer, _with_factors, first=True)
    return optimizer.param_groups[-1]


def before_steps(
    optimizer: torch.optim.Optimizer, hook: Callable[..., None], first: bool = False
) -> None:
    """Have a function called before each step; with `first` once, and before all others."""
    hooks = optimizer._optimizer_step_pre_hooks
    if first and hook in hooks.values():
        return
    optimizer.register_step_pre_hook(hook)
    if first:
        hooks.move_to_end(next(reversed(hooks)), last=False)


def _with_factors(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Multiply the rate of each group, which the training loop sets anew before each step."""
    for group in optimizer.param_groups:
        group["lr"] *= group.get("factor", 1.0)
