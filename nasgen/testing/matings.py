"""The contract of matings: sound strengths, supports within the parents', pure, repeatable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from nasgen import registry, seeding
from nasgen.errors import NotApplicable
from nasgen.phenotype import survival
from nasgen.phenotype.survival import Array, Mask
from nasgen.testing import arrays
from nasgen.testing.arrays import SEED, Tensor
from nasgen.testing.base import Contract, Outcome, examine

N_CASES = 40
MANY_PARENTS = 5  # of those that take any number, tried beside the fewest
TOLERANCE = 1e-6  # relative: sums of floats depend on their order

Results = dict[str, tuple[Array, Mask]]


def check(group: str, name: str, n: int = N_CASES) -> Outcome:
    """Apply a mating to crafted arrays and to `n` random ones."""
    origin = registry.get(group, name).origin
    found = examine(keeps(n, name), origin)
    if not registry.get(group, name).options.get("ordered", False):
        found += examine(unordered(n, name), origin)
    return found


def numbers(name: str) -> list[int]:
    """Return the numbers of parents that a mating is tried with."""
    low, high = registry.get("matings", name).arity
    return sorted({low, max(low, min(high, MANY_PARENTS))})


def groups(name: str, n_parents: int, n: int) -> Iterator[list[Tensor]]:
    """Yield what one call gets: one tensor, or several where the scope is the network."""
    cases = (*arrays.crafted(n_parents), *arrays.drawn(n_parents, n))
    whole = registry.get("matings", name).scope == "network"
    yield from arrays.networks(iter(cases), 3 if whole else 1)


def keeps(n: int, name: str) -> Iterator[str]:
    """Shapes, finite strengths >= 0, no new synapse, one result a seed, inputs unchanged."""
    for n_parents in numbers(name):
        for i, tensors in enumerate(groups(name, n_parents, n)):
            where = f"{n_parents} parents, {'; '.join(t.what for t in tensors)}"
            problem = arrays.repeated(partial(apply, name, tensors, i), where)
            if problem is None:
                continue
            yield problem
            if problem:
                return


def unordered(n: int, name: str) -> Iterator[str]:
    """The order of parents with equal weights does not matter."""
    for n_parents in (k for k in numbers(name) if k > 1):
        cases = arrays.equal(n_parents, n)
        whole = registry.get("matings", name).scope == "network"
        for i, tensors in enumerate(arrays.networks(cases, 3 if whole else 1)):
            turned = [Tensor(t.what, t.weights[::-1], t.supports[::-1]) for t in tensors]
            try:
                there, back = apply(name, tensors, i), apply(name, turned, i, reverse=True)
            except NotApplicable:
                continue
            same = all(
                np.allclose(there[k][0], back[k][0], rtol=TOLERANCE, atol=0)
                and np.array_equal(there[k][1], back[k][1])
                for k in there
            )
            if same:
                yield ""
            else:
                yield (
                    f"gave another child when {n_parents} parents of equal weights changed places "
                    f"({tensors[0].what}). A member for which their order matters says "
                    'options={"ordered": True}.'
                )


def apply(name: str, tensors: Sequence[Tensor], case: int, reverse: bool = False) -> Results:
    """Return {tensor name: (strengths, support)}; OperatorError for what breaks the contract."""
    entry, mate = registry.get("matings", name), registry.function("matings", name)
    who = f"mating '{name}'"
    frozen = {f"tensor{i}": tensor.frozen() for i, tensor in enumerate(tensors)}
    n_parents = len(tensors[0].weights)
    more = tuple(r for r in entry.requires if r not in registry.POSITIONAL)
    given: dict[str, Any] = arrays.materials(more, n_parents, case)
    if reverse:
        given = {key: value[::-1] for key, value in given.items()}
    rng = seeding.generator(SEED, "mating", case)
    if entry.scope == "network":
        weights = [{k: t.weights[p] for k, t in frozen.items()} for p in range(n_parents)]
        supports = [{k: t.supports[p] for k, t in frozen.items()} for p in range(n_parents)]
        returned = mate(tuple(frozen), weights, supports, rng, **given)
        pairs = survival.both_by_tensor(who, returned, list(frozen))
    else:
        pairs = {
            key: mate(key, list(t.weights), list(t.supports), rng, **given)
            for key, t in frozen.items()
        }
    return {key: survival.mated(who, key, pairs[key], t.supports) for key, t in frozen.items()}


class MatingContract(Contract):
    """Inherit and set `name`. A member that tells parents apart: options={"ordered": True}."""

    group = "matings"
    n = N_CASES

    def test_it_keeps_the_contract(self) -> None:
        """On crafted and random arrays, for the fewest parents and for several."""
        self.holds(partial(keeps, self.n))

    def test_the_order_of_equal_parents_does_not_matter(self) -> None:
        """Unless the entry says that it does, or there is one parent."""
        with self.scope().active():
            entry = registry.get(self.group, self.name)
        if entry.options.get("ordered", False) or entry.arity == (1, 1):
            return
        self.holds(partial(unordered, self.n))
