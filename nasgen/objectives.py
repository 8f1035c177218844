"""Objectives by name: direction and unit, read from the registry without loading torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from nasgen import registry

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Objective:
    """What is optimised: `direction` is "maximize" or "minimize"."""

    name: str
    direction: Direction
    unit: str = ""

    def better(self, a: float, b: float) -> bool:
        """Tell whether value `a` is strictly better than `b`."""
        return a > b if self.direction == "maximize" else a < b


def named(name: str) -> Objective:
    """Return a registered objective; UnknownNameError names the nearest one."""
    options = registry.get("objectives", name).options
    direction = cast(Direction, options.get("direction", "minimize"))
    return Objective(name, direction, str(options.get("unit", "")))
