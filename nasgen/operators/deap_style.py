"""Use a variation written for DEAP (lists changed in place) as a mutation or a crossover.

For operators that somebody has already; a new one is better written for graphs, because a list of
labels cannot change the topology.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from nasgen import seeding
from nasgen.errors import IncompatibleError, NotApplicable, OperatorError
from nasgen.genotypes import Dag, Vertex
from nasgen.operators.base import N_TRIES, attempt, vary
from nasgen.search_spaces.graph import GraphSpace

Label = tuple[str, tuple[tuple[str, Any], ...]]


def from_deap(function: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
    """Return `function(individual, **settings)` as a mutation, or with two lists as a crossover.

    The list holds the labels (operation, settings) of the vertices with one input, in topological
    order; edges stay, so a label moves to another place in the same graph and the vertex keeps its
    gene tag. Of two parents only the first n labels are varied, n being the shorter list's length.
    Python's and NumPy's global random states are seeded from `rng` for the call and then restored.
    Raises IncompatibleError when `function` leaves other than one or two arguments to fill.

        mutation("shuffle")(from_deap(tools.mutShuffleIndexes, indpb=0.2))
    """
    name = getattr(function, "__name__", repr(function))
    free = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in settings
    ]

    def varied(rng: np.random.Generator, *genomes: list[Label]) -> list[list[Any]]:
        with seeding.lent(rng):
            result = function(*genomes, **settings)
        if not isinstance(result, tuple) or len(result) != len(genomes):
            raise OperatorError(
                f"'{name}': expected a tuple of {len(genomes)} individuals as DEAP's variations "
                f"return, got {type(result).__name__}."
            )
        return [list(individual) for individual in result]

    def several(n: int) -> None:
        if n < 2:  # DEAP's variations draw places from it, and fail on an empty range
            raise NotApplicable(f"'{name}' needs two layers to exchange, got {n}.", kind="no_place")

    def mutate(parent: Dag, space: GraphSpace, rng: np.random.Generator) -> Dag:
        places = _places(parent, space)
        several(len(places))
        return vary(
            parent,
            space,
            lambda draft: _write(
                draft, places, varied(rng, [v.label for v in places])[0], space, name
            ),
        )

    def cross(
        first: Dag, second: Dag, space: GraphSpace, rng: np.random.Generator
    ) -> tuple[Dag, ...]:
        places = [_places(parent, space) for parent in (first, second)]
        n = min(map(len, places))
        several(n)
        known = {first.key, second.key}
        reason, kind = "", "unchanged"
        for _ in range(N_TRIES):
            genomes = varied(rng, *([v.label for v in own[:n]] for own in places))
            children = []
            for parent, own, genome in zip((first, second), places, genomes, strict=True):
                draft = parent.edit()
                _write(draft, own, genome, space, name)
                try:
                    children.append(attempt(draft, space))
                except NotApplicable as error:
                    reason, kind = str(error), error.kind
            new = tuple(child for child in children if child.key not in known)
            if new:
                return new
        raise NotApplicable(
            f"'{name}' found no new legal child in {N_TRIES} tries; {reason or 'all known.'}",
            kind=kind,
        )

    if len(free) not in (1, 2):
        raise IncompatibleError(
            f"'{name}': expected a DEAP variation that takes one or two individuals, but "
            f"({', '.join(p.name for p in free)}) are left to fill. "
            "Pass its other arguments by name, such as from_deap(mutShuffleIndexes, indpb=0.2)."
        )
    return mutate if len(free) == 1 else cross


def _places(parent: Dag, space: GraphSpace) -> list[Vertex]:
    return [v for v in parent.inner if not space.layer(v.op).merges]


def _write(
    draft: Any, places: list[Vertex], genome: list[Any], space: GraphSpace, name: str
) -> None:
    """Give the first vertices the labels of a genome; what is no label raises OperatorError."""
    for vertex, label in zip(places, genome, strict=False):
        if label == vertex.label:
            continue
        try:
            op, settings = label
            if op not in space.layers or space.layer(op).merges:
                raise ValueError
            draft.change(vertex.tag, op, **dict(settings))
        except (TypeError, ValueError):
            raise OperatorError(
                f"'{name}': expected labels such as {vertex.label!r} in the individual it "
                f"returned, got {label!r}. Use variations that move or exchange items."
            ) from None
