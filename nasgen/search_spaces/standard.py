"""One blueprint for all isomorphic ones, so weights drawn in its order are the same for them."""

from __future__ import annotations

from dataclasses import replace

from nasgen.genotypes import Dag, Vertex, canonical
from nasgen.layers.base import Shape
from nasgen.search_spaces.blueprint import INPUT, Blueprint, Step


def standard(blueprint: Blueprint) -> Blueprint:
    """Return a blueprint of the same network whose steps stand in canonical order.

    Identities are left out, and the order in which merging steps read is settled. Blueprints of
    genotypes with one key give equal steps. It carries no gene tags and no vertex shapes, and is
    meant for networks that inherit nothing.
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
    for vertex, sources in canonical.ordered(Dag(vertices, (*edges, (n, n + 1)))):
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
            )
        )
    return Blueprint(blueprint.input_shape, blueprint.n_classes, tuple(steps))
