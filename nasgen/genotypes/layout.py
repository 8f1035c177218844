"""Layered layout of a directed acyclic graph: who stands on which level, in which order, where.

Sugiyama, Tagawa & Toda 1981 (Methods for visual understanding of hierarchical system structures):
levels by longest path, an invisible point on every level that a long edge crosses, barycentre
sweeps against crossings. Positions are least-squares (pool adjacent violators) under the order, so
nodes cannot overlap and no edge runs through a node.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Edge = tuple[int, int]
INF = float("inf")
N_SWEEPS, N_PLACINGS = 16, 120
STILL = 0.01  # pixels a sweep by which nothing moves any more
POINT = 8.0  # pixels kept free for an edge that passes a level
GAP = 14.0  # pixels between neighbours on a level


@dataclass(frozen=True)
class Layout:
    """`level` counts from 0 at the sources; `x` are centres in pixels; `routes` holds for each edge
    its x on every level from source to target, both included."""

    level: Mapping[int, int]
    x: Mapping[int, float]
    routes: Mapping[Edge, tuple[float, ...]]
    width: float
    n_levels: int


def arrange(widths: Mapping[int, float], edges: Sequence[Edge]) -> Layout:
    """Lay out nodes (in topological order, with their widths in pixels) and their edges."""
    level = _levels(widths, edges)
    chains, sizes, links = _subdivide(widths, edges, level)
    rows: list[list[int]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for node, (at, _) in sizes.items():
        rows[at].append(node)
    up: dict[int, list[int]] = {n: [] for n in sizes}
    down: dict[int, list[int]] = {n: [] for n in sizes}
    for a, b in links:
        down[a].append(b)
        up[b].append(a)
    rows = _order(rows, up, down)
    x = _positions(rows, up, down, {n: size for n, (_, size) in sizes.items()})
    left = min((x[n] - sizes[n][1] / 2 for n in x), default=0.0)
    right = max((x[n] + sizes[n][1] / 2 for n in x), default=0.0)
    x = {n: at - left for n, at in x.items()}
    _straighten(rows, chains.values(), x, {n: size for n, (_, size) in sizes.items()})
    routes = {edge: tuple(x[n] for n in chain) for edge, chain in chains.items()}
    return Layout(level, {n: x[n] for n in widths}, routes, right - left, len(rows))


def _levels(widths: Mapping[int, float], edges: Sequence[Edge]) -> dict[int, int]:
    sources: dict[int, list[int]] = {n: [] for n in widths}
    for a, b in edges:
        sources[b].append(a)
    level: dict[int, int] = {}
    for node in widths:  # topological: every source has its level already
        level[node] = max((level[s] + 1 for s in sources[node]), default=0)
    return level


def _subdivide(
    widths: Mapping[int, float], edges: Sequence[Edge], level: Mapping[int, int]
) -> tuple[dict[Edge, list[int]], dict[int, tuple[int, float]], list[Edge]]:
    """Return edge -> its chain of nodes, node -> (level, width), and the links between levels."""
    sizes = {n: (level[n], width) for n, width in widths.items()}
    chains: dict[Edge, list[int]] = {}
    links: list[Edge] = []
    free = max(widths, default=0) + 1
    for a, b in edges:
        points = list(range(free, free + level[b] - level[a] - 1))
        free += len(points)
        sizes |= {p: (level[a] + 1 + i, POINT) for i, p in enumerate(points)}
        chains[a, b] = [a, *points, b]
        links += zip(chains[a, b], chains[a, b][1:], strict=False)
    return chains, sizes, links


def _order(
    rows: list[list[int]], up: Mapping[int, list[int]], down: Mapping[int, list[int]]
) -> list[list[int]]:
    best, fewest = [list(row) for row in rows], _crossings(rows, down)
    for sweep in range(N_SWEEPS):
        if fewest == 0:
            break
        side = up if sweep % 2 == 0 else down
        for i in range(len(rows)) if sweep % 2 == 0 else reversed(range(len(rows))):
            near = i - 1 if sweep % 2 == 0 else i + 1
            if 0 <= near < len(rows):
                place = {n: k for k, n in enumerate(rows[near])}
                own = {n: k for k, n in enumerate(rows[i])}
                mean = {
                    n: sum(place[m] for m in side[n]) / len(side[n]) if side[n] else own[n]
                    for n in rows[i]
                }
                rows[i] = sorted(rows[i], key=lambda n: (mean[n], own[n]))
        now = _crossings(rows, down)
        if now < fewest:
            best, fewest = [list(row) for row in rows], now
    return best


def _crossings(rows: Sequence[Sequence[int]], down: Mapping[int, list[int]]) -> int:
    total = 0
    for row, below in itertools.pairwise(rows):
        place = {n: k for k, n in enumerate(below)}
        ends = [b for n in row for b in sorted(place[m] for m in down[n])]
        total += sum(b < a for i, a in enumerate(ends) for b in ends[i + 1 :])
    return total


def _positions(
    rows: Sequence[Sequence[int]],
    up: Mapping[int, list[int]],
    down: Mapping[int, list[int]],
    width: Mapping[int, float],
) -> dict[int, float]:
    x: dict[int, float] = {}
    for row in rows:
        at = -(sum(width[n] for n in row) + GAP * (len(row) - 1)) / 2
        for n in row:
            x[n] = at + width[n] / 2
            at += width[n] + GAP
    pulls = {n: [(m, _pull(width[n], width[m])) for m in up[n] + down[n]] for n in x}
    totals = {n: sum(pull for _, pull in near) for n, near in pulls.items()}
    for sweep in range(N_PLACINGS):
        before = dict(x)
        for row in rows if sweep % 2 else reversed(rows):
            wish = [
                sum(pull * x[m] for m, pull in pulls[n]) / totals[n] if pulls[n] else x[n]
                for n in row
            ]
            weight = [totals[n] or 1.0 for n in row]
            x |= zip(row, _spread(row, wish, weight, width), strict=True)
        if all(abs(x[n] - before[n]) < STILL for n in x):
            break
    return x


def _pull(a: float, b: float) -> float:
    """Return how strongly two neighbours attract each other, by their widths.

    Boxes follow boxes, so that a main path is straight; shortcuts are straight and pass beside it.
    """
    if a > POINT and b > POINT:
        return 1.0
    return 2.0 if a == b else 0.15


def _straighten(
    rows: Sequence[Sequence[int]],
    chains: Iterable[Sequence[int]],
    x: dict[int, float],
    width: Mapping[int, float],
) -> None:
    """Move the points of every long edge onto one vertical line wherever its neighbours let it."""
    beside = {n: (row[i - 1 : i], row[i + 1 : i + 2]) for row in rows for i, n in enumerate(row)}
    for points in (chain[1:-1] for chain in chains):
        low = max(
            (x[m] + (width[m] + POINT) / 2 + GAP for n in points for m in beside[n][0]),
            default=-INF,
        )
        high = min(
            (x[m] - (width[m] + POINT) / 2 - GAP for n in points for m in beside[n][1]), default=INF
        )
        if points and low <= high:
            middle = sum(x[n] for n in points) / len(points)
            x |= dict.fromkeys(points, min(max(middle, low), high))


def _spread(
    row: Sequence[int], wish: Sequence[float], weight: Sequence[float], width: Mapping[int, float]
) -> list[float]:
    """Return positions nearest to the wishes (weighted least squares) that keep order and gaps."""
    offsets = [0.0]
    for a, b in itertools.pairwise(row):
        offsets.append(offsets[-1] + (width[a] + width[b]) / 2 + GAP)
    blocks: list[tuple[float, float, int]] = []  # (mean, weight, how many)
    for target, w, offset in zip(wish, weight, offsets, strict=True):
        mean, total, n = target - offset, w, 1
        while blocks and blocks[-1][0] > mean:
            m, v, k = blocks.pop()
            mean, total, n = (mean * total + m * v) / (total + v), total + v, n + k
        blocks.append((mean, total, n))
    flat = [mean for mean, _, n in blocks for _ in range(n)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=True)]
