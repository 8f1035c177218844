"""Fuzz an operator against its contract; `nasgen check my_ops.py` prints what this finds."""

from __future__ import annotations

import inspect
import json
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Final

import numpy as np

from nasgen import registry, seeding
from nasgen.errors import FOREIGN, IncompatibleError, NotApplicable, PlanError
from nasgen.genotypes import Child, Genotype, read
from nasgen.layers.base import Shape
from nasgen.operators import mutation
from nasgen.phenotype.plans import parsed
from nasgen.search_spaces.base import SearchSpace
from nasgen.search_spaces.fitting import fits

Given = Callable[[Sequence[Genotype], int], dict[str, Any]]
# Number of axes -> input shapes that every child must be buildable for, the smallest last.
SHAPES: Final[dict[int, tuple[Shape, ...]]] = {
    1: ((40,), (1,), (7,)), 2: ((20, 30), (3, 9)), 3: ((3, 32, 32), (1, 8, 8)),
}  # fmt: skip
N_SHOWN = 400  # characters of a parent's outline in a problem
ENOUGH = 4  # inner vertices of a parent from which a child is expected to keep at least one


@dataclass
class Report:
    """What a check found. `ok` is False when `problems` names at least one broken rule.

    `broken` holds one sentence a rule with its first counter-example; `warnings` what is allowed
    and yet hardly meant. `n_new` children have a key that none of their parents has.
    """

    operator: str
    n_tried: int = 0
    n_children: int = 0
    n_not_applicable: int = 0
    n_new: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """The sentences about broken rules."""
        return list(self.broken.values())

    @property
    def ok(self) -> bool:
        """Whether no rule was broken."""
        return not self.problems


def check_operator(
    group: str,
    name: str,
    space: SearchSpace,
    n: int = 200,
    seed: int = 0,
    given: Given = lambda parents, case: {},
) -> Report:
    """Apply a registered operator to `n` sampled and mutated parents (pairs, triples) and report.

    `given` makes what it requires of these parents. Of a range of parents the fewest are tried.

    Checked: the kind of what it returns, legality, unchanged parents, the same child from the same
    seed, that the child can be read as a network and written as JSON, and its gene tags. Whatever
    the operator raises, but NotApplicable, is reported with its line. Raises UnknownNameError or
    IncompatibleError when there is nothing to check.
    """
    if group not in registry.PARENTS or registry.get(group, name).runs_in != "driver":
        raise IncompatibleError(
            f"expected an operator that runs in the driver, got '{name}' of '{group}'; others need "
            "weights."
        )
    operator = with_materials(group, name, given)
    n_parents = registry.get(group, name).arity[0]
    origin = registry.get(group, name).origin
    report = Report(f"{group}/{name}")
    for i in range(n):
        parents = [
            sampled_and_mutated(
                space, seeding.generator(seed, "conformance parent", i, j), seed, n_parents * i + j
            )
            for j in range(n_parents)
        ]
        found = _one(operator, parents, space, origin, (seed, i), report)
        for rule, message in found:
            where = f"seed {seed}, case {i}, first parent: {_outline(parents[0])}"
            report.broken.setdefault(rule, f"{message} ({where})")
    if n and report.n_not_applicable == report.n_tried:
        report.warnings.append(
            f"it raised NotApplicable in all {n} cases; is there any parent it can work on?"
        )
    elif report.n_children and not report.n_new:
        report.warnings.append("no child differs from its parents; the search could not use one.")
    return report


def with_materials(group: str, name: str, given: Given) -> Callable[..., Any]:
    """Return an operator as `function(*parents, space, rng, case)`, handed what it requires."""
    function = registry.function(group, name)
    required = registry.get(group, name).requires

    @wraps(function)
    def call(*arguments: Any, case: int = 0) -> Any:
        if not required:
            return function(*arguments)
        return function(*arguments, given=given(arguments[:-2], case))

    return call


def shapes_of(space: SearchSpace) -> tuple[Shape, ...]:
    """Return input shapes of every number of axes that a space reads, a small one last."""
    return tuple(shape for rank in space.ranks or SHAPES for shape in SHAPES[rank])


def sampled_and_mutated(
    space: SearchSpace, rng: np.random.Generator, seed: int, trial: int
) -> Genotype:
    """Sample a genotype and mutate it up to three times, so that parents are not all tidy.

    Genotypes that no built-in mutation works on stay as they were sampled.
    """
    parent = space.sample(rng)
    own = [entry for entry in mutation.ENTRIES if entry.runs_in != "worker"]
    names = [entry.name for entry in own if fits(entry, type(space))]
    for _ in range(int(rng.integers(4)) if names else 0):
        name = names[int(rng.integers(len(names)))]
        try:
            parent = registry.resolve("mutations", name)(parent, space, rng)
        except NotApplicable:
            continue
    return parent.mint(seed, trial)


def _one(
    operator: Callable[..., Any],
    parents: Sequence[Genotype],
    space: SearchSpace,
    origin: str,
    case: tuple[int, int],
    report: Report,
) -> list[tuple[str, str]]:
    """Return (rule, message) for each rule broken on these parents."""
    before = [json.dumps(parent.to_json()) for parent in parents]
    report.n_tried += 1
    results: list[Any] = []
    for _ in range(2):
        try:
            rng = seeding.generator(case[0], "conformance operator", case[1])
            results.append(operator(*parents, space, rng, case=case[1]))
        except NotApplicable as refusal:
            results.append(refusal)
        except FOREIGN as error:
            text = _where(error, operator, origin)
            # One fault may be said in other numbers elsewhere: its place tells it.
            place = f"raises: {type(error).__name__} {text[text.rfind('(line') :]}"
            return [(place, f"raised {text}")]
    found: list[tuple[str, str]] = []
    if [json.dumps(parent.to_json()) for parent in parents] != before:
        found.append(("unchanged", "changed its input; work on parent.edit()."))
    given = [result for result in results if not isinstance(result, NotApplicable)]
    if not given:
        report.n_not_applicable += 1
        return found
    try:
        children = [_children(result, len(parents), space) for result in given]
    except TypeError as error:
        return [*found, ("type", str(error))]
    texts = [[(json.dumps(c.genotype.to_json()), _plan(c)) for c in own] for own in children]
    if len(texts) != 2 or texts[0] != texts[1]:
        found.append(
            ("repeatable", "gave two results for one seed; draw from `rng` and nothing else.")
        )
    for child in children[0]:
        report.n_children += 1
        report.n_new += child.genotype.key not in {parent.key for parent in parents}
        found += _wrong(child, parents, space)
    return found


def _children(result: Any, n_parents: int, space: SearchSpace) -> list[Child]:
    """Return an operator's result as children; TypeError says what is wrong with it."""
    several: Sequence[Any] = result if isinstance(result, tuple | list) else (result,)
    if not 1 <= len(several) <= n_parents:
        most = {1: "one child", 2: "one or two children"}
        expected = most.get(n_parents, f"one to {n_parents} children")
        raise TypeError(f"expected {expected}, got {len(several)}.")
    children = [one if isinstance(one, Child) else Child(one) for one in several]
    for genotype in (child.genotype for child in children):
        if not space.reads(genotype):
            expected = f"a {space.genotype.__name__} or a Child"
            raise TypeError(f"expected {expected}, got {type(genotype).__name__}.")
        try:
            json.dumps(genotype.to_json())
        except TypeError as error:
            raise TypeError(
                f"gave a child that JSON cannot write ({error}); use int(...) on NumPy numbers."
            ) from None
    return children


def _outline(genotype: Genotype) -> str:
    """Return a genotype in a line, such as "0 input; 1 conv 16 3 <- 0; 2 output <- 1"."""
    outline = genotype.outline()
    parts = []
    for place, node in enumerate(outline.nodes):
        settings = " ".join(str(value) for value in node.params.values())
        sources = " ".join(str(a) for a, b in outline.edges if b == place)
        label = f"{place} {node.op} {settings}".rstrip()
        parts.append(f"{label} <- {sources}" if sources else label)
    text = "; ".join(parts)
    return text if len(text) <= N_SHOWN else f"{text[:N_SHOWN]} ..."


def _plan(child: Child) -> str:
    try:
        return json.dumps(dict(child.plan))
    except (TypeError, ValueError):
        return "not JSON"


def _wrong(child: Child, parents: Sequence[Genotype], space: SearchSpace) -> list[tuple[str, str]]:
    """Return (rule, message) for each rule that one child breaks."""
    genotype = child.genotype
    found: list[tuple[str, str]] = []
    if problems := space.problems(genotype):
        found.append(("legal", f"gave an illegal child: {problems[0]}"))
    else:
        for shape in shapes_of(space):
            try:
                space.blueprint(genotype, shape, 10)
            except FOREIGN as error:
                what = f"{type(error).__name__}: {error}"
                found.append(("decodable", f"gave a child that cannot be built: {what}"))
    if read(json.loads(json.dumps(genotype.to_json()))) != genotype:
        found.append(("json", "gave a child that JSON does not return unchanged."))
    if _plan(child) == "not JSON":
        found.append(("plan", "gave a plan that is not JSON data; use texts, numbers, lists."))
    else:
        try:
            parsed(child.plan, len(parents))
        except PlanError as error:
            found.append(("plan", f"gave a plan that is not understood: {error}"))
    return found + _wrong_tags(genotype, parents)


def _wrong_tags(genotype: Genotype, parents: Sequence[Genotype]) -> list[tuple[str, str]]:
    tags = {tag for parent in parents for tag in parent.tags}
    channels = [r for parent in parents for own in parent.channel_tags.values() for r in own]
    found: list[tuple[str, str]] = []
    for tag in sorted(genotype.tags - tags):
        if tag >= 0:
            found.append(("tags", f"invented the gene tag {tag}; new vertices: Draft.add."))
    for start, n in (r for own in genotype.channel_tags.values() for r in own):
        if start >= 0 and not any(s <= start and start + n <= s + m for s, m in channels):
            found.append(("channel tags", f"invented channel tags from {start} on."))
    kept = {node.tag for node in genotype.outline().inner} & tags
    if not kept and min(len(parent.outline().inner) for parent in parents) >= ENOUGH:
        found.append(
            ("heredity", "kept no vertex's gene tag; start from parent.edit() or Draft.absorb.")
        )
    return found


def _where(error: BaseException, operator: Callable[..., Any], origin: str) -> str:
    """Return the error with the last line of the operator's own file that led to it."""
    try:
        own = {origin, inspect.getsourcefile(operator)}
    except TypeError:
        own = {origin}
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((f for f in reversed(frames) if f.filename in own), frames[-1])
    return f"{type(error).__name__}: {error} (line {frame.lineno} of {frame.filename})."
