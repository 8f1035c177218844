"""Bayesian ridge that learns the place of each network among all instead of its label.

It reads labels one by one, as normal scores of their ranks; `pairwise` compares them two by two.
Prefer it to `ridge` when a few networks failed to learn and would pull a line towards themselves,
and in a search: it fits in milliseconds and tells the best networks apart (see `order`).
"""

from __future__ import annotations

from nasgen.predictors.base import Predictor
from nasgen.predictors.order import Ordered
from nasgen.predictors.ridge import ridge


def rank(seed: int) -> Predictor:
    """Return an unfitted Bayesian ridge on normal scores. Nothing is drawn; `seed` is unused."""
    return Ordered(ridge(seed))
