"""An objective on graphs of free topology whose optimum is known: `synthetic-dag`.

The mutations and crossovers of Stier 2021 (section 4.4) change topology, which cells do not have.
Here they are measured where they live, in the space `dag-cnn`, without a training: a graph is
scored by how well it spells the paths of a hidden graph, `TARGET`.

The words of the target are the labels along its paths from input to output. A graph spells a word
as far as one of its own paths can be aligned with it (edit distance of a sequence to a graph, Lee
2002). So the objective knows no gene tags and no order of vertices: it is the same for isomorphic
graphs. It is learnable, because each right vertex on a path counts, and its settings; and rugged,
because branches share vertices, because a word counts extra once it is complete (after the royal
roads of Mitchell 1992), and because every superfluous vertex costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2
from typing import Any, Final, final

from nasgen.errors import ConfigError, suggest
from nasgen.genotypes import Dag, Draft

NAME: Final = "synthetic-dag"
SIGNAL: Final = "score"
WIDTHS: Final = (8, 16, 32, 64)
SPACE: Final[Mapping[str, Any]] = {
    "name": "dag-cnn",
    "layers": ["conv", "max_pool", "avg_pool", "sum", "concat"],
    "widths": list(WIDTHS),
    "max_channels": max(WIDTHS),
    "max_vertices": 24,
    "max_depth": 16,
}
COMPLETE: Final = 0.3  # share of the score that only complete words bring
# Costs of a right operation with wrong settings; another operation costs 1.
OTHER_KERNEL: Final = 0.4
A_DOUBLING: Final = 0.2  # of the channels, or a halving; at most twice as much
# Superfluous vertices at which half of the score is lost.
N_BALLAST: Final = 24

Label = tuple[str, int, int]  # operation, kernel, channels (0: it has none)


def _target() -> Dag:
    """Return the hidden graph: a residual pair, parallel kernels, and a chain, between pools."""
    draft = Draft()

    def conv(source: int, kernel: int, channels: int) -> int:
        return draft.add("conv", [source], channels=channels, kernel=kernel)

    start = conv(draft.input, 5, 16)
    joined = draft.add("sum", [start, conv(conv(start, 3, 8), 3, 16)])
    pooled = draft.add("max_pool", [joined])
    wide = draft.add("concat", [conv(pooled, 7, 16), conv(conv(pooled, 5, 16), 3, 32)])
    end = conv(draft.add("avg_pool", [wide]), 3, 64)
    draft.connect(end, draft.output)
    return draft.freeze()


@dataclass(frozen=True)
class Seen:
    """A graph as the objective sees it: its inner vertices, numbered from 1 in topological order.

    `labels[i]` and `sources[i]` belong to vertex i + 1; source 0 is the input. Vertices that feed
    none feed the output.
    """

    labels: Sequence[Label]
    sources: Sequence[Sequence[int]]

    @property
    def ends(self) -> list[int]:
        """The vertices that feed the output."""
        fed = {source for sources in self.sources for source in sources}
        return [v for v in range(1, len(self.labels) + 1) if v not in fed]


def seen(genotype: Dag) -> Seen:
    """Return a genotype as the objective sees it; dead vertices are left out."""
    inner = [v for v in genotype.inner if v.tag in genotype.live]
    number = {genotype.input.tag: 0} | {v.tag: i for i, v in enumerate(inner, 1)}
    return Seen(
        [(v.op, int(v.get("kernel", 0)), int(v.get("channels", 0))) for v in inner],
        [[number[s] for s in genotype.inputs(v.tag) if s in number] for v in inner],
    )


def words(graph: Seen) -> list[tuple[Label, ...]]:
    """Return the labels along every path from input to output, in alphabetical order."""
    found: list[list[tuple[Label, ...]]] = [[()]]
    for own, sources in zip(graph.labels, graph.sources, strict=True):
        found.append([(*word, own) for source in sources for word in found[source]])
    return sorted(word for end in graph.ends for word in found[end])


def distance(word: Sequence[Label], graph: Seen) -> float:
    """Return the least cost of turning one path of a graph into the word.

    A vertex too many or too few costs 1, another operation 1, other settings less.
    """
    n = len(word)
    rows = [[float(j) for j in range(n + 1)]]
    for own, sources in zip(graph.labels, graph.sources, strict=True):
        # The cheapest way to have come this far, at each place in the word.
        least = [min(rows[s][j] for s in sources) for j in range(n + 1)]
        row = [least[0] + 1]
        for j, wanted in enumerate(word):
            swap = least[j] + _difference(own, wanted)
            row.append(min(swap, least[j + 1] + 1, row[j] + 1))
        rows.append(row)
    return min(rows[end][n] for end in graph.ends)


def _difference(own: Label, wanted: Label) -> float:
    if own[0] != wanted[0]:
        return 1.0
    cost = OTHER_KERNEL * (own[1] != wanted[1])
    if own[2] != wanted[2]:
        cost += A_DOUBLING * min(2.0, abs(log2(own[2] / wanted[2])))
    return cost


def score(graph: Seen) -> float:
    """Return the score in [0, 100]; 100 for a graph that spells each word and is no larger."""
    close = complete = 0.0
    for word in WORDS:
        cost = distance(word, graph)
        close += max(0.0, 1 - cost / len(word))
        complete += cost == 0
    spelt = ((1 - COMPLETE) * close + COMPLETE * complete) / len(WORDS)
    ballast = max(0, len(graph.labels) - N_VERTICES)
    return 100 * spelt / (1 + ballast / N_BALLAST)


TARGET: Final = _target()
WORDS: Final = tuple(words(seen(TARGET)))
N_VERTICES: Final = len(TARGET.inner)


@final
@dataclass(frozen=True)
class SyntheticDag:
    """The objective as a bench; it has one signal, which is reported as it is."""

    name: str = NAME

    @property
    def signals(self) -> Mapping[str, str]:
        """The score, reported as it is."""
        return {SIGNAL: SIGNAL}

    @property
    def space(self) -> Mapping[str, Any]:
        """The config's [space]."""
        return SPACE

    @property
    def n_networks(self) -> None:
        """Graphs up to 24 vertices are more than any search asks for."""
        return None

    @property
    def digest(self) -> str:
        """The hidden graph, which says what every other one is worth."""
        return TARGET.key

    def epochs_of(self, column: str) -> int:
        """No learning curves."""
        return 0

    def signal(self, name: str | None) -> tuple[str, str]:
        """Return (searched, reported); ConfigError for a signal that there is not."""
        if name not in (None, SIGNAL):
            raise ConfigError(
                f"--signal: '{name}' is no signal of {self.name}{suggest(str(name), [SIGNAL])} "
                f"Expected {SIGNAL}."
            )
        return SIGNAL, SIGNAL

    def accuracy(self, genotype: Dag, column: str, epoch: int | None = None) -> float:
        """Return the score of a legal genotype, in [0, 100]."""
        return score(seen(genotype))

    def optimum(self, column: str) -> float:
        """Return the score of `TARGET`: no part of a score can be greater."""
        return 100.0
