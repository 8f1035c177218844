"""Reads heredity plans: JSON to rules, refused with a reason when they fit neither side.

What the rules mean is written in `heredity`, which executes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nasgen.errors import IncompatibleError
from nasgen.genotypes import Plan, tags
from nasgen.search_spaces.blueprint import Blueprint


@dataclass(frozen=True)
class Rule:
    """Where a channel or vertex of the child comes from; `negate` is a copy with scale -1."""

    verb: str
    tag: int = 0
    parent: int = 0
    scale: float = 1.0


@dataclass(frozen=True)
class Rules:
    """The rules of a plan by tag: for vertices, and for each axis."""

    vertices: Mapping[int, Rule]
    axes: Mapping[str, Mapping[int, Rule]]  # "out", "in"


def read_plan(plan: Plan, child: Blueprint, parents: Sequence[Blueprint]) -> Rules:
    """Return the rules of a plan; raises IncompatibleError for what names nothing that exists."""
    if not isinstance(plan, Mapping) or not set(plan) <= {"tags", "out", "in"}:
        raise IncompatibleError(
            f"heredity plan: expected the keys 'tags', 'out', 'in', got {_shown(plan)}."
        )
    known = _known(child) if plan else set()
    known_by = [_known(parent) if plan else set() for parent in parents]
    parts: dict[str, dict[int, Rule]] = {"tags": {}, "out": {}, "in": {}}
    for part, rules in plan.items():
        if not isinstance(rules, Mapping):
            raise IncompatibleError(f"heredity plan, '{part}': expected an object, got {rules!r}.")
        for text, data in rules.items():
            where = f"heredity plan, '{part}', tag {text}"
            try:
                tag = int(text)
            except (TypeError, ValueError):
                raise IncompatibleError(f"{where}: expected a gene tag (an integer).") from None
            if tag not in known:
                raise IncompatibleError(
                    f"{where}: the child has no vertex or channel with this tag. "
                    "Plans name tags of the child; provisional ones must be minted with it."
                )
            rule = _read_rule(data, where)
            if rule.verb not in ("zero", "fresh"):
                if not 0 <= rule.parent < len(parents):
                    raise IncompatibleError(
                        f"{where}: parent {rule.parent} was named, there are {len(parents)}."
                    )
                own = rule.verb == "copy" and rule.tag in known
                if rule.tag not in known_by[rule.parent] and not own:
                    raise IncompatibleError(
                        f"{where}: parent {rule.parent} has no vertex or channel {rule.tag}."
                    )
            parts[part][tag] = rule
    steps = {step.tag for step in child.steps}
    axes = {axis: {**parts["tags"], **parts[axis]} for axis in ("out", "in")}
    vertices = {tag: rule for tag, rule in parts["tags"].items() if tag in steps}
    for tag, rule in vertices.items():
        if rule.verb == "zero" or rule.scale != 1:
            raise IncompatibleError(
                f"heredity plan: tag {tag} is a vertex, which can be inherited, copied or fresh; "
                "scales, signs and zeros belong to channels."
            )
    return Rules(vertices, axes)


def _read_rule(data: Any, where: str) -> Rule:
    verbs = ("inherit", "copy", "negate", "zero", "fresh")
    given = [verb for verb in verbs if isinstance(data, Mapping) and verb in data]
    if len(given) != 1 or not set(data) <= {given[0], "parent", "scale"}:
        raise IncompatibleError(
            f"{where}: expected one of {', '.join(verbs)} (with 'parent', 'scale'), got {data!r}."
        )
    verb, value = given[0], data[given[0]]
    if verb in ("zero", "fresh"):
        if value is not True or len(data) != 1:
            raise IncompatibleError(f"{where}: expected {{'{verb}': true}}, got {data!r}.")
        return Rule(verb)
    parent, scale = data.get("parent", 0), data.get("scale", 1.0)
    if type(value) is not int or type(parent) is not int or type(scale) not in (int, float):
        raise IncompatibleError(
            f"{where}: expected a tag and a parent (integers) and a scale (number), got {data!r}."
        )
    if not math.isfinite(scale):
        raise IncompatibleError(f"{where}: expected a finite scale, got {scale}.")
    if verb == "negate":
        return Rule("copy", value, parent, -float(scale))
    return Rule(verb, value, parent, float(scale))


def _known(blueprint: Blueprint) -> set[int]:
    found = {step.tag for step in blueprint.steps} | set(blueprint.vertex_shapes)
    for step in blueprint.steps:
        for ranges in (*step.in_tags, step.out_tags):
            found.update(tags.expand(ranges))
    return found


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
