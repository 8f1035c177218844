"""Families of designs, one network for each width, and the order in which they are offered.

The rule: of each family that width comes first whose cost is closest to what the budget affords;
then, family by family, the next closest ones. So the first few differ in kind, and all cost about
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import Any, Final, Protocol

from nasgen.genotypes import Dag
from nasgen.layers.base import Shape
from nasgen.search_spaces.base import Design
from nasgen.search_spaces.blueprint import Blueprint, cost

N_WIDTHS: Final = 4  # of each family that are offered

Family = Callable[[int], Dag | None]  # width -> network, None where the space has no such one


class Decodes(Protocol):
    """What is asked of a search space."""

    def problems(self, genotype: Any) -> list[str]: ...
    def blueprint(self, genotype: Any, input_shape: Shape, n_classes: int) -> Blueprint: ...


def offered(
    space: Decodes,
    families: Mapping[str, Family],
    widths: Sequence[int],
    input_shape: Shape,
    n_outputs: int,
    macs: float,
) -> tuple[Design, ...]:
    """Return the legal designs, `N_WIDTHS` of a family at most, in the order of the rule above.

    `families` come in the order of their use; each network is offered once, under its first name.
    `macs` is the cost that the budget affords, in multiply-adds of one row.
    """
    ranks: list[list[Design]] = []
    for name, make in families.items():
        found: list[tuple[float, Design]] = []
        keys: set[str] = set()
        for width in widths:
            dag = make(width)
            # Beyond the widest layer that is legal, one width is like the other.
            if dag is None or dag.key in keys or space.problems(dag):
                continue
            keys.add(dag.key)
            n_macs, _ = cost(space.blueprint(dag, input_shape, n_outputs))
            found.append((abs(log(n_macs / macs)), Design(f"{name}-w{width}", dag)))
        found.sort(key=lambda pair: pair[0])  # of equally close ones the narrower comes first
        ranks.append([design for _, design in found])
    chosen: dict[str, Design] = {}
    for place in range(N_WIDTHS):
        for designs in ranks:
            if place < len(designs):
                chosen.setdefault(designs[place].genotype.key, designs[place])
    return tuple(chosen.values())
