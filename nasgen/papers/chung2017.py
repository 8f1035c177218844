"""Chung 2017: do several parents make synthesised networks better than one?

Section 3 reports, for m = 1, 2, 3, 5 parents and populations of 3, 5 and 8 on a tenth of MNIST,
test accuracy, synaptic efficiency and cluster efficiency over ten generations. m = 5 of 3 is
impossible without replacement; it is shown as the error that it is. Equations 4 and 5 (a sum: the
union of the parents) run as `mean`; for several parents the prose (their intersection) stands
beside it as `intersect-mean`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from nasgen.errors import ConfigError
from nasgen.papers import curves, outcome, synthesis
from nasgen.papers.base import Reproduction, Request, scale_of
from nasgen.papers.outcome import Compared, Target
from nasgen.papers.synthesis import Arm, Paper, Scale, Study
from nasgen.report.sheet import sheet
from nasgen.runs import reading
from nasgen.store.rows import Row

PAPER: Final = "chung2017"
SUM, PROSE = "mean", "intersect-mean"  # equations 4 and 5; the paper's text
PARENTS: Final = (1, 2, 3, 5)
POPULATIONS: Final = (3, 5, 8)
REFERENCE: Final = (PROSE, 5, 5)  # the arm whose controls are run

# What the paper reports, generation 1 being the ancestor. About 150x at about 95 % in generation 9;
# clusters are kernels: 49x of five, 42x of eight networks.
ANCESTOR: Final = {"test accuracy": 0.98, "synaptic efficiency": 1.0}
GENERATION, LAST = 9, 10
FIVE: Final = {"test accuracy": 0.95, "synaptic efficiency": 150.0}
CLUSTERS: Final[Mapping[int, float]] = {5: 49.0, 8: 42.0}  # by population
# Loss of test accuracy to generation 10: about 13 points with one parent, 2 to 3 with several.
DROPS: Final[Mapping[int, float]] = {1: 0.13, 2: 0.025, 3: 0.025, 5: 0.025}
WANTED_EFFICIENCY, WANTED_ACCURACY, WANTED_CLUSTERS = 150.0, 0.96, 45.0


@dataclass(frozen=True)
class Cells(Scale):
    """A scale with the parents and populations that it runs; those that do not fit are errors."""

    parents: tuple[int, ...] = PARENTS
    populations: tuple[int, ...] = POPULATIONS


SCALES = {
    "tiny": Cells(
        "digits", 1.0, 0.2, 5.0, 0.5, 2,
        alone=True, training=synthesis.DIGITS, parents=(1, 3, 5), populations=(3,),
    ),
    "quick": Cells(
        "mnist", 0.1, 0.02, 4.0, 0.5, 9,
        training=synthesis.FEW_IMAGES, parents=(1, 5), populations=(3, 5),
    ),
    # The paper has a tenth of MNIST, and does not say how long it trains.
    "paper": Cells("mnist", 0.1, 0.02, 20.0, 5.0, 9, (0, 1, 2)),
}  # fmt: skip


def reproduce(request: Request) -> Reproduction:
    """Run what is missing of every number of parents, population, control and seed.

    Raises ConfigError for an unknown scale or missing data, StoreError when no ancestor could be
    trained.
    """
    request, scale, source = scale_of(request, SCALES)
    file = synthesis.opened(request, PAPER)
    about = Paper(PAPER, "lenet", {0, GENERATION - 1, LAST - 1})
    studies = [Study(about, request, scale, source, seed, file) for seed in request.seeds]
    arms = _arms(scale)
    reference = max(arms.values(), key=lambda cell: (cell.key == REFERENCE, cell.key[1:])).arm
    wanted = [cell.arm for cell in arms.values()]
    synthesis.announce(request, [(study, wanted) for study in studies])
    rows: list[Row] = []
    targets: list[Target] = []
    for study in studies:
        rows += [study.ancestor, *(study.row(arm) for arm in wanted)]
        rows += study.controls(reference)
        targets = targets or synthesis.counts(study)
    is_papers = source.startswith("mnist:") and "fashion" not in source
    compared = _compared(rows, arms, scale, is_papers, reference)
    compared += [_refused(studies[0], m, p) for p in scale.populations for m in scale.parents
                 if m > p]  # fmt: skip
    targets += _targets(rows, arms, request.scale == "paper")
    tables = outcome.tables(compared, targets)
    title = f"Chung 2017 on {source}, scale {request.scale}"
    page = request.out / f"{PAPER}.html"
    shown = [row for row in rows if row["seed"] == request.seeds[0] and row["arm"] in arms]
    figure = curves.figure("accuracy against efficiency", shown, [(150.0, 0.95)] * is_papers)
    page.write_text(sheet(title, (*synthesis.NOTES, NOTE), figure, tables), encoding="utf-8")
    seconds = sum(row["wall_s"] for row in rows)
    return Reproduction(
        request.scale, rows, tables, page, compared, targets, seconds, synthesis.NOTES[:1]
    )


NOTE: Final = (
    "Generation 1 is the ancestor, as in the paper. 'mean' are equations 4 and 5, whose support is "
    "the union of the parents; 'intersect-mean' is the text, in which children have what their "
    "parents share. With one parent both are the same. Retention is relative to what parents have "
    "on average (union), or survivors are drawn with R^(1/m) (intersection, equation 6)."
)


@dataclass(frozen=True)
class Cell:
    """A mating with m parents in a population, and its arm."""

    key: tuple[str, int, int]
    arm: Arm


def _arms(scale: Cells) -> dict[str, Cell]:
    """Return the arms by name: each cell that is possible, with both matings where they differ."""
    cells = [(m, p) for p in scale.populations for m in scale.parents if m <= p]
    found = {}
    for mating in (SUM, PROSE):
        for m, population in cells:
            if mating == PROSE and m == 1:
                continue
            name = f"{mating}-m{m}-p{population}"
            parents = f"{m} parent{'s' if m > 1 else ''}"
            title = f"{parents} of {population}" + (f", {mating}" if m > 1 else "")
            algorithm = {"mating": mating, "parents": m, "population": population}
            found[name] = Cell((mating, m, population), Arm(name, title, {"algorithm": algorithm}))
    return found


def _refused(study: Study, m: int, population: int) -> Compared:
    """Return the error of a cell that is impossible, as figure of the table."""
    arm = Arm("", "", {"algorithm": {"mating": PROSE, "parents": m, "population": population}})
    tables = study.tables_of(arm)
    tables["algorithm"].pop("first_epochs")  # 0 for an ancestor that is trained, which none is yet
    try:
        reading.resolved(
            {**tables, "origin": {"network": study.paper.network}}, PAPER, study.request.overrides
        )
    except ConfigError as error:
        return Compared(f"{m} parents of {population}", "without replacement", "error", None,
                        str(error))  # fmt: skip
    raise AssertionError(f"{m} parents of {population} were accepted")


# ---- beside the paper ----------------------------------------------------------------------------


def _compared(
    rows: Sequence[Row], arms: Mapping[str, Cell], scale: Cells, is_papers: bool, reference: Arm
) -> list[Compared]:
    found: list[Compared] = []
    for name, cell in arms.items():
        own = [row for row in rows if row["arm"] == name]
        _, m, population = cell.key
        n_last = scale.generations
        for number in sorted({0, GENERATION - 1, n_last}):
            if number > n_last:
                continue
            paper: dict[str, float | None] = {}
            if is_papers and number == 0:
                paper = dict(ANCESTOR)
            elif is_papers and m == 5 and population in CLUSTERS and number == GENERATION - 1:
                paper = dict(FIVE)
            where = f"generation {number + 1}"
            found += curves.compared(cell.arm.title, own, number, where, paper)
            clusters = CLUSTERS.get(population) if m == 5 and paper and number else None
            found.append(
                Compared.of(
                    cell.arm.title, curves.setting(own, number, where),
                    "cluster efficiency, ratio of the totals", clusters,
                    [curves.efficiency(row, number, "n_kernels") for row in own],
                )
            )  # fmt: skip
        drops = [curves.accuracy(row, 0) - curves.accuracy(row, n_last) for row in own]
        is_last = is_papers and n_last == LAST - 1
        found.append(
            Compared.of(
                cell.arm.title, curves.setting(own, n_last, f"to generation {n_last + 1}"),
                "loss of test accuracy", DROPS[m] if is_last else None, drops,
            )
        )  # fmt: skip
        found += _causes(cell, own, n_last)
    return found + curves.controls(rows, f"same epochs as a line of {reference.title}")


def _causes(cell: Cell, rows: Sequence[Row], number: int) -> list[Compared]:
    """Return what tells why an arm falls: where it is at equal size, and how its mates agree."""
    at_equal = [curves.at_efficiency(row, 20.0, "val") for row in rows]
    return [
        Compared.of(cell.arm.title, "at 20x", "validation accuracy", None, at_equal),
        Compared.of(
            cell.arm.title, curves.setting(rows, number, f"generation {number + 1}"),
            "overlap of kernels", None, [curves.overlap(row, number) for row in rows],
        ),
    ]  # fmt: skip


def _targets(rows: Sequence[Row], arms: Mapping[str, Cell], is_full: bool) -> list[Target]:
    found = []
    for name, cell in arms.items():
        mating, m, population = cell.key
        if m != 5 or population not in CLUSTERS:
            continue
        own = [row for row in rows if row["arm"] == name]
        accuracies = [curves.at_efficiency(row, WANTED_EFFICIENCY) for row in own]
        kernels = [curves.clusters_at_efficiency(row, WANTED_EFFICIENCY) for row in own]
        about = f"5 parents of {population}, {mating}"
        for what, wanted, values in (
            ("test accuracy", WANTED_ACCURACY, accuracies),
            ("cluster efficiency", WANTED_CLUSTERS, kernels),
        ):
            target = Target.least(f"{what} at 150x, {about}", wanted, _mean(values))
            n_there = sum(map(math.isfinite, values))
            if n_there < len(values):  # the others are larger, or dead, as small as that
                most = max(map(curves.most_efficiency, own), default=math.nan)
                got = (
                    f"{target.got} in {n_there} of {len(values)} seeds"
                    if n_there
                    else f"alive up to {most:.3g}x"
                )
                target = replace(target, got=got, met=False)
            found.append(target if is_full else replace(target, met=None))
    return found


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else None
