"""The contract of an algorithm: ask for candidates, tell results."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice, takewhile
from typing import Any, ClassVar, Literal

import numpy as np
from deap import base

from nasgen import registry, seeding
from nasgen.engine import selections
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Individual
from nasgen.engine.proposal import Proposal
from nasgen.engine.rungs import Rungs
from nasgen.errors import FOREIGN, ConfigError, NasgenError, OperatorError
from nasgen.phenotype.census import Census
from nasgen.settings.plan import Plan


class Algorithm(ABC):
    """Decides what is tried next and who stays alive.

    Its constructor takes its options (further keys of [algorithm]) and checks them; `begin` gives
    it a breeder. The search calls `ready`, then `ask` for one candidate, and `tell` (or
    `tell_failed`) once for each candidate asked. An algorithm draws only from `self.rng(...)`, so
    its decisions depend on the root seed and on the results it got, never on the number of workers.

    `toolbox` is DEAP's: `first(generation)` (a design of the space, or a draw),
    `sample(generation)` (a draw), `vary(parents, generation)` and, where these find nothing new,
    `walk(parents, generation)` make candidates, each with a generator of its own; an algorithm
    registers `select` and `survive`, both (individuals, k, rng).

    Class attributes
    - `is_generational`: asks a whole batch before it uses the results.
    - `inherits`: children always start from their parents' weights and optimiser state.
    - `takes_rungs`: its candidates can be trained in rungs (`halve`).
    - `morphisms`: the operators that it uses when the config names none; empty: all mutations.
    - `mutates`: mutations take part beside `morphisms` although nobody names them.
    - `frequencies`: of operators that are used without being named, 1 where nothing is said;
      `crossover_prob`: likewise.
    - `crosses`: children may have several parents; otherwise crossovers and matings are not used.
    - `plans`: "lines" if it follows a plan (`nasgen.settings.plan`) wherever it is used, "drawn" if
      it draws all its networks and follows one in a time budget, else "".
    - `objectives`: how many it can search for at most; None: any number.
    - `named_only`: operators that nobody names take no part, but for `own_operators`.
    - `environment`: that of its matings unless the config names one.
    - `abreast`: how many of its joint candidates are trained at a time; 0: all of a generation.
    - `least_population`, `usual_population`: the smallest population, and the one of a config that
      names none; None: as the budget allows.
    - `begins_with`: what its first networks are, where the config names none: the space's designs
      (where it has some), draws, or the space's seed.
    - `predictor`: what screens its candidates for one objective unless the config says; or "none".
    - `made_for_the_last`: its run stands for the network of `population` that it ends with, however
      that ranks among those before it; else for the best of all.
    - `revision`: raised when equal results lead to other candidates. A run records it and goes on
      with that: `as_of` is the one that it began with.
    """

    is_generational = True
    inherits: ClassVar[bool] = False
    takes_rungs: ClassVar[bool] = False
    morphisms: ClassVar[tuple[str, ...]] = ()
    mutates: ClassVar[bool] = False
    frequencies: ClassVar[Mapping[str, float]] = {}
    crossover_prob: ClassVar[float] = 0.3
    crosses: ClassVar[bool] = True
    plans: ClassVar[Literal["", "lines", "drawn"]] = ""
    begins_with: ClassVar[Literal["designs", "draws", "seed"]] = "designs"
    objectives: ClassVar[int | None] = None
    predictor: ClassVar[str] = "none"
    named_only: ClassVar[bool] = False
    environment: ClassVar[str] = "none"
    made_for_the_last: ClassVar[bool] = False
    revision: ClassVar[int] = 1
    abreast: int = 0
    least_population: ClassVar[int] = 2
    usual_population: ClassVar[int | None] = None

    breeder: Breeder  # what makes its candidates, from `begin` on

    def __init__(self, population: int, seed: int) -> None:
        if population < self.least_population:
            raise ConfigError(
                f"algorithm.population: expected at least {self.least_population}, got "
                f"{population}."
            )
        self.toolbox = base.Toolbox()
        self.population_size = population
        self.seed = seed
        self.population: list[Individual] = []
        self.generation = 0
        self.rungs = Rungs()
        self.has_ended = False  # it wants nothing more, however much the space has
        self.why_ended = ""  # a sentence, where it has before it was due
        # Seq -> which validation rows the trial answers correctly; seq -> which clusters of its
        # network live. The session sets them.
        self.correct: Callable[[int], np.ndarray[Any, Any]] = _no_predictions
        self.supports: Callable[[int], Census] = _no_clusters
        # Seq -> how much of its network exists, see `nasgen.store.trial.COUNTS`.
        self.counts: Callable[[int], Mapping[str, Any]] = _no_counts
        self.usual_epochs = 1.0  # of a candidate whose terms say none; the search sets it
        self.n_steps = 0  # updates in an epoch, 0 where that is unknown; the search sets it
        self.as_of = self.revision  # which a run of an older version may set back
        self.keeps: frozenset[str] = frozenset()  # the artifacts that selections need of all trials

    def selection(self, name: str, **options: Any) -> Callable[..., Any]:
        """Return a registered selection; what it requires it gets, and it is kept.

        Of all trials, since a resumed run selects again what it selected before.
        """
        function: Callable[..., Any] = registry.resolve("selections", name)
        required = registry.get("selections", name).requires
        if "predictions" in required:
            self.keeps |= {"predictions"}
            options["correct"] = lambda seq: self.correct(seq)
        if "support" in required:
            self.keeps |= {"clusters"}
            options["supports"] = lambda seq: self.supports(seq)
        return partial(_selected, name, partial(function, **options))

    def selection_of_different(self, name: str, **options: Any) -> Callable[..., Any]:
        """Return a registered selection that never returns an individual twice.

        One whose entry says options={"distinct": True} chooses k different ones together; others
        are asked k times for one of the rest.
        """
        select = self.selection(name, **options)

        def together(
            individuals: Sequence[Individual], k: int, rng: np.random.Generator
        ) -> list[Individual]:
            chosen: list[Individual] = select(individuals, k, rng)
            if len({id(individual) for individual in chosen}) < len(chosen):
                seqs = ", ".join(str(individual.seq) for individual in chosen)
                raise OperatorError(
                    f"selection '{name}': expected {k} different individuals, got trials {seqs}."
                )
            return chosen

        if registry.get("selections", name).options.get("distinct", False):
            return together

        def one_by_one(
            individuals: Sequence[Individual], k: int, rng: np.random.Generator
        ) -> list[Individual]:
            chosen: list[Individual] = []
            rest = list(individuals)
            while rest and len(chosen) < k:
                chosen += select(rest, 1, rng)
                rest = [individual for individual in rest if individual not in chosen]
            return chosen

        return one_by_one

    @classmethod
    def own_operators(cls, group: str, options: Mapping[str, Any]) -> dict[str, float]:
        """Return the matings or prunings that it uses when the config names none, name -> share.

        `options` are those of the config, which may be wrong yet.
        """
        return {}

    def begin(self, breeder: Breeder) -> None:
        """Take what makes the candidates; called once, after `halve` and before the first `ask`."""
        self.breeder = breeder
        first = self.rungs.terms(0)
        self.toolbox.register("first", breeder.first, terms=first)
        self.toolbox.register("sample", breeder.sample, terms=first)
        self.toolbox.register("vary", breeder.child, terms=first)
        self.toolbox.register("walk", breeder.distant, terms=first)

    def follow(self, plan: Plan, begun: Sequence[Individual] = ()) -> None:  # noqa: B027
        """Take the plan of a segment that begins; most algorithms need none.

        `begun` are the networks that the segment before trained to the end, best first.
        """

    @property
    def finalists(self) -> list[Individual] | None:
        """Those that are to be trained to the end, best first; None: the best of all trials."""
        return None

    @property
    def n_next(self) -> int:
        """How many trials only count together, of those that are asked for next; mostly 1."""
        return 1

    @property
    def is_amid(self) -> bool:
        """Whether some of those `n_next` have been asked for and others not yet."""
        return False

    def halve(self, rungs: Rungs) -> None:
        """Train candidates in rungs; called before `begin`. ConfigError if it cannot."""
        if rungs.n > 1 and not self.takes_rungs:
            raise ConfigError(
                f"algorithm.rungs: expected 1 with '{type(self).__name__.lower()}', which does not "
                f"rank batches of new candidates, got {rungs.n}; random, genetic, nsga2 and local "
                "take more."
            )
        self.rungs = rungs

    @property
    def n_trials(self) -> int | None:
        """Trials after which it has nothing more to ask for; None: it goes on for ever."""
        return None

    @property
    def most_at_once(self) -> int | None:
        """Trials that can be in training at a time; None: as many as there are workers."""
        return None

    def rng(self, role: str, counter: int) -> np.random.Generator:
        """Return the generator of one decision."""
        return seeding.generator(self.seed, f"algorithm/{role}", counter)

    @property
    def n_parents(self) -> int:
        """How many parents a child is offered: what the largest operator takes, at least two."""
        return max(2, self.breeder.operators.most_parents)

    def gathered(self, chosen: Sequence[Individual], rng: np.random.Generator) -> list[Individual]:
        """Return `n_parents` parents, the chosen ones first.

        One that is there already is replaced by another of the population, drawn at random: in a
        small population the best one would else mostly be crossed with itself. Where there is no
        other, the second is the first again and further ones are left out.
        """
        found = [chosen[0]]
        for k in range(1, self.n_parents):
            wanted = chosen[k] if k < len(chosen) else found[0]
            if wanted in found:
                others = [i for i in self.population if i not in found]
                if others:
                    wanted = others[int(rng.integers(len(others)))]
                elif k > 1:
                    break
            found.append(wanted)
        return found

    @abstractmethod
    def ready(self) -> bool:
        """Tell whether a candidate can be proposed now; False means: wait for results."""

    @abstractmethod
    def ask(self) -> Proposal | None:
        """Return a new candidate, or None when there is none.

        A candidate that could not be made is a gap: another one is made instead. None means that
        as many as a generation has were gaps, or that the algorithm `has_ended`. The search
        ends with it once no result is awaited that could change that.
        """

    @abstractmethod
    def tell(self, individual: Individual) -> None:
        """Take the result of a candidate that was proposed."""

    @abstractmethod
    def tell_failed(self, seq: int) -> None:
        """Take note that a candidate will never have a fitness."""

    def close(self) -> None:  # noqa: B027 - steady-state algorithms have nothing to end
        """End a batch whose results are all in, so that `population` is up to date."""

    @property
    def alive(self) -> list[Individual]:
        """Everybody who may still become a parent."""
        return self.population


class Generational(Algorithm):
    """Base of algorithms that work in batches: `breed` a batch, `survive` when all results are in.

    The order in which results arrive inside a batch does not matter. With rungs a batch is
    `rungs.width` times as large, and `survive` sees those who reached the highest one.
    """

    takes_rungs: ClassVar[bool] = True

    def __init__(self, population: int, seed: int) -> None:
        super().__init__(population, seed)
        self._waiting: list[Proposal | None] = []
        self._told: list[Individual] = []
        self._n_open = 0
        self._begun = False
        self._rung = 0
        self._n_rung = 0  # candidates that were asked for in this rung
        self._climbing: list[Individual] = []  # those that this rung trains on

    @abstractmethod
    def breed(self, rng: np.random.Generator) -> list[Proposal | None]:
        """Return the next batch; `self.generation` is its number.

        None stands for a candidate that could not be made. An empty batch ends the search.
        `rng` is for choices among individuals; candidates are drawn with generators of their own.
        """

    @abstractmethod
    def survive(self, offspring: list[Individual], rng: np.random.Generator) -> list[Individual]:
        """Return the next population, from `self.population` and the completed offspring."""

    def promoted(self, individuals: list[Individual], k: int) -> list[Individual]:
        """Return the k who climb to the next rung, best first.

        A predictor that has learnt from those before says what each will have there.
        """
        screen, expected = self.breeder.screen, None
        if screen is not None:
            values = [i.fitness.values[0] for i in individuals]
            expected = screen.promising(self._rung, [i.genotype for i in individuals], values)
        if expected is None:
            rng = self.rng(f"promote/{self._rung}", self.generation)
            return selections.best(individuals, k, rng)
        worth = dict(zip(individuals, expected, strict=True))
        return sorted(individuals, key=lambda i: (i.fitness.violation, -worth[i], i.seq))[:k]

    def _climbers(self, told: list[Individual], k: int) -> list[Individual]:
        """Return the k who climb to the next rung; of a resumed run those that it recorded."""
        recorded = self.breeder.recorded
        if not recorded:
            return self.promoted(told, k)
        return recorded.climbed(
            self.generation, self._rung + 1, told, k, lambda: self.promoted(told, k)
        )

    def ready(self) -> bool:
        return bool(self._waiting) or self._n_open == 0

    def ask(self) -> Proposal | None:
        if not self._waiting:
            self._waiting = self._next_rung() or self._next_batch()
            self._n_rung = len(self._waiting)
        proposal = self._waiting.pop(0)
        if proposal is not None:
            self._n_open += 1
        return proposal

    def tell(self, individual: Individual) -> None:
        self._n_open -= 1
        self._told.append(individual)

    def tell_failed(self, seq: int) -> None:
        self._n_open -= 1

    def close(self) -> None:
        # A rung that is not the last stays open: a resumed segment of the run goes on with it.
        is_last = self._rung + 1 == self.rungs.n
        if self._begun and self._n_open == 0 and not self._waiting and is_last:
            self._close()
            self._begun = False

    def _next_rung(self) -> list[Proposal | None]:
        """Return the best of this rung as candidates of the next; none if there is no next."""
        if not self._begun or self._rung + 1 == self.rungs.n or not self._told:
            return []
        told = sorted(self._told, key=lambda individual: individual.seq)
        n = min(len(told), max(1, self._n_rung // self.rungs.eta))
        self._climbing, self._told = self._climbers(told, n), []
        self._rung += 1
        terms = self.rungs.terms(self._rung)
        climbing = [self.breeder.continued(i, self.generation, terms) for i in self._climbing]
        return [proposal for proposal in climbing if proposal is not None]

    def _next_batch(self) -> list[Proposal | None]:
        if self._begun:
            self._close()
        self._begun = True
        rng = self.rng("breed", self.generation)
        batch = [proposal for _ in range(self.rungs.width) for proposal in self.breed(rng)]
        self.has_ended = not batch
        new = [proposal for proposal in batch if proposal is not None]
        if batch and not new:
            more = (proposal for proposal in self.anew(rng) if proposal is not None)
            new = list(islice(more, len(batch)))
        return [*new] or [None]

    def anew(self, rng: np.random.Generator) -> Iterator[Proposal | None]:
        """Make candidates where a whole batch was gaps: when these are too, the space is spent.

        As many as the population has places: several mutations away from those who live, or drawn.
        """
        for i in range(self.population_size):
            if self.population:
                parent = self.population[i % len(self.population)]
                yield self.toolbox.walk([parent], self.generation)
            else:
                yield self.toolbox.sample(self.generation)

    def beginners(self, n: int) -> list[Proposal]:
        """Return up to `n` members of a first generation, fewer when a draw finds none."""
        made = (self.toolbox.first(self.generation) for _ in range(n))
        return list(takewhile(lambda proposal: proposal is not None, made))

    def _close(self) -> None:
        offspring = sorted(self._told, key=lambda individual: individual.seq)
        self._told, self._climbing, self._rung = [], [], 0
        rng = self.rng("survive", self.generation)
        self.population = self.survive(offspring, rng)
        self.generation += 1

    @property
    def alive(self) -> list[Individual]:
        return self.population + self._told + self._climbing

    def parents(
        self, selected: list[Individual], n: int, rng: np.random.Generator
    ) -> list[list[Individual]]:
        """Group selected individuals: child i has i, i + 1 and so on, cyclic; see `gathered`.

        A selection without repeats returns no more than the population has.
        """
        n_selected = len(selected)
        return [
            self.gathered([selected[(i + k) % n_selected] for k in range(self.n_parents)], rng)
            for i in range(n)
        ]


def _selected(
    name: str,
    select: Callable[..., Any],
    individuals: Sequence[Individual],
    k: int,
    rng: np.random.Generator,
) -> list[Individual]:
    """Return whom a selection chooses, 1 to k of the individuals; OperatorError for others."""
    try:
        found = select(individuals, k, rng)
    except (NasgenError, MemoryError):
        raise
    except FOREIGN as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise OperatorError(
            f"selection '{name}' raised {type(error).__name__}: {error} ({frame.filename}, line "
            f"{frame.lineno}). Mend it, then resume the run."
        ) from error
    pool = {id(individual) for individual in individuals}
    is_list = isinstance(found, list | tuple) and 1 <= len(found) <= k
    if not is_list or any(id(individual) not in pool for individual in found):
        n = "1" if k == 1 else f"1 to {k}"
        raise OperatorError(
            f"selection '{name}': expected {n} of the individuals that it was given, got "
            f"{_shown(found)}. Mend it, then resume the run."
        )
    return list(found)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        kinds = sorted({type(one).__name__ for one in value})
        return f"{len(value)} of {', '.join(kinds)}" if value else "an empty one"
    return type(value).__name__


def options_error(algorithm: str, option: str, expected: str, got: Any) -> ConfigError:
    """Return the error for an algorithm option out of range."""
    given = "none" if got is None else repr(got)
    return ConfigError(f"algorithm.{option} ({algorithm}): expected {expected}, got {given}.")


def tournament_of(algorithm: str, given: int | None, usual: int, population: int) -> int:
    """Return the individuals drawn for a tournament: as given, else the usual or all there are.

    Raises ConfigError for a given number that the population has not.
    """
    if given is None:
        return min(usual, population)
    if not 1 <= given <= population:
        expected = f"1 to {population}, the size of the population"
        raise options_error(algorithm, "tournament", expected, given)
    return given


def _no_predictions(seq: int) -> np.ndarray[Any, Any]:
    raise NotImplementedError(f"the predictions of trial {seq} are not within reach here.")


def _no_counts(seq: int) -> Mapping[str, Any]:
    raise NotImplementedError(f"the counts of trial {seq} are not within reach here.")


def _no_clusters(seq: int) -> Census:
    raise NotImplementedError(f"the clusters of trial {seq} are not within reach here.")
