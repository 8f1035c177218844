"""The training loop: one cycle of the learning rate, read from top to bottom.

One-cycle schedules train small networks in few epochs (Smith and Topin 2018,
"Super-convergence"); weight decay is decoupled (Loshchilov and Hutter 2019).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from nasgen.errors import EvaluationError
from nasgen.evaluation.batches import TrainingBatches, resized
from nasgen.evaluation.recipe import Recipe

Row = dict[str, float]
FULL_SIZE_FROM = 0.7  # progress at which progressive resizing has ended
START = 1 / 25  # first learning rate, as a share of the peak
CHECK_EVERY = 10  # steps between looks at the loss; each look makes a GPU wait
REPORT_EVERY_S = 1.0


@dataclass
class History:
    """What happened in training. `curve` has one row an epoch: epoch, train_loss, lr, elapsed_s."""

    curve: list[Row] = field(default_factory=list)
    epochs_done: float = 0.0
    n_images: int = 0
    train_s: float = 0.0
    train_loss: float = math.nan
    stopped: bool = False


def one_cycle(progress: float, warmup: float) -> float:
    """Return the learning rate as a share of its peak; `progress` and `warmup` are in [0, 1].

    Rises linearly from 1/25 to 1 during `warmup`, then falls to 0 along a cosine.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return START + (1 - START) * progress / warmup
    if warmup >= 1:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def image_scale(progress: float, start: float) -> float:
    """Return the side of training images as a share of the full one at `progress` in [0, 1].

    Progressive resizing (Howard 2018, "Training Imagenet in 3 hours"): linear from `start` to 1,
    which it reaches at `FULL_SIZE_FROM`; the rest is trained at full size, for the norm statistics
    too.
    """
    return min(1.0, start + (1.0 - start) * progress / FULL_SIZE_FROM)


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
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)


def train(
    network: nn.Module,
    batches: TrainingBatches,
    recipe: Recipe,
    epochs: float,
    seconds: float | None = None,
    time_left_s: Callable[[], float] = lambda: math.inf,
    report: Callable[[Row], bool] = lambda row: True,
) -> History:
    """Train `network` in place for `epochs` (may be fractional) and return what happened.

    With `seconds` the schedule ends after that long at the latest, fully annealed. `report` gets
    {"epoch", "train_loss", "elapsed_s"} after each epoch and about once a second within; False
    stops the training. Raises EvaluationError: "non-finite" when the loss is no number any more,
    "timeout" when `time_left_s` is used up.
    """
    device = batches.device
    optimizer = make_optimizer(network, recipe)
    autocast, scaler = _mixed_precision(device)
    n_steps = batches.n_steps
    n_total = max(1, round(epochs * n_steps))
    start_scale = recipe.start_scale if _takes_smaller(network, batches, recipe) else 1.0
    history = History()
    network.train()
    start = last_report = time.perf_counter()
    elapsed = step_s = 0.0
    step = 0
    while step < n_total and not history.stopped and not _is_over(elapsed, step_s, seconds, step):
        loss_sum = torch.zeros((), device=device)
        for n_epoch, (images, labels) in enumerate(batches.epoch(), start=1):
            progress = (step + 0.5) / n_total
            if seconds is not None:
                progress = max(progress, elapsed / max(seconds - step_s, 1e-9))
            lr = recipe.lr * one_cycle(progress, recipe.warmup)
            for group in optimizer.param_groups:
                group["lr"] = lr

            images = resized(images, image_scale(progress, start_scale))
            with autocast:
                loss = F.cross_entropy(
                    network(images), labels, label_smoothing=recipe.label_smoothing
                )
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

            loss_sum += loss.detach()
            step += 1
            history.n_images += len(labels)
            history.epochs_done = step / n_steps
            ends = step == n_total or n_epoch == n_steps
            if ends or step % CHECK_EVERY == 1:
                history.train_loss = _finite(loss_sum.item() / n_epoch, history.epochs_done)
            now = time.perf_counter() - start
            step_s, elapsed = now - elapsed, now
            if time_left_s() <= 0:
                raise EvaluationError(
                    f"stopped after {history.epochs_done:.2f} of {epochs:g} epochs", "timeout"
                )
            if not ends and _is_over(elapsed, step_s, seconds, step):
                history.train_loss = _finite(loss_sum.item() / n_epoch, history.epochs_done)
                ends = True
            if ends or time.perf_counter() - last_report > REPORT_EVERY_S:
                last_report = time.perf_counter()
                row = {
                    "epoch": history.epochs_done,
                    "train_loss": history.train_loss,
                    "elapsed_s": elapsed,
                }
                if ends:
                    history.curve.append(row | {"lr": lr})
                history.stopped = not report(row)
            if ends or history.stopped:
                break
    history.train_s = time.perf_counter() - start
    return history


def _takes_smaller(network: nn.Module, batches: TrainingBatches, recipe: Recipe) -> bool:
    """Tell whether the network runs on the smallest images: a plug-in layer may fix its input."""
    example = batches.normalise(batches.images[:2])
    small = resized(example, image_scale(0.0, recipe.start_scale))
    if small.shape == example.shape:
        return True
    network.eval()
    try:
        with torch.no_grad():
            network(small)
    except RuntimeError:
        return False
    return True


def _is_over(elapsed: float, step_s: float, seconds: float | None, step: int) -> bool:
    """Tell whether another step, as long as the last one, would end after `seconds`."""
    return seconds is not None and step > 0 and elapsed + step_s > seconds


def _finite(loss: float, epochs_done: float) -> float:
    if not math.isfinite(loss):
        raise EvaluationError(
            f"the training loss became {loss} after {epochs_done:.2f} epochs; "
            "a lower [training] lr may help",
            "non-finite",
        )
    return loss


def _mixed_precision(
    device: torch.device,
) -> tuple[AbstractContextManager[object], torch.amp.GradScaler]:
    """Return (autocast context, gradient scaler): bfloat16 or float16 on CUDA, nothing on a CPU."""
    if device.type != "cuda":
        return nullcontext(), torch.amp.GradScaler(enabled=False)
    bf16 = torch.cuda.is_bf16_supported()
    dtype = torch.bfloat16 if bf16 else torch.float16
    return torch.autocast("cuda", dtype=dtype), torch.amp.GradScaler("cuda", enabled=not bf16)
