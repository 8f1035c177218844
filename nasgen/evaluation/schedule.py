"""One schedule for a whole training: the learning rate and the size of images by progress.

*Progress* runs from 0 to 1 over all the training that a network gets, its ancestors' included. A
trial covers a `Stretch` of it, by default all. So a network that is trained on, or a child that
takes over its parent's weights, goes on where the one before ended instead of warming up again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

START: Final = 1 / 25  # first learning rate, as a share of the peak
FULL_SIZE_FROM: Final = 0.7  # progress at which progressive resizing has ended


@dataclass(frozen=True)
class Stretch:
    """The part of the schedule that one training covers, 0 <= `begin` < `end` <= 1.

    `nasgen.settings.fidelity.Fidelity` says it for a trial, and checks it.
    """

    begin: float = 0.0
    end: float = 1.0

    def at(self, own: float) -> float:
        """Return the progress of the whole when this training has done the share `own` of its own.

        What is beyond 1 counts as 1.
        """
        return self.begin + (self.end - self.begin) * min(max(own, 0.0), 1.0)


WHOLE: Final = Stretch()


def one_cycle(progress: float, warmup: float) -> float:
    """Return the learning rate as a share of its peak; `progress` and `warmup` are in [0, 1].

    Rises linearly from 1/25 to 1 during `warmup`, then falls to 0 along a cosine. One-cycle
    schedules train small networks in few epochs (Smith and Topin 2018, "Super-convergence").
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return START + (1 - START) * progress / warmup
    if warmup >= 1:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def steady(progress: float, warmup: float, decay: float) -> float:
    """Return the learning rate as a share of its peak; all arguments are in [0, 1].

    Rises linearly from 1/25 to 1 during `warmup`, stays, and falls linearly to 0 in the last
    `decay` (Hu 2024, "MiniCPM", section 4). What is trained on in rounds, with new parts in each,
    learns at one rate until the end. Where warm-up and decay overlap the lower one counts.
    """
    progress = min(max(progress, 0.0), 1.0)
    rise = START + (1 - START) * progress / warmup if progress < warmup else 1.0
    return min(rise, (1 - progress) / decay)


def learning_rate(progress: float, warmup: float, decay: float | None) -> float:
    """Return the rate as a share of its peak: `steady` with a `decay`, else `one_cycle`."""
    return one_cycle(progress, warmup) if decay is None else steady(progress, warmup, decay)


def image_scale(progress: float, start: float) -> float:
    """Return the side of training images as a share of the full one at `progress` in [0, 1].

    Progressive resizing (Howard 2018, "Training Imagenet in 3 hours"): linear from `start` to 1,
    which it reaches at `FULL_SIZE_FROM`; the rest is trained at full size, for the norm statistics
    too.
    """
    return min(1.0, start + (1.0 - start) * progress / FULL_SIZE_FROM)
