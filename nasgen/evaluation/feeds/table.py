"""Tables: numbers are standardised, texts become one column a category, gaps are marked.

What the training part teaches: mean, deviation and median of each column of numbers, the categories
of each column of texts, most frequent first, and which columns have gaps. A missing number becomes
the median, and a further column says that it was missing; a missing text is a category like others
where training has seen it. A category that training has not seen is none of the known ones: all its
columns are 0, and `remarks` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self, final

import numpy as np
from numpy.typing import NDArray

from nasgen.data.columns import Column, columns_of, rows
from nasgen.errors import DataError
from nasgen.evaluation.feeds.base import Array, Feed, Inputs, stored
from nasgen.layers.base import Shape

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nasgen.data.base import Dataset

MOST_CATEGORIES: Final = 64  # of a column; rarer ones are read as unknown
FAR: Final = 10.0  # deviations from the mean at which a number is cut off
MISSING_SHARE: Final = 0.1  # of random rows, in columns with gaps


@final
class TableFeed(Feed):
    """`columns` are those of the data set, `codes` the categories of each column of texts.

    `mean`, `scale` and `median` are (n_numbers,) float64, `gaps` bool: where training had missing
    values. The network reads (n_numbers + n_gaps + categories of all columns,) float32.
    """

    def __init__(
        self,
        columns: tuple[Column, ...],
        codes: tuple[tuple[str, ...], ...],
        mean: NDArray[np.float64],
        scale: NDArray[np.float64],
        median: NDArray[np.float64],
        gaps: NDArray[np.bool_],
    ) -> None:
        self.columns, self.codes = columns, codes
        self.mean, self.scale, self.median, self.gaps = mean, scale, median, gaps

    @classmethod
    def fit(cls, dataset: Dataset, rows: Array) -> Self:
        x = dataset.inputs["x"][rows]
        gaps = np.asarray(np.isnan(x).any(axis=0))
        known = np.where(np.isnan(x).all(axis=0), 0.0, x)  # a column of gaps is a column of zeros
        median = np.nanmedian(known, axis=0) if x.shape[1] else np.zeros(0)
        filled = np.where(np.isnan(x), median, x)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale = filled.mean(axis=0), filled.std(axis=0)
        if len(wide := np.flatnonzero(~np.isfinite(mean + scale))):
            names = [c.name for c in dataset.columns if c.kind == "number"]
            raise DataError(
                f"{dataset.name}: the numbers of column '{names[wide[0]]}' reach "
                f"{np.abs(filled[:, wide[0]]).max():.3g}, of which no deviation can be computed; "
                "divide them, or take their logarithm."
            )
        scale[scale <= 1e-12 * np.abs(mean)] = 1.0  # a constant column, which becomes 0
        text = dataset.inputs.get("text", np.zeros((len(rows), 0), dtype=np.str_))
        text = text[rows] if len(text) != len(rows) else text
        codes = tuple(_categories(text[:, i]) for i in range(text.shape[1]))
        return cls(dataset.columns, codes, mean, scale, median, gaps)

    @classmethod
    def restore(cls, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        columns = columns_of(facts["columns"])
        n = sum(c.kind == "number" for c in columns)
        codes = tuple(tuple(str(code) for code in of) for of in facts["codes"])
        if len(codes) != len(columns) - n or any(len(of) > MOST_CATEGORIES for of in codes):
            raise ValueError(
                f"codes: expected up to {MOST_CATEGORIES} categories for each of the "
                f"{len(columns) - n} columns of texts"
            )
        mean, median = stored(arrays, "mean", (n,)), stored(arrays, "median", (n,))
        scale, gaps = stored(arrays, "scale", (n,), is_positive=True), stored(arrays, "gaps", (n,))
        return cls(columns, codes, mean, scale, median, gaps.astype(bool))

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        facts = {
            "columns": [[c.name, c.kind] for c in self.columns],
            "codes": [list(of) for of in self.codes],
        }
        arrays = {"mean": self.mean, "scale": self.scale}
        return facts, {**arrays, "median": self.median, "gaps": self.gaps}

    @property
    def input_shape(self) -> Shape:
        n = len(self.mean) + int(self.gaps.sum()) + sum(len(of) for of in self.codes)
        return (max(1, n),)

    def read(self, raw: Any) -> dict[str, Array]:
        return rows("predict", self.columns, raw)

    def remarks(self, stored: Inputs) -> list[str]:
        names = [c.name for c in self.columns if c.kind == "text"]
        found = []
        for i, (name, known) in enumerate(zip(names, self.codes, strict=True)):
            strange = sorted(set(stored["text"][:, i].tolist()) - set(known))
            if strange:
                shown = ", ".join(repr(t) for t in strange[:4])
                found.append(
                    f"column '{name}': {shown}{' and others' if strange[4:] else ''} did not occur "
                    "in training (or rarely) and is read as none of the known categories."
                )
        return found

    def prepared(self, stored: Inputs) -> dict[str, Array]:
        x = stored["x"]
        missing = np.isnan(x)
        numbers = (np.where(missing, self.median, x) - self.mean) / self.scale
        parts = [np.clip(numbers, -FAR, FAR), missing[:, self.gaps]]
        for i, known in enumerate(self.codes):
            parts.append(stored["text"][:, i][:, None] == np.array(known, dtype=np.str_))
        joined = np.concatenate(parts, axis=1).astype(np.float32)
        return {"x": joined if joined.shape[1] else np.zeros((len(x), 1), np.float32)}

    def batch(self, prepared: dict[str, Tensor]) -> dict[str, Tensor]:
        return prepared

    @property
    def rows_at_once(self) -> int:
        return 8192

    def numbers(self, stored: Inputs) -> dict[str, Array]:
        """Return numbers (B, n_numbers) float64 and codes (B, n_texts) int64, -1 where unknown."""
        found: dict[str, Array] = {"numbers": np.asarray(stored["x"], dtype=np.float64)}
        if self.codes:
            tables = [{text: i for i, text in enumerate(of)} for of in self.codes]
            rows = stored["text"].tolist()
            coded = [[of.get(text, -1) for of, text in zip(tables, r, strict=True)] for r in rows]
            found["codes"] = np.array(coded, dtype=np.int64).reshape(len(rows), len(tables))
        return found

    def drawn(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Return normal numbers, some missing where training had gaps, and known categories."""
        x = rng.normal(self.mean, self.scale, (n, len(self.mean)))
        x[(rng.random(x.shape) < MISSING_SHARE) & self.gaps] = np.nan
        if not self.codes:
            return {"x": x}
        texts = [rng.choice(np.array(known or ("",), dtype=np.str_), n) for known in self.codes]
        return {"x": x, "text": np.stack(texts, axis=1)}

    def standalone(self) -> nn.Module:
        from nasgen.evaluation.standalone import Columns, filled

        gaps, sizes = tuple(np.flatnonzero(self.gaps).tolist()), tuple(map(len, self.codes))
        learnt = {"mean": self.mean, "deviation": self.scale, "median": self.median}
        return filled(Columns(len(self.mean), gaps, sizes), **learnt)

    def example(self) -> dict[str, Tensor]:
        import torch

        return {"x": torch.zeros((1, *self.input_shape))}


def _categories(texts: Array) -> tuple[str, ...]:
    """Return the texts of a column, most frequent first, equals in alphabetical order."""
    values, counts = np.unique(texts, return_counts=True)
    order = np.lexsort((values, -counts))[:MOST_CATEGORIES]
    return tuple(values[order].tolist())
