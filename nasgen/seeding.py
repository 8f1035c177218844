"""All randomness: every draw of a run comes from its root seed, a role and a counter.

The draws of one role do not depend on how often another role drew, so results are the same
whatever the number of workers and however often a run was resumed.
"""

from __future__ import annotations

import random
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np

# Libraries draw from generators of the whole process. Who lends them a seed holds this: what
# another thread draws meanwhile, as in two searches side by side, would change both results.
ALONE: Final = threading.RLock()


def sequence(root: int, role: str, *counters: int) -> np.random.SeedSequence:
    """Return the seed sequence of (root seed, role, counters); counters are integers >= 0."""
    return np.random.SeedSequence([root, zlib.crc32(role.encode()), *counters])


def generator(root: int, role: str, *counters: int) -> np.random.Generator:
    """Return a fresh NumPy generator for (root seed, role, counters)."""
    return np.random.default_rng(sequence(root, role, *counters))


def integer(root: int, role: str, *counters: int) -> int:
    """Return a seed in [0, 2**31) for libraries that take an integer."""
    return int(sequence(root, role, *counters).generate_state(1)[0] >> 1)


@contextmanager
def lent(rng: np.random.Generator) -> Iterator[None]:
    """Seed the global generators of `random` and NumPy from `rng` inside, and restore them."""
    with ALONE:
        python_state, numpy_state = random.getstate(), np.random.get_state()
        random.seed(int(rng.integers(2**63)))
        np.random.seed(int(rng.integers(2**32)))
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
