"""The 1,797 handwritten digits of scikit-learn, 8x8 grey: a data set that is always there.

Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits". Prefer `mnist:DIR` for results
worth reporting; this one is for first steps and tests.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from nasgen.data.base import Dataset, make
from nasgen.errors import DataError


def load(rest: str) -> Dataset:
    """Return 1,437 training and 360 test images (1, 8, 8); `rest` must be empty."""
    if rest:
        raise DataError(f"digits: takes nothing after the colon, got '{rest}'; write 'digits'.")
    x, y = load_digits(return_X_y=True)
    grey = np.round(x * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return make("digits", grey, y)
