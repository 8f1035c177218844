"""Reads heredity plans: JSON to rules, refused with a reason when they fit neither side.

What the rules mean is written in `heredity`, which executes them. Rules of an axis become a `Table`
of arrays, because a plan may name every channel of a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nasgen.errors import PlanError
from nasgen.genotypes import Plan, tags
from nasgen.search_spaces.blueprint import Blueprint, Step

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

PARTS = ("tags", "out", "in", "rest")
VERBS = ("inherit", "copy", "negate", "mean", "identity", "zero", "fresh")


@dataclass(frozen=True)
class Rule:
    """Where a channel or vertex of the child comes from; `negate` is a copy with scale -1.

    `sources` are (parent, tag, weight), several for a mean alone. `noise` are (tag, factor).
    """

    verb: str
    sources: tuple[tuple[int, int, float], ...] = ()
    scale: float = 1.0
    noise: tuple[tuple[int, float], ...] = ()

    def source(self, parent: int) -> tuple[int, float] | None:
        """Return (tag, weight) of what a parent gives, or None."""
        return next(((tag, w) for i, tag, w in self.sources if i == parent), None)


@dataclass(frozen=True)
class Origins:
    """Where the entries of one axis come from in one parent; arrays along the axis.

    `tag` is the parent's, where `given`; entries of equal `group` are told apart by their order.
    `weight` counts where `averaged`, elsewhere the first parent that has a value gives it.
    """

    given: Bools
    tag: Ints
    group: Ints
    scale: Floats
    weight: Floats
    averaged: Bools


class Table:
    """The rules of one axis by tag. `rest` is parent -> weight for the tags without a rule."""

    def __init__(
        self, rules: Mapping[int, Rule], n_parents: int, rest: Mapping[int, float]
    ) -> None:
        self.tags: Ints = np.array(sorted(rules), dtype=np.int64)
        self.rules = [rules[tag] for tag in self.tags.tolist()]
        self.rest = rest
        self._verbs: Ints = np.array([VERBS.index(r.verb) for r in self.rules], dtype=np.int64)
        self._scale: Floats = np.array([r.scale for r in self.rules], dtype=np.float64)
        # Many tensors lie along the same axis, and each asks for several verbs.
        self._found: dict[int, tuple[Ints, Ints, Ints]] = {}
        self._by_parent = [self._of(i) for i in range(n_parents)]

    def _of(self, parent: int) -> tuple[Bools, Ints, Floats]:
        found = [r.source(parent) for r in self.rules]
        given: Bools = np.array([f is not None for f in found], dtype=np.bool_)
        source: Ints = np.array([f[0] if f else 0 for f in found], dtype=np.int64)
        weight: Floats = np.array([f[1] if f else 0.0 for f in found], dtype=np.float64)
        return given, source, weight

    def _places(self, axis_tags: Ints) -> tuple[Ints, Ints]:
        """Return which entries of an axis have a rule, and the places of their rules."""
        if not len(self.tags):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        found = self._found.get(id(axis_tags))
        if found is None or found[0] is not axis_tags:
            found = self._found[id(axis_tags)] = (axis_tags, *self._search(axis_tags))
        return found[1:]

    def _search(self, axis_tags: Ints) -> tuple[Ints, Ints]:
        at = np.minimum(np.searchsorted(self.tags, axis_tags), len(self.tags) - 1)
        ruled = np.flatnonzero(self.tags[at] == axis_tags)
        return ruled, at[ruled]

    def having(self, axis_tags: Ints, verb: str) -> list[tuple[int, Rule]]:
        """Return (place on the axis, rule) of the entries whose rule has this verb."""
        ruled, at = self._places(axis_tags)
        chosen = self._verbs[at] == VERBS.index(verb)
        pairs = zip(ruled[chosen].tolist(), at[chosen].tolist(), strict=True)
        return [(i, self.rules[j]) for i, j in pairs]

    def noisy(self, axis_tags: Ints) -> list[tuple[int, Rule]]:
        """Return (place on the axis, rule) of the entries whose rule adds noise."""
        ruled, at = self._places(axis_tags)
        pairs = zip(ruled.tolist(), at.tolist(), strict=True)
        return [(i, self.rules[j]) for i, j in pairs if self.rules[j].noise]

    def origins(self, axis_tags: Ints, parent: int, passed_on: Bools) -> Origins | None:
        """Return where entries come from in a parent; None: by tag, the first parent's.

        `passed_on` marks channels that belong to an earlier step: an identity is already inside
        them, so here they are what they were before under another tag.
        """
        ruled, at = self._places(axis_tags)
        if not len(ruled) and not self.rest:
            return None
        n = len(axis_tags)
        given: Bools = np.full(n, not self.rest or parent in self.rest)
        tag, group, scale = axis_tags.copy(), axis_tags.copy(), np.ones(n)
        weight = np.full(n, self.rest.get(parent, 1.0))
        averaged: Bools = np.full(n, bool(self.rest))
        if len(ruled):
            known, source, rule_weight = self._by_parent[parent]
            identity = self._verbs[at] == VERBS.index("identity")
            given[ruled] = known[at] & (~identity | passed_on[ruled])
            tag[ruled] = source[at]
            group[ruled] = np.where(identity, source[at], axis_tags[ruled])
            scale[ruled] = self._scale[at]
            weight[ruled] = rule_weight[at]
            averaged[ruled] = self._verbs[at] == VERBS.index("mean")
        return Origins(given, tag, group, scale, weight, averaged)


@dataclass(frozen=True)
class Rules:
    """The rules of a plan: for vertices by tag, and for each axis."""

    vertices: Mapping[int, Rule]
    axes: Mapping[str, Table]  # "out", "in"
    rest: Mapping[int, float]
    averages: bool

    def for_vertex(self, tag: int, parent: int) -> tuple[int, float] | None:
        """Return (tag, weight) of the vertex by which a parent gives, or None."""
        rule = self.vertices.get(tag)
        if rule is not None:
            return rule.source(parent)
        if self.rest:
            return (tag, self.rest[parent]) if parent in self.rest else None
        return tag, 1.0

    def names(self, step: Step) -> bool:
        """Tell whether any rule is about a step or a channel that goes in or out."""
        if step.tag in self.vertices:
            return True
        ranges = {r for found in (*step.in_tags, step.out_tags) for r in found}
        return any(
            np.searchsorted(table.tags, start + n) > np.searchsorted(table.tags, start)
            for table in self.axes.values()
            if len(table.tags)
            for start, n in ranges
        )

    def averages_vertex(self, tag: int) -> bool:
        """Tell whether tensors without channels are averaged at this vertex."""
        rule = self.vertices.get(tag)
        return bool(self.rest) if rule is None else rule.verb == "mean"


def parsed(plan: Any, n_parents: int) -> tuple[dict[str, dict[int, Rule]], dict[int, float]]:
    """Return the rules of a plan by part and tag, and what averages the rest.

    Raises PlanError for what is no plan, whatever networks it is about.
    """
    if not isinstance(plan, Mapping) or not set(plan) <= set(PARTS):
        raise PlanError(
            f"heredity plan: expected the keys {', '.join(map(repr, PARTS))}, got {_shown(plan)}."
        )
    rest = _read_rest(plan["rest"], n_parents) if "rest" in plan else {}
    parts: dict[str, dict[int, Rule]] = {"tags": {}, "out": {}, "in": {}}
    for part, rules in plan.items():
        if part == "rest":
            continue
        if not isinstance(rules, Mapping):
            raise PlanError(f"heredity plan, '{part}': expected an object, got {_shown(rules)}.")
        for text, data in rules.items():
            where = f"heredity plan, '{part}', tag {text}"
            try:
                tag = int(text)
            except (TypeError, ValueError):
                raise PlanError(f"{where}: expected a gene tag (an integer).") from None
            rule = parts[part][tag] = _read_rule(data, where)
            for parent, _, _ in rule.sources:
                if not 0 <= parent < n_parents:
                    raise PlanError(f"{where}: parent {parent} was named, there are {n_parents}.")
    return parts, rest


def read_plan(plan: Plan, child: Blueprint, parents: Sequence[Blueprint]) -> Rules:
    """Return the rules of a plan; raises PlanError for what names nothing that exists."""
    parts, rest = parsed(plan, len(parents))
    known = _known(child) if plan else set()
    known_by = [_known(parent) if plan else set() for parent in parents]
    for part, rules in parts.items():
        for tag, rule in rules.items():
            where = f"heredity plan, '{part}', tag {tag}"
            if tag not in known:
                raise PlanError(
                    f"{where}: the child has no vertex or channel with this tag. "
                    "Plans name tags of the child; provisional ones must be minted with it."
                )
            _check_sources(rule, known, known_by, where)
    steps = {step.tag for step in child.steps}
    vertices = {tag: rule for tag, rule in parts["tags"].items() if tag in steps}
    for tag, rule in vertices.items():
        if rule.verb in ("zero", "identity") or rule.scale != 1 or rule.noise:
            raise PlanError(
                f"heredity plan: tag {tag} is a vertex, which can be inherited, copied, averaged "
                "or fresh; scales, signs, zeros, identities and noise belong to channels."
            )
    axes = {}
    for axis in ("out", "in"):
        axes[axis] = Table({**parts["tags"], **parts[axis]}, len(parents), rest)
    averages = bool(rest) or any(r.verb == "mean" for p in parts.values() for r in p.values())
    return Rules(vertices, axes, rest, averages)


def _check_sources(rule: Rule, known: set[int], known_by: Sequence[set[int]], where: str) -> None:
    """Raise PlanError when a rule names a tag that does not exist."""
    for parent, tag, _ in rule.sources:
        own = rule.verb == "copy" and tag in known
        if tag not in known_by[parent] and not own:
            raise PlanError(f"{where}: parent {parent} has no vertex or channel {tag}.")
    for tag, _ in rule.noise:
        if tag not in known:
            raise PlanError(f"{where}: 'noise' names tag {tag}, which the child lacks.")


def _read_rest(data: Any, n_parents: int) -> dict[int, float]:
    where = "heredity plan, 'rest'"
    if not isinstance(data, Mapping) or not {"mean"} <= set(data) <= {"mean", "weights"}:
        raise PlanError(
            f"{where}: expected {{'mean': [parent, ...]}} and perhaps 'weights', got {data!r}."
        )
    parents = data["mean"]
    if not isinstance(parents, list | tuple) or not parents:
        raise PlanError(f"{where}: expected a list of parents, got {parents!r}.")
    if any(type(i) is not int or not 0 <= i < n_parents for i in parents):
        raise PlanError(f"{where}: parents {parents!r} were named, there are {n_parents}.")
    if len(set(parents)) != len(parents):
        raise PlanError(f"{where}: every parent once, got {parents!r}.")
    return dict(zip(parents, _weights(data, len(parents), where), strict=True))


def _weights(data: Mapping[str, Any], n: int, where: str) -> list[float]:
    weights = data.get("weights", [1.0] * n)
    if (
        not isinstance(weights, list | tuple)
        or len(weights) != n
        or any(type(w) not in (int, float) or not (w > 0 and _fits(w)) for w in weights)
    ):
        raise PlanError(f"{where}: expected {n} weights above 0, got {weights!r}.")
    return [float(w) for w in weights]


def _read_rule(data: Any, where: str) -> Rule:
    given = [verb for verb in VERBS if isinstance(data, Mapping) and verb in data]
    verb = given[0] if len(given) == 1 else ""
    allowed = {
        "zero": set(), "fresh": set(), "identity": {"parent"}, "mean": {"weights", "scale"},
    }.get(verb, {"parent", "scale", "noise"})  # fmt: skip
    if not verb or not set(data) <= {verb} | allowed:
        raise PlanError(
            f"{where}: expected one of {', '.join(VERBS)} (with {_shown(sorted(allowed))}), "
            f"got {data!r}."
        )
    value = data[verb]
    if verb in ("zero", "fresh"):
        if value is not True:
            raise PlanError(f"{where}: expected {{'{verb}': true}}, got {data!r}.")
        return Rule(verb)
    scale = data.get("scale", 1.0)
    if type(scale) not in (int, float):
        raise PlanError(f"{where}: expected a scale (number), got {data!r}.")
    if not _fits(scale):
        shown = _shown(scale)
        raise PlanError(f"{where}: expected a scale that float32 can hold, got {shown}.")
    if verb == "mean":
        return Rule(verb, _read_mean(data, where), float(scale))
    parent = data.get("parent", 0)
    if type(value) is not int or type(parent) is not int:
        raise PlanError(
            f"{where}: expected a tag and a parent (integers) and a scale (number), got {data!r}."
        )
    noise = _pairs(data.get("noise", ()), (int, float), f"{where}, 'noise'")
    sign = -1.0 if verb == "negate" else 1.0
    return Rule(
        "copy" if verb == "negate" else verb, ((parent, value, 1.0),), sign * float(scale),
        tuple((int(tag), float(factor)) for tag, factor in noise),
    )  # fmt: skip


def _read_mean(data: Mapping[str, Any], where: str) -> tuple[tuple[int, int, float], ...]:
    pairs = _pairs(data["mean"], (int,), f"{where}, 'mean'")
    if not pairs or len({parent for parent, _ in pairs}) != len(pairs):
        raise PlanError(
            f"{where}: expected [[parent, tag], ...] with every parent once, got {data!r}."
        )
    weights = _weights(data, len(pairs), where)
    return tuple((int(p), int(t), w) for (p, t), w in zip(pairs, weights, strict=True))


def _pairs(data: Any, second: tuple[type, ...], where: str) -> list[tuple[Any, Any]]:
    """Return pairs of an integer and a finite number of the given kinds."""
    good = isinstance(data, list | tuple) and all(
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and type(pair[0]) is int
        and type(pair[1]) in second
        and _fits(pair[1])
        for pair in data
    )
    if not good:
        raise PlanError(f"{where}: expected a list of pairs of numbers, got {data!r}.")
    return [(a, b) for a, b in data]


def _fits(value: float) -> bool:
    """Tell whether float32 can hold a number; a Python integer may be too large for any float."""
    return abs(value) <= float(np.finfo(np.float32).max)


def _known(blueprint: Blueprint) -> set[int]:
    found = {step.tag for step in blueprint.steps} | set(blueprint.vertex_shapes)
    for ranges in {r for step in blueprint.steps for r in (*step.in_tags, step.out_tags)}:
        found.update(tags.expand(ranges))
    return found


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
