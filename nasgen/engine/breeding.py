"""Variation: choose an operator, apply it, and accept only children that are legal and new."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from nasgen import seeding
from nasgen.engine.acceptance import Acceptance, Attempts
from nasgen.engine.credit import Credit
from nasgen.engine.draws import designed, drawn, sampled
from nasgen.engine.individual import Individual
from nasgen.engine.needs import Recorded, Screen, Space
from nasgen.engine.operators import Materials, Operator, Operators, draw, nothing_kept
from nasgen.engine.operators import children as made
from nasgen.engine.proposal import NO_TERMS, Proposal, Terms
from nasgen.errors import NasgenError, NotApplicable, OperatorError
from nasgen.genotypes import Genotype
from nasgen.search_spaces.base import Design

N_ATTEMPTS = 50  # before a candidate is drawn at random, and then before there is none
N_DRY = 5  # draws for a candidate after all draws for another one were known
N_STEPS = 10  # of a walk away from a parent whose children are all known


class Breeder:
    """Makes candidates. `is_new` tells whether a proposal would be a new trial.

    `violation` tells how far a network breaks the constraints that are known before training, 0 if
    it keeps them. What breaks them is passed over; only where no attempt keeps them, the candidate
    that breaks them least is made, so that the search can come closer. `failures` counts what was
    refused, see `Acceptance`.
    With a `screen`, several candidates, bred or drawn, are made for each one returned. `forget`
    takes back what `is_new` reserved for the others, so that they may be proposed again; those that
    were judged count in `n_filtered` and go to `on_rejected` with their predicted first objective,
    or None.
    `origin` is the network that `seed` gives first, instead of the space's own; `origin_trained`
    says that it has weights from which it goes on.
    Candidates are numbered from 0 in the order of the requests, those that could not be made
    included, and each is drawn with a generator of its own, from (`root_seed`, its number). In a
    resumed run they come from `recorded` as long as there are any. `materials` gives operators what
    they require of their parents.
    """

    def __init__(
        self,
        space: Space,
        operators: Operators,
        is_new: Callable[[Proposal], bool],
        screen: Screen | None = None,
        forget: Callable[[Proposal], None] = lambda proposal: None,
        on_rejected: Callable[[Proposal, float | None], None] = lambda proposal, predicted: None,
        origin: Genotype | None = None,
        violation: Callable[[Genotype], float] = lambda genotype: 0.0,
        root_seed: int = 0,
        origin_trained: bool = False,
        materials: Materials = nothing_kept,
    ) -> None:
        self.space = space
        self.operators = operators
        self.is_new = is_new
        self._gate = Acceptance(lambda p: self.is_new(p), lambda g: self.violation(g))
        self.failures = self._gate.failures
        self.screen = screen
        self.forget = forget
        self.on_rejected = on_rejected
        self.origin, self.origin_trained = origin, origin_trained
        self.violation = violation
        self.root_seed = root_seed
        self.materials = materials
        self.limit_s = math.inf  # for one child, or one draw of the space
        self.mutation_prob = 0.0  # of a mated child to be mutated, too; an algorithm sets it
        # Raises when parents lack what an operator in the worker needs; a run sets it.
        self.require: Callable[[Sequence[Individual], tuple[str, ...]], None] = _unchecked
        # The space's own good networks, best first; a run that begins with them sets it.
        self.designs: Callable[[], Iterable[Design]] = tuple
        self._designs: list[Design] | None = None  # those that may be trained
        self.n_asked = 0  # candidates, the number of the next one
        self.recorded: Recorded | None = None
        self.n_filtered = 0
        self._n_rejected = 0  # since the last candidate
        self._is_dry = False  # the last draws were all known: more of them cost much for little
        self.credit = Credit() if operators.adapt else None

    def observe(self, individual: Individual) -> None:
        """Take note of a finished and measured individual, before the algorithm does."""
        if self.credit is not None:
            self.credit.observe(individual)

    def sample(self, generation: int = 0, terms: Terms = NO_TERMS) -> Proposal | None:
        """Return a new random candidate, or None when no draw is new.

        With a screen it is the most promising of several.
        """
        return self._drawing(
            self._next(generation, terms, lambda rng: self._sample(rng, generation, terms))
        )

    def first(self, generation: int = 0, terms: Terms = NO_TERMS) -> Proposal | None:
        """Return a member of a first generation: a design that is new, else a random candidate.

        None when no draw is new either. With a screen it is the most promising of several, designs
        before draws.
        """
        return self._drawing(
            self._next(generation, terms, lambda rng: self._first(rng, generation, terms))
        )

    def seed(self, generation: int, terms: Terms = NO_TERMS) -> Proposal | None:
        """Return the network from which growth starts: the origin, else the space's seed.

        The space's seed may be drawn: in one generation it is always the same. One that was a trial
        already is replaced by a random candidate.
        """

        def make(rng: np.random.Generator) -> Proposal | None:
            first = seeding.generator(self.root_seed, "seed", generation)
            network = self.origin or drawn(
                "seed", lambda: self.space.seed(first), self.space, self.limit_s
            )
            proposal = Proposal(
                network, operator="seed", generation=generation, terms=terms,
                goes_on=self.origin_trained,
            )  # fmt: skip
            return (
                proposal if self._gate.accepts(proposal) else self._sample(rng, generation, terms)
            )

        return self._drawing(self._next(generation, terms, make))

    def continued(
        self, parent: Individual, generation: int, terms: Terms = NO_TERMS
    ) -> Proposal | None:
        """Return an individual as a candidate: it is trained on from the weights it has.

        None when that very training was a trial already.
        """
        proposal = Proposal(
            parent.genotype, {}, "continue", (parent.seq,), generation, terms, goes_on=True
        )
        return self._next(
            generation,
            terms,
            lambda rng: proposal if self._gate.accepts(proposal) else None,
            parent.seq,
        )

    def child(
        self,
        parents: Sequence[Individual],
        generation: int,
        terms: Terms = NO_TERMS,
    ) -> Proposal | None:
        """Return a new child of the first parent, or of as many as its operator takes.

        When all attempts fail the candidate is drawn at random.
        """

        def make(rng: np.random.Generator) -> Proposal | None:
            attempts = Attempts()
            child = self._offspring(parents, rng, generation, terms, attempts)
            return child or self._sample(rng, generation, terms, attempts.refused)

        return self._drawing(self._next(generation, terms, make))

    def offspring(
        self,
        parents: Sequence[Individual],
        generation: int,
        terms: Terms = NO_TERMS,
    ) -> Proposal | None:
        """Return a new child as `child` does, or None when all attempts fail.

        Refusals lead to another operator. With a screen it is the most promising of several.
        """
        return self._next(
            generation,
            terms,
            lambda rng: self._offspring(parents, rng, generation, terms, Attempts()),
        )

    def mated(
        self,
        parents: Sequence[Individual],
        generation: int,
        terms: Terms = NO_TERMS,
    ) -> Proposal | None:
        """Return what `offspring` does, where a single parent is mated too: with nobody else.

        So generations that come of one ancestor all follow the same rules.
        """
        return self._next(
            generation,
            terms,
            lambda rng: self._offspring(parents, rng, generation, terms, Attempts(), fewest=1),
        )

    def distant(
        self,
        parents: Sequence[Individual],
        generation: int,
        terms: Terms = NO_TERMS,
    ) -> Proposal | None:
        """Return a candidate up to `N_STEPS` mutations away from the first parent, or None.

        For when children and draws are all known: what lies between is not trained again. It has
        what is left of its parent by tag; filter and operators with requirements take no part.
        """
        return self._next(
            generation, terms, lambda rng: self._walked(parents[0], rng, generation, terms)
        )

    def restore(self, proposal: Proposal) -> None:
        """Count again what preceded a candidate that a resumed run has made before."""
        self._gate.restore(proposal.refusals)
        self.n_filtered += proposal.screening.get("n_rejected", 0)
        if self.screen is not None:
            self.screen.take(proposal.genotype.key, proposal.screening)

    def _next(
        self,
        generation: int,
        terms: Terms,
        make: Callable[[np.random.Generator], Proposal | None],
        parent: int | None = None,
    ) -> Proposal | None:
        """Return the next candidate: a recorded one, or what `make` gives with its generator.

        `parent` is the seq of the one that goes on from its weights.
        """
        number = self.n_asked
        self.n_asked += 1

        def made() -> Proposal | None:
            try:
                found = make(seeding.generator(self.root_seed, "candidate", number))
            except NasgenError:
                self._gate.recent()
                self._n_rejected = 0  # they preceded none
                raise
            return None if found is None else self._numbered(found, number)

        if not self.recorded:
            return made()
        if self.screen is not None and parent is None:
            self.screen.review()  # as it does before it chooses
        return self.recorded.take(self, number, generation, terms, parent, made)

    def _drawing(self, found: Proposal | None) -> Proposal | None:
        """Take note of what came of a request that draws where it finds nothing else.

        It depends on what the request gave alone, so a resumed run knows it too.
        """
        if found is None or found.operator == "sample":
            self._is_dry = found is None
        return found

    def _numbered(self, proposal: Proposal, number: int) -> Proposal:
        """Return a new candidate with what preceded it."""
        screening = dict(proposal.screening)
        if self._n_rejected:
            screening["n_rejected"] = self._n_rejected
        refusals, self._n_rejected = self._gate.recent(), 0
        return replace(proposal, number=number, refusals=refusals, screening=screening)

    def _sample(
        self,
        rng: np.random.Generator,
        generation: int,
        terms: Terms,
        instead_of: Mapping[str, str] | None = None,
    ) -> Proposal | None:
        """Return what `sample` does; `instead_of` are the operators that refused to make one."""
        why = instead_of or {}
        return self._chosen(
            lambda attempts, _: self._sampled(rng, generation, terms, why, attempts),
            rng,
            Attempts(),
        )

    def _first(self, rng: np.random.Generator, generation: int, terms: Terms) -> Proposal | None:
        """Return what `first` does."""
        waiting = self._designed(generation, terms)
        return self._chosen(
            lambda attempts, _: (
                next(waiting, None) or self._sampled(rng, generation, terms, {}, attempts)
            ),
            rng,
            Attempts(),
        )

    def _designed(self, generation: int, terms: Terms) -> Iterator[Proposal]:
        """Yield the designs that are new, best first; each is reserved as it is asked for.

        That one is known, or breaks a constraint, is no refusal: it was never asked for.
        """
        if self._designs is None:
            offered = designed(self.designs, self.space, self.limit_s)
            self._designs = [d for d in offered if self.violation(d.genotype) == 0]
        for design in self._designs:
            proposal = Proposal(
                design.genotype,
                operator="design",
                generation=generation,
                terms=terms,
                screening={"design": design.name},
            )
            if self.is_new(proposal):
                yield proposal

    def _offspring(
        self,
        parents: Sequence[Individual],
        rng: np.random.Generator,
        generation: int,
        terms: Terms,
        first: Attempts,
        fewest: int = 2,
    ) -> Proposal | None:
        """Return what `offspring` does; `first` takes the attempts at the first child.

        With `fewest` parents or more, `crossover_prob` of the children are those of several.
        """
        return self._chosen(
            lambda attempts, known: self._attempted(
                parents, rng, generation, terms, attempts, known, fewest
            ),
            rng,
            first,
        )

    def _chosen(
        self,
        attempt: Callable[[Attempts, bool], Proposal | None],
        rng: np.random.Generator,
        first: Attempts,
    ) -> Proposal | None:
        """Return the screen's choice of as many proposals as it wants, or None without any.

        A derivation has no genotype yet that could be judged: if the first proposal is one, it
        passes, so that its share is what the frequencies say; no further one may be.
        """
        offered: list[Proposal] = []
        for _ in range(1 if self.screen is None else self.screen.n_wanted):
            proposal = attempt(Attempts() if offered else first, bool(offered))
            if proposal is None:
                break
            offered.append(proposal)
            if not proposal.genotype.is_explicit:
                return proposal
        if not offered:
            return self._gate.last_resort(first)
        return offered[0] if self.screen is None else self._screened(self.screen, offered, rng)

    def _screened(
        self, screen: Screen, offered: Sequence[Proposal], rng: np.random.Generator
    ) -> Proposal:
        verdict = screen.choose([p.genotype for p in offered], rng)
        for i, proposal in enumerate(offered):
            if i == verdict.index:
                continue
            self.forget(proposal)
            if verdict.screened:
                self.n_filtered += 1
                self._n_rejected += 1
                predicted = verdict.predicted[i] if verdict.predicted else math.nan
                self.on_rejected(proposal, predicted if math.isfinite(predicted) else None)
        chosen = offered[verdict.index]
        if verdict.forecast is None:
            return chosen
        return replace(chosen, screening={**chosen.screening, "forecast": verdict.forecast})

    def _sampled(
        self,
        rng: np.random.Generator,
        generation: int,
        terms: Terms,
        instead_of: Mapping[str, str],
        attempts: Attempts,
    ) -> Proposal | None:
        """Return an accepted random candidate, or None when all attempts fail; see `_attempted`."""
        for _ in range(N_DRY if self._is_dry else N_ATTEMPTS):
            network, about = sampled(lambda: self.space.draw(rng), self.space, self.limit_s)
            proposal = Proposal(
                network, {}, "sample", (), generation, terms, instead_of, screening=about
            )
            if self._gate.takes(proposal, attempts):
                return proposal
        return None

    def _attempted(
        self,
        parents: Sequence[Individual],
        rng: np.random.Generator,
        generation: int,
        terms: Terms,
        attempts: Attempts,
        in_driver: bool,
        fewest: int,
    ) -> Proposal | None:
        """Return an accepted child, or None when all fail; `attempts` takes what came of them.

        `in_driver`: only one whose genotype is known here, which a predictor can compare.
        """
        asked = len(parents), in_driver, terms.operators
        pools = [self.operators.pool(several, *asked) for several in (False, True)]
        for _ in range(N_ATTEMPTS):
            crossing = len(parents) >= fewest and rng.random() < self.operators.crossover_prob
            pool = pools[crossing] or pools[False]
            if not pool:
                break
            shares = {name: operator.share for name, operator in pool.items()}
            name = draw(shares if self.credit is None else self.credit.adapted(shares), rng)
            operator = pool[name].told(terms.derivation)
            chosen = parents[: operator.n_parents[1]]
            if operator.runs_in == "worker":
                self.require(chosen, operator.artifacts)
            try:
                also = self._also(operator, rng)
                children = made(
                    operator,
                    chosen,
                    self.space,
                    rng,
                    self.materials,
                    self.limit_s,
                    generation,
                    also,
                )
            except NotApplicable as refusal:
                self._gate.refused(name, refusal.kind, attempts)
                continue
            # Several parents may have several children; which one is looked at first is drawn.
            for i in rng.permutation(len(children)) if len(children) > 1 else (0,):
                proposal = Proposal(
                    children[i].genotype,
                    children[i].plan,
                    name,
                    tuple(p.seq for p in chosen),
                    generation,
                    terms,
                    {other: why for other, why in attempts.refused.items() if other != name},
                )
                is_sized = not any(parent.is_sparse for parent in chosen)
                if self._gate.takes(proposal, attempts, is_sized):
                    return proposal
        return None

    def _also(self, operator: Operator, rng: np.random.Generator) -> tuple[Operator, ...]:
        """Return the mutation of what an operator makes, if there is to be one."""
        if operator.group != "matings" or self.mutation_prob <= 0:
            return ()
        pool = self.operators.pool(several=False, n_parents=1)
        able = {name: op.share for name, op in pool.items() if op.is_composable}
        if not able or rng.random() >= self.mutation_prob:
            return ()
        return (pool[draw(able, rng)],)

    def _walked(
        self, parent: Individual, rng: np.random.Generator, generation: int, terms: Terms
    ) -> Proposal | None:
        """Return what `distant` does."""
        attempts, here = Attempts(), parent
        pool = self.operators.pool(several=False, n_parents=1, in_driver=True)
        shares = {name: op.share for name, op in pool.items() if not op.requires}
        for attempt in range(N_ATTEMPTS if shares else 0):
            if attempt % N_STEPS == 0:
                here = parent
            name = draw(shares, rng)
            try:
                child = made(pool[name], [here], self.space, rng, self.materials, self.limit_s)[0]
            except NotApplicable as refusal:
                self._gate.refused(name, refusal.kind, attempts)
                continue
            except OperatorError:
                if here is parent:
                    raise
                continue  # nobody promised that it reads provisional tags
            proposal = Proposal(
                child.genotype,
                child.plan if here is parent else {},
                name,
                (parent.seq,),
                generation,
                terms,
                {other: why for other, why in attempts.refused.items() if other != name},
            )
            if self._gate.takes(proposal, attempts, not parent.is_sparse):
                return proposal
            here = copy.copy(parent)
            here.genotype = child.genotype
        return self._gate.last_resort(attempts)


def _unchecked(parents: Sequence[Individual], names: tuple[str, ...]) -> None:
    """Stand in where there are no artifacts to check."""
