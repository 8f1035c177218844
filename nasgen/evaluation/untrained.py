"""What is known of a network before it is trained: objectives of the untrained network.

The driver asks this before a trial is made of a candidate: some milliseconds each. (Torch's meta
device, which needs no memory for weights, takes three times as long for networks of usual size.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

import torch

from nasgen import registry
from nasgen.errors import FOREIGN
from nasgen.evaluation import living, measure, shared
from nasgen.evaluation.metrics import Measured
from nasgen.evaluation.promises import number
from nasgen.genotypes import Genotype
from nasgen.phenotype.network import build
from nasgen.settings import config

N_REMEMBERED: Final = 4096  # networks whose values are kept: attempts often repeat


@final
class Untrained:
    """Measures objectives `names` whose entries have the option "untrained".

    `context` is a worker's, see `evaluation.evaluator.Evaluator`.
    """

    def __init__(self, context: Mapping[str, Any], names: Sequence[str]) -> None:
        options = dict(context["space"])
        self._space = registry.resolve("search_spaces", options.pop("name"))(**options)
        data = config.Data.model_validate(dict(context["data"]))
        shared.require(data, context.get("digest"))
        transform = shared.transform(data)
        self._shape, self._n_outputs = transform.feed.input_shape, transform.task.n_outputs
        self._example = transform.feed.example()
        self._objectives: dict[str, Callable[[Measured], float]] = {
            name: registry.resolve("objectives", name) for name in names
        }
        self._known: dict[str, dict[str, float]] = {}

    def __call__(self, genotype: Genotype) -> dict[str, float]:
        """Return name -> finite value; what cannot be measured is left out.

        A network that cannot be built is for the worker to report, as a failed trial.
        """
        if genotype.key not in self._known:
            if len(self._known) >= N_REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[genotype.key] = self._measured(genotype)
        return self._known[genotype.key]

    def _measured(self, genotype: Genotype) -> dict[str, float]:
        values: dict[str, float] = {}
        try:
            blueprint = self._space.blueprint(genotype, self._shape, self._n_outputs)
            network = build(blueprint).eval()
            metrics = {"n_params": measure.n_params(network)}
            if {*self._objectives} != {"n_params"}:
                metrics["flops"] = measure.flops(network, self._example)
                metrics |= living.measured(blueprint, network, None)
            cpu = torch.device("cpu")
            measured = Measured(
                genotype, blueprint, network, metrics, None, None, cpu, self._example
            )
            for name, objective in self._objectives.items():
                value = number(objective(measured), name)
                if math.isfinite(value):
                    values[name] = value
        except FOREIGN:  # a plug-in's layer or objective
            return values
        return values
