"""Rules of n neighbouring symbols, to be set beside what networks reach on strings of tokens.

A string is turned down when it has n symbols in a row that no accepted string of the training part
has, its beginning and end included. A task that such a rule solves needs a memory of n symbols.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasgen.data.base import Dataset
from nasgen.errors import DataError

Array = NDArray[Any]
BORDER = 1  # what stands before and behind a string; tokens count from 2


class Rule:
    """The rows of n neighbouring symbols that `accepted` strings have.

    `strings` are {"x": (N, T) integers >= 0, "lengths": (N,)}; n is 1 to 5. Raises DataError for
    sequences of vectors, and where there is no string to learn from.
    """

    def __init__(self, accepted: Mapping[str, Array], n: int) -> None:
        if not 1 <= n <= 5:
            raise DataError(f"a rule of neighbours: expected 1 to 5 symbols, got {n}.")
        if not len(accepted["lengths"]):
            raise DataError(
                f"a rule of {n} neighbours: expected strings of the accepted class to learn from, "
                "got none."
            )
        self.n = n
        self.base = 3 + int(_tokens(accepted).max())
        codes, inside = self._rows(accepted)
        self.seen = np.unique(codes[inside])

    def accepts(self, strings: Mapping[str, Array]) -> NDArray[np.bool_]:
        """Return which strings have seen neighbours alone."""
        codes, inside = self._rows(strings)
        return np.asarray((np.isin(codes, self.seen) | ~inside).all(axis=1), np.bool_)

    def _rows(self, strings: Mapping[str, Array]) -> tuple[Array, Array]:
        """Return the number of each n symbols in a row, (N, places), and which places there are."""
        x, lengths, ends = _tokens(strings), strings["lengths"], self.n - 1
        steps = np.arange(x.shape[1])
        # A symbol that no accepted string has is like any other such.
        known = np.where(steps < lengths[:, None], np.minimum(x + 2, self.base), BORDER)
        padded = np.pad(known, ((0, 0), (ends, ends)), constant_values=BORDER)
        n_places = padded.shape[1] - ends
        codes = np.zeros((len(x), n_places), dtype=np.int64)
        for i in range(self.n):
            codes = codes * (self.base + 1) + padded[:, i : i + n_places]
        return codes, np.arange(n_places) < lengths[:, None] + ends


def _tokens(strings: Mapping[str, Array]) -> Array:
    x = np.asarray(strings["x"])
    if x.ndim != 2 or x.dtype.kind not in "iu":
        raise DataError(
            f"a rule of neighbours: expected strings of tokens (N, T), got {x.shape} {x.dtype}."
        )
    return x.astype(np.int64)


def accuracy(
    strings: Mapping[str, Array],
    labels: Array,
    strings_test: Mapping[str, Array],
    labels_test: Array,
    n: int,
    accepted: int = 1,
) -> float:
    """Return the share of test strings that a rule of n symbols tells right, in 0..1.

    `accepted` is the label of the strings that it learns from; all other labels are turned down.
    """
    rows = np.asarray(labels) == accepted
    rule = Rule({name: strings[name][rows] for name in ("x", "lengths")}, n)
    right = rule.accepts(strings_test) == (np.asarray(labels_test) == accepted)
    return float(right.mean())


def of_dataset(dataset: Dataset, accepted: int = 1) -> dict[str, float]:
    """Return rule -> share of a data set's test strings that it tells right: bigram, trigram.

    {} for what is no set of strings of tokens in two classes.
    """
    if dataset.form != "sequence" or dataset.inputs["x"].ndim != 2 or len(dataset.classes) != 2:
        return {}
    own = dataset.inputs, dataset.targets, dataset.inputs_test, dataset.targets_test
    return {
        "bigram rule": accuracy(*own, 2, accepted),
        "trigram rule": accuracy(*own, 3, accepted),
    }
