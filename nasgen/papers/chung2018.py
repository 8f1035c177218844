"""Chung 2018: how alike are networks of one generation, with gene tags and without them?

Table 1 reports the overlap of kernels (equation 4), averaged over ordered pairs of networks, for
seven generations of five-parent synthesis; figure 1 shows accuracy against storage. With tags,
parents meet kernel by kernel of the ancestor; without them by place after compaction, the longer
list cut to the shorter. Generation 1 of the table has an overlap of 94 %, so it is the first one
that was synthesised, and not the ancestor. Overlap is confounded with density and with collapse,
so both stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from markupsafe import Markup

from nasgen.papers import curves, outcome, synthesis
from nasgen.papers.base import Reproduction, Request, scale_of
from nasgen.papers.outcome import Compared, Target
from nasgen.papers.synthesis import Arm, Paper, Scale, Study
from nasgen.report.charts import Line, Mark, plot
from nasgen.report.scale import axis
from nasgen.report.sheet import sheet
from nasgen.store.rows import Row

PAPER: Final = "chung2018"
TAGGED, UNTAGGED = "tagged", "untagged"
FIVE: Final = {"parents": 5, "population": 5}
ARMS: Final = {
    name: Arm(name, f"{word} gene tags", {"algorithm": FIVE, "environment": {"tags": tags}})
    for name, word, tags in ((TAGGED, "with", True), (UNTAGGED, "without", False))
}
# Table 1, from the first synthesised generation on; accuracy was that of guessing without tags in
# generations 6 and 7, where overlap is collapse and no agreement.
OVERLAPS: Final[Mapping[str, tuple[float, ...]]] = {
    TAGGED: (0.9375, 0.8759, 0.8349, 0.7181, 0.7317, 0.6909, 0.7348),
    UNTAGGED: (0.9371, 0.7811, 0.6884, 0.6664, 0.6844, 0.8274, 0.9105),
}
FIRST: Final = 0.9375  # overlap of the first generation, so the share of kernels that it keeps
MEASURES: Final = {
    "overlap": "overlap",
    "jaccard": "Jaccard index",
    "corrected": "overlap, chance taken out",
}

SCALES = {
    "tiny": Scale("digits", 1.0, 0.2, 5.0, 0.5, 2, alone=True, training=synthesis.DIGITS),
    "quick": Scale("mnist", 0.1, 0.02, 4.0, 0.5, 7, training=synthesis.FEW_IMAGES),
    "paper": Scale("mnist", 1.0, 0.1, 20.0, 5.0, 7, (0, 1, 2, 3, 4)),
}


def reproduce(request: Request) -> Reproduction:
    """Run what is missing of both arms, the controls and every seed; return figures and the page.

    Raises ConfigError for an unknown scale or missing data, StoreError when no ancestor could be
    trained.
    """
    request, scale, source = scale_of(request, SCALES)
    file = synthesis.opened(request, PAPER)
    about = Paper(PAPER, "lenet", {0, 1, 4, len(OVERLAPS[TAGGED])})
    studies = [Study(about, request, scale, source, seed, file) for seed in request.seeds]
    synthesis.announce(request, [(study, list(ARMS.values())) for study in studies])
    rows: list[Row] = []
    targets: list[Target] = []
    for study in studies:
        rows += [study.ancestor, *(study.row(arm) for arm in ARMS.values())]
        rows += study.controls(ARMS[TAGGED])
        targets = targets or synthesis.counts(study)
    compared = _compared(rows, scale)
    targets += _targets(rows)
    tables = outcome.tables(compared, targets)
    title = f"Chung 2018 on {source}, scale {request.scale}"
    page = request.out / f"{PAPER}.html"
    shown = [row for row in rows if row["arm"] in ARMS]
    figures = Markup("").join(
        [
            _overlap_figure(shown),
            curves.figure(
                "accuracy against storage", shown, [], "storage_bytes", "bytes", as_ratio=False
            ),
        ]
    )
    page.write_text(sheet(title, (*synthesis.NOTES, NOTE), figures, tables), encoding="utf-8")
    seconds = sum(row["wall_s"] for row in rows)
    return Reproduction(
        request.scale, rows, tables, page, compared, targets, seconds, synthesis.NOTES[:1]
    )


NOTE: Final = (
    "Generation 1 is the first one that was synthesised. Overlap: share of one network's kernels "
    "that another one has, kernels named by their place in the ancestor, mean over ordered pairs. "
    "By chance two networks of density p share p; what is left when that is taken out stands "
    "beside it. The paper gives its retention as 50 without a unit; an overlap of 0.937 after one "
    "step says 0.937, since independent survival with probability p overlaps by p."
)


# ---- beside the paper ----------------------------------------------------------------------------


def _compared(rows: Sequence[Row], scale: Scale) -> list[Compared]:
    found: list[Compared] = []
    for name, arm in ARMS.items():
        own = [row for row in rows if row["arm"] == name]
        found += curves.compared(arm.title, own, 0, "ancestor", {})
        for number in range(1, scale.generations + 1):
            where = curves.setting(own, number, f"generation {number}")
            papers = OVERLAPS[name][number - 1] if number <= len(OVERLAPS[name]) else None
            for measure, title in MEASURES.items():
                values = [curves.overlap(row, number, measure) for row in own]
                paper = papers if measure == "overlap" else None
                found.append(Compared.of(arm.title, where, title, paper, values))
            densities = [1 / curves.efficiency(row, number, "n_kernels") for row in own]
            found.append(Compared.of(arm.title, where, "share of kernels left", None, densities))
            sizes = [curves.mean(row, number, "storage_bytes") for row in own]
            found.append(Compared.of(arm.title, where, "storage (bytes)", None, sizes))
            found += curves.compared(arm.title, own, number, f"generation {number}", {})
    return found + curves.controls(rows, "same epochs as a tagged line")


def _targets(rows: Sequence[Row]) -> list[Target]:
    anchor = independent(FIRST, seed=0)
    own = {name: [row for row in rows if row["arm"] == name] for name in ARMS}
    first = _mean([curves.overlap(row, 1, "overlap") for row in own[TAGGED]])
    apart = Target.least("overlap with tags minus overlap without, generation 3", 0.0, _gap(own, 3))
    # One seed cannot tell whether arms differ.
    return [
        replace(
            Target.near(
                "overlap of independent survival with probability 0.9375", FIRST, anchor, 0.0107
            ),
            wanted="0.9375 ± 0.01",
        ),
        Target.near("overlap of the first generation, of table 1", FIRST, first, 0.05),
        apart if len(own[TAGGED]) > 1 else replace(apart, met=None),
    ]


def independent(p: float, seed: int, n_networks: int = 5) -> float:
    """Return the overlap of networks whose kernels survive independently, each with probability p.

    Of the 7,200 kernels of the ancestor. It equals p, which is what the first generation's overlap
    says about the paper's retention.
    """
    rng = np.random.default_rng(seed)
    alive = rng.random((n_networks, sum(synthesis.LENET_KERNELS))) < p
    pairs = [(a, b) for a in range(n_networks) for b in range(n_networks) if a != b]
    return float(np.mean([(alive[a] & alive[b]).sum() / alive[a].sum() for a, b in pairs]))


def _gap(own: Mapping[str, Sequence[Row]], number: int) -> float | None:
    pairs = zip(own[TAGGED], own[UNTAGGED], strict=True)
    return _mean([curves.overlap(a, number, "overlap") - curves.overlap(b, number, "overlap")
                  for a, b in pairs])  # fmt: skip


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else None


def _overlap_figure(rows: Sequence[Row]) -> Markup:
    """Draw the overlap of each generation, the paper's beside it; crosses are dead generations."""
    lines, marks, ys = [], [], []
    n_last = len(OVERLAPS[TAGGED])
    for i, (name, arm) in enumerate(ARMS.items()):
        paper = [(float(n), value) for n, value in enumerate(OVERLAPS[name], start=1)]
        lines.append(Line(paper, "muted", f"the paper, {arm.title}", name))
        ys += [value for _, value in paper]
        for row in (row for row in rows if row["arm"] == name):
            found = [
                (g["generation"], curves.overlap(row, g["generation"], "overlap"), g["dead"])
                for g in row["generations"]
            ]
            points = [(n, y, dead) for n, y, dead in found if math.isfinite(y)]
            title = f"{arm.title}, seed {row['seed']}"
            if len(points) > 1:
                lines.append(Line([(n, y) for n, y, _ in points], f"c{i}", title))
            for n, y, dead in points:
                what = f"{title}, generation {n}: {100 * y:.1f} %" + ", collapsed" * dead
                marks.append(Mark(n, y, what, f"c{i}", "cross" if dead else "dot"))
                n_last = max(n_last, n)
            ys += [y for _, y, _ in points]
    across = axis([1, n_last], "generation", "generation", whole=True)
    return plot("overlap of kernels by generation", across, axis(ys, "share", "overlap"), marks,
                lines)  # fmt: skip
