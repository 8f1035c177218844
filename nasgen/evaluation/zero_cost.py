"""Zero-cost scores of a genotype as features: an untrained network, one batch of training images.

The filter asks for them while it chooses, so they are computed in the driver, on one thread; see
`evaluation/scores` for what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from nasgen import registry, seeding
from nasgen.errors import FOREIGN, IncompatibleError, NasgenError
from nasgen.evaluation import shared
from nasgen.evaluation.device import threads
from nasgen.evaluation.promises import number
from nasgen.evaluation.scores.base import Probe
from nasgen.genotypes import Genotype
from nasgen.phenotype.lent import lent
from nasgen.phenotype.network import build
from nasgen.search_spaces.standard import standard
from nasgen.settings import config

N_IMAGES: Final = 64  # as in Abdelfattah 2021; all training images where there are fewer
N_DIGITS: Final = 6  # that are kept of a score: the rest depends on the machine
N_REMEMBERED: Final = 4096  # networks whose scores are kept

Floats = npt.NDArray[np.float64]


@final
class ZeroCost:
    """Scores by `names`, default the usual built-in ones, as a feature set.

    `context` is a worker's, see `evaluation.evaluator.Evaluator`. Batch and weights follow from its
    "seed", and weights are drawn in canonical order: isomorphic genotypes have the same scores.
    A score with the option "log" is given as sign(s) log(1 + |s|) under the name log_SCORE,
    "n_params" as log_params.
    """

    def __init__(self, context: Mapping[str, Any], names: Sequence[str] | None = None) -> None:
        entries = registry.entries("scores")
        usual = [e for e in entries.values() if e.options.get("usual", True)]
        chosen = names or [e.name for e in usual if e.origin == "built-in"]
        self._scores: dict[str, Callable[[Probe], float]] = {
            name: registry.resolve("scores", name) for name in chosen
        }
        self._is_log = [bool(entries[name].options.get("log", False)) for name in chosen]
        self.names: tuple[str, ...] = tuple(
            f"log_{name.removeprefix('n_')}" if is_log else name
            for name, is_log in zip(chosen, self._is_log, strict=True)
        )
        options = dict(context["space"])
        self._space = registry.resolve("search_spaces", options.pop("name"))(**options)
        self._data = config.Data.model_validate(dict(context["data"]))
        self._digest = context.get("digest")
        self._seed = int(context["seed"])
        self._batch: tuple[dict[str, torch.Tensor], torch.Tensor] | None = (
            None  # loaded when first asked for
        )
        self._known: dict[str, Floats] = {}

    def encode(self, genotype: Genotype) -> Floats:
        """Return the scores in the order of `names`, float64 (f,); NaN where there is none.

        A network that cannot be built has none: its trial will tell why. Raises IncompatibleError
        when a score fails.
        """
        found = self._known.get(genotype.key)
        if found is None:
            if len(self._known) >= N_REMEMBERED:
                self._known.pop(next(iter(self._known)))
            found = self._known[genotype.key] = self._encoded(genotype)
        return found.copy()

    def _encoded(self, genotype: Genotype) -> Floats:
        shared.require(self._data, self._digest)
        transform = shared.transform(self._data)
        inputs, targets = self._rows()
        others = {name: value for name, value in inputs.items() if name != "x"}
        try:
            shape, n_outputs = transform.feed.input_shape, transform.task.n_outputs
            blueprint = self._space.blueprint(genotype, shape, n_outputs)
            network = build(standard(blueprint), seeding.integer(self._seed, "scored weights"))
            transform.feed.begin(network)
        except NasgenError:
            return np.full(len(self.names), np.nan)
        probe = Probe(network, inputs["x"], targets, transform.task.loss, others)
        values = [self._value(name, score, probe) for name, score in self._scores.items()]
        shown = [
            math.copysign(math.log1p(abs(v)), v) if is_log else v
            for v, is_log in zip(values, self._is_log, strict=True)
        ]
        return np.array([float(f"{v:.{N_DIGITS - 1}e}") for v in shown], dtype=np.float64)

    def _value(self, name: str, score: Callable[[Probe], float], probe: Probe) -> float:
        try:
            with _alone(seeding.integer(self._seed, "scoring")):
                return number(score(probe), f"score '{name}'")
        except NasgenError:
            raise
        except FOREIGN as error:
            raise IncompatibleError(
                f"score '{name}' failed with {type(error).__name__}: {error}. Choose other "
                "predictor.features or predictor.score, or mend it."
            ) from error

    def _rows(self) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return training rows as networks read them, and their targets as the loss does."""
        if self._batch is None:
            rows = shared.split(self._data, 1.0).train
            rng = seeding.generator(self._seed, "scored images")
            rows = rng.choice(rows, min(N_IMAGES, len(rows)), replace=False)
            transform, prepared = shared.transform(self._data), shared.prepared(self._data, "train")
            given = {name: torch.from_numpy(values[rows]) for name, values in prepared.items()}
            targets = transform.task.prepared(shared.data(self._data).targets)[rows]
            inputs = transform.feed.batch(given)
            if not inputs["x"].is_floating_point():  # tokens: scores ask for gradients of inputs
                n_tokens = transform.feed.input_shape[0]
                inputs["x"] = F.one_hot(inputs["x"], n_tokens).transpose(1, 2).float()
            self._batch = inputs, torch.from_numpy(targets)
        return self._batch


@contextmanager
def _alone(seed: int) -> Iterator[None]:
    """Lend torch one thread and a seed: neither what ran before nor the machine's cores show."""
    with threads(1), lent(seed):
        yield
