"""Named networks to begin with, one JSON file each: {"summary", "reference", "genotype"}.

"space", if a file has it, are the name and options of the search space that the network needs: in a
run that begins with it they take the place of the defaults.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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


def for_rows(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what `read` gave as a network of rows of numbers; None unless it is dense as a whole.

    A dense layer on all pixels of an image is one on all numbers of a row, in the space `mlp`.
    """
    genotype = data["genotype"]
    vertices = [_for_rows(vertex) for vertex in genotype["vertices"]]
    if None in vertices:
        return None
    space = {**data.get("space", {}), "name": "mlp"}
    return {**data, "space": space, "genotype": {**genotype, "vertices": vertices}}


def _for_rows(vertex: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if vertex["op"] in ("input", "output"):
        return vertex
    if vertex["op"] != "flatten-dense" or not vertex["params"].get("relu"):
        return None
    own = {name: value for name, value in vertex["params"].items() if name != "relu"}
    return {**vertex, "op": "dense-relu", "params": own}
