"""Contract suites for plug-in authors: inherit one, name your member, run pytest.

    from nasgen.testing import MutationContract

    class TestDoubleChannels(MutationContract):
        file = "double_channels.py"
        name = "double-channels"

Every rule is a plain function in the module of its family; `check.check_file`, which is what
`nasgen check my_ops.py` calls, applies the same functions. Nothing here imports pytest, and torch
is loaded by those suites alone that need it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "GenotypeContract": "nasgen.testing.genotypes",
    "MutationContract": "nasgen.testing.operators",
    "CrossoverContract": "nasgen.testing.operators",
    "MorphismContract": "nasgen.testing.operators",
    "MatingContract": "nasgen.testing.matings",
    "WorkerMutationContract": "nasgen.testing.worker_mutations",
    "PruningContract": "nasgen.testing.prunings",
    "EnvironmentContract": "nasgen.testing.environments",
    "EnsembleContract": "nasgen.testing.ensembles",
    "SearchSpaceContract": "nasgen.testing.search_spaces",
    "LayerContract": "nasgen.testing.layers",
    "ObjectiveContract": "nasgen.testing.objectives",
    "ScoreContract": "nasgen.testing.scores",
    "DatasetContract": "nasgen.testing.datasets",
    "FeedContract": "nasgen.testing.feeds",
    "TaskContract": "nasgen.testing.tasks",
    "PredictorContract": "nasgen.testing.predictors",
    "Finding": "nasgen.testing.check",
    "check_file": "nasgen.testing.check",
}
__all__ = [
    "CrossoverContract",
    "DatasetContract",
    "EnsembleContract",
    "EnvironmentContract",
    "FeedContract",
    "Finding",
    "GenotypeContract",
    "LayerContract",
    "MatingContract",
    "MorphismContract",
    "MutationContract",
    "ObjectiveContract",
    "PredictorContract",
    "PruningContract",
    "ScoreContract",
    "SearchSpaceContract",
    "TaskContract",
    "WorkerMutationContract",
    "check_file",
]

if TYPE_CHECKING:
    from nasgen.testing.check import Finding, check_file
    from nasgen.testing.datasets import DatasetContract
    from nasgen.testing.ensembles import EnsembleContract
    from nasgen.testing.environments import EnvironmentContract
    from nasgen.testing.feeds import FeedContract
    from nasgen.testing.genotypes import GenotypeContract
    from nasgen.testing.layers import LayerContract
    from nasgen.testing.matings import MatingContract
    from nasgen.testing.objectives import ObjectiveContract
    from nasgen.testing.operators import CrossoverContract, MorphismContract, MutationContract
    from nasgen.testing.predictors import PredictorContract
    from nasgen.testing.prunings import PruningContract
    from nasgen.testing.scores import ScoreContract
    from nasgen.testing.search_spaces import SearchSpaceContract
    from nasgen.testing.tasks import TaskContract
    from nasgen.testing.worker_mutations import WorkerMutationContract


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'nasgen.testing' has no attribute '{name}'")
    return getattr(importlib.import_module(_NAMES[name]), name)
