"""The descent of a network as a commit graph: one row a trial, latest first, one lane a branch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from nasgen.genotypes.svg import drawing, element, text
from nasgen.report import tables
from nasgen.report.numbers import change, quantity
from nasgen.report.view import ReportView
from nasgen.store.trial import Trial

ROW, LANE, LEFT = 28.0, 18.0, 14.0  # pixels
LETTER = 6.6
N_ANCESTORS = 32  # rows at most

Row = tuple[int, Sequence[int]]  # (seq, parents with the better one first)


def lanes(rows: Sequence[Row]) -> tuple[dict[int, int], dict[tuple[int, int], int]]:
    """Return seq -> lane, and (child, parent) -> the lane in which their edge runs down.

    `rows` are latest first; parents that are not among them get no edge.
    """
    known = {seq for seq, _ in rows}
    waiting: list[int | None] = []  # lane -> the seq that it leads to
    at: dict[int, int] = {}
    edges: dict[tuple[int, int], int] = {}
    for seq, parents in rows:
        lane = waiting.index(seq) if seq in waiting else _free(waiting)
        at[seq] = lane
        waiting[lane] = None
        for parent in dict.fromkeys(parents):
            if parent not in known:
                continue
            if parent not in waiting:
                waiting[_free(waiting, lane)] = parent
            edges[seq, parent] = waiting.index(parent)
    return at, edges


def _free(waiting: list[int | None], first: int = 0) -> int:
    """Return a lane that leads nowhere: `first` if it is one, else the leftmost, else a new one."""
    if first < len(waiting) and waiting[first] is None:
        return first
    if None in waiting:
        return waiting.index(None)
    waiting.append(None)
    return len(waiting) - 1


def draw(
    rows: Sequence[Row], labels: Mapping[int, Sequence[tuple[str, str]]], description: str
) -> Markup:
    """Return the drawing; `labels` holds for each seq its (text, css class) cells."""
    at, edges = lanes(rows)
    place = {seq: (LEFT + LANE * at[seq], ROW * (i + 0.5)) for i, (seq, _) in enumerate(rows)}
    parts: list[Markup] = []
    for (child, parent), lane in edges.items():
        (x, y), (a, b) = place[child], place[parent]
        down = LEFT + LANE * lane
        bend = y + ROW
        d = f"M{x:.1f} {y:.1f}C{x:.1f} {y + 14:.1f} {down:.1f} {y + 14:.1f} {down:.1f} {bend:.1f}"
        parts.append(element("path", d=f"{d}L{a:.1f} {b:.1f}", class_="edge"))
    start = LEFT + LANE * (max(at.values(), default=0) + 1)
    columns = [start]
    for cells in zip(*labels.values(), strict=True):
        columns.append(columns[-1] + LETTER * max(len(words) for words, _ in cells) + 16)
    for seq, (x, y) in place.items():
        css = "node first" if seq == rows[0][0] else "node"
        pieces = zip(labels[seq], columns, strict=False)
        parts.append(
            element(
                "g",
                element("title", f"trial {seq}"),
                element("circle", cx=x, cy=y, r=5, class_=css),
                *(text(column, y + 4, words, css) for (words, css), column in pieces),
                data_trial=str(seq),
            )
        )
    return drawing(columns[-1], ROW * len(rows), description, *parts)


def descent(view: ReportView, seq: int) -> tuple[Markup | None, int, int]:
    """Return the ancestors of a trial as a graph, how many there are, how many are left out."""
    family = tables.ancestors(view, seq)
    if not family:
        return None, 0, 0
    name = view.objectives[0]
    kept = _nearest(view, family[0], N_ANCESTORS)
    rows, labels = [], {}
    for trial in family:
        if trial.seq not in kept:
            continue
        known = [view.by_seq[p] for p in trial.parents if p in view.by_seq]
        ranked = [t.seq for t in tables.rank(view, known)]
        rows.append((trial.seq, [*ranked, *(p for p in trial.parents if p not in ranked)]))
        gain = tables.gain_over_parents(view, trial)
        found = tables.value(trial, name)
        pieces = [
            (f"{trial.seq}", "strong"),
            (_short(trial.source), "operator"),
            (trial.state.lower() if found is None else quantity(name, found), "strong"),
        ]
        # A gain is an improvement; the sign shown is that of the objective itself.
        signed = gain if gain is None or view.maximizes(name) else -gain
        worth = "good" if (gain or 0) > 0 else "bad" if (gain or 0) < 0 else "quiet"
        pieces.append(("" if signed is None else change(name, signed), worth))
        params = tables.value(trial, "n_params")
        pieces.append(
            (
                (f"{quantity('n_params', params)} parameters, " if params is not None else "")
                + ("finish" if trial.phase == "finish" else f"generation {trial.generation}"),
                "quiet",
            )
        )
        labels[trial.seq] = pieces
    drawn = draw(rows, labels, f"descent of trial {seq}: {len(family) - 1} ancestors")
    return drawn, len(family) - 1, len(family) - len(rows)


def _nearest(view: ReportView, trial: Trial, n: int) -> set[int]:
    """Return the trial and its nearest ancestors, generation by generation."""
    kept, ring = [trial.seq], [trial.seq]
    while ring and len(kept) < n:
        ring = [p for s in ring for p in view.by_seq[s].parents if p < s and p in view.by_seq]
        ring = [p for p in dict.fromkeys(ring) if p not in kept]
        kept += ring
    return set(kept[:n])


def _short(name: str, longest: int = 28) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
