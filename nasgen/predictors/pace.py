"""How many images a network is shown in some seconds of training, by its operations and values.

What grows with an image (multiply-adds, and values that are normalised and passed on, which take
most of the time of small networks) and what a step costs whatever is in it (calls of layers) add
up. The constants come from the trainings of the shipped table, one thread; they tell the seconds of
one of these within 13 % (standard deviation of the logarithm). A faster machine shows all networks
more images, which matters little here, since only the order of networks is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

BATCH: Final = 64


@dataclass(frozen=True)
class Pace:
    """CPU seconds of a training step: per multiply-add and per value of an image, and per layer."""

    mac_s: float
    value_s: float
    step_s: float

    @classmethod
    def usual(cls) -> Self:
        """Return what the machine that made the table needed."""
        return cls(mac_s=1.2e-11, value_s=8e-9, step_s=2.2e-4)

    def image_s(self, macs: float, values: float, n_steps: float, batch: int = BATCH) -> float:
        """Return the seconds that one image of a batch takes."""
        return self.mac_s * macs + self.value_s * values + self.step_s * n_steps / batch

    def images_in(self, seconds: float, network: Sequence[float]) -> float:
        """Return the images shown in some seconds; `network` begins as `NETWORK` does."""
        _, log_macs, log_values, n_steps, *_ = network
        return seconds / self.image_s(math.exp(log_macs), math.exp(log_values), n_steps)
