"""The 1,797 handwritten digits of scikit-learn, 8x8 grey: a data set that is always there.

Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits". Prefer `mnist:DIR` for results
worth reporting; this one is for first steps and tests.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nasgen.data.base import Dataset, make
from nasgen.errors import DataError

FILE: Final = "datasets/data/digits.csv.gz"  # in scikit-learn's package


def load(rest: str) -> Dataset:
    """Return 1,437 training and 360 test images (1, 8, 8); `rest` must be empty."""
    if rest:
        raise DataError(f"digits: takes nothing after the colon, got '{rest}'; write 'digits'.")
    x, y = rows()
    grey = np.round(x * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return make("digits", grey, y)


def rows() -> tuple[NDArray[Any], NDArray[Any]]:
    """Return pixels (1797, 64) in 0..16 and labels (1797,), as scikit-learn's `load_digits` does.

    Its file is read where it lies: importing `sklearn.datasets` takes each process of a search
    longer than all else that it does with this data set.
    """
    numbers = _numbers(FILE)
    return numbers[:, :-1].copy(), numbers[:, -1].astype(int)


@cache
def _numbers(place: str) -> NDArray[Any]:
    """Return the 64 pixels and the label of each digit, (1797, 65), read once in a process."""
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / place
    found: NDArray[Any]
    if file.is_file():
        with gzip.open(file, "rt", encoding="utf-8") as text:
            found = np.loadtxt(text, delimiter=",")
    else:  # another version may keep it elsewhere
        from sklearn.datasets import load_digits

        found = np.column_stack(load_digits(return_X_y=True))
    return found
