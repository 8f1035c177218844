"""Whether an ensemble is as sure as it is right; the temperature that makes it so (Guo 2017)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nasgen.evaluation.tasks.base import Task

N_BINS = 15
TEMPERATURES: Final = (0.05, 20.0)  # from, to
# Standard deviation of log T before any row was seen. Few rows, which may all be right, would
# otherwise push T to the end of its range; of some hundred rows it is hardly felt.
PRIOR: Final = 0.5


@dataclass(frozen=True)
class Reliability:
    """How probabilities of the chosen class compare with what came true.

    - `nll`: mean negative log-likelihood; `ece`: expected calibration error, the mean distance of
      confidence and accuracy over 15 bins of equal width, weighted by their rows.
    - `bins`: for each bin with rows: mean confidence, accuracy, number of rows.
    """

    nll: float
    ece: float
    accuracy: float
    bins: tuple[tuple[float, float, int], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures and the bins."""
        return asdict(self)


def reliability(task: Task, probabilities: NDArray[Any], targets: NDArray[Any]) -> Reliability:
    """Return how well probabilities (B, n_classes) are calibrated."""
    measured = task.measured(probabilities, targets)
    sure = probabilities.max(axis=1)
    right = task.correct(probabilities, targets)
    at = np.minimum((sure * N_BINS).astype(int), N_BINS - 1)
    bins = []
    for k in range(N_BINS):
        own = at == k
        if own.any():
            bins.append((float(sure[own].mean()), float(right[own].mean()), int(own.sum())))
    ece = sum(n * abs(confidence - accuracy) for confidence, accuracy, n in bins) / len(targets)
    return Reliability(measured["loss"], ece, float(right.mean()), tuple(bins))


def temperature(task: Task, probabilities: NDArray[Any], targets: NDArray[Any]) -> float:
    """Return the most probable T, with which p**(1/T), normalised, explains these rows.

    The log-likelihood is of all rows together, and log T has a normal prior about 0, T = 1: the
    fewer rows there are, the nearer to 1 it stays.
    """
    from scipy.optimize import minimize_scalar

    logits = task.logits(probabilities)

    def loss(log_t: float) -> float:
        mean = task.measured(task.of_logits(logits / np.exp(log_t)), targets)["loss"]
        return len(targets) * mean + 0.5 * (log_t / PRIOR) ** 2

    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))
