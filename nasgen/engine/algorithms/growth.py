"""Growth of one small network into a population (Painter 2018, the meta-algorithm of section 2).

Weights are never thrown away: a child starts from its parent's, a survivor is trained on. Prefer it
to `genetic` when training from scratch is what costs most; the final members are made to be an
ensemble.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Final, Literal

import numpy as np

from nasgen import seeding
from nasgen.engine.algorithms.base import Generational, options_error
from nasgen.engine.breeding import Breeder
from nasgen.engine.draws import drawn
from nasgen.engine.individual import Individual, fitness_class
from nasgen.engine.operators import children, nothing_kept
from nasgen.engine.proposal import Proposal, Terms
from nasgen.errors import ConfigError, NasgenError, NotApplicable

WHOLE: Final = "r2r-widen-all"  # the morphism that widens a network as a whole
SHARE_OF_SURVIVORS = 3 / 10  # Painter's K of M
MAX_POPULATION = 64  # of members that nobody set


class Growth(Generational):
    """Train one network; then rounds of: mutate to M1 members, train each, keep the best M2.

    Options, with the proposal's letters:
    - `first_epochs` (N1): training of the first network; default [training] epochs.
    - `epochs` (N2): training of each member in a round; default [training] epochs.
    - `members` (M1): default `population`, or one more than `survivors`. `survivors` (M2): default
      three tenths of the members.
    - `rounds` (K): default until the budget is spent.
    - `widen_rounds`: so many rounds at the beginning in which all members are new and made by the
      morphism "r2r-widen-all", which widens a network as a whole. What they come from is trained no
      further, unless none of them could be trained. A round in which no network can be widened as a
      whole is one with other morphisms, which follow. Default 0.
    - `last`: share of the training that comes behind the rounds, above 0 and below 1. The schedule
      of learning rate and image size then runs once over everything that a network is trained. With
      `rounds`, the best `finals` (1) of the survivors are trained on together for this share of all
      FLOPs; without, [finish] does that, whose `share` it should be. Default: none, each training
      has a whole schedule of its own.
    - `shared`: members of a round are trained jointly, parameters of relatives shared; False trains
      each on its own copy, on all workers.
    - `selection`: "best", or "co-evolution" for members that classify correctly what others get
      wrong.

    Where it departs from the proposal: children are made of members that have been trained, never
    of children of the same round. The peak of the learning rate is the same for all sizes; the
    authors' report lowers the rate by |theta| / |theta'|. Two mutations of a round that give
    isomorphic networks count as one.

    Runs of revision 1 train the networks that widening rounds begin with on beside the wider ones,
    leave what failed trainings took out of all FLOPs, and round the last training to the nearest
    update instead of up.
    """

    inherits: ClassVar[bool] = True
    takes_rungs: ClassVar[bool] = False
    begins_with: ClassVar[Literal["designs", "draws", "seed"]] = "seed"
    morphisms: ClassVar[tuple[str, ...]] = ("r2r-widen", "r2r-deepen")
    revision: ClassVar[int] = 2

    def __init__(
        self,
        population: int,
        seed: int,
        first_epochs: float | None = None,
        epochs: float | None = None,
        members: int | None = None,
        survivors: int | None = None,
        rounds: int | None = None,
        shared: bool = False,
        selection: Literal["best", "co-evolution"] = "best",
        widen_rounds: int = 0,
        last: float | None = None,
        finals: int = 1,
    ) -> None:
        super().__init__(population, seed)
        least = (survivors or 0) + 1  # so many that not all survive
        usual = max(population, least) if least <= MAX_POPULATION else population
        self.n_members = usual if members is None else members
        if self.n_members < 2:
            raise options_error("growth", "members", "at least 2", members)
        default = max(1, round(SHARE_OF_SURVIVORS * self.n_members))
        self.n_survivors = default if survivors is None else survivors
        if not 1 <= self.n_survivors < self.n_members:
            expected = f"1 to {self.n_members - 1}, fewer than the members"
            raise options_error("growth", "survivors", expected, survivors)
        if rounds is not None and rounds < 1:
            raise options_error("growth", "rounds", "at least 1", rounds)
        for name, value in {"first_epochs": first_epochs, "epochs": epochs}.items():
            if value is not None and not 0 < value < np.inf:
                raise options_error("growth", name, "a number above 0", value)
        if last is not None and not 0 < last < 1:
            raise options_error("growth", "last", "a share above 0 and below 1", last)
        if not 1 <= finals <= self.n_survivors:
            expected = f"1 to {self.n_survivors}, as many as survive"
            raise options_error("growth", "finals", expected, finals)
        if widen_rounds < 0:
            raise options_error("growth", "widen_rounds", "0 or more", widen_rounds)
        self.rounds, self.widen_rounds, self.last, self.finals = rounds, widen_rounds, last, finals
        self.first = Terms(_fidelity(first_epochs))
        self.later = Terms(_fidelity(epochs), joint=shared)
        self._epochs = first_epochs, epochs
        self.toolbox.register("survive", self.selection(selection))
        self._n_rounds = 0
        self._trained: list[int] = []  # seqs
        self._is_last = False
        self._replaces = False  # the members of this round take the places of those before

    def begin(self, breeder: Breeder) -> None:
        super().begin(breeder)
        self.toolbox.register("seed", breeder.seed)
        self.toolbox.register("carry_on", breeder.continued)
        self.toolbox.register("mutate", breeder.offspring)

    def _check_growth(self) -> None:
        """Raise ConfigError where the first network cannot be grown, before it is trained."""
        breeder = self.breeder
        table = {operator.name: operator for operator in breeder.operators.table}
        if self.widen_rounds and WHOLE not in table:
            raise options_error(
                "growth", "widen_rounds", f"0, since [algorithm.morphisms] leaves out '{WHOLE}'",
                self.widen_rounds,
            )  # fmt: skip
        used = {WHOLE: table[WHOLE]} if self.widen_rounds else table
        if any(operator.runs_in == "worker" or operator.requires for operator in used.values()):
            return  # a trained network alone tells
        draws = seeding.generator(self.seed, "seed", 0)
        network = breeder.origin or drawn(
            "seed", lambda: breeder.space.seed(draws), breeder.space, breeder.limit_s
        )
        network = network.mint(self.seed, 0)  # the tags that messages name
        first = Individual(0, network, fitness_class(("maximize",))())
        refusal = None
        for operator in used.values():
            try:
                rng = seeding.generator(self.seed, "try", 0)
                children(operator, [first], breeder.space, rng, nothing_kept, breeder.limit_s)
                return
            except NotApplicable as error:
                refusal = refusal or error
            except NasgenError:
                return  # whoever applies it says so
        if refusal is not None:
            names = ", ".join(f"'{name}'" for name in used)
            way = "name other morphisms in [algorithm.morphisms]"
            way = "set algorithm.widen_rounds = 0" if self.widen_rounds else way
            raise ConfigError(
                f"growth cannot begin, since the first network leaves no room for {names} "
                f"({str(refusal).rstrip('.')}); raise the limits in [space], such as max_channels, "
                f"begin with a smaller network, or {way}."
            )

    @property
    def n_trials(self) -> int | None:
        if self.rounds is None:
            return None
        return 1 + self.rounds * self.n_members + (self.finals if self.last else 0)

    def breed(self, rng: np.random.Generator) -> list[Proposal | None]:
        self._replaces = False
        if not self.population:  # at the start, or when that one training failed
            if not self.generation:
                self._check_growth()
            return [self.toolbox.seed(self.generation, terms=self._on(self.first, 0))]
        if self.rounds is not None and self._n_rounds >= self.rounds:
            return self._ending()
        self._n_rounds += 1
        terms = self._on(self.later, self._n_rounds)
        whole = replace(terms, operators=(WHOLE,))
        widens = self._n_rounds <= self.widen_rounds
        if widens and self.as_of > 1:
            wider = self._children(self.n_members, whole, rng)
            if any(child is not None for child in wider):
                self._replaces = True
                return wider
            widens = False  # all are as wide as the space allows
        batch = [
            self.toolbox.carry_on(member, self.generation, terms=terms)
            for member in self.population
        ]
        n_new = self.n_members - len(self.population)
        return batch + self._children(n_new, whole if widens else terms, rng)

    def _children(self, n: int, terms: Terms, rng: np.random.Generator) -> list[Proposal | None]:
        """Return `n` mutations, each of a member that is drawn."""
        found: list[Proposal | None] = []
        for _ in range(n):
            member = self.population[int(rng.integers(len(self.population)))]
            # Growth has one parent, but for matings, which need several.
            mates = self.breeder.operators.mates
            parents = self.gathered([member], rng) if mates else [member]
            found.append(self.toolbox.mutate(parents, self.generation, terms=terms))
        return found

    def _on(self, terms: Terms, number: int) -> Terms:
        """Return terms with the stretch of training `number`, 0 for the first network's."""
        if self.last is None:
            return terms
        until, (first, later) = 1 - self.last, (n or self.usual_epochs for n in self._epochs)
        if self.rounds is None:  # ever smaller parts: nobody knows how many follow
            # From about the 30th on nothing is left to share: they have the last part that is one.
            while number and round(until * 0.5**number, 9) == round(until * 0.5 ** (number + 1), 9):
                number -= 1
            begin, end = (until * (1 - 0.5**n) for n in (number, number + 1))
        else:
            done = first + later * (number - 1) if number else 0.0
            part = until / (first + later * self.rounds)
            begin, end = part * done, part * (done + (later if number else first))
        stretch = {"begin": round(begin, 9) or None, "end": round(end, 9)}
        return replace(terms, fidelity={**terms.fidelity, **stretch})

    def _ending(self) -> list[Proposal | None]:
        """Return the last trainings, for `last` of all that is computed; none if they are over."""
        if self.last is None or self._is_last:
            return []
        self._is_last = True
        chosen = sorted(self.population, key=lambda i: i.fitness, reverse=True)[: self.finals]
        spent = sum(self._passes(seq) * self._flops(seq) for seq in self._trained)
        each = sum(self._flops(individual.seq) for individual in chosen)
        epochs = self._whole(self.last / (1 - self.last) * spent / each) if each else 0.0
        fidelity: dict[str, Any] = {"begin": round(1 - self.last, 9), "end": 1.0}
        if epochs > 0:
            fidelity["epochs"] = round(epochs, 6)
        terms = Terms(fidelity)
        return [self.toolbox.carry_on(member, self.generation, terms=terms) for member in chosen]

    def _whole(self, epochs: float) -> float:
        """Return epochs, rounded up to whole updates where it is known how many make one."""
        if not self.n_steps or self.as_of == 1:
            return epochs
        return math.ceil(round(epochs * self.n_steps, 6)) / self.n_steps

    def _passes(self, seq: int) -> float:
        """Return epochs, with what it took to aim new weights; runs of before do not say that."""
        counts = self.counts(seq)
        return sum(float(counts.get(name) or 0.0) for name in ("epochs_done", "epochs_probed"))

    def _flops(self, seq: int) -> float:
        return float(self.counts(seq).get("flops") or 0.0)

    def tell(self, individual: Individual) -> None:
        super().tell(individual)
        self._trained.append(individual.seq)

    def tell_failed(self, seq: int) -> None:
        super().tell_failed(seq)
        if self.as_of > 1:  # what is known of it was spent too
            self._trained.append(seq)

    def anew(self, rng: np.random.Generator) -> Iterator[Proposal | None]:
        return iter(())  # what is drawn would not have grown

    def survive(self, offspring: list[Individual], rng: np.random.Generator) -> list[Individual]:
        # A member whose further training failed still has its weights: it competes as it was.
        carried_on = {i.parents[0] for i in offspring if i.goes_on and i.parents}
        left = [i for i in self.population if i.seq not in carried_on]
        candidates = offspring if self._replaces and offspring else offspring + left
        if not candidates:  # not even the first network could be trained
            return []
        survivors = self.toolbox.survive(candidates, min(self.n_survivors, len(candidates)), rng)
        return list(survivors)


def _fidelity(epochs: float | None) -> dict[str, Any]:
    return {} if epochs is None else {"epochs": float(epochs)}
