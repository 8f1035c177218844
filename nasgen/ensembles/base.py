"""The contract of an ensemble method, and what it selects from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasgen.evaluation.tasks.base import Task

# What a task keeps of a network's outputs, one entry a row: (B, n_classes) probabilities that sum
# to 1, or (B,) values.
Predictions = NDArray[np.float32]
Targets = NDArray[Any]

# (validation predictions of each candidate, best first; targets; rounds; the task, whose `scores`
# order mixtures) -> weights >= 0, one a candidate, summing to 1.
Select = Callable[[Sequence[Predictions], Targets, int, Task], NDArray[np.float64]]
