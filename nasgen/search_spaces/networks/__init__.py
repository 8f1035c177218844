"""Named networks to begin with, one JSON file each: {"summary", "reference", "genotype"}.

"space", if a file has it, are the name and options of the search space that the network needs: in a
run that begins with it they take the place of the defaults.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any


@cache
def names() -> tuple[str, ...]:
    """Return the names, which [origin] network takes."""
    return tuple(sorted(file.stem for file in Path(__file__).parent.glob("*.json")))


def read(name: str) -> dict[str, Any]:
    """Return what the file of a name holds."""
    file = Path(__file__).parent / f"{name}.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found
