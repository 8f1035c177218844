"""Numbers as people read them, on the page and in the terminal: 84.12 %, 108 k, 4 min 5 s."""

from __future__ import annotations

import math
from typing import Any

NONE = "–"
GAP = "\u202f"  # narrow no-break space between a number and its unit
MINUS = "\u2212"
_SCORES = ("accuracy", "error_rate")
_SHARES = (*_SCORES, "rate", "share", "prob")
_NAMES = {
    "val_accuracy": "validation accuracy",
    "test_accuracy": "test accuracy",
    "error_rate": "error rate",
    "n_params": "parameters",
    "flops": "FLOPs",
    "latency_ms": "latency",
    "n_synapses": "synapses",
    "storage_bytes": "storage",
    "val_rmse": "validation RMSE",
    "test_rmse": "test RMSE",
    "val_mae": "validation MAE",
    "test_mae": "test MAE",
    "val_r2": "validation R²",
    "test_r2": "test R²",
    "train_loss": "training loss",
    "val_loss": "validation loss",
}


def number(value: Any) -> float | None:
    """Return a finite float, or None for anything else (text, NaN, a truth value)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer of more than 308 digits
        return None


def percent(share: float, decimals: int = 1) -> str:
    """Write a fraction as per cent: `decimals`, two from 99 % on, never rounded up to 100 %."""
    value = 100 * share
    decimals = 2 if value >= 99 else decimals
    text = f"{value:.{decimals}f}"
    if value < 100 and float(text) >= 100:
        return f">{GAP}99.99{GAP}%"
    return f"{'100' if value == 100 else text}{GAP}%"


def count(value: float) -> str:
    """Write a count with three significant digits and k, M, G or T."""
    size = abs(value)
    for scale, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= scale * 0.9995:
            return f"{three(value / scale)}{GAP}{letter}"
    return three(value)


def exact(value: int) -> str:
    """Write a whole number in groups of three digits."""
    return f"{value:,}".replace(",", GAP)


def three(value: float) -> str:
    """Write three significant digits, whole numbers without a point."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:.0f}"
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}"
    rounded = float(f"{abs(value):.3g}")  # 0.9996 has the decimals of 1.00
    decimals = max(0, 2 - math.floor(math.log10(rounded)))
    return f"{value:.{min(decimals, 5)}f}"


def duration(seconds: float) -> str:
    """Write seconds as the two largest fitting units."""
    if seconds < 59.95:
        return f"{seconds:.{1 if seconds >= 0.95 else 2}f}{GAP}s" if seconds else f"0{GAP}s"
    whole = round(seconds)
    for size, unit, small, small_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size}{GAP}{unit}" + (f" {rest}{GAP}{small_unit}" if rest else "")
    return f"{whole}{GAP}s"


def quantity(name: str, value: Any) -> str:
    """Write a value in the unit that its name tells; a missing one is a dash.

    Counts such as FLOPs and parameters carry no unit: the words beside them say what they are.
    """
    found = number(value)
    if found is None:
        return NONE
    if name.endswith(_SCORES):  # ten thousand test rows tell apart what one decimal would not
        return percent(found, 2)
    if name.endswith(_SHARES):
        return percent(found)
    if name.endswith("_ms"):
        return f"{three(found)}{GAP}ms"
    if name.endswith("_mib"):
        return f"{three(found)}{GAP}MiB"
    if name.endswith("_bytes"):
        return f"{count(found)}{'' if abs(found) >= 999.5 else GAP}B"
    if name.endswith("_efficiency"):
        return f"{three(found)}×"
    if name.endswith("_per_s"):
        return f"{count(found)}/s"
    if name.endswith("_s"):
        return duration(found)
    if name == "flops" or name.startswith("n_"):
        return count(found)
    return three(found)


def change(name: str, value: Any) -> str:
    """Write a signed difference; shares in percentage points."""
    found = number(value)
    if found is None:
        return NONE
    sign = "+" if found > 0 else MINUS if found < 0 else "±"
    if name.endswith(_SHARES):
        return f"{sign}{abs(100 * found):.1f}{GAP}pts"
    return f"{sign}{quantity(name, abs(found))}"


def words(name: str) -> str:
    """Return the name of a quantity as a reader would say it."""
    return _NAMES.get(name, name.replace("cross_fitted", "cross-fitted").replace("_", " "))


def tick(name: str, value: float) -> str:
    """Write an axis tick: like `quantity`, without trailing zeros."""
    if name.endswith(_SHARES):
        return f"{100 * value:.6g}{GAP}%"
    if name == "flops" or name.startswith("n_"):
        return count(float(f"{value:.6g}"))
    return f"{value:.6g}"
