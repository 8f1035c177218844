"""Tokens that stand for texts: a vocabulary says for which, texts are numbered by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasgen.errors import DataError

SHOWN = 8  # texts of a vocabulary in a message


def numbered(name: str, key: str, value: Any, vocabulary: Sequence[str]) -> Any:
    """Return texts as lists of tokens: of strings each character, of lists of texts each text.

    What holds no texts is returned as it is. Raises DataError for a text that the vocabulary has
    not.
    """
    rows = [value] if isinstance(value, str) else value
    if not _has_texts(rows):
        return value
    number = {text: i for i, text in enumerate(vocabulary)}
    found = []
    for i, row in enumerate(rows):
        unknown = [str(text) for text in row if text not in number]
        if unknown:
            raise DataError(
                f"{name}: {key}[{i}]: expected texts of the vocabulary ({_shown(vocabulary)}), got "
                f"{unknown[0]!r}; drop the row or replace it."
            )
        found.append(np.array([number[text] for text in row], dtype=np.int64))
    return found


def _has_texts(rows: Any) -> bool:
    if isinstance(rows, np.ndarray):
        return bool(rows.dtype.kind == "U")
    if not isinstance(rows, list | tuple):
        return False
    return any(isinstance(row, str) or _is_texts(row) for row in rows)


def _is_texts(row: Any) -> bool:
    return isinstance(row, list | tuple) and any(isinstance(text, str) for text in row)


def check(
    name: str, key: str, form: str, given: Mapping[str, NDArray[Any]], vocabulary: Sequence[str]
) -> None:
    """Check that the tokens of sequences are in the vocabulary, if there is one.

    `given` are inputs that their form has checked.
    """
    if not vocabulary:
        return
    x = given["x"]
    if form != "sequence" or x.ndim != 2:
        raise DataError(
            f"{name}: a vocabulary is for sequences of tokens (N, T), got {key} {x.shape} of the "
            f"form '{form}'; leave it out."
        )
    if len(set(vocabulary)) < len(vocabulary) or not all(isinstance(t, str) for t in vocabulary):
        raise DataError(
            f"{name}: expected a vocabulary of different texts, got {_shown(vocabulary)}."
        )
    inside = np.arange(x.shape[1]) < given["lengths"][:, None]
    wrong = np.argwhere(inside & (x >= len(vocabulary)))
    if wrong.size:
        row, step = (int(i) for i in wrong[0])
        raise DataError(
            f"{name}: {key}: sequence {row}, step {step} is the token {int(x[row, step])}, "
            f"expected 0 to {len(vocabulary) - 1}, as the vocabulary has {len(vocabulary)} texts."
        )


def _shown(vocabulary: Sequence[str]) -> str:
    """Return a vocabulary for messages, without what cannot be read."""
    readable = [str(text) for text in vocabulary if str(text).isprintable() and str(text).strip()]
    more = len(vocabulary) - min(SHOWN, len(readable))
    return ", ".join(readable[:SHOWN]) + (f" and {more} more" if more > 0 else "")
