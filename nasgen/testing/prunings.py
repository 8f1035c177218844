"""The contract of prunings: the support never grows, the budget is kept, pure, repeatable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from nasgen import registry, seeding
from nasgen.evaluation.pruning import Pruning
from nasgen.phenotype.survival import Array, Mask
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


def apply(
    name: str, tensors: Sequence[Tensor], share: float, case: int
) -> dict[str, tuple[Array, Mask]]:
    """Return {tensor name: (weight, support)}; OperatorError for what breaks the contract."""
    entry = registry.get("prunings", name)
    frozen = {f"tensor{i}": tensor.frozen() for i, tensor in enumerate(tensors)}
    supports = {key: t.supports[0] for key, t in frozen.items()}
    more = tuple(r for r in entry.requires if r not in registry.POSITIONAL)
    shapes = {key: t.weights[0].shape for key, t in frozen.items()}
    given: dict[str, Any] = arrays.materials(more, 1, case, shapes)
    pruning = Pruning(
        f"pruning '{name}'",
        entry,
        registry.function("prunings", name),
        {"retention": share},
        {key: key for key in frozen},
        lambda which: seeding.generator(SEED, f"pruning {which}", case),
        given,
    )
    weights = {key: t.weights[0] for key, t in frozen.items()}
    changed, masks = pruning.left(weights, supports)
    return {key: (changed.get(key, weights[key]), masks[key]) for key in frozen}


class PruningContract(Contract):
    """Inherit and set `name`."""

    group = "prunings"
    n = N_CASES

    def test_it_keeps_the_contract(self) -> None:
        """On crafted and random arrays, with several budgets."""
        self.holds(partial(keeps, self.n))
