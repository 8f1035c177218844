"""What evolution added, as a sentence: of the summary on the page and in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasgen.report.numbers import change, quantity


def sentence(evolution: Mapping[str, Any] | None) -> str:
    """Return "best evolved 86.70 % (+0.6 pts), best design resnet9-w16 86.10 %, best draw ...".

    `evolution` is what `nasgen.loop.gains.gained` found, in its order; "" for None. The difference
    is that to the better of the others, with the sign of the objective itself.
    """
    if not evolution:
        return ""
    name, parts = evolution["objective"], []
    for origin in ("evolved", "design", "draw"):
        if (found := evolution[origin]) is None:
            continue
        called = f"{origin} {found['name']}" if "name" in found else origin
        parts.append(f"best {called} {quantity(name, found['value'])}")
        if origin == "evolved" and (over := evolution["over"]) is not None:
            more = change(name, found["value"] - evolution[over]["value"])
            parts[-1] += f" ({more})"
    return ", ".join(parts)
