"""What a network must keep to: "n_params < 200k", read and applied (Deb 2002, section VI).

A violation says how far a value lies on the wrong side of its bound, as a share of the bound, so
that violations of parameters and of milliseconds can be added up. It is 0 where all is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from nasgen import registry
from nasgen.errors import ConfigError, suggest

UNITS: Final = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
OPERATORS: Final = ("<=", ">=", "<", ">")
# What a value on a bound that it must not reach violates: more than nothing, less than any excess.
TOUCH: Final = 1e-12
_FORM = re.compile(r"\s*([^\s<>=!]+)\s*([<>=!]+)\s*(\S+?)\s*([kKmMgG]?)\s*")
EXAMPLE: Final = "such as 'n_params < 200k' or 'latency_ms <= 2.5'"


@dataclass(frozen=True)
class Constraint:
    """A bound on one registered objective, which need not be optimised."""

    name: str
    operator: str
    bound: float

    def __str__(self) -> str:
        return f"{self.name} {self.operator} {shown(self.bound)}"

    def violation(self, value: float) -> float:
        """Return how far a value breaks the bound, as a share of it (of 1 for a bound of 0).

        0 when it is kept.
        """
        excess = value - self.bound if self.operator[0] == "<" else self.bound - value
        if excess < 0 or (excess == 0 and "=" in self.operator):
            return 0.0
        return max(excess / (abs(self.bound) or 1.0), TOUCH)


def texts(value: object) -> object:
    """Return constraints as a tuple of texts: one text may hold several, joined by "and"."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"expected text {EXAMPLE}, or a list of such texts, got {value!r}")
    return tuple(one.strip() for part in parts for one in re.split(r"\band\b", part) if one.strip())


def parse(text: str) -> Constraint:
    """Read one constraint; ConfigError says what is wrong and names the nearest objective."""
    found, known = read(text), registry.names("objectives")
    if found.name not in known:
        raise ConfigError(
            f"objectives.constraint '{text}': '{found.name}' is no objective"
            f"{suggest(found.name, known)} Expected one of {', '.join(known)}."
        )
    return found


def read(text: str) -> Constraint:
    """Read one constraint on an objective of any name; ConfigError says what is wrong."""
    where = f"objectives.constraint '{text}'"
    match = _FORM.fullmatch(text)
    if match is None:
        raise ConfigError(f"{where}: expected a name, one of < <= > >= and a number, {EXAMPLE}.")
    name, operator, number, unit = match.groups()
    if operator not in OPERATORS:
        raise ConfigError(f"{where}: expected one of < <= > >=, got '{operator}'.")
    try:
        bound = float(number) * UNITS[unit.lower()]
    except ValueError:
        bound = float("nan")
    if not abs(bound) < float("inf"):
        raise ConfigError(
            f"{where}: expected a finite number with k, M, G or no unit, got '{number}{unit}'."
        )
    return Constraint(name, operator, bound)


def violation(constraints: Iterable[Constraint], values: Mapping[str, float]) -> float:
    """Return the sum of the violations of those constraints whose value is known; 0: feasible."""
    return sum((c.violation(values[c.name]) for c in constraints if c.name in values), 0.0)


def before_training(name: str) -> bool:
    """Tell whether an objective is known from the untrained network, as its entry says."""
    return bool(registry.get("objectives", name).options.get("untrained", False))


def names_ancestor(name: str) -> bool:
    """Tell whether an objective compares with an ancestor, which only the worker is told."""
    return bool(registry.get("objectives", name).options.get("ancestor", False))


def of_genotype(name: str) -> bool:
    """Tell whether an objective follows from the genotype alone."""
    return before_training(name) and not names_ancestor(name)


def known_late(texts: Iterable[str]) -> list[str]:
    """Return the constraints that no genotype alone tells, of those that can be read."""
    late = []
    for text in texts:
        try:
            is_late = not of_genotype(parse(text).name)
        except ConfigError:
            continue
        late += [text] * is_late
    return late


def described(constraints: Iterable[Constraint], values: Mapping[str, float]) -> str:
    """Return what is violated, as "n_params is 312k, expected < 200k, 56 % off; ..."."""
    return "; ".join(
        f"{c.name} is {shown(values[c.name])}, expected {c.operator} {shown(c.bound)}, "
        f"{100 * c.violation(values[c.name]):.3g} % off"
        for c in constraints
        if c.name in values and c.violation(values[c.name]) > 0
    )


def shown(value: float) -> str:
    """Return a number as a person writes it in a constraint: 200k, 1.5M, 0.95."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= factor:
            return f"{value / factor:.6g}{unit}"
    return f"{value:.6g}"
