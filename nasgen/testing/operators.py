"""The contract of mutations, morphisms and crossovers: legal, pure, repeatable, heritable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from nasgen import registry, seeding
from nasgen.errors import IncompatibleError, NotApplicable
from nasgen.genotypes import Child, Genotype
from nasgen.genotypes.kinds import accepted, varies
from nasgen.operators.conformance import (
    Given,
    check_operator,
    sampled_and_mutated,
    shapes_of,
    with_materials,
)
from nasgen.search_spaces.base import SearchSpace
from nasgen.testing.base import Contract, Outcome, every_shape, examine, verify

N_CASES = 100
SEED = 0
FAR = registry.MOST_PARENTS  # trials between the parents of one case and those of the next


def spaces(group: str, name: str) -> list[SearchSpace]:
    """Return the search spaces that an operator fits, the usual one first.

    They are built-in, or registered by the same plug-in, with their default options; behind the
    first stands its `narrow` variant, in which an operator that ignores its `space` argument soon
    errs. Raises IncompatibleError when no space has genotypes that the operator accepts.
    """
    operator = registry.get(group, name)
    wanted, origin = accepted(operator), operator.origin
    fitting = [
        registry.resolve("search_spaces", entry.name)
        for entry in registry.entries("search_spaces").values()
        if entry.origin in ("built-in", origin)
        and varies(wanted, registry.resolve("search_spaces", entry.name).genotype)
    ]
    if not fitting:
        raise IncompatibleError(
            f"{group} '{name}' accepts genotypes of the type {wanted.__name__}, expected that of a "
            "built-in search space or of one in the same plug-in; register the space there, or "
            "change accepts."
        )
    usual, *others = fitting
    narrow = [usual(**usual.narrow)] if usual.narrow else []
    return [usual(), *narrow, *(space() for space in others)]


def relative(space: SearchSpace, origin: str) -> Callable[..., Any] | None:
    """Return a mutation that makes relatives of a space's genotypes, or None without any."""
    fitting = (
        entry.name
        for entry in registry.entries("mutations").values()
        if entry.origin in ("built-in", origin) and varies(accepted(entry), space.genotype)
    )
    name = next(fitting, None)
    return None if name is None else registry.resolve("mutations", name)


def check(group: str, name: str, n: int = N_CASES) -> Outcome:
    """Apply a mutation, morphism or crossover to parents of every space that it fits."""
    entry = registry.get(group, name)
    if entry.runs_in == "worker":
        from nasgen.testing import worker_mutations

        return worker_mutations.check(group, name, n)
    origin = entry.origin
    found = fuzz(group, name, n) + cramped(group, name, n // 2)
    found += examine(decodes(group, n // 5, name), origin)
    found += examine(inherits(group, n // 5, name), origin)
    if group == "crossovers":
        found += examine(related(n // 5, name), origin)
    if group == "morphisms":
        found += examine(preserves(group, max(1, n // 5), name), origin)
    return found


def fuzz(group: str, name: str, n: int = N_CASES) -> Outcome:
    """Run the fuzz test of `nasgen.operators.conformance` in the default space."""
    space = spaces(group, name)[0]
    report = check_operator(group, name, space, n, SEED, materials(group, name, space))
    return Outcome(report.n_tried, tuple(report.problems), tuple(report.warnings))


def cramped(group: str, name: str, n: int = N_CASES) -> Outcome:
    """Run it in the further spaces; there an operator may find nothing to do."""
    found = Outcome()
    for space in spaces(group, name)[1:]:
        report = check_operator(group, name, space, n, SEED, materials(group, name, space))
        where = f"in a space of other layers and limits than the default ({space})"
        found += Outcome(report.n_tried, tuple(f"{where}: {text}" for text in report.problems))
    return found


def applies(group: str, n: int, name: str) -> Iterator[str]:
    """Among `n` parents there is one that has a child unlike its parents."""
    space = spaces(group, name)[0]
    for i in range(n):
        parents = _parents(group, name, space, i)
        known = {parent.key for parent in parents}
        if any(
            child.genotype.key not in known for child in _children(group, name, parents, space, i)
        ):
            yield ""
            return
    yield f"{n} parents had no child that differs from them; a search could not use it."


def decodes(group: str, n: int, name: str) -> Iterator[str]:
    """Children can be read as networks for inputs of every size, before and after minting."""
    space = spaces(group, name)[0]
    shapes = every_shape(space)
    for i in range(n):
        parents = _parents(group, name, space, i)
        for child in (c.genotype for c in _children(group, name, parents, space, i)):
            minted = child.mint(SEED, FAR * n + i)
            shape = shapes[i % len(shapes)]
            before = space.blueprint(child, shape, 10)
            after = space.blueprint(minted, shape, 10)
            same = [(s.layer, s.params, s.out_shape) for s in before.steps] == [
                (s.layer, s.params, s.out_shape) for s in after.steps
            ]
            new = minted.tags.difference(*(parent.tags for parent in parents))
            if not same or minted.key != child.key:
                yield f"case {i}: the child is another network once its gene tags are final."
            elif any(tag < 0 for tag in new):
                yield f"case {i}: a gene tag stayed provisional; new vertices come from Draft.add."
            else:
                yield ""


def inherits(group: str, n: int, name: str) -> Iterator[str]:
    """The heredity plan of every child can be executed on its parents' weights."""
    from nasgen.testing.heredity import executed  # loads torch

    space = spaces(group, name)[0]
    for i in range(n):
        parents = _parents(group, name, space, i)
        for child in _children(group, name, parents, space, i):
            yield executed(space, parents, child.mint(SEED, FAR * n + i), i)


def related(n: int, name: str) -> Iterator[str]:
    """Parents that share gene tags, and a parent with itself, have legal children or none."""
    space = spaces("crossovers", name)[0]
    vary = relative(space, registry.get("crossovers", name).origin)
    for i in range(n):
        rng = seeding.generator(SEED, "contract relatives", i)
        parent = space.sample(rng).mint(SEED, 2 * i)
        try:
            child = None if vary is None else Child.of(vary(parent, space, rng))
            sibling = parent if child is None else child.genotype.mint(SEED, 2 * i + 1)
        except NotApplicable:
            sibling = parent
        n_more = registry.get("crossovers", name).arity[0] - 2
        for pair in ([parent, sibling], [parent, parent]):
            pair += [parent] * n_more
            wrong = [
                text
                for child in _children("crossovers", name, pair, space, i)
                for text in space.problems(child.genotype)
            ]
            kin = "a parent with itself" if pair[1] is parent else "a parent with its child"
            yield f"{kin} (case {i}) gave an illegal child: {wrong[0]}" if wrong else ""


def preserves(group: str, n: int, name: str) -> Iterator[str]:
    """A child with the weights that its plan gives it computes what its parent does.

    In training and in evaluation, for parents whose weights and statistics are all drawn at random.
    Also checked for a morphism that makes no such claim: that the plan can be executed.
    """
    # Here, because it loads torch, which the other rules do without.
    from nasgen.testing.preservation import TOLERANCE, gaps

    claimed = registry.get(group, name).options.get("preserves", True)
    space = spaces(group, name)[0]
    shape = shapes_of(space)[0]
    for i in range(n):
        rng = seeding.generator(SEED, "contract parent", i)
        parent = sampled_and_mutated(space, rng, SEED, i)
        try:
            result = _operator(group, name, space)(parent, space, rng, case=i)
        except NotApplicable:
            continue
        child = result if isinstance(result, Child) else Child(result)
        for mode, gap in gaps(space, parent, child.mint(SEED, 10_000 + i), shape, i).items():
            if claimed and not gap <= TOLERANCE:
                yield (
                    f"case {i}: in {mode} the child's outputs differ from its parent's by {gap:.1e}"
                    f" of the largest, expected at most {TOLERANCE:.0e}. A member that does not "
                    'preserve the function says options={"preserves": False}.'
                )
            else:
                yield ""


def _parents(group: str, name: str, space: SearchSpace, i: int) -> list[Genotype]:
    """Return as many parents as an operator takes, their gene tags final."""
    rng = seeding.generator(SEED, "contract parent", i)
    n_parents = registry.get(group, name).arity[0]
    return [space.sample(rng).mint(SEED, FAR * i + j) for j in range(n_parents)]


def _children(
    group: str, name: str, parents: Sequence[Genotype], space: SearchSpace, i: int
) -> list[Child]:
    """Return the children, none when the operator does not apply."""
    rng = seeding.generator(SEED, "contract operator", i)
    try:
        result = _operator(group, name, space)(*parents, space, rng, case=i)
    except NotApplicable:
        return []
    several = result if isinstance(result, tuple | list) else [result]
    return [one if isinstance(one, Child) else Child(one) for one in several]


def _operator(group: str, name: str, space: SearchSpace) -> Callable[..., Any]:
    return with_materials(group, name, materials(group, name, space))


def materials(group: str, name: str, space: SearchSpace) -> Given:
    """Return what makes an operator's required arrays: of networks with weights drawn at random."""
    required = registry.get(group, name).requires

    def made(parents: Sequence[Genotype], case: int) -> dict[str, Any]:
        from nasgen.testing.heredity import materials_of  # loads torch

        return materials_of(required, parents, space, case)

    return made


class MutationContract(Contract):
    """Inherit and set `name`. `n` is the number of cases."""

    group = "mutations"
    n = N_CASES

    def test_it_keeps_the_contract_in_the_default_space(self) -> None:
        """Legal children, parents unchanged, one child a seed, JSON, gene tags."""
        with self.scope().active():
            verify(fuzz(self.group, self.name, self.n), self.name)

    def test_it_keeps_the_contract_in_a_narrow_space(self) -> None:
        """The same where layers and limits are others: `space` must be asked, not assumed."""
        with self.scope().active():
            verify(cramped(self.group, self.name, self.n // 2), self.name)

    def test_it_applies_to_some_parents_and_changes_them(self) -> None:
        """At least one child is a new network."""
        self.holds(partial(applies, self.group, self.n))

    def test_its_children_are_networks_for_images_of_any_size(self) -> None:
        """1 and 3 channels, 8 x 8 to 64 x 64."""
        self.holds(partial(decodes, self.group, self.n // 5))

    def test_its_plans_can_be_executed(self) -> None:
        """On weights drawn at random, whatever the plan says of them."""
        self.holds(partial(inherits, self.group, max(1, self.n // 5)))


class MorphismContract(MutationContract):
    """Inherit and set `name`. A member that preserves nothing: options={"preserves": False}."""

    group = "morphisms"

    def test_its_children_compute_the_same(self) -> None:
        """In training and in evaluation, to 1e-10 in float64."""
        self.holds(partial(preserves, self.group, max(1, self.n // 5)))


class CrossoverContract(MutationContract):
    """Inherit and set `name`."""

    group = "crossovers"

    def test_relatives_have_legal_children_or_none(self) -> None:
        """Parents that share gene tags, and a parent with itself."""
        self.holds(partial(related, self.n // 5))
