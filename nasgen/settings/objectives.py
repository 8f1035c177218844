"""Objectives by name: direction and unit, read from the registry without loading torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from nasgen import registry
from nasgen.errors import IncompatibleError

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Objective:
    """What is optimised: `direction` is "maximize" or "minimize"."""

    name: str
    direction: Direction
    unit: str = ""


def named(name: str) -> Objective:
    """Return a registered objective; UnknownNameError names the nearest one."""
    options = registry.get("objectives", name).options
    direction = options.get("direction")
    if direction not in ("maximize", "minimize"):
        raise IncompatibleError(
            f"objective '{name}': expected options={{'direction': 'maximize'}} or 'minimize' where "
            f"it is registered, got {direction!r}."
        )
    return Objective(name, cast(Direction, direction), str(options.get("unit", "")))
