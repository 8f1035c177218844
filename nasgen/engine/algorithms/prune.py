"""Pruning of one network: take weights away, train what is left, step by step (Stier 2021, 4.1).

A line of networks, each the last one without some of its weights, which begins with the network of
[origin]. Prefer `synthesis` where children are to be sampled from the weights, or of several
parents. A pruned network is a derivation: the worker that trains it prunes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final, Literal, final

import numpy as np

from nasgen.engine.algorithms.base import Generational, options_error
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Individual
from nasgen.engine.proposal import Proposal, Terms
from nasgen.engine.steps import Steps, Strategy
from nasgen.errors import ConfigError

METHOD: Final = "magnitude"
OF_CLASSIFIER: Final = "n_classifier"
COUNTED: Final = {"weight": "n_synapses", "kernel": "n_kernels", "filter": "n_filters"}
UNITS: Final = "n_units"  # of recurrent layers
# What [algorithm] recurrent names -> the counts of it.
MATRICES: Final = {"i2h": ("n_i2h",), "h2h": ("n_h2h",), "both": ("n_i2h", "n_h2h")}


def counts_matrices(granularity: str, recurrent: str) -> bool:
    """Tell whether a target can be a share of what is taken of recurrent layers alone."""
    if granularity == "filter":
        return recurrent == "both"
    return granularity == "weight" and recurrent in MATRICES


def counts(granularity: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the counts that add up to what a target counts, of the settings of a derivation."""
    if settings.get("of") == "matrices":
        return (UNITS,) if granularity == "filter" else MATRICES[settings["recurrent"]]
    more = (OF_CLASSIFIER,) if settings.get("classifier") else ()
    return (COUNTED[granularity], *more)


@final
class Prune(Generational):
    """Trains the network of [origin], then prunes it in steps, each with a training behind it.

    Which weights leave is said by `method`. Options:

    - `method`: a name of the registry group "prunings"; several, with frequencies, are named in
      [algorithm.prunings] instead. [algorithm.operators.NAME] has the options of each, such as
      granularity = "filter".
    - `target`: share of the weights that is gone in the end, above 0 and below 1, of those that the
      first network has: weights of layers, of the classifier only with [algorithm] classifier =
      true. Default: 0.8. With granularity "kernel" or "filter" it counts these.
    - `target_of`: "network", or "matrices": with [algorithm] recurrent = "i2h", "h2h" or "both" the
      target is a share of the weights of these alone, of "both" also of the hidden units
      (granularity "filter"); 1 takes all of them.
    - `strategy`: "one-shot" (default), "iterative", "relative", "fixed-size", "bucket" or
      "gradual".
    - `steps`: how many (iterative, gradual; default: 5), or at most (others).
    - `of_original`, `of_remaining`: share that a step takes, of the original number (iterative;
      default: the target over the steps) or of what is left (relative; default: 0.5).
    - `size`: how many a step takes (fixed-size). `bucket`: sum of the saliencies that it takes.
    - `first_epochs`, `epochs`: training of the first network, and behind each step; default
      [training] epochs. 0 `first_epochs` take a network of [origin] with weights as it is, and
      prune one without weights as it was drawn; 0 `epochs` train nothing behind a step.
    - `rounds`: a step's network is trained on, for `epochs` each time, as long as that gains; this
      many times in all at most (default: 1). `gain`: by how much the first objective must be better
      to count (default: 0). The best of the rounds is pruned on.
    - `compact`: channels that died leave the network, which computes the same (default: true);
      false: it keeps its shape, with zeros.
    """

    inherits: ClassVar[bool] = True
    takes_rungs: ClassVar[bool] = False
    begins_with: ClassVar[Literal["designs", "draws", "seed"]] = "seed"
    named_only: ClassVar[bool] = True
    crosses: ClassVar[bool] = False
    made_for_the_last: ClassVar[bool] = True  # smaller than those before it, mostly less accurate
    least_population: ClassVar[int] = 1
    usual_population: ClassVar[int | None] = 1

    def __init__(
        self,
        population: int,
        seed: int,
        method: str = METHOD,
        target: float = 0.8,
        target_of: Literal["network", "matrices"] = "network",
        strategy: Strategy = "one-shot",
        steps: int | None = None,
        of_original: float | None = None,
        of_remaining: float | None = None,
        size: int | None = None,
        bucket: float | None = None,
        first_epochs: float | None = None,
        epochs: float | None = None,
        rounds: int = 1,
        gain: float = 0.0,
        compact: bool = True,
    ) -> None:
        super().__init__(population, seed)
        if population != 1:
            raise options_error("prune", "population", "1, one line of networks", population)
        self.target_of, may_end = target_of, target_of == "matrices"
        self.steps = Steps(
            target, strategy, steps, of_original, of_remaining, size, bucket, may_end
        )
        problems = list(self.steps.problems())
        for name, n in {"first_epochs": first_epochs, "epochs": epochs}.items():
            if n is not None and not 0 <= n < math.inf:
                problems.append((name, "a number of 0 or more", n))
        if rounds < 1:
            problems.append(("rounds", "a whole number of 1 or more", rounds))
        elif rounds > 1 and epochs == 0:
            problems.append(("rounds", "1 where epochs are 0", rounds))
        if not 0 <= gain < math.inf:
            problems.append(("gain", "a number of 0 or more", gain))
        if problems:
            raise ConfigError([str(options_error("prune", *problem)) for problem in problems])
        self.rounds, self.gain, self.compact = rounds, gain, compact
        self.first, self.later = (
            Terms({} if n is None else {"epochs": float(n)}) for n in (first_epochs, epochs)
        )
        self._first: Individual | None = None
        self._step = 0  # of the network that is bred last
        self._round = 0  # trainings of that step so far
        self._trains_on = False

    @classmethod
    def own_operators(cls, group: str, options: Mapping[str, Any]) -> dict[str, float]:
        return {str(options.get("method", METHOD)): 1.0} if group == "prunings" else {}

    def begin(self, breeder: Breeder) -> None:
        super().begin(breeder)
        prunings = [op for op in breeder.operators.table if op.group == "prunings"]
        kinds = {str(getattr(op.function, "granularity", "weight")) for op in prunings}
        if len(kinds) > 1:
            raise ConfigError(
                f"algorithm.prunings: expected prunings of one granularity, got {sorted(kinds)}."
            )
        kind = kinds.pop() if kinds else "weight"
        settings = dict(next((op.settings for op in prunings), {}))
        if self.target_of == "matrices":
            which = settings.get("recurrent", "all")
            if not counts_matrices(kind, which):
                raise ConfigError(
                    "algorithm.target_of = 'matrices': expected prunings of the granularity "
                    "'weight' with algorithm.recurrent = 'i2h', 'h2h' or 'both', or 'filter' with "
                    f"'both', got '{kind}' with '{which}'."
                )
            settings["of"] = "matrices"
        self._counted = counts(kind, settings)
        for op in prunings if self.steps.bucket is not None else ():
            if not hasattr(op.function, "bucketed"):
                raise ConfigError(
                    f"algorithm.strategy = 'bucket': expected a pruning that gives saliencies "
                    f"(nasgen.operators.pruning.base.Salient), got '{op.name}'."
                )

    @property
    def n_trials(self) -> int | None:
        return 1 + self.steps.most * self.rounds

    @property
    def alive(self) -> list[Individual]:
        """What is pruned next, and the first network, with which it is compared."""
        first = [] if self._first is None else [self._first]
        return list({i.seq: i for i in [*super().alive, *first]}.values())

    def breed(self, rng: np.random.Generator) -> list[Proposal | None]:
        if self.generation == 0:
            return [self.breeder.seed(0, self.first)]
        if self.why_ended or self._first is None or not self.population:
            return []
        here = self.population[0]
        if self._trains_on:
            self._round += 1
            return [self.breeder.continued(here, self._step, self.later)]
        first, now = (self._n(individual) for individual in (self._first, here))
        following = self.steps.next(self._step, first, now)
        if following is None:
            self._round = 0  # nothing is trained, so nothing can fail
            return []
        self._step, settings = following
        self._round = 1
        settings |= {} if self.compact else {"compact": False}
        settings |= {"of": "matrices"} if self.target_of == "matrices" else {}
        terms = replace(self.later, derivation=settings)
        return [self.breeder.offspring([here], self._step, terms)]

    def anew(self, rng: np.random.Generator) -> Iterator[Proposal | None]:
        return iter(())  # what is drawn would be no descendant

    def survive(self, offspring: list[Individual], rng: np.random.Generator) -> list[Individual]:
        if not offspring:
            if self.generation == 0:
                self.why_ended = (
                    "the pruning ended: the network that it begins with could not be trained."
                )
            elif self._step and self._round:
                self.why_ended = f"the pruning ended: step {self._step} failed; its trial says why."
            return self.population
        here = offspring[0]
        if self.generation == 0:
            self._first = here
            return offspring
        if self._round > 1:
            before = self.population[0]
            gained = float(here.fitness.wvalues[0] - before.fitness.wvalues[0])
            self._trains_on = gained > self.gain and self._round < self.rounds
            return [here] if gained > self.gain else [before]
        self._trains_on = self.rounds > 1
        return [here]

    def _n(self, individual: Individual) -> int:
        """Return how many weights, kernels or filters a network has."""
        found = self.counts(individual.seq)
        return sum(int(found[name]) for name in self._counted)
