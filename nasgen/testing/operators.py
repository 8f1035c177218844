"""The contract of mutations, morphisms and crossovers: legal, pure, repeatable, heritable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from nasgen import registry, seeding
from nasgen.errors import NotApplicable
from nasgen.genotypes import Child, Dag
from nasgen.operators.conformance import Given, check_operator, sampled_and_mutated, with_materials
from nasgen.search_spaces.base import SearchSpace
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.nasbench201 import NasBench201
from nasgen.search_spaces.nasbench_macro import NasBenchMacro
from nasgen.testing.base import SHAPES, Contract, Outcome, examine, verify

N_CASES = 100
SEED = 0
FAR = registry.MOST_PARENTS  # trials between the parents of one case and those of the next


def is_for_cells(group: str, name: str) -> bool:
    """Tell whether an operator works on cells; the others work on graphs of free topology."""
    return registry.get(group, name).accepts == "cell"


def wide(for_cells: bool = False) -> SearchSpace:
    """Return the default space: every registered layer, plug-ins included."""
    return NasBench201() if for_cells else DagCnn()


def narrow(for_cells: bool = False) -> SearchSpace:
    """Return a space in which an operator that ignores its `space` argument soon errs."""
    if for_cells:
        return NasBenchMacro()
    return DagCnn(
        max_channels=24,
        kernels=(3,),
        layers=("conv", "max_pool", "sum"),
        max_depth=8,
        max_vertices=10,
        max_stages=2,
    )


def check(group: str, name: str, n: int = N_CASES) -> Outcome:
    """Apply a mutation, morphism or crossover to parents of a wide and of a narrow space."""
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
    report = check_operator(
        group, name, wide(is_for_cells(group, name)), n, SEED, materials(group, name)
    )
    return Outcome(report.n_tried, tuple(report.problems), tuple(report.warnings))


def cramped(group: str, name: str, n: int = N_CASES) -> Outcome:
    """Run it in the narrow space; there an operator may find nothing to do."""
    report = check_operator(
        group, name, narrow(is_for_cells(group, name)), n, SEED, materials(group, name)
    )
    texts = (
        f"in a space of other layers and limits than the default: {p}" for p in report.problems
    )
    return Outcome(report.n_tried, tuple(texts))


def applies(group: str, n: int, name: str) -> Iterator[str]:
    """Among `n` parents there is one that has a child unlike its parents."""
    space = wide(is_for_cells(group, name))
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
    """Children can be read as networks for images of every size, before and after minting."""
    space = wide(is_for_cells(group, name))
    for i in range(n):
        parents = _parents(group, name, space, i)
        for child in (c.genotype for c in _children(group, name, parents, space, i)):
            minted = child.mint(SEED, FAR * n + i)
            shape = SHAPES[i % len(SHAPES)]
            before = space.blueprint(child, shape, 10)
            after = space.blueprint(minted, shape, 10)
            same = [(s.layer, s.params, s.out_shape) for s in before.steps] == [
                (s.layer, s.params, s.out_shape) for s in after.steps
            ]
            known = {v.tag for parent in parents for v in parent.vertices}
            new = {v.tag for v in minted.vertices} - known
            if not same or minted.key != child.key:
                yield f"case {i}: the child is another network once its gene tags are final."
            elif any(tag < 0 for tag in new):
                yield f"case {i}: a gene tag stayed provisional; new vertices come from Draft.add."
            else:
                yield ""


def inherits(group: str, n: int, name: str) -> Iterator[str]:
    """The heredity plan of every child can be executed on its parents' weights."""
    from nasgen.testing.heredity import executed  # loads torch

    space = wide(is_for_cells(group, name))
    for i in range(n):
        parents = _parents(group, name, space, i)
        for child in _children(group, name, parents, space, i):
            yield executed(space, parents, child.mint(SEED, FAR * n + i), i)


def related(n: int, name: str) -> Iterator[str]:
    """Parents that share gene tags, and a parent with itself, have legal children or none."""
    for_cells = is_for_cells("crossovers", name)
    space = wide(for_cells)
    vary = registry.resolve("mutations", "relabel-edge" if for_cells else "relabel")
    for i in range(n):
        rng = seeding.generator(SEED, "contract relatives", i)
        parent = space.sample(rng).mint(SEED, 2 * i)
        try:
            sibling = vary(parent, space, rng).mint(SEED, 2 * i + 1)
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
    space = wide()
    for i in range(n):
        rng = seeding.generator(SEED, "contract parent", i)
        parent = sampled_and_mutated(space, "dag", rng, SEED, i)
        try:
            result = _operator(group, name)(parent, space, rng, case=i)
        except NotApplicable:
            continue
        child = result if isinstance(result, Child) else Child(result)
        for mode, gap in gaps(space, parent, child.mint(SEED, 10_000 + i), seed=i).items():
            if claimed and not gap <= TOLERANCE:
                yield (
                    f"case {i}: in {mode} the child's outputs differ from its parent's by {gap:.1e}"
                    f" of the largest, expected at most {TOLERANCE:.0e}. A member that does not "
                    'preserve the function says options={"preserves": False}.'
                )
            else:
                yield ""


def _parents(group: str, name: str, space: SearchSpace, i: int) -> list[Dag]:
    """Return as many parents as an operator takes, their gene tags final."""
    rng = seeding.generator(SEED, "contract parent", i)
    n_parents = registry.get(group, name).arity[0]
    return [space.sample(rng).mint(SEED, FAR * i + j) for j in range(n_parents)]


def _children(group: str, name: str, parents: list[Dag], space: SearchSpace, i: int) -> list[Child]:
    """Return the children, none when the operator does not apply."""
    rng = seeding.generator(SEED, "contract operator", i)
    try:
        result = _operator(group, name)(*parents, space, rng, case=i)
    except NotApplicable:
        return []
    several = result if isinstance(result, tuple | list) else [result]
    return [one if isinstance(one, Child) else Child(one) for one in several]


def _operator(group: str, name: str) -> Callable[..., Any]:
    return with_materials(group, name, materials(group, name))


def materials(group: str, name: str, is_narrow: bool = False) -> Given:
    """Return what makes an operator's required arrays: of networks with weights drawn at random."""
    required = registry.get(group, name).requires
    space = (narrow if is_narrow else wide)(is_for_cells(group, name))

    def made(parents: Sequence[Dag], case: int) -> dict[str, Any]:
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
