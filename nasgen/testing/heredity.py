"""Executes the heredity plans of operators on small networks whose weights are drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nasgen.errors import NasgenError
from nasgen.genotypes import Child, Genotype
from nasgen.operators.conformance import shapes_of
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import build
from nasgen.search_spaces.base import SearchSpace
from nasgen.testing import arrays
from nasgen.testing.preservation import randomised

N_CLASSES = 5


def executed(space: SearchSpace, parents: Sequence[Genotype], child: Child, case: int) -> str:
    """Return "" when a child's network can be filled from its parents', else what went wrong."""
    shape = shapes_of(space)[-1]
    blueprints = [space.blueprint(parent, shape, N_CLASSES) for parent in parents]
    givers = [(b, randomised(b, case + i).state_dict()) for i, b in enumerate(blueprints)]
    blueprint = space.blueprint(child.genotype, shape, N_CLASSES)
    network = build(blueprint, case)
    try:
        report = inherit(network, blueprint, givers, child.plan)
    except NasgenError as error:
        return f"case {case}: the child's heredity plan cannot be executed: {error}"
    if report.n_values != sum(t.numel() for t in network.state_dict().values()):
        return f"case {case}: heredity lost count of the child's values."
    return ""


def materials_of(
    required: Sequence[str], parents: Sequence[Genotype], space: SearchSpace, case: int
) -> dict[str, Any]:
    """Return what an operator requires of its parents: read-only arrays, one entry a parent."""
    given = arrays.materials(tuple(required), len(parents), case)
    if not {"weights", "support"} & set(required):
        return given
    states = [
        {
            name: arrays.locked(tensor.detach().numpy())
            for name, tensor in randomised(
                space.blueprint(parent, shapes_of(space)[-1], N_CLASSES), case + i
            )
            .state_dict()
            .items()
        }
        for i, parent in enumerate(parents)
    ]
    if "weights" in required:
        given["weights"] = tuple(states)
    if "support" in required:
        given["support"] = tuple(
            {name: arrays.locked(np.ones(a.shape, bool)) for name, a in state.items() if a.ndim > 1}
            for state in states
        )
    return given
