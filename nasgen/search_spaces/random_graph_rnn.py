"""Random graphs as recurrent networks: does their structure say how well they learn? (Stier 2021)

Section 4.3: a random graph is drawn, its edges are led from earlier to later vertices, and each
vertex becomes a unit. A search in this space draws; there is nothing to mutate, since a graph of
such a prior, changed by hand, is of another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, final

import numpy as np

from nasgen.errors import ConfigError, suggest
from nasgen.genotypes import priors
from nasgen.genotypes.recurrent import CELLS, Recurrent
from nasgen.genotypes.wiring import wired
from nasgen.search_spaces.base import Draw
from nasgen.search_spaces.recurrent import UnitSpace

LEAST: int = 10  # vertices of a prior's graph


class Prior(Protocol):
    """The options of a space that draws random graphs."""

    @property
    def prior(self) -> str: ...
    @property
    def rewired(self) -> float: ...
    @property
    def ring(self) -> bool: ...
    @property
    def least(self) -> int: ...
    @property
    def most(self) -> int: ...


def wrong_prior(space: Prior) -> list[str]:
    """Return a sentence for each option of a prior that is wrong."""
    wrong = []
    if space.prior not in priors.PRIORS:
        named = priors.NAMED.get(space.prior)
        wrong.append(
            f"space.prior: '{space.prior}' is no prior{suggest(space.prior, priors.PRIORS)} "
            f"Expected one of {', '.join(priors.PRIORS)}."
            if named is None
            else f"space.prior: '{space.prior}' is what studies call "
            f"{', '.join(f'space.{key} = {value!r}' for key, value in named.options.items())}; "
            "set these."
        )
    if not 0 <= space.rewired <= 1:
        wrong.append(f"space.rewired: expected a probability in [0, 1], got {space.rewired}.")
    if not LEAST <= space.least <= space.most:
        wrong.append(
            f"space.least, space.most: expected {LEAST} <= least <= most, got {space.least} and "
            f"{space.most}."
        )
    return wrong


def drawn(space: Prior, rng: np.random.Generator) -> tuple[int, priors.Drawn]:
    """Return the number of vertices of a random graph of a space's prior, and the graph."""
    n = int(rng.integers(space.least, space.most + 1))
    return n, priors.drawn(space.prior, n, rng, space.rewired, space.ring)


def recorded(graph: priors.Drawn) -> dict[str, Any]:
    """Return what a trial records of its graph: "ring", see `nasgen.genotypes.priors.Drawn`."""
    return {"ring": list(graph.ring)} if graph.ring else {}


@final
@dataclass(frozen=True)
class RandomGraphRnn(UnitSpace):
    """Options: the prior, how many vertices, the kinds of units, the embedding, the reading.

    - `prior`: barabasi-albert, barabasi-albert-star or watts-strogatz, see
      `nasgen.genotypes.priors`; `rewired` in [0, 1] and `ring` are those of the latter.
    - `least`, `most`: vertices, drawn evenly from 10 <= least..most.
    - `cells`: kinds of units, one of which all units of a network are.
    - `embedding`: width of what stands for a step of the input, 0: as many as units read it, so
      that layer 0 is as wide as its input (the paper's).
    - `joined`: "concatenated", a layer reads all lower layers side by side and has one recurrence;
      "separate", it reads each of them by a recurrent layer of its own, and the states are added
      (what the paper's code did, unlike its equation).
    - `reading`: see `UnitSpace`.
    """

    varied: ClassVar[bool] = False

    prior: str = "barabasi-albert"
    rewired: float = 1.0
    ring: bool = False
    least: int = 10
    most: int = 50
    cells: tuple[str, ...] = ("gru",)
    embedding: int = 0
    joined: Literal["concatenated", "separate"] = "concatenated"
    reading: Literal["end", "padded"] = "end"

    def __post_init__(self) -> None:
        wrong = wrong_prior(self)
        if not self.cells or any(cell not in CELLS for cell in self.cells):
            wrong.append(
                f"space.cells: expected some of {', '.join(CELLS)}, got {list(self.cells)}."
            )
        if self.embedding < 0:
            wrong.append(f"space.embedding: expected an integer >= 0, got {self.embedding}.")
        if wrong:
            raise ConfigError(wrong)

    @property
    def is_separate(self) -> bool:
        """Whether each lower layer is read by a recurrent layer of its own."""
        return self.joined == "separate"

    def sample(self, rng: np.random.Generator) -> Recurrent:
        """Draw a graph of the prior; its network has provisional tags."""
        return self._drawn(rng)[0]

    def draw(self, rng: np.random.Generator) -> Draw:
        """Return what `sample` draws; its trial records a ring's order."""
        network, graph = self._drawn(rng)
        return Draw(network, recorded(graph))

    def _drawn(self, rng: np.random.Generator) -> tuple[Recurrent, priors.Drawn]:
        cell = self.cells[int(rng.integers(len(self.cells)))]
        n, graph = drawn(self, rng)
        return wired(n, graph.edges, cell), graph

    def wired(self, graph: Any) -> Recurrent:
        """Return the network of a graph, of the first kind of units that the space has."""
        from nasgen.genotypes.graphs import wired_graph

        return wired_graph(graph, self.cells[0])

    def problems(self, genotype: Any) -> list[str]:
        """Return one sentence for each rule that the genotype breaks; empty when it is legal.

        Any graph of units of the space's kinds is legal, also one that is not of the prior.
        """
        wrong = super().problems(genotype)
        if wrong:
            return wrong
        strange = sorted({v.op for v in genotype.inner} - set(self.cells))
        return [f"'{op}' is not among space.cells ({', '.join(self.cells)})." for op in strange]
