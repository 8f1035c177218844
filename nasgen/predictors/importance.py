"""Which features tell accuracy: by permutation on networks held back, and by correlation.

Importance and correlation answer different questions. Shuffling a column shows what one predictor
loses without it (Breiman 2001), which is little where another column says the same; a correlation
looks at a column alone, and much of it may be network size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from nasgen import seeding
from nasgen.predictors import scores
from nasgen.predictors.base import Factory, Floats
from nasgen.predictors.evaluate import Split

N_SHUFFLES: Final = 5  # of each column and split


def importances(
    make: Factory,
    X: Floats,  # noqa: N803 - scikit-learn's name
    y: Floats,
    splits: Sequence[Split],
    seed: int,
) -> Floats:
    """Return (f,): by how much R2 on the evaluated rows falls when a column is shuffled among them.

    The mean over splits; below 0 by chance where a column tells nothing. Splits whose labels are
    equal are left out.
    """
    n_columns = X.shape[1]
    found = []
    for number, (learn, judge) in enumerate(splits):
        if np.ptp(y[learn]) == 0 or np.ptp(y[judge]) == 0:
            continue
        labels = (y - y[learn].mean()) / y[learn].std()
        model = make(seed)
        model.fit(X[learn], labels[learn])
        whole = scores.r2(np.asarray(model.predict(X[judge])), labels[judge])
        for shuffle in range(N_SHUFFLES):
            rng = seeding.generator(seed, "importance", number, shuffle)
            # All columns in one call, a copy of the rows for each: trees answer many rows at once
            # some fifty times as fast as scikit-learn's permutation_importance asks them.
            copies = np.repeat(X[judge][None], n_columns, axis=0)
            for column in range(n_columns):
                copies[column, :, column] = rng.permutation(X[judge][:, column])
            answers = np.asarray(model.predict(copies.reshape(-1, n_columns)))
            each = answers.reshape(n_columns, -1)
            found.append([whole - scores.r2(answer, labels[judge]) for answer in each])
    mean: Floats = np.mean(found, axis=0) if found else np.full(n_columns, np.nan)
    return mean


def correlations(X: Floats, y: Floats, given: Floats | None = None) -> Floats:  # noqa: N803
    """Return Pearson's r (f,) in [-1, 1] of each column with `y`; NaN where either is constant.

    `given` (n,) or (n, k): of what a linear fit of it leaves of both, the partial correlation.
    """
    columns = np.column_stack([X, y])
    columns = columns - columns.mean(axis=0)
    spread = np.linalg.norm(columns, axis=0)
    if given is not None:
        basis = _basis(given)
        columns = columns - basis @ (basis.T @ columns)
    left = np.linalg.norm(columns, axis=0)
    # What a column that the fit explains in full leaves is rounding, not a signal.
    columns = np.where(left > 1e-9 * spread, columns, np.nan) / np.where(left > 0, left, 1.0)
    found: Floats = columns[:, -1] @ columns[:, :-1]
    return found


def _basis(given: Floats) -> Floats:
    """Return orthonormal columns (n, <= k) that span the centred ones."""
    columns = given.reshape(len(given), -1)
    columns = columns - columns.mean(axis=0)
    columns = columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    vectors, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    basis: Floats = vectors[:, sizes > 1e-9]
    return basis
