"""What is known of a network before it is trained: objectives of the untrained network.

The driver asks this before a trial is made of a candidate, so networks are built without memory for
their weights (torch's meta device): counting parameters and operations takes milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

import torch

from nasgen import config, registry
from nasgen.evaluation import measure, shared
from nasgen.evaluation.metrics import Measured
from nasgen.genotypes import Dag
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces.blueprint import Blueprint

N_REMEMBERED: Final = 4096  # networks whose values are kept: attempts often repeat


@final
class Untrained:
    """Measures objectives `names` whose entries have the option "untrained".

    `context` is a worker's, see `evaluation.evaluator.Evaluator`.
    """

    def __init__(self, context: Mapping[str, Any], names: Sequence[str]) -> None:
        options = dict(context["space"])
        self._space = registry.resolve("search_spaces", options.pop("name"))(**options)
        self._data = shared.dataset(config.Data.model_validate(dict(context["data"])).source)
        self._objectives: dict[str, Callable[[Measured], float]] = {
            name: registry.resolve("objectives", name) for name in names
        }
        self._known: dict[str, dict[str, float]] = {}

    def __call__(self, genotype: Dag) -> dict[str, float]:
        """Return name -> finite value; what cannot be measured is left out.

        A network that cannot be built is for the worker to report, as a failed trial.
        """
        if genotype.key not in self._known:
            if len(self._known) >= N_REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[genotype.key] = self._measured(genotype)
        return self._known[genotype.key]

    def _measured(self, genotype: Dag) -> dict[str, float]:
        values: dict[str, float] = {}
        try:
            blueprint = self._space.blueprint(genotype, self._data.shape, self._data.n_classes)
            network = _weightless(blueprint)
            metrics = {
                "n_params": measure.n_params(network),
                "flops": measure.flops(network, blueprint.input_shape),
            }
            device = next((p.device for p in network.parameters()), torch.device("cpu"))
            measured = Measured(genotype, blueprint, network.eval(), metrics, None, None, device)
            for name, objective in self._objectives.items():
                value = float(objective(measured))
                if math.isfinite(value):
                    values[name] = value
        except Exception:  # a plug-in's layer or objective
            return values
        return values


def _weightless(blueprint: Blueprint) -> Network:
    try:
        with torch.device("meta"):
            return Network(blueprint)
    except Exception:  # a plug-in layer that computes its first weights
        return build(blueprint)
