"""What the paths through a network compute, for any space: nobody has to write features for it.

A path from input to output is read as the labels of its vertices (White 2021a, BANANAS). Which
labels there are, the draws of the search space say, so cells and free graphs are read alike. Whole
paths are too many to learn from few networks; how many of some labels lie on a path, how short a
way there is with these alone (Kadlecova 2024, GRAF), and what stands before what (Lodhi 2002, the
gaps allowed) say what they have in common. Prefer `path-hashes` where there is no space to draw
from, `structural` where widths matter more than what the layers do.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from nasgen import seeding
from nasgen.genotypes import Genotype, Node, Outline
from nasgen.predictors.base import Floats
from nasgen.search_spaces.base import SearchSpace

SILENT: Final = ("input", "output", "skip", "sum")  # they move data and compute nothing
JOINS: Final = ("concat",)  # silent too where they have one input
WIDTH: Final = "channels"  # the setting that the coarser labels leave out
OTHER: Final = "other"  # the label of what no draw had
N_DRAWS: Final = 200  # networks that say which labels there are
MOST_LABELS: Final = 8  # beside OTHER
MOST_PAIRED: Final = 4  # labels up to which sets of two are told apart
N_REMEMBERED: Final = 2**15  # networks
N_DECIMALS: Final = 9  # sums of floats depend on the order of vertices below that
LARGE: Final = 1e200  # paths; beyond it numbers of paths are counted in units of it


def label(node: Node, level: int) -> str:
    """Return what a node is called: by all settings (0), without the width (1), by name (2)."""
    given = {k: v for k, v in node.params.items() if k != WIDTH or level == 0}
    return node.op if level == 2 or not given else f"{node.op} {json.dumps(given, sort_keys=True)}"


def read(outline: Outline) -> tuple[list[int], dict[int, list[int]], set[int]]:
    """Return live places in order, the sources of each, and the places that have a label."""
    live = outline.live
    sources: dict[int, list[int]] = {place: [] for place in sorted(live)}
    for source, target in outline.edges:
        if source in live and target in live:
            sources[target].append(source)
    labelled = {
        place
        for place, before in sources.items()
        if (op := outline.nodes[place].op) not in SILENT and not (op in JOINS and len(before) == 1)
    }
    return list(sources), sources, labelled


@final
class Paths:
    """Features of a genotype of any kind that has an outline, all finite and >= 0.

    A label is an operation with its settings; with its settings but the width where that makes more
    than 8 labels; the operation alone where even these are more. Of still more the 8 most frequent
    keep their label, all others are "other". A set is one label, two labels (where there are at
    most 4), or all of them. Identities, sums, and what is on no path do not count.

    | names | unit |
    |---|---|
    | most:SET, least:SET | vertices of the set on one path from input to output |
    | only:SET | ln(1 + paths that have no label outside the set) |
    | shortest:SET | vertices on the shortest of these; more than any draw has where there is none |
    | mean:LABEL | vertices with the label, mean over the paths |
    | before:A>B | pairs on a path with A anywhere before B, mean over the paths |
    | first:LABEL, last:LABEL | share of the paths that begin or end with the label |
    | n:LABEL | vertices with the label |
    | n_paths, n_plain | ln(1 + paths), ln(1 + paths without any label) |

    `space` is drawn from once, with a seed of its own.
    """

    def __init__(self, space: SearchSpace) -> None:
        rng = seeding.generator(0, "labels of paths")
        self._learn(space.sample(rng) for _ in range(N_DRAWS))

    @classmethod
    def over(cls, genotypes: Iterable[Genotype]) -> Paths:
        """Return features whose labels are those of one or more genotypes, without a space."""
        made = cls.__new__(cls)
        made._learn(genotypes)
        return made

    def _learn(self, genotypes: Iterable[Genotype]) -> None:
        outlines = [genotype.outline() for genotype in genotypes]
        for self._level in range(3):
            counts = Counter(
                label(outline.nodes[place], self._level)
                for outline in outlines
                for place in sorted(read(outline)[2])
            )
            if len(counts) <= MOST_LABELS:
                break
        kept = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_LABELS]
        self._labels = (*sorted(kept), OTHER)
        own = range(len(kept))
        sizes = (1, 2) if len(kept) <= MOST_PAIRED else (1,)
        sets = [frozenset(chosen) for size in sizes for chosen in combinations(own, size)]
        if frozenset(own) not in sets:
            sets.append(frozenset(own))
        self._in = np.array([[i in chosen for i in (*own, len(kept))] for chosen in sets])
        self._known: dict[str, Floats] = {}
        self._no_path = 1 + max((outline.depth for outline in outlines), default=0)
        texts = ["+".join(self._labels[i] for i in sorted(chosen)) for chosen in sets]
        named = self._labels
        self.names: tuple[str, ...] = (
            *(f"{what}:{of}" for what in ("most", "least", "only", "shortest") for of in texts),
            *(f"{what}:{of}" for what in ("mean", "first", "last", "n") for of in named),
            *(f"before:{a}>{b}" for a in named for b in named),
            "n_paths",
            "n_plain",
        )

    def encode(self, genotype: Genotype) -> Floats:
        """Return the features in the order of `names`, float64 (f,)."""
        found = self._known.get(genotype.key)
        if found is None:
            if len(self._known) >= N_REMEMBERED:
                self._known.clear()
            found = self._known[genotype.key] = self._encoded(genotype.outline())
        return found.copy()

    def _encoded(self, outline: Outline) -> Floats:
        order, sources, labelled = read(outline)
        place_of = {name: i for i, name in enumerate(self._labels)}
        other = len(self._labels) - 1
        of = {
            place: place_of.get(label(outline.nodes[place], self._level), other)
            for place in labelled
        }
        walk = _Walk(self._in, len(self._labels))
        for place in order:
            op = outline.nodes[place].op
            walk.step(place, sources[place], of.get(place), op == "input")
        ends = [place for place in order if outline.nodes[place].op == "output"]
        n = np.bincount(list(of.values()), minlength=len(self._labels))
        row: Floats = np.array(walk.summary(ends, n, self._no_path), dtype=np.float64)
        return row.round(N_DECIMALS)


class _Walk:
    """Sums over all paths up to each place, made from those up to its sources.

    `sums` are proportional to the number of paths: [paths, paths without a label, paths within each
    set, labels on paths, first labels, last labels, pairs].
    """

    def __init__(self, sets: npt.NDArray[Any], n_labels: int) -> None:
        self.sets, self.k = sets, n_labels
        n_sets = len(sets)
        ends = np.cumsum([1, 1, n_sets, n_labels, n_labels, n_labels, n_labels**2])
        self.parts = [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]
        self.sums: dict[int, Floats] = {}
        self.most: dict[int, Floats] = {}
        self.least: dict[int, Floats] = {}
        self.shortest: dict[int, Floats] = {}
        self.n_units = 0  # of `LARGE`, by which all sums were divided

    def step(self, place: int, sources: Sequence[int], own: int | None, starts: bool) -> None:
        """Take the next place; `own` is the number of its label, None without one."""
        n_sets, width = len(self.sets), self.parts[-1].stop
        reached = [s for s in sources if s in self.sums]
        total = np.sum([self.sums[s] for s in reached], axis=0) if reached else np.zeros(width)
        if starts:
            total = np.zeros(width)
            total[: self.parts[2].stop] = LARGE**-self.n_units
        elif not reached:
            return
        none = np.zeros(n_sets)
        most = np.max([self.most[s] for s in reached], axis=0) if reached else none
        least = np.min([self.least[s] for s in reached], axis=0) if reached else none
        shortest = np.min([self.shortest[s] for s in reached], axis=0) if reached else none
        if own is not None:
            paths, plain, within, on, first, last, pairs = (total[part] for part in self.parts)
            pairs.reshape(self.k, self.k)[:, own] += on
            first[own] += plain[0]
            last[:] = 0
            last[own] = paths[0]
            on[own] += paths[0]
            plain[:] = 0
            member = self.sets[:, own]
            within[~member] = 0
            most, least = most + member, least + member
            shortest = np.where(member, shortest + 1, math.inf)
        self.sums[place], self.most[place] = total, most
        self.least[place], self.shortest[place] = least, shortest
        if total[0] > LARGE:
            self.n_units += 1
            self.sums = {p: s / LARGE for p, s in self.sums.items()}

    def summary(self, ends: Sequence[int], n: npt.NDArray[Any], no_path: int) -> list[float]:
        """Return the features of the paths that lead to the `ends`."""
        reached = [end for end in ends if end in self.sums]
        n_sets = len(self.sets)
        if not reached:
            silent = [0.0] * (2 * n_sets) + [0.0] * n_sets + [float(no_path)] * n_sets
            return [*silent, *([0.0] * (3 * self.k)), *map(float, n), *([0.0] * (self.k**2 + 2))]
        total = np.sum([self.sums[end] for end in reached], axis=0)
        paths, plain, within, on, first, last, pairs = (total[part] for part in self.parts)
        shift = self.n_units * math.log(LARGE)

        def counted(values: Floats) -> list[float]:
            """Return ln(1 + number of paths)."""
            if not self.n_units:
                return [float(v) for v in np.log1p(values)]
            return [math.log(v) + shift if v > 0 else 0.0 for v in values]

        shortest = np.min([self.shortest[end] for end in reached], axis=0)
        return [
            *map(float, np.max([self.most[end] for end in reached], axis=0)),
            *map(float, np.min([self.least[end] for end in reached], axis=0)),
            *counted(within),
            *map(float, np.minimum(shortest, no_path)),
            *(float(v / paths[0]) for part in (on, first, last) for v in part),
            *map(float, n),
            *(float(v / paths[0]) for v in pairs),
            *counted(paths),
            *counted(plain),
        ]
