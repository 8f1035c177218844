"""DEAP draws from the global generators of `random` and NumPy: lend them a seed for one call."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def deap_seeded(rng: np.random.Generator) -> Iterator[None]:
    """Seed both global generators from `rng` inside the block, and restore them after it."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(int(rng.integers(2**63)))
    np.random.seed(int(rng.integers(2**32)))
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
