"""The operators of a search, in one table by how many parents they take, and their application."""

from __future__ import annotations

import json
import math
import traceback
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Final, Protocol

import numpy as np

from nasgen import registry
from nasgen.engine.individual import Individual
from nasgen.errors import IllegalGenotypeError, NasgenError, NotApplicable, OperatorError, PlanError
from nasgen.execution.timer import within
from nasgen.genotypes import Child
from nasgen.genotypes.derivation import Derivation
from nasgen.phenotype.plans import parsed

# What an operator requires of some parents: name -> one entry a parent.
Materials = Callable[[Sequence[Individual], tuple[str, ...]], Mapping[str, Any]]
RANKS: Final = "ranks"  # required of parents as well, and known without an artifact


class Legal(Protocol):
    """What an operator's child is checked against."""

    def problems(self, genotype: Any) -> list[str]: ...


@dataclass(frozen=True)
class Operator:
    """A registered operator with its relative frequency.

    `n_parents` are the fewest and the most that it is given. One that `runs_in` the worker is not
    called here: its child is a `Derivation` with its `group` and `settings`. If it `draws` nothing,
    equal parents give equal derivations, the second of which is a duplicate. One `of_sparse`
    networks does not apply to parents of which nothing is pruned.
    """

    name: str
    function: Callable[..., Any]
    share: float = 1.0
    n_parents: tuple[int, int] = (1, 1)
    group: str = "mutations"
    requires: tuple[str, ...] = ()
    runs_in: str = "driver"
    settings: Mapping[str, Any] = field(default_factory=dict)
    draws: bool = True
    of_sparse: bool = False

    @property
    def is_composable(self) -> bool:
        """Whether a mated child can be given to it before it is trained."""
        is_mutation = self.group == "mutations" and self.runs_in == "worker"
        return is_mutation and not set(self.requires) - {"weights", "support"}

    @property
    def is_for_several(self) -> bool:
        """Whether it is among the operators that `crossover_prob` gives its share."""
        return self.group in ("crossovers", "matings")

    def told(self, settings: Mapping[str, Any]) -> Operator:
        """Return it with settings of its derivations in the place of its own."""
        return replace(self, settings={**self.settings, **settings}) if settings else self

    @property
    def artifacts(self) -> tuple[str, ...]:
        """What must be kept of its parents, of one that runs in the worker."""
        required = ("weights", "support", *self.requires)
        return tuple(name for name in required if name not in registry.COMPUTED)


@dataclass(frozen=True)
class Operators:
    """The table of a search. `crossover_prob` is the share of children of several parents.

    `adapt`: frequencies follow success, see `Credit`.
    """

    table: tuple[Operator, ...] = ()
    crossover_prob: float = 0.0
    adapt: bool = False
    _pools: dict[Any, dict[str, Operator]] = field(default_factory=dict, init=False, repr=False)

    def pool(
        self, several: bool, n_parents: int, in_driver: bool = False, among: tuple[str, ...] = ()
    ) -> dict[str, Operator]:
        """Return name -> operator of those of one parent, or of several, that `n_parents` allow.

        `in_driver`: only those whose children are known here. `among`: only these; none: all.
        """
        asked = (several, n_parents, in_driver, among)
        if asked not in self._pools:
            self._pools[asked] = {
                op.name: op
                for op in self.table
                if op.is_for_several == several
                and op.n_parents[0] <= n_parents
                and not (in_driver and op.runs_in != "driver")
                and (not among or op.name in among)
            }
        return self._pools[asked]

    @property
    def most_parents(self) -> int:
        """The most parents that any of them is given; at least 1."""
        return max((op.n_parents[1] for op in self.table), default=1)

    @property
    def mates(self) -> bool:
        """Whether there is a mating among them."""
        return any(op.group == "matings" for op in self.table)


def draw(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    """Return a name, drawn by relative frequency."""
    # What rng.choice(p=...) does, without what takes it longer than the rest.
    bounds = list(accumulate(shares.values()))
    return list(shares)[bisect_right([bound / bounds[-1] for bound in bounds], rng.random())]


def children(
    operator: Operator,
    parents: Sequence[Individual],
    space: Legal,
    rng: np.random.Generator,
    materials: Materials,
    limit_s: float = math.inf,
    generation: int = 0,
    mutations: Sequence[Operator] = (),
) -> list[Child]:
    """Return what an operator makes of its parents: one child, or up to as many as the parents.

    `mutations` are applied to the child of a mating, by the worker that makes it.

    NotApplicable passes through; whatever else it raises, or returns against its contract, is an
    OperatorError, and so it is when it takes longer than `limit_s` seconds.
    """
    if operator.of_sparse and not all(parent.is_sparse for parent in parents):
        raise NotApplicable("nothing of its parent is pruned.", kind="dense")
    if operator.runs_in == "worker":
        identities = tuple(parent.identity for parent in parents)
        seed = int(rng.integers(2**63)) if operator.draws or mutations else 0
        settings = dict(operator.settings)
        if mutations:
            settings["mutations"] = [[op.name, op.settings.get("options", {})] for op in mutations]
        if "environment" in settings:
            settings |= {"generation": generation, "m": operator.n_parents[1]}
        if RANKS in operator.requires or settings.get("weights") == "fittest":
            settings[RANKS] = ranks(parents)
        return [Child(Derivation(identities, operator.group, operator.name, settings, seed))]
    name, given = operator.name, {}
    if operator.requires:
        given["given"] = materials(parents, operator.requires)
    genotypes = [parent.genotype for parent in parents]
    try:
        result = within(
            limit_s,
            lambda: operator.function(*genotypes, space, rng, **given),
            lambda seconds, where: late(f"operator '{name}'", seconds, where),
        )
    except NotApplicable:
        raise
    except IllegalGenotypeError as error:
        raise OperatorError(
            f"operator '{name}' built an illegal child: {error} It must return a legal "
            "genotype or raise nasgen.NotApplicable; `nasgen check` finds such cases."
        ) from error
    except (NasgenError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit too: it must not end the program
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise OperatorError(
            f"operator '{name}' raised {type(error).__name__}: {error} ({frame.filename}, line "
            f"{frame.lineno}). Mend it, test it with `nasgen check`, then resume the run."
        ) from error
    returned = result if isinstance(result, tuple | list) else [result]
    found = [child for one in returned if (child := Child.of(one)) is not None]
    limit = len(parents)
    if not 1 <= len(found) == len(returned) <= limit:
        kinds = ", ".join(type(c).__name__ for c in returned) or "nothing"
        one = "a genotype or nasgen.Child"
        expected = {1: one, 2: "one or two of them"}.get(limit, f"one to {limit} of them")
        raise OperatorError(f"operator '{name}' must return {expected}, got {kinds}.")
    for child in found:
        legal(name, child.genotype, space)
        if isinstance(child.plan, Mapping) and not child.plan:
            continue
        try:
            if not isinstance(child.plan, Mapping):
                raise TypeError(f"expected an object, got {type(child.plan).__name__}")
            json.dumps(child.plan, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise OperatorError(
                f"operator '{name}' must return a heredity plan that is JSON: {error}. NumPy "
                "numbers need int() or float() around them."
            ) from None
        try:
            parsed(child.plan, limit)
        except PlanError as error:
            raise OperatorError(
                f"operator '{name}' returned a heredity plan that is not understood: {error} "
                "docs/heredity-plans.md says what may stand there; `nasgen check` executes plans."
            ) from None
    return found


def ranks(parents: Sequence[Individual]) -> list[float]:
    """Return the fitness rank of each parent, 1 for the fittest; equal ones have their mean."""
    own = [parent.fitness for parent in parents]
    return [1 + sum(a > b for a in own) + (sum(a == b for a in own) - 1) / 2 for b in own]


def late(what: str, seconds: float, where: str) -> OperatorError:
    """Return the error that something has not returned in time."""
    return OperatorError(
        f"{what} has not returned after {seconds:.1f} s: it is in {where}. Mend it, or raise "
        "execution.operator_limit or the time budget, then resume the run."
    )


def legal(name: str, genotype: Any, space: Legal) -> Any:
    """Return a genotype that the space allows; OperatorError names the rule of another."""
    problems = space.problems(genotype)
    if problems:
        raise OperatorError(
            f"operator '{name}' returned an illegal child: {problems[0]} It must return a "
            "legal genotype or raise nasgen.NotApplicable; `nasgen check` finds such cases."
        )
    return genotype


def nothing_kept(parents: Sequence[Individual], names: tuple[str, ...]) -> Mapping[str, Any]:
    """Stand in for the run's artifacts where there are none, as in a test."""
    raise NotImplementedError(f"{', '.join(names)} of parents are not within reach here.")
