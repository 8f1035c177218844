"""A parent as the decoder reads it, which is what a function-preserving change must leave alone.

The decoder adds projections, caps and resizes by itself. Whether it does depends on widths, and on
the image where that is summed or joined; a morphism does not know the image, so what it does must
be right for all. `Frame` decodes the parent for images that differ in every way that matters.
"""

from __future__ import annotations

from functools import cached_property

from nasgen.errors import NotApplicable
from nasgen.genotypes import Dag, Draft, tags
from nasgen.layers.base import Layer, find_layer
from nasgen.operators.base import frozen
from nasgen.search_spaces.blueprint import INPUT, Blueprint, Step
from nasgen.search_spaces.graph import GraphSpace

N_CLASSES = 10
ADDED = ("project", "cap", "stem", "head")  # the decoder's steps that have weights


class Frame:
    """The blueprints of a legal parent, and what may be asked of them."""

    def __init__(self, parent: Dag, space: GraphSpace) -> None:
        self.parent, self.space = parent, space
        self.blueprints = tuple(space.blueprint(parent, shape, N_CLASSES) for shape in space.shapes)
        self.steps = {step.name: step for step in self.blueprints[1].steps}
        self._rules: dict[str, Layer] = {}
        self._projections = {
            step.tag for b in self.blueprints for step in b.steps if step.role == "project"
        }

    def rules(self, step: Step) -> Layer:
        """Return the rules of the layer of a step."""
        if step.layer not in self._rules:
            self._rules[step.layer] = find_layer(step.layer)
        return self._rules[step.layer]

    @cached_property
    def ends(self) -> dict[int, str]:
        """Gene tag of an inner vertex -> name of the step whose output it is (its cap if any)."""
        found = {step.tag: step.name for step in self.steps.values() if step.role == "vertex"}
        for step in self.steps.values():
            if step.role == "cap":
                found[self.steps[step.inputs[0]].tag] = step.name
        return found

    @cached_property
    def readers(self) -> dict[str, list[tuple[Step, int]]]:
        """Name of a step -> (step that reads it, as which of its inputs)."""
        found: dict[str, list[tuple[Step, int]]] = {}
        for step in self.steps.values():
            for i, source in enumerate(step.inputs):
                found.setdefault(source, []).append((step, i))
        return found

    @cached_property
    def image_channels(self) -> frozenset[int]:
        """First tags of the ranges that are the image's channels."""
        return frozenset(
            start
            for step in self.steps.values()
            for source, ranges in zip(step.inputs, step.in_tags, strict=True)
            if source == INPUT
            for start, _ in ranges
        )

    @cached_property
    def never_negative(self) -> frozenset[str]:
        """Names of the steps whose output is never negative, as after a ReLU."""
        found: set[str] = set()
        for step in self.steps.values():
            sign = self.rules(step).sign
            if sign == "positive" or (sign == "kept" and found.issuperset(step.inputs)):
                found.add(step.name)
        return frozenset(found)

    def width(self, vertex: int) -> int:
        """Return the channels of a vertex; raises NotApplicable when they depend on the image."""
        self.inner(vertex)
        widths = {blueprint.vertex_shapes[vertex][0] for blueprint in self.blueprints}
        if len(widths) > 1:
            raise NotApplicable(
                f"{self.named(vertex)} has as many channels as the image gives it; a morphism "
                "needs a width that all images share."
            )
        return widths.pop()

    def inner(self, vertex: int) -> None:
        """Raise NotApplicable unless a vertex is an inner one, IllegalGenotypeError if none."""
        if self.parent.vertex(vertex).op in ("input", "output"):
            raise NotApplicable(f"{self.named(vertex)}: expected an inner vertex.")

    def named(self, vertex: int) -> str:
        """Return how messages call a vertex."""
        return f"vertex {vertex} ('{self.parent.vertex(vertex).op}')"

    def targets(self, vertex: int) -> list[int]:
        """Return what reads a vertex and may read its substitute instead, at least one.

        A reader that the decoder projects it for is left out: the projection's gene tag names both
        ends, so its weights would be lost. Raises NotApplicable when no reader is left.
        """
        found = [
            target
            for target in self.parent.outputs(vertex)
            if tags.derived(vertex, target, "project") not in self._projections
        ]
        if not found:
            raise NotApplicable(f"every reader of {self.named(vertex)} projects it.")
        return found

    def offered(self, *ops: str) -> None:
        """Raise NotApplicable unless the space has these layers."""
        missing = [op for op in ops if op not in self.space.layers]
        if missing:
            raise NotApplicable(f"the space has no layer '{missing[0]}'; see space.layers.")

    def legal(self, draft: Draft) -> Dag:
        """Return the frozen graph; raises NotApplicable with the rule of the space it breaks."""
        return frozen(draft, self.space)

    def checked(self, draft: Draft, more: dict[int, int] | None = None) -> tuple[Dag, Blueprint]:
        """Return the legal child, and its blueprint for the usual image.

        Raises NotApplicable unless the decoder does to what the parent has just what it did there,
        for every image: the same projections and caps, the same maps, and the same widths but for
        `more` channels at some vertices.
        """
        child = self.legal(draft)
        blueprints = [self.space.blueprint(child, shape, N_CLASSES) for shape in self.space.shapes]
        for old, new in zip(self.blueprints, blueprints, strict=True):
            kept, now = ({s.tag: s for s in b.steps if s.role in ADDED} for b in (old, new))
            for tag in set(kept) ^ set(now):
                step, what = (kept[tag], "drop") if tag in kept else (now[tag], "add")
                raise NotApplicable(f"the decoder would {what} a '{step.role}' step.")
            for tag, (channels, *rest) in old.vertex_shapes.items():
                wanted = (channels + (more or {}).get(tag, 0), *rest)
                if new.vertex_shapes[tag] != wanted:
                    raise NotApplicable(
                        f"{self.named(tag)} would give {new.vertex_shapes[tag]} where {wanted} "
                        "preserves the function."
                    )
        return child, blueprints[1]
