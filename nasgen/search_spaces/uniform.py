"""Draws graphs of layers in which every label has an equal chance (Stier 2021, section 4.4).

A label is an operation with its settings, widths apart: a convolution of each kernel is one, as in
the paper, so there are eight. What the paper does not say is decided here. The longest path has a
number of vertices that is drawn evenly from the space's limits. Each merging vertex on it also
reads the end of a branch, which begins at any vertex before and has from no vertex to as many as
leave the depth as it is; a merging vertex on a branch also reads any vertex that does.

No draw is refused, since that would make some labels rarer than others. Where a row of labels
begins with a merging one that would find nothing but its predecessor to read, such as right behind
the input, the first other label of the row changes places with it. Prefer `sampling` for networks
that train well.
"""

from __future__ import annotations

import numpy as np

from nasgen.genotypes import Dag, Draft
from nasgen.search_spaces.graph import GraphSpace


def sample(space: GraphSpace, rng: np.random.Generator) -> Dag:
    """Return a legal genotype with provisional tags, as deep as `space.sampled_depths` says."""
    return _Drawing(space, rng).run()


class _Drawing:
    """One draw: a draft, and how many vertices lie on the longest path to each of its vertices."""

    def __init__(self, space: GraphSpace, rng: np.random.Generator) -> None:
        self.space, self.rng, self.draft = space, rng, Draft()
        self.labels = space.labels(space.drawn)
        self.level = {self.draft.input: 0}

    def run(self) -> Dag:
        low, high = self.space.sampled_depths
        depth = int(self.rng.integers(low, min(high, self.space.max_vertices) + 1))
        self.room = self.space.max_vertices - depth  # vertices that branches may have in all
        end = self._row(self.draft.input, depth, depth, branches=True)
        self.draft.connect(end, self.draft.output)
        return self.draft.freeze()

    def _row(self, here: int, n: int, level: int, branches: bool = False) -> int:
        """Add `n` vertices in a row behind `here`, the last one at most at `level`; return it."""
        row = [self.labels[int(i)] for i in self.rng.integers(len(self.labels), size=n)]
        if row and not self._others(here, level - n):
            first = next((i for i, op in enumerate(row) if not self._merges(op)), 0)
            row[0], row[first] = row[first], row[0]
        for left, op in zip(range(n, 0, -1), row, strict=True):
            sources = [here]
            if self._merges(op) and (others := self._others(here, level - left)):
                other = others[int(self.rng.integers(len(others)))]
                sources.append(self._branch(other, level - left) if branches else other)
            place = 1 + max(self.level[source] for source in sources)
            here = self.draft.add(op, sources, **self.space.random_vertex_params(op, self.rng))
            self.level[here] = place
        return here

    def _branch(self, start: int, level: int) -> int:
        """Add a branch behind a vertex that ends at most at `level`; return its last vertex."""
        n = int(self.rng.integers(min(level - self.level[start], self.room) + 1))
        self.room -= n
        return self._row(start, n, level)

    def _others(self, here: int, level: int) -> list[int]:
        """Return the vertices but one that lie at most at `level`."""
        return [v for v, own in self.level.items() if v != here and own <= level]

    def _merges(self, op: str) -> bool:
        return self.space.layer(op).merges
