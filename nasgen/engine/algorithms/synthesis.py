"""Evolutionary synthesis: children are sampled from the weights of trained parents.

A network's weights are its DNA: what is strong in m parents is likely to exist in their child, and
an environment says how much of it does (Shafiee 2016 for one parent, Chung 2017 for several,
Chung 2018 for parents that meet by gene tag). Generations get smaller and smaller; prefer `growth`
or `lineage` where networks are to get better. A child is a derivation: the worker that trains it
samples it, from a seed of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from itertools import cycle, islice
from typing import Any, ClassVar, Final, Literal, final

import numpy as np

from nasgen import registry
from nasgen.engine.algorithms.base import Generational, options_error
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Individual
from nasgen.engine.proposal import Proposal, Terms

MATING: Final = "intersect-mean"
# Option of a selection -> the option of the algorithm that sets it.
SIMILARITY: Final = {
    "target": "similarity", "width": "similarity_width", "cluster": "similarity_cluster",
}  # fmt: skip
N_TRIES: Final = 10  # sets of parents for one child, where equal parents have equal children


@final
class Synthesis(Generational):
    """Trains the network of [origin], then generations of `population` children of the last ones.

    How parents are mixed and how much of them survives is said by `mating` and by the table
    [environment]: its `name` is a member of `nasgen list environments`, `tags = false` lets parents
    meet by place in place of gene tags, `weights` says what a child's synapses begin with.
    `algorithm.parents` is their number m, drawn without replacement, or as many as there are where
    the generations before have fewer. The ancestor is generation 0: what the papers call generation
    13 is 12 here. Options:

    - `mating`: a name of the registry group "matings"; several, with frequencies, are named in
      [algorithm.matings] instead.
    - `range`: parents come from this many last generations (default 1); the G_i on which equation 3
      of Chung 2017 conditions.
    - `ancestors`: trainings of the origin that differ in their random draws (default 1: the
      children differ by sampling alone). Mating averages what they have learnt independently.
    - `generations`: of children; default: until the budget is spent.
    - `first_epochs`, `epochs`: training of an ancestor, and of a child; default [training] epochs.
      0 `first_epochs` take a network of [origin] with weights as it is; without weights it is an
      error.
    - `drop`: the search ends when the best of a generation is more than this below the best
      ancestor, by the first objective; Shafiee 2016 has 0.03. Default: it does not end.
    - `selection`: a name of the registry group "selections", which chooses the parents of each
      child; default "random". By how alike they are: "closest", "farthest" or "band".
    - `similarity`, `similarity_width`: with "band", the share of their clusters that parents should
      have in common, in [0, 1], and by how much it may be missed; default 0.9 and 0.05.
    - `similarity_cluster`: which clusters these three compare, "kernel" (default) or "filter".
    - `mutation_prob`: share of the mated children that one of [algorithm.mutations] changes as well
      (default 0). It must run in the worker, as `regrow` does: synapses that come back take the
      place of the weakest ones (SET, Mocanu 2018), in half of a layer at most.

    A share of 1 - `algorithm.crossover_prob` (default 0) of the children is made of one parent by
    the mutations and prunings that the config names, such as a random pruning as a control.
    """

    inherits: ClassVar[bool] = True
    takes_rungs: ClassVar[bool] = False
    begins_with: ClassVar[Literal["designs", "draws", "seed"]] = "seed"
    named_only: ClassVar[bool] = True
    environment: ClassVar[str] = "factor"
    crossover_prob: ClassVar[float] = 1.0
    least_population: ClassVar[int] = 1
    usual_population: ClassVar[int | None] = 4

    def __init__(
        self,
        population: int,
        seed: int,
        mating: str = MATING,
        range: int = 1,
        ancestors: int = 1,
        generations: int | None = None,
        first_epochs: float | None = None,
        epochs: float | None = None,
        drop: float | None = None,
        selection: str = "random",
        similarity: float | None = None,
        similarity_width: float | None = None,
        similarity_cluster: Literal["kernel", "filter"] | None = None,
        mutation_prob: float = 0.0,
    ) -> None:
        super().__init__(population, seed)
        counts = {"range": range, "ancestors": ancestors, "generations": generations}
        for name, count in counts.items():
            if count is not None and count < 1:
                raise options_error("synthesis", name, "at least 1", count)
        if first_epochs is not None and not 0 <= first_epochs < np.inf:
            raise options_error("synthesis", "first_epochs", "a number of 0 or more", first_epochs)
        if epochs is not None and not 0 < epochs < np.inf:
            raise options_error("synthesis", "epochs", "a number above 0", epochs)
        if drop is not None and not 0 <= drop < np.inf:
            raise options_error("synthesis", "drop", "a number of 0 or more", drop)
        if not 0 <= mutation_prob <= 1:
            raise options_error("synthesis", "mutation_prob", "a share in [0, 1]", mutation_prob)
        self.mutation_prob = mutation_prob
        self.range = range
        self.n_ancestors = ancestors
        self.generations = generations
        self.drop = drop
        self.first, self.later = (
            Terms({} if n is None else {"epochs": float(n)}) for n in (first_epochs, epochs)
        )
        for name, share in (("similarity", similarity), ("similarity_width", similarity_width)):
            if share is not None and not 0 <= share <= 1:
                raise options_error("synthesis", name, "a share in [0, 1]", share)
        options = _given(
            selection, target=similarity, width=similarity_width, cluster=similarity_cluster
        )
        self.toolbox.register("select", self.selection_of_different(selection, **options))
        self._is_empty = False  # the generation that is bred last
        self._ancestors: list[Individual] = []
        self._last: list[list[Individual]] = []  # the last generations, the oldest first

    @classmethod
    def own_operators(cls, group: str, options: Mapping[str, Any]) -> dict[str, float]:
        return {str(options.get("mating", MATING)): 1.0} if group == "matings" else {}

    def begin(self, breeder: Breeder) -> None:
        super().begin(breeder)
        breeder.mutation_prob = self.mutation_prob
        self.toolbox.register("mate", breeder.mated, terms=self.later)

    @property
    def n_trials(self) -> int | None:
        if self.generations is None:
            return None
        return self.n_ancestors + self.generations * self.population_size

    @property
    def most_at_once(self) -> int | None:
        return max(self.n_ancestors, self.population_size)

    @property
    def n_parents(self) -> int:
        """How many parents a child has, m."""
        return self.breeder.operators.most_parents

    @property
    def _fewest(self) -> int:
        table = self.breeder.operators.table
        return max((op.n_parents[0] for op in table if op.is_for_several), default=1)

    @property
    def pool(self) -> list[Individual]:
        """Everybody who may become a parent, in the order of proposal."""
        return [individual for generation in self._last for individual in generation]

    @property
    def alive(self) -> list[Individual]:
        """What may become a parent, and the ancestors, with which children are compared."""
        return list({i.seq: i for i in [*super().alive, *self.pool, *self._ancestors]}.values())

    def breed(self, rng: np.random.Generator) -> list[Proposal | None]:
        is_last = self.generations is not None and self.generation > self.generations
        if self.generation == 0:
            batch = [self._ancestor(repetition) for repetition in range(self.n_ancestors)]
        elif is_last or self.why_ended:
            batch = []
        else:
            batch = [self._child(rng) for _ in range(self.population_size)]
        self._is_empty = not any(batch)
        return batch

    def _ancestor(self, repetition: int) -> Proposal | None:
        terms = replace(self.first, repetition=repetition)
        proposal: Proposal | None = self.breeder.seed(self.generation, terms)
        if proposal is None:
            return None
        # All trainings of it are one network: their children must meet by tag.
        return replace(proposal, genotype=proposal.genotype.mint(self.seed, 0))

    def _child(self, rng: np.random.Generator) -> Proposal | None:
        pool, found = self.pool, None
        for _ in range(N_TRIES):
            parents = self.toolbox.select(pool, min(self.n_parents, len(pool)), rng)
            # An operator that takes more parents than there are gets some of them again.
            parents = list(islice(cycle(parents), max(len(parents), self._fewest)))
            found = self.toolbox.mate(parents, self.generation)
            if found is not None:
                break
        return found

    def anew(self, rng: np.random.Generator) -> Iterator[Proposal | None]:
        return iter(())  # what is drawn would be no descendant

    def survive(self, offspring: list[Individual], rng: np.random.Generator) -> list[Individual]:
        if self._is_empty:  # of nothing that could have survived: the search ends as it is
            return self.population
        if self.generation == 0:
            self._ancestors = offspring
        self._last = [*self._last, offspring][-self.range :]
        self.why_ended = self._end(offspring)
        return offspring

    def _end(self, offspring: Sequence[Individual]) -> str:
        """Return why the search ends with a generation, "" where it goes on."""
        here = f"the search ended with generation {self.generation}"
        if not self._ancestors:
            return f"{here}: the network that it begins with could not be trained."
        if not self.pool:
            return (
                f"{here}: none of its networks is left to breed from, since all of them collapsed "
                "or failed; their trials say why."
            )
        if self.drop is None or not offspring:
            return ""
        best, first = (
            max(some, key=lambda i: float(i.fitness.wvalues[0])).fitness
            for some in (offspring, self._ancestors)
        )
        if first.wvalues[0] - best.wvalues[0] <= self.drop:
            return ""
        return (
            f"{here}: the best value in it is {best.values[0]:.4g}, more than algorithm.drop = "
            f"{self.drop:g} from the {first.values[0]:.4g} of the ancestor."
        )


def _given(selection: str, **options: float | str | None) -> dict[str, float | str]:
    """Return the options of the selection that are set; ConfigError for those it does not take."""
    found = {option: value for option, value in options.items() if value is not None}
    taken = signature(registry.resolve("selections", selection)).parameters if found else {}
    for option, value in found.items():
        if option not in taken:
            name = SIMILARITY[option]
            able = [
                n for n in ("closest", "farthest", "band") if n == "band" or option == "cluster"
            ]
            expected = f"none with selection = '{selection}', which takes no {option}; "
            expected += f"{', '.join(map(repr, able))} {'does' if len(able) == 1 else 'do'}"
            raise options_error("synthesis", name, expected, value)
    return found
