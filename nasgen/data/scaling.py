"""What a loader wants done to the numbers of a row: declared by it, done by the feed, kept.

A data set holds rows as users have them, so that rows which come later can be treated alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasgen.errors import DataError

ROWS_AT_ONCE = 4096  # in float64


@final
@dataclass(frozen=True, eq=False)
class Scaling:
    """Networks read (row - mean) / deviation, both of which fit one row (C, H, W) by broadcasting.

    Finite numbers, deviations not 0; build it with `of`.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, mean: ArrayLike, deviation: ArrayLike) -> Self:
        """Return the scaling of numbers or arrays; DataError for what cannot be divided by."""
        given = [np.asarray(v, dtype=np.float64) for v in (mean, deviation)]
        if not all(np.isfinite(v).all() for v in given) or not given[1].all():
            raise DataError("scaling: expected finite means, and finite deviations that are not 0.")
        return cls(given[0], given[1])

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise DataError unless it fits rows of a shape."""
        try:
            fits = np.broadcast_shapes(self.mean.shape, self.deviation.shape, shape) == shape
        except ValueError:
            fits = False
        if not fits:
            raise DataError(
                f"{name}: expected a scaling whose mean and deviation fit rows of {shape}, got "
                f"{self.mean.shape} and {self.deviation.shape}."
            )

    def __call__(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Return scaled rows, (N, ...) float32."""
        scaled = np.empty(x.shape, dtype=np.float32)
        with np.errstate(over="ignore"):  # infinite values are found by `forms.check`
            for start in range(0, len(x), ROWS_AT_ONCE):
                part = slice(start, start + ROWS_AT_ONCE)
                scaled[part] = (x[part].astype(np.float64) - self.mean) / self.deviation
        return scaled
