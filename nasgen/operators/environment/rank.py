"""The wanted number with the best scores, of the network (not from the papers of synthesis).

Scores: "magnitude", a; "lamp", a^2 over the sum of a_j^2 of all that are at least as strong in the
layer (Lee 2021), which needs no share for each layer; "loss", squared gradient times squared weight
(the diagonal of the Fisher information, as in LeCun 1990 without second derivatives). Exact, or
drawn without replacement in proportion to the scores by Gumbel noise (Kool 2019). By magnitude or
"lamp" it is not better than `normaliser` by itself: what counts is how long children are trained
between steps. "loss" kept more accuracy on validation images than the others (docs/synthesis.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from nasgen.errors import OperatorError
from nasgen.operators.environment.base import Choice, Draws, Solved, expected, over_shrunk
from nasgen.operators.environment.solving import met
from nasgen.phenotype import clusters, survival
from nasgen.phenotype.stock import Stock
from nasgen.phenotype.survival import Array, Arrays, Masks

SCORES = ("magnitude", "lamp", "loss")
LEAST = 1e-300  # a score of 0, in logarithms


@final
@dataclass(frozen=True)
class Rank(Solved):
    """Further options.

    - `score`: "magnitude", "lamp" or "loss".
    - `temperature`: of the Gumbel noise on the logarithm of the scores; 0 is exact, at 1 chances
      are in proportion to the scores.
    - `cluster_first`: clusters compete first, by the sum of their scores, then synapses within
      those that survive; else synapses alone compete, for the product of both retentions.
    """

    score: Literal["magnitude", "lamp", "loss"] = "lamp"
    temperature: float = 0.0
    cluster_first: bool = False

    def wrong(self) -> list[str]:
        """Return a sentence for each option that is out of range."""
        found = super().wrong()
        if self.score not in SCORES:
            found.append(expected("score", "'magnitude', 'lamp' or 'loss'", self.score))
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            found.append(expected("temperature", "a number of 0 or more", self.temperature))
        return found

    @property
    def needs_gradients(self) -> bool:
        """Whether `Stock.importance` must hold squared gradients."""
        return self.score == "loss"

    @property
    def draws(self) -> bool:
        """Whether two children of the same parents differ."""
        return self.temperature > 0 or self.noise > 0

    def choose(self, stock: Stock, rngs: Draws) -> Choice:
        """Return what has the best scores."""
        scores = {n: self._scores(stock, n) for n in stock.names}
        groups, wanted, left = self.groups(stock), {}, stock
        repaired: tuple[str, ...] = ()
        if self.cluster_first:
            left, wanted["clusters"], repaired = self._of_clusters(stock, scores, rngs)
            targets = [self.wanted(left, names, "synapses") for names in groups]
        else:
            targets = [self._of_both(stock, names) for names in groups]
        wanted["synapses"] = sum(targets)

        def that_live(chosen: Masks) -> int:
            return survival.n_synapses(stock.living(self.floored(left, chosen)))

        masks = self._best(scores, left.support, groups, targets, rngs, that_live)
        worth = {n: np.log(np.maximum(s, LEAST)) for n, s in scores.items()}
        shrunk = over_shrunk(stock, left, wanted, self.cluster, self.is_scheduled)
        return Choice(masks, worth, wanted, repaired, shrunk)

    def _of_clusters(
        self, stock: Stock, scores: Arrays, rngs: Draws
    ) -> tuple[Stock, float, tuple[str, ...]]:
        """Return the stock within the best clusters, how many should live, and what was repaired.

        See `Choice`.
        """
        kind, groups = self.cluster, self.groups(stock)
        sums = {
            n: clusters.summed(np.where(stock.support[n], s, 0), kind) for n, s in scores.items()
        }
        alive = {n: clusters.living(s, kind) for n, s in stock.support.items()}

        def within(chosen: Masks) -> Masks:
            shapes = {n: stock.support[n].shape for n in chosen}
            return {n: stock.support[n] & clusters.spread(m, shapes[n]) for n, m in chosen.items()}

        def that_live(chosen: Masks) -> int:
            return clusters.n_clusters(stock.living(self.floored(stock, within(chosen))), kind)

        targets = [self.wanted(stock, names, "clusters") for names in groups]

        def enough(chosen: Masks) -> bool:
            return self.holds(stock, stock.living(self.floored(stock, within(chosen))))

        best = within(self._best(sums, alive, groups, targets, rngs, that_live, enough))
        floored = self.floored(stock, best)
        repaired = tuple(n for n in stock.names if floored[n] is not best[n])
        return stock.within(stock.living(floored)), sum(targets), repaired

    def _of_both(self, stock: Stock, names: tuple[str, ...]) -> float:
        """Return how many synapses should survive where clusters do not come first."""
        if self.is_scheduled:
            return self.scheduled(stock, names)
        there = sum(survival.n_synapses(stock.support[n]) for n in names)
        share = math.prod(self.retentions(stock.generation))
        return stock.wanted(there, stock.n_of_parents(names), share)

    def _scores(self, stock: Stock, name: str) -> Array:
        strength = np.asarray(stock.strengths[name], dtype=np.float64)
        strength = np.where(stock.support[name], strength, 0.0)
        if self.score == "magnitude":
            return strength
        if self.score == "loss":
            if name not in stock.importance:
                raise OperatorError(
                    "environment 'rank': score = 'loss' expected squared gradients of tensor "
                    f"'{name}', got none."
                )
            return np.asarray(stock.importance[name], dtype=np.float64) * strength**2
        support = stock.support[name]
        squares = np.square(strength[support] / (float(strength.max(initial=0.0)) or 1.0))
        order = np.argsort(squares, kind="stable")
        at_least = np.cumsum(squares[order][::-1])[::-1]  # of all that are as strong or stronger
        lamp = np.zeros(len(squares))
        lamp[order] = squares[order] / np.maximum(at_least, LEAST)
        found = np.zeros(strength.shape)
        found[support] = lamp
        return found

    def _best(
        self,
        scores: Arrays,
        alive: Masks,
        groups: Sequence[tuple[str, ...]],
        targets: Sequence[float],
        rngs: Draws,
        that_live: Callable[[Masks], int],
        enough: Callable[[Masks], bool] = lambda masks: True,
    ) -> Masks:
        """Return as many of the best as live on as are wanted, by score and the noise on it."""
        keys = {name: np.log(np.maximum(score, LEAST)) for name, score in scores.items()}
        if self.temperature > 0:
            keys = {
                name: key - self.temperature * np.log(rngs[name].standard_exponential(key.shape))
                for name, key in keys.items()
            }
        found: dict[str, Array] = {}

        def take(numbers: Sequence[float]) -> tuple[int, int]:
            for names, n in zip(groups, numbers, strict=True):
                chosen = {name: keys[name] for name in names}
                there = {name: alive[name] for name in names}
                found.update(survival.strongest(chosen, there, round(n)))
            return survival.n_synapses(found), that_live(found)

        most = [survival.n_synapses({n: alive[n] for n in names}) for names in groups]
        met(targets, most, take, enough=lambda: enough(found))
        return found
