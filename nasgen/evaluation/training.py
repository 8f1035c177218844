"""The training loop, read from top to bottom: a stretch of the schedule, or all of it.

It runs one network, or several in turns on parameters that they share (`cohort`). Weight decay is
decoupled (Loshchilov and Hutter 2019); for the learning rate see `schedule`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from nasgen.errors import EvaluationError
from nasgen.evaluation.average import Average, buffers, measure_statistics
from nasgen.evaluation.batches import Batch, Batches, answered
from nasgen.evaluation.moving import Moving
from nasgen.evaluation.precision import mixed_precision
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.schedule import WHOLE, Stretch, learning_rate

Row = dict[str, float]
Loss = Callable[[Tensor, Tensor], Tensor]  # outputs (B, ...), targets (B, ...) -> mean loss
Look = Callable[[int], tuple[Row, bool]]  # epochs done -> (more for the row, whether to go on)
BETAS = (0.9, 0.999)  # AdamW's decay of its moments
CHECK_EVERY = 10  # steps between checks of the losses; each check makes a GPU wait
REPORT_EVERY_S = 1.0
DONE = "done"  # entry of an optimiser's groups: share of this training that is done
N_MEASURED = 8  # batches on which the norm statistics of averaged or mated weights are measured


@dataclass
class History:
    """What happened in training. `curve` has one row an epoch: epoch, train_loss, lr, elapsed_s.

    `train_s` counts the network's own turns only, when it was trained with others. `stopped` says
    that its report was answered with False, `diverged` that its loss became no number. `answer_s`
    are the seconds in which the network answers a row, where its end moved by them.
    """

    curve: list[Row] = field(default_factory=list)
    epochs_done: float = 0.0
    n_rows: int = 0  # shown, repetitions counted
    train_s: float = 0.0
    train_loss: float = math.nan
    precision: str = "float32"
    stopped: bool = False
    diverged: bool = False
    answer_s: float | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """What a trial records of it."""
        own = {} if self.answer_s is None else {"answer_s": self.answer_s}
        return own | {
            "precision": self.precision,
            "train_loss": self.train_loss if self.n_rows else None,
            "epochs_done": self.epochs_done,
            "images_per_s": self.n_rows / max(self.train_s, 1e-9),
        }


@dataclass
class _Clock:
    """The seconds of a training, None without a limit. Where they change, what is done stays done.

    The share `done` was done when they changed last, `since` seconds after the beginning.
    """

    seconds: float | None
    done: float = 0.0
    since: float = 0.0

    def share(self, elapsed: float, last_s: float) -> float:
        """Return the share that is done, if steps end `last_s` before the seconds do."""
        if self.seconds is None:
            return 0.0
        left = max(self.seconds - last_s - self.since, 1e-9)
        return self.done + (1 - self.done) * (elapsed - self.since) / left

    def is_over(self, elapsed: float, last_s: float, step: int) -> bool:
        """Tell whether what is left to do, `last_s` with another step, would end too late."""
        return self.seconds is not None and step > 0 and elapsed + last_s > self.seconds

    def move(self, seconds: float, elapsed: float) -> None:
        """End after `seconds` in all."""
        if seconds != self.seconds:
            self.done, self.since = min(1.0, self.share(elapsed, 0.0)), elapsed
            self.seconds = seconds


class Trainee:
    """One network in training: what it sees, who hears of it, what has happened so far.

    `loss` is the task's. `forward` runs the network where its parameters live elsewhere; default:
    the network itself. `look` is called after each epoch but the last, with the weights that the
    training would hand over (see `Average`); it leaves the network in training mode. `last` is the
    network's state after the last step, by name, where a mean takes its place. The norms of one
    that `is_derived` have the statistics of its parents, which have other synapses: they are
    measured before the first step. (In training they are not used, but a few steps would not
    replace them.)
    """

    def __init__(
        self,
        network: nn.Module,
        batches: Batches,
        loss: Loss,
        report: Callable[[Row], bool] = lambda row: True,
        forward: Callable[..., Tensor] | None = None,
        is_derived: bool = False,
    ) -> None:
        self.is_derived = is_derived
        self.network, self.batches, self.loss, self.report = network, batches, loss, report
        self.look: Look = lambda epoch: ({}, True)
        self.forward = forward or network
        self.averaged: Callable[[], AbstractContextManager[None]] = nullcontext
        self.history = History()
        self.last: dict[str, Tensor] = {}
        self.stream: Iterator[Batch] = iter(())
        self.loss_sum = 0.0  # of the epoch so far

    def clip(self, weights: Sequence[Tensor], most: float) -> None:
        """Scale the gradients down to the norm `most`, where theirs is larger."""
        nn.utils.clip_grad_norm_(weights, most)

    def tell(self, end: Row | None, is_over: bool) -> None:
        """Report the progress; `end` holds what the curve's row adds at the end of an epoch."""
        history, goes_on = self.history, True
        row = {
            "epoch": history.epochs_done,
            "train_loss": history.train_loss,
            "elapsed_s": history.train_s,
        }
        if end is not None:
            if not is_over:
                with self.averaged():
                    seen, goes_on = self.look(round(history.epochs_done))
                row |= seen
            history.curve.append(row | end)
        history.stopped = not (self.report(row) and goes_on)


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW or SGD with Nesterov momentum 0.9; vectors (norms, biases) do not decay."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    # fused: one call for all tensors; on a CPU it takes a third of the time of the default.
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, nesterov=True, fused=True)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=BETAS, fused=True)


def train(
    network: nn.Module,
    batches: Batches,
    loss: Loss,
    recipe: Recipe,
    epochs: float,
    seconds: float | None = None,
    time_left_s: Callable[[], float] = lambda: math.inf,
    report: Callable[[Row], bool] = lambda row: True,
    optimizer: torch.optim.Optimizer | None = None,
    stretch: Stretch = WHOLE,
) -> History:
    """Train `network` in place for `epochs` (may be fractional) and return what happened.

    It covers a `stretch` of the schedule; with `seconds` it ends after that long at the latest, and
    the stretch with it. What is left in the network is the mean of its weights, as the recipe says.
    `report` gets {"epoch", "train_loss", "elapsed_s"} after each epoch and about once a second
    within; False stops the training. `optimizer` is one that `make_optimizer` gave for this
    network, when it brings moments along. Raises EvaluationError: "non-finite" when the loss is no
    number any more, "timeout" when `time_left_s` is used up.
    """
    trainee = Trainee(network, batches, loss, report)
    optimizer = optimizer or make_optimizer(network, recipe)
    train_together([trainee], optimizer, recipe, epochs, seconds, time_left_s, stretch=stretch)
    return trainee.history


def n_updates(epochs: float, n_steps: int) -> int:
    """Return the updates of a training of `epochs`, each of `n_steps`: at least one.

    None for exactly 0 epochs, which leave a network as it is.
    """
    return max(1, round(epochs * n_steps)) if epochs else 0


def train_together(
    trainees: Sequence[Trainee],
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    epochs: float,
    seconds: float | None = None,
    time_left_s: Callable[[], float] = lambda: math.inf,
    turns: torch.Generator | None = None,
    stretch: Stretch = WHOLE,
    moving: Moving | None = None,
) -> None:
    """Train networks in rounds; in a round each of them makes one update, in an order of `turns`.

    One optimiser holds the parameters of all of them (Painter 2018, joint training). `epochs` and
    `seconds` are what each may use, `seconds` on average, or what `moving` says after each round;
    all stop after the same round, so they have made equally many steps. Their batches must be
    equally many in an epoch. One whose `report` answers False stops alone. Weights are averaged
    after each round. Fills in every trainee's `history` and raises like `train`; of the one whose
    loss was the first to be no number, `history.diverged` is set.
    """
    device, n_steps = trainees[0].batches.device, trainees[0].batches.n_steps
    side = trainees[0].batches.side
    precision, (autocast, scaler) = mixed_precision(recipe.precision, device, side)
    n_total = n_updates(epochs, n_steps)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    statistics = buffers(trainee.network for trainee in trainees)
    average = Average((*weights, *statistics), recipe.average_at(stretch.end))
    # Steps after the last one: running a network takes about a third of a step's time.
    n_after = math.ceil(N_MEASURED / 3) if average.share else 0
    for trainee in trainees:
        _begin(trainee)
        if trainee.is_derived:
            with autocast:
                _measure(trainee, stretch.end)
        trainee.history.precision = precision
        trainee.averaged = average.lent
        trainee.stream = trainee.batches.stream()
    active = list(trainees)
    losses: list[tuple[Trainee, torch.Tensor]] = []  # not yet looked at
    last = last_report = time.perf_counter()
    elapsed = round_s = 0.0  # of one trainee, on average
    clock = _Clock(seconds)
    step = 0
    after_s = 0.0  # what is left to do when the last step is done
    while step < n_total and active and not clock.is_over(elapsed, round_s + after_s, step):
        for trainee in active:
            trainee.loss_sum = 0.0
        for n_epoch in range(1, n_steps + 1):
            own = (step + 0.5) / n_total
            own = max(own, clock.share(elapsed, round_s + after_s))
            progress = stretch.at(own)
            lr = recipe.lr * learning_rate(progress, recipe.warmup, recipe.decay)
            for group in optimizer.param_groups:
                group |= {"lr": lr, DONE: min(own, 1.0)}

            began = last
            for trainee in _in_turn(active, turns):
                trainee.batches.progress = progress
                inputs, targets = next(trainee.stream)
                with autocast:
                    loss = trainee.loss(answered(trainee.forward, inputs), targets)
                if not loss.requires_grad:
                    raise EvaluationError(
                        "the loss depends on no weight of the network: a layer or the task's loss "
                        "detaches it, or has switched gradients off"
                    )
                # None, not 0: what this network does not use must not move, nor its moments.
                optimizer.zero_grad(set_to_none=True)
                scaler.scale(loss).backward()
                if recipe.clip:
                    scaler.unscale_(optimizer)
                    trainee.clip(weights, recipe.clip)
                scaler.step(optimizer)
                scaler.update()

                losses.append((trainee, loss.detach()))
                trainee.history.n_rows += len(targets)
                now = time.perf_counter()
                trainee.history.train_s += now - last
                last = now

            average.update()
            step += 1
            round_s = (last - began) / len(active)
            after_s = n_after * round_s
            elapsed = sum(trainee.history.train_s for trainee in active) / len(active)
            epochs_done = step / n_steps
            for trainee in active:
                trainee.history.epochs_done = epochs_done
            if time_left_s() <= 0:
                raise EvaluationError(
                    f"stopped after {epochs_done:.2f} of {epochs:g} epochs", "timeout"
                )
            if moving is not None and step < n_total:
                clock.move(moving.after(elapsed), elapsed)
                last = _passed(active, last)
                elapsed = sum(trainee.history.train_s for trainee in active) / len(active)
            is_over = step == n_total or clock.is_over(elapsed, round_s + after_s, step)
            ends = is_over or n_epoch == n_steps
            if ends or step % CHECK_EVERY == 1:
                _look_at(losses)
                for trainee in active:
                    trainee.history.train_loss = trainee.loss_sum / n_epoch
            if ends or last - last_report > REPORT_EVERY_S:
                last_report = last
                for trainee in active:
                    trainee.tell({"lr": lr} if ends else None, is_over)
                    last = _passed([trainee], last)
                active = [trainee for trainee in active if not trainee.history.stopped]
            if ends or not active:
                break
    for trainee in active if average.share else ():
        state = trainee.network.state_dict()
        trainee.last = {name: tensor.detach().clone() for name, tensor in state.items()}
    average.settle()
    for trainee in active if average.share else ():
        with autocast:
            _measure(trainee, stretch.end)
    if moving is not None:
        trainees[0].history.answer_s = moving.answer_s
    rest_s = time.perf_counter() - last
    for trainee in trainees:
        trainee.history.train_s += rest_s / len(trainees)


def _passed(trainees: Sequence[Trainee], since: float) -> float:
    """Count the time since then as training, and return what it is now.

    A look takes time of the training, but must not pass for a slow step.
    """
    now = time.perf_counter()
    for trainee in trainees:
        trainee.history.train_s += (now - since) / len(trainees)
    return now


def _in_turn(active: list[Trainee], turns: torch.Generator | None) -> list[Trainee]:
    if turns is None:
        return active
    return [active[i] for i in torch.randperm(len(active), generator=turns).tolist()]


def _look_at(losses: list[tuple[Trainee, torch.Tensor]]) -> None:
    """Add losses to their trainees' sums, all at once: each look makes a GPU wait."""
    values = torch.stack([loss for _, loss in losses]).tolist()
    for (trainee, _), value in zip(losses, values, strict=True):
        if not math.isfinite(value):
            trainee.history.diverged = True
            raise EvaluationError(
                f"the training loss became {value} after {trainee.history.epochs_done:.2f} "
                "epochs; a lower [training] lr may help",
                "non-finite",
            )
        trainee.loss_sum += value
    losses.clear()


def _begin(trainee: Trainee) -> None:
    """Show the batches the network in eval mode, then bring it into training mode."""
    trainee.network.eval()
    with torch.no_grad():
        trainee.batches.begin(lambda inputs: answered(trainee.forward, inputs))
    trainee.network.train()


def _measure(trainee: Trainee, progress: float) -> None:
    """Measure the statistics of a network's norms, on batches as they are at a progress."""
    trainee.batches.progress = progress
    batches = islice(trainee.batches.epoch(), N_MEASURED)
    runs = (partial(answered, trainee.forward, inputs) for inputs, _ in batches)
    measure_statistics(trainee.network, runs)
