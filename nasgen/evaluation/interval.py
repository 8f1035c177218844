"""How far a share that was counted on some rows may be from the true one."""

from __future__ import annotations

import math
from typing import Final

Z: Final = 1.96  # of a 95 % interval


def wilson(share: float, n: int, z: float = Z) -> tuple[float, float]:
    """Return the 95 % interval of a share in [0, 1] of `n` >= 1 rows (Wilson 1927)."""
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Exactly, where rounding would leave 0.9999999999: of n right rows all may be right for ever.
    return (middle - half if share > 0 else 0.0), (middle + half if share < 1 else 1.0)


def paired(won: int, lost: int, n: int, z: float = Z) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two shares of the same `n` >= 1 rows.

    The first is right and the second wrong on `won` rows, the other way round on `lost`. A row is
    added to both, so that few rows do not seem certain (Bonett and Price 2012).
    """
    for_first, for_second = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    middle = for_first - for_second
    half = z * math.sqrt((for_first + for_second - middle**2) / (n + 2))
    return max(-1.0, middle - half), min(1.0, middle + half)
