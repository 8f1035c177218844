"""One blueprint for all isomorphic ones, so weights drawn in its order are the same for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nasgen.genotypes import Dag, Vertex, canonical
from nasgen.layers.base import Shape
from nasgen.search_spaces.blueprint import INPUT, Blueprint, Links, Step


def standard(blueprint: Blueprint) -> Blueprint:
    """Return a blueprint of the same network whose steps stand in canonical order.

    Identities are left out, and the order in which merging steps read is settled. Blueprints of
    genotypes with one key give equal steps, but for links, which follow the order of units. It
    carries no gene tags and no vertex shapes, and is meant for networks that inherit nothing.
    """
    n = len(blueprint.steps)
    number = {INPUT: 0} | {step.name: i for i, step in enumerate(blueprint.steps, 1)}
    vertices = (
        Vertex(0, "input"),
        *(Vertex(i, step.layer, step.params) for i, step in enumerate(blueprint.steps, 1)),
        Vertex(n + 1, "output"),
    )
    edges = [(number[s], i) for i, step in enumerate(blueprint.steps, 1) for s in step.inputs]
    names: list[str] = []
    shapes: list[Shape] = []
    steps: list[Step] = []
    place_of: list[int] = []  # place in canonical order -> number of the step
    for vertex, sources in canonical.ordered(Dag(vertices, (*edges, (n, n + 1)))):
        place_of.append(vertex.tag)
        if vertex.op in ("input", "output"):
            names.append(INPUT)
            shapes.append(blueprint.input_shape)
            continue
        inputs: list[str] = []
        for source in sources:
            name = names[source]
            if name in inputs:  # a step reads each map once: what it adds twice passes an identity
                name, shape = f"skip_{len(steps)}", shapes[source]
                steps.append(Step(name, "skip", "vertex", 0, (names[source],), (), (shape,), shape))
            inputs.append(name)
        step = blueprint.steps[vertex.tag - 1]
        before = [number[source] for source in step.inputs]
        now = [place_of[source] for source in sources]
        names.append(f"{step.layer}_{len(steps)}")
        shapes.append(step.out_shape)
        steps.append(
            replace(
                step,
                name=names[-1],
                tag=len(steps),
                inputs=tuple(inputs),
                in_shapes=tuple(shapes[s] for s in sources),
                in_tags=(),
                out_tags=(),
                links=_moved(step, before, now),
            )
        )
    kept = dict(zip(place_of, names, strict=True))  # number of a step -> its name here
    return Blueprint(
        blueprint.input_shape,
        blueprint.n_classes,
        tuple(steps),
        blocks=tuple(_stand_in(blueprint, number, kept, end) for end in blueprint.blocks),
    )


def _stand_in(
    blueprint: Blueprint, number: Mapping[str, int], kept: Mapping[int, str], name: str
) -> str:
    """Return the name of the step that is kept for one that may have been an identity."""
    while number[name] not in kept:
        (name,) = blueprint.steps[number[name] - 1].inputs
    return kept[number[name]]


def _moved(step: Step, before: Sequence[int], now: Sequence[int]) -> Links:
    """Return a step's links where it reads its inputs in another order."""
    if not step.links or list(before) == list(now):
        return step.links
    starts, total = {}, 0
    widths = {source: shape[0] for source, shape in zip(before, step.in_shapes, strict=True)}
    for source in now:
        starts[source], total = total, total + widths[source]
    places = [starts[source] + i for source in before for i in range(widths[source])]
    return tuple(
        (role, tuple(tuple(sorted(places[i] for i in row)) for row in rows))
        if role == "in"
        else (role, rows)
        for role, rows in step.links
    )
