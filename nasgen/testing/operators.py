"""The contract of mutations, morphisms and crossovers: legal, pure, repeatable, heritable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

from nasgen import registry, seeding
from nasgen.errors import FOREIGN, IncompatibleError, NotApplicable
from nasgen.genotypes import Child, Genotype
from nasgen.genotypes.kinds import accepted
from nasgen.operators.conformance import (
    Given,
    check_operator,
    sampled_and_mutated,
    shapes_of,
    with_materials,
)
from nasgen.search_spaces.base import SearchSpace
from nasgen.search_spaces.fitting import fits
from nasgen.testing.base import Contract, Outcome, every_shape, examine, verify

N_CASES = 100
SEED = 0
FAR = registry.MOST_PARENTS  # trials between the parents of one case and those of the next


def spaces(group: str, name: str) -> list[SearchSpace]:
    """Return the search spaces that an operator fits, the first in which it applies before others.

    They are built-in, or registered by the same plug-in, with their default options; behind the
    first stands its `narrow` variant, in which an operator that ignores its `space` argument soon
    errs. An operator of dense layers finds nothing to do among convolutions. Raises
    IncompatibleError when no space has genotypes that the operator accepts.
    """
    operator = registry.get(group, name)
    wanted, origin = accepted(operator), operator.origin
    fitting = [
        registry.resolve("search_spaces", entry.name)
        for entry in registry.entries("search_spaces").values()
        if entry.origin in ("built-in", origin)
        and fits(operator, registry.resolve("search_spaces", entry.name))
    ]
    if not fitting:
        raise IncompatibleError(
            f"{group} '{name}' accepts genotypes of the type {wanted.__name__}, expected that of a "
            "built-in search space or of one in the same plug-in; register the space there, or "
            "change accepts."
        )
    usual = next((space for space in fitting if _applies_in(group, name, space())), fitting[0])
    others = [space for space in fitting if space is not usual]
    narrow = [usual(**usual.narrow)] if usual.narrow else []
    return [usual(), *narrow, *(space() for space in others)]


def relatives(space: SearchSpace, origin: str) -> list[tuple[str, str]]:
    """Return (group, name) of the operators that make relatives of a space's genotypes.

    All that fit it and need nothing but genotypes, built-in or registered by the plug-in `origin`.
    """
    return [
        (group, entry.name)
        for group in ("mutations", "morphisms", "crossovers")
        for entry in registry.entries(group).values()
        if entry.origin in ("built-in", origin)
        and entry.runs_in == "driver"
        and not entry.requires
        and fits(entry, type(space))
    ]


def check(group: str, name: str, n: int = N_CASES) -> Outcome:
    """Apply a mutation, morphism or crossover to parents of every space that it fits."""
    entry = registry.get(group, name)
    if entry.runs_in == "worker":
        from nasgen.testing import worker_mutations

        return worker_mutations.check(group, name, n)
    origin = entry.origin
    seen: set[str] = set()
    found = fuzz(group, name, n, seen)
    has_raised = any(rule.startswith("raises") for rule in seen)
    found += cramped(group, name, n // 2, seen)
    if has_raised:
        return found  # the rules below would say it again
    borne = examine(bears(group, n, name), origin)
    if borne.problems:  # what follows has no child to look at
        return Outcome(found.n_checked, found.problems + borne.problems)
    found += borne
    found += examine(decodes(group, n // 5, name), origin)
    if "plan" not in seen:
        found += examine(inherits(group, n // 5, name), origin)
    if group == "crossovers":
        found += examine(related(max(n // 5, len(relatives(spaces(group, name)[0], origin))), name))
    if group == "morphisms":
        found += examine(preserves(group, max(1, n // 5), name), origin)
    return found


def fuzz(group: str, name: str, n: int = N_CASES, seen: set[str] | None = None) -> Outcome:
    """Run the fuzz test of `nasgen.operators.conformance` in the default space.

    `seen` takes the rules that were broken.
    """
    space = spaces(group, name)[0]
    report = check_operator(group, name, space, n, SEED, materials(group, name, space))
    if seen is not None:
        seen.update(report.broken)
    return Outcome(report.n_tried, tuple(report.problems), tuple(report.warnings))


def cramped(group: str, name: str, n: int = N_CASES, seen: set[str] | None = None) -> Outcome:
    """Run it in the further spaces; there an operator may find nothing to do.

    What is in `seen` is not said again, and neither is what an earlier one of these spaces showed.
    """
    found, seen = Outcome(), set() if seen is None else seen
    for space in spaces(group, name)[1:]:
        report = check_operator(group, name, space, n, SEED, materials(group, name, space))
        where = f"in a space of other layers and limits than the default ({space})"
        new = [text for rule, text in report.broken.items() if rule not in seen]
        seen.update(report.broken)
        found += Outcome(report.n_tried, tuple(f"{where}: {text}" for text in new))
    return found


def bears(group: str, n: int, name: str) -> Iterator[str]:
    """Some of `n` parents, or of as many relatives, have a child at all."""
    space = spaces(group, name)[0]
    cases = (_parents(group, name, space, i) for i in range(n))
    more = kin(name, space, n) if group == "crossovers" else ()
    for i, parents in enumerate(chain(cases, (relatives for _, relatives in more))):
        if _children(group, name, parents, space, i):
            yield ""
            return
    kinds = "parents, relatives among them" if group == "crossovers" else "parents"
    yield f"it raised NotApplicable for all {n} {kinds}; a search could not use it."


def applies(group: str, n: int, name: str) -> Iterator[str]:
    """Among `n` parents, or pairs of them, there is one that has a child unlike its parents."""
    space, more = spaces(group, name)[0], ""
    for i in range(n):
        parents = _parents(group, name, space, i)
        known = {parent.key for parent in parents}
        if any(
            child.genotype.key not in known for child in _children(group, name, parents, space, i)
        ):
            yield ""
            return
    if group == "crossovers":
        for i, (_, parents) in enumerate(kin(name, space, n)):
            known = {parent.key for parent in parents}
            if any(c.genotype.key not in known for c in _children(group, name, parents, space, i)):
                yield ""
                return
        more = " nor had relatives"
    yield f"{n} parents had no child that differs from them{more}; a search could not use it."


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


def kin(name: str, space: SearchSpace, n: int) -> Iterator[tuple[str, list[Genotype]]]:
    """Yield `n` times what relatives are, and parents of a crossover that share gene tags.

    Relatives are made by every operator in turn; where none applies, a parent meets itself.
    """
    entry = registry.get("crossovers", name)
    makers = [maker for maker in relatives(space, entry.origin) if maker != ("crossovers", name)]
    for i in range(n):
        rng = seeding.generator(SEED, "contract relatives", i)
        parent = space.sample(rng).mint(SEED, FAR * i)
        yield "a parent with itself", [parent] * entry.arity[0]
        for group, maker in makers[i % len(makers) :][:1] if makers else ():
            n_more = registry.get(group, maker).arity[0] - 1
            more = [space.sample(rng).mint(SEED, FAR * i + 2 + j) for j in range(n_more)]
            try:
                made = registry.resolve(group, maker)(parent, *more, space, rng)
            except FOREIGN:  # one of the same plug-in, which is checked by itself
                continue
            child = Child.of(made[0] if isinstance(made, tuple | list) else made)
            if child is not None:
                sibling = child.genotype.mint(SEED, FAR * i + 1)
                pair = [parent, sibling, *[parent] * (entry.arity[0] - 2)]
                yield f"a parent with its child by '{maker}'", pair


def related(n: int, name: str) -> Iterator[str]:
    """Parents that share gene tags have legal children or none, whose plans can be executed."""
    from nasgen.testing.heredity import executed  # loads torch

    space = spaces("crossovers", name)[0]
    for i, (what, parents) in enumerate(kin(name, space, n)):
        said = ""
        for child in _children("crossovers", name, parents, space, i):
            if wrong := space.problems(child.genotype):
                said = f"(case {i}) gave an illegal child: {wrong[0]}"
            else:
                said = executed(space, parents, child.mint(SEED, FAR * (n + i) + 3), i)
            if said:
                break
        yield f"{what} {said}" if said else ""


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


def _applies_in(group: str, name: str, space: SearchSpace) -> bool:
    """Tell whether an operator does anything with some of the first parents of a space."""
    try:
        return any(
            _children(group, name, _parents(group, name, space, i), space, i) for i in range(20)
        )
    except FOREIGN:  # the suite will say of what
        return True


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
