"""nasgen: genetic neural-architecture search.

>>> import nasgen
>>> run = nasgen.run({"data": {"source": "digits"}, "budget": {"trials": 40}})  # doctest: +SKIP
>>> run.ensemble.predict(images)  # doctest: +SKIP

Names are loaded when they are first used, so `import nasgen` is quick and loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_NAMES = {
    "run": "nasgen.runs.session",
    "resume": "nasgen.runs.session",
    "load": "nasgen.runs.loading",
    "Run": "nasgen.runs.results",
    "NASClassifier": "nasgen.estimators",
    "NASRegressor": "nasgen.estimators",
    "SearchConfig": "nasgen.settings.config",
    "NasgenError": "nasgen.errors",
    "NotApplicable": "nasgen.errors",
    "Child": "nasgen.genotypes",
    "Dag": "nasgen.genotypes",
    "Draft": "nasgen.genotypes",
    "EnsembleMethod": "nasgen.ensembles.base",
    "Environment": "nasgen.operators.environment.base",
    "Genotype": "nasgen.genotypes",
    "Node": "nasgen.genotypes",
    "Outline": "nasgen.genotypes",
    "Vertex": "nasgen.genotypes",
    "Layer": "nasgen.layers.base",
    "SearchSpace": "nasgen.search_spaces.base",
    "Dataset": "nasgen.data.base",
    "Feed": "nasgen.evaluation.feeds.base",
    "Task": "nasgen.evaluation.tasks.base",
    "from_deap": "nasgen.operators.deap_style",
    "from_networkx": "nasgen.genotypes.graphs",
    "to_networkx": "nasgen.genotypes.graphs",
    "mutation": "nasgen.registry",
    "crossover": "nasgen.registry",
    "morphism": "nasgen.registry",
    "mating": "nasgen.registry",
    "pruning": "nasgen.registry",
    "environment": "nasgen.registry",
    "layer": "nasgen.registry",
    "objective": "nasgen.registry",
    "score": "nasgen.registry",
    "predictor": "nasgen.registry",
    "stopper": "nasgen.registry",
    "ensemble": "nasgen.registry",
    "dataset": "nasgen.registry",
    "feed": "nasgen.registry",
    "task": "nasgen.registry",
    "search_space": "nasgen.registry",
    "genotype": "nasgen.registry",
    "bench": "nasgen.registry",
    "RowTable": "nasgen.bench.rows",
}
__all__ = [  # as in _NAMES; a test compares them
    "Child",
    "Dag",
    "Dataset",
    "Draft",
    "EnsembleMethod",
    "Environment",
    "Feed",
    "Genotype",
    "Layer",
    "NASClassifier",
    "NASRegressor",
    "NasgenError",
    "Node",
    "NotApplicable",
    "Outline",
    "RowTable",
    "Run",
    "SearchConfig",
    "SearchSpace",
    "Task",
    "Vertex",
    "__version__",
    "bench",
    "crossover",
    "dataset",
    "ensemble",
    "environment",
    "feed",
    "from_deap",
    "from_networkx",
    "genotype",
    "layer",
    "load",
    "mating",
    "morphism",
    "mutation",
    "objective",
    "predictor",
    "pruning",
    "resume",
    "run",
    "score",
    "search_space",
    "stopper",
    "task",
    "to_networkx",
]

if TYPE_CHECKING:
    from nasgen.bench.rows import RowTable
    from nasgen.data.base import Dataset
    from nasgen.ensembles.base import EnsembleMethod
    from nasgen.errors import NasgenError, NotApplicable
    from nasgen.estimators import NASClassifier, NASRegressor
    from nasgen.evaluation.feeds.base import Feed
    from nasgen.evaluation.tasks.base import Task
    from nasgen.genotypes import Child, Dag, Draft, Genotype, Node, Outline, Vertex
    from nasgen.genotypes.graphs import from_networkx, to_networkx
    from nasgen.layers.base import Layer
    from nasgen.operators.deap_style import from_deap
    from nasgen.operators.environment.base import Environment
    from nasgen.registry import (
        bench,
        crossover,
        dataset,
        ensemble,
        environment,
        feed,
        genotype,
        layer,
        mating,
        morphism,
        mutation,
        objective,
        predictor,
        pruning,
        score,
        search_space,
        stopper,
        task,
    )
    from nasgen.runs.loading import load
    from nasgen.runs.results import Run
    from nasgen.runs.session import resume, run
    from nasgen.search_spaces.base import SearchSpace
    from nasgen.settings.config import SearchConfig


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'nasgen' has no attribute '{name}'")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value
