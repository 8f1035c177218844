"""What evolution added, as a sentence: of the summary on the page and in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasgen.report.numbers import change, quantity, three


def sentence(evolution: Mapping[str, Any] | None) -> str:
    """Return "best evolved 86.70 % (+0.6 pts), best design resnet9-w16 86.10 %, best draw ...".

    Of a search that began with one network, "best descendant 97.60 % (-1.2 pts, 9.7 times fewer
    synapses), ancestor 98.80 %", or "last descendant" where the run was made for that one.
    `evolution` is what `nasgen.loop.gains.gained` found; "" for None. The difference is that to the
    better of the others, with the sign of the objective itself.
    """
    if not evolution:
        return ""
    name, parts = evolution["objective"], []
    ancestor = evolution.get("ancestor")  # which older runs do not know
    which = "last" if evolution.get("is_last") else "best"
    called = {
        "evolved": f"{which} evolved" if ancestor is None else f"{which} descendant",
        "ancestor": "ancestor",
        "design": "best design",
        "draw": "best draw",
    }
    for origin, who in called.items():
        if (found := evolution.get(origin)) is None:
            continue
        who = f"{who} {found['name']}" if "name" in found else who
        parts.append(f"{who} {quantity(name, found['value'])}")
        if origin == "evolved" and (over := evolution["over"]) is not None:
            more = [change(name, found["value"] - evolution[over]["value"])]
            before, after = ((of or {}).get("n_synapses") for of in (ancestor, found))
            if before and after and before > after:
                more.append(f"{three(before / after)} times fewer synapses")
            parts[-1] += f" ({', '.join(more)})"
    return ", ".join(parts)
