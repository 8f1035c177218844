"""The contract of prunings: the support never grows, the budget is kept, pure, repeatable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from nasgen import registry, seeding
from nasgen.phenotype import survival
from nasgen.phenotype.survival import Mask
from nasgen.testing import arrays
from nasgen.testing.arrays import SEED, Tensor
from nasgen.testing.base import Contract, Outcome, examine

N_CASES = 40
BUDGETS = (0.0, 0.5, 0.8, 1.0)  # shares of the living synapses


def check(group: str, name: str, n: int = N_CASES) -> Outcome:
    """Apply a pruning to crafted arrays and to `n` random ones, with several budgets."""
    return examine(keeps(n, name), registry.get(group, name).origin)


def keeps(n: int, name: str) -> Iterator[str]:
    """Shapes, no new synapse, the budget, one result a seed, inputs unchanged."""
    cases = (*arrays.crafted(1), *arrays.drawn(1, n))
    whole = registry.get("prunings", name).scope == "network"
    for i, tensors in enumerate(arrays.networks(iter(cases), 3 if whole else 1)):
        for share in BUDGETS:
            where = f"budget {share:.0%}, {'; '.join(t.what for t in tensors)}"
            problem = arrays.repeated(partial(apply, name, tensors, share, i), where)
            if problem is None:
                continue
            yield problem
            if problem:
                return


def apply(name: str, tensors: Sequence[Tensor], share: float, case: int) -> dict[str, Mask]:
    """Return {tensor name: support}; OperatorError for what breaks the contract."""
    entry, prune = registry.get("prunings", name), registry.function("prunings", name)
    who = f"pruning '{name}'"
    frozen = {f"tensor{i}": tensor.frozen() for i, tensor in enumerate(tensors)}
    supports = {key: t.supports[0] for key, t in frozen.items()}
    more = tuple(r for r in entry.requires if r not in registry.POSITIONAL)
    given: dict[str, Any] = arrays.materials(more, 1, case)
    rng = seeding.generator(SEED, "pruning", case)
    if entry.scope == "network":
        weights = {key: t.weights[0] for key, t in frozen.items()}
        budget = round(share * survival.n_synapses(supports))
        returned = prune(tuple(frozen), weights, supports, budget, rng, **given)
        by_name = survival.by_tensor(who, returned, list(frozen))
        found = {key: survival.pruned(who, key, by_name[key], supports[key]) for key in frozen}
        survival.within(who, found, budget)
        return found
    found = {}
    for key, t in frozen.items():
        budget = round(share * survival.n_synapses(supports[key]))
        returned = prune(key, t.weights[0], supports[key], budget, rng, **given)
        found[key] = survival.pruned(who, key, returned, supports[key])
        survival.within(who, found[key], budget)
    return found


class PruningContract(Contract):
    """Inherit and set `name`."""

    group = "prunings"
    n = N_CASES

    def test_it_keeps_the_contract(self) -> None:
        """On crafted and random arrays, with several budgets."""
        self.holds(partial(keeps, self.n))
