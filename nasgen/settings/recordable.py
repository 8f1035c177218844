"""What can be recorded of a trial: JSON whose numbers are finite. Anything else fails the trial."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

Result = dict[str, Any]


def recordable(result: Mapping[str, Any]) -> Result:
    """Return an evaluator's result message; FAILED as "non-finite" where it cannot be recorded.

    Looks at "metrics", "objectives" and "curve", where plug-ins leave what they measured. The
    sentence names the first value that is at fault; metrics that can be recorded stay.
    """
    named = ("metrics", "objectives", "curve")
    parts = {name: () if result.get(name) is None else result[name] for name in named}
    if _is_json(parts):
        return dict(result)
    name, value = next(_unfit(parts, ""), ("result", parts))
    metrics = parts["metrics"] if isinstance(parts["metrics"], Mapping) else {}
    return {
        **result,
        "state": "FAILED",
        "metrics": {k: v for k, v in metrics.items() if isinstance(k, str) and _is_json(v)},
        "objectives": {},
        "curve": parts["curve"] if _is_json(parts["curve"]) else (),
        "refs": {},
        "failure_kind": "non-finite",
        "failure": f"{name} must be finite numbers or other JSON, got {_described(value)}.",
    }


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _unfit(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Yield the place and the value of what is no JSON, innermost first."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not _is_json(inner):
                place = f"{where}['{key}']" if where else str(key)
                yield from _unfit(inner, place)
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            if not _is_json(inner):
                yield from _unfit(inner, f"{where}[{i}]")
    yield where, value


def _described(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return f"an object of the type {type(value).__name__}"
