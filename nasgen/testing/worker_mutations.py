"""The contract of mutations that run in the worker, where the weights are.

    mutation(name, weight, support, rng, **given) -> (weight, support)

Arrays as in `nasgen.operators.pruning.base`; unlike a pruning it may change weights and let
synapses grow again, and has no budget. What it leaves as it was is refused: a child that is its
parent would be trained for nothing. A member that finds nothing to do where nothing is pruned says
options={"sparse": True}; then it gets sparse parents alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from nasgen import registry, seeding
from nasgen.phenotype import survival
from nasgen.phenotype.survival import Array, Mask
from nasgen.testing import arrays
from nasgen.testing.arrays import SEED, Tensor
from nasgen.testing.base import Contract, Outcome, examine

N_CASES = 40


def check(group: str, name: str, n: int = N_CASES) -> Outcome:
    """Apply a mutation to crafted arrays and to `n` random ones."""
    return examine(keeps(n, name), registry.get(group, name).origin)


def keeps(n: int, name: str) -> Iterator[str]:
    """Shapes, finite weights, one result a seed, inputs unchanged."""
    cases = (*arrays.crafted(1), *arrays.drawn(1, n))
    whole = registry.get("mutations", name).scope == "network"
    for i, tensors in enumerate(arrays.networks(iter(cases), 3 if whole else 1)):
        where = "; ".join(t.what for t in tensors)
        problem = arrays.repeated(partial(apply, name, tensors, i), where)
        if problem is None:
            continue
        yield problem
        if problem:
            return


def apply(name: str, tensors: Sequence[Tensor], case: int) -> dict[str, tuple[Array, Mask]]:
    """Return {tensor name: (weight, support)}; OperatorError for what breaks the contract."""
    entry, mutate = registry.get("mutations", name), registry.function("mutations", name)
    who = f"mutation '{name}'"
    frozen = {f"tensor{i}": tensor.frozen() for i, tensor in enumerate(tensors)}
    weights = {key: t.weights[0] for key, t in frozen.items()}
    supports = {key: t.supports[0] for key, t in frozen.items()}
    more = tuple(r for r in entry.requires if r not in registry.POSITIONAL)
    given = arrays.materials(more, 1, case)
    rng = seeding.generator(SEED, "worker mutation", case)
    if entry.scope == "network":
        returned = mutate(tuple(frozen), weights, supports, rng, **given)
        pairs = survival.both_by_tensor(who, returned, list(frozen))
    else:
        pairs = {key: mutate(key, weights[key], supports[key], rng, **given) for key in frozen}
    return {key: survival.changed(who, key, pairs[key], weights[key]) for key in frozen}


class WorkerMutationContract(Contract):
    """Inherit and set `name`, that of a mutation with runs_in="worker"."""

    group = "mutations"
    n = N_CASES

    def test_it_keeps_the_contract(self) -> None:
        """On crafted and random arrays."""
        self.holds(partial(keeps, self.n))
