"""Stier 2021, section 4.3: does the structure of a random graph tell how well it learns Reber?

The study of random-graph priors beside the paper's figures: its table 1, its R2 from one split of
20 networks beside what ten folds give on its own published data, and its errors by name, each with
what our graphs and data say. Labels are accuracies on validation strings, the paper's on test
strings. Data sets, rows and the page stand in OUT.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from nasgen.genotypes.dag import Edge
from nasgen.genotypes.wiring import layers
from nasgen.layers.recurrent import GATES
from nasgen.papers import outcome, prior_tables, priors, structure
from nasgen.papers.base import Reproduction, Request, scale_of
from nasgen.papers.outcome import Compared, Target
from nasgen.papers.populations import PAPERS_TRAINING, Plan, graph_of
from nasgen.papers.prior_tables import CELLS, TABLE_1, papers_r
from nasgen.papers.priors import Studied
from nasgen.papers.structure import ALL, PREDICTORS, SIZE, SOURCES, USUAL
from nasgen.report.sheet import Table
from nasgen.store.rows import Row

PAPER: Final = "stier2021-priors"
PAPERS_PRIORS: Final = ("barabasi-albert", "watts-strogatz")
PEARSON: Final = "Pearson's r"
SURVIVES: Final = "survives"  # the kind of the row with the paragraph
SMALL_WORLD: Final = "small-world"
# For `CELLS`. R2 on one split of 20 networks, as the paper reports it.
REPORTED: Final[Mapping[str, tuple[float, float, float, float]]] = {
    "ridge": (0.479, 0.361, 0.372, 0.672),
    "forest": (0.432, 0.615, 0.579, 0.876),
    "adaboost": (0.357, 0.535, 0.595, 0.783),
}
# R2 of a forest by ten folds, three times, on the data that the paper's authors published.
BY_FOLDS: Final[Mapping[str, tuple[float, float, float, float]]] = {
    ALL: (0.21, 0.30, 0.39, 0.67),
    SOURCES: (0.21, 0.20, 0.41, 0.70),
    SIZE: (-0.03, 0.31, 0.27, 0.64),
}
# Mean test accuracies in that data.
MEANS: Final[Mapping[str, tuple[float, float, float, float]]] = {
    "barabasi-albert": (0.842, 0.728, 0.916, 0.928),
    "watts-strogatz": (0.893, 0.829, 0.976, 0.984),
}
BIGRAMS, PLATEAU, TRIGRAMS = 0.9368, 0.93728, 1.0  # on the paper's test strings


@dataclass(frozen=True)
class Scale:
    """How many graphs of each prior, on what, how long; `repeats` of the ten folds."""

    data: str
    graphs: int
    priors: tuple[str, ...]
    training: Mapping[str, Any]
    repeats: int
    validation: float = 0.2
    alone: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)


# Few strings must make enough steps: small batches, and a higher rate than the paper's.
SHORT: Final[Mapping[str, Any]] = {**PAPERS_TRAINING, "batch_size": 32, "lr": 0.02, "clip": 1.0}
SCALES: Final[Mapping[str, Scale]] = {
    # Graphs of 10 to 20 vertices are half as deep.
    "tiny": Scale(
        "reber:n=480",
        6,
        PAPERS_PRIORS,
        {**SHORT, "batch_size": 16, "epochs": 2.5},
        1,
        0.25,
        True,
        {"space": {"most": 20}},
    ),
    "quick": Scale("reber:n=4000", 15, (*PAPERS_PRIORS, SMALL_WORLD), {**SHORT, "epochs": 1.5}, 3),
    # What docs/priors.md shows: enough graphs for the targets, about half an hour.
    "goals": Scale(
        "reber:n=4000",
        24,
        (*PAPERS_PRIORS, SMALL_WORLD),
        {**SHORT, "epochs": 1.5},
        3,
        seeds=(0, 1, 2),
    ),
    "paper": Scale(
        "reber", 100, (*PAPERS_PRIORS, SMALL_WORLD), {**PAPERS_TRAINING, "epochs": 15.0}, 3
    ),
}


def reproduce(request: Request) -> Reproduction:
    """Train what is missing of the populations; return the study beside the paper's figures.

    Raises ConfigError for an unknown scale, DataError when too few networks could be trained.
    """
    request, scale, source = scale_of(request, SCALES)
    plan = Plan(
        CELLS,
        scale.priors,
        scale.graphs,
        source,
        tuple(request.seeds),
        scale.validation,
        scale.training,
        scale.settings,
        scale.alone,
    )
    found = priors.study(plan, request, scale.repeats, PAPERS_PRIORS)
    wrong = outcome.error_rows(_errors(found))
    page = request.out / f"{PAPER}.html"
    title = f"Stier 2021, random-graph priors on {source}, scale {request.scale}"
    priors.write(found, page, title, outcome.errors(wrong))
    compared, targets = _compared(found), _targets(found)
    about = {"scale": request.scale, "data": source, "seeds": list(request.seeds)}
    survives = {"kind": SURVIVES, "text": found.text}
    rows = [row | about for row in (*found.rows, *wrong, survives)]
    return Reproduction(
        request.scale,
        rows,
        [*tables(rows, compared, targets), Table("What survives", ("",), [(found.text,)])],
        page,
        compared,
        targets,
        found.seconds,
    )


def tables(
    rows: Sequence[Row], compared: Sequence[Compared], targets: Sequence[Target]
) -> list[Table]:
    """Return what was measured as tables: what structure tells, beside the paper, its errors.

    `rows` are what `--json` prints but for the last line, which has the others.
    """
    return [
        *prior_tables.tables(rows),
        *outcome.grids([one for one in compared if one.metric != PEARSON]),
        *outcome.errors(rows),
        outcome.goals(targets),
    ]


# ---- beside the paper ----------------------------------------------------------------------------


def _compared(found: Studied) -> list[Compared]:
    rows = []
    for population in found.populations:
        place = CELLS.index(population.cell)
        for prior in found.plan.priors:
            paper = MEANS[prior][place] if prior in MEANS else None
            values = population.of(prior).tolist()
            rows.append(Compared.of(population.cell, prior, "mean accuracy", paper, values))
    for cell, told in found.told.items():
        place = CELLS.index(cell)
        for name in TABLE_1:
            rows.append(_scored(cell, name, PEARSON, papers_r(name, cell), told.alone[name]))
        for predictor, words in PREDICTORS.items():
            draws = told.draws[predictor]
            setting = f"{words}, {told.n_draws} single splits"
            if told.n_undefined:
                setting += f" ({told.n_undefined} without R2)"
            paper = REPORTED[predictor][place]
            middle = float(np.median(draws)) if len(draws) else None
            rows.append(Compared(cell, setting, "R2, median (paper: one)", paper, middle))
        for features in (ALL, SOURCES, SIZE):
            score = told.judged[features, USUAL]["r2"]
            setting = f"{PREDICTORS[USUAL]} on {features}, ten folds"
            metric = "R2 (paper: its data, ten folds)"
            rows.append(_scored(cell, setting, metric, BY_FOLDS[features][place], score))
    return rows


def _scored(
    cell: str, setting: str, metric: str, paper: float | None, score: structure.Score
) -> Compared:
    half = None
    if score.low is not None and score.high is not None:
        half = round((score.high - score.low) / 2, 4)
    ours = None if score.mean is None else round(score.mean, 4)
    return Compared(cell, setting, metric, paper, ours, None if ours is None else half)


def _targets(found: Studied) -> list[Target]:
    """Return whether R2 by ten folds is above that on the paper's data, and above the control's.

    Fewer graphs than have intervals cannot tell.
    """
    rows: list[Target] = []
    for cell, told in found.told.items():
        place = CELLS.index(cell)
        score = told.judged[ALL, USUAL]["r2"].mean
        name = f"{cell}: R2 of a {PREDICTORS[USUAL]} by ten folds"
        own = [
            Target.least(
                f"{name}, as {features} in the paper's data", BY_FOLDS[features][place], score
            )
            for features in (ALL, SOURCES)
        ]
        own.append(Target.least(f"{name}, minus that of {SOURCES}", 0.0, told.gains[SOURCES].mean))
        rows += [replace(target, met=None) for target in own] if told.is_few else own
    return rows


# ---- its errors ----------------------------------------------------------------------------------


def _errors(found: Studied) -> list[tuple[str, str, str]]:
    """Return the paper's errors: what it says, what is right, what our graphs and data say."""
    whole = max(found.populations, key=lambda p: len(p.found.y))
    graphs = {
        prior: [
            graph_of(row)
            for row, own in zip(whole.found.rows, whole.priors, strict=True)
            if own == prior
        ]
        for prior in found.plan.priors
    }
    own = {prior: graphs[prior] for prior in PAPERS_PRIORS}
    sources = {p: float(whole.of(p, "source_nodes").mean()) for p in graphs if len(whole.of(p))}
    clustered = {
        p: (float(whole.of(p, "clustering").mean()), 2 * float(whole.of(p, "density").mean()))
        for p in graphs
        if len(whole.of(p))
    }
    better = {
        p.cell: float(p.of("watts-strogatz").mean() - p.of("barabasi-albert").mean())
        for p in found.populations
        if len(p.of("watts-strogatz")) and len(p.of("barabasi-albert"))
    }
    gru = found.told.get("gru")
    draws = None if gru is None else gru.draws[USUAL]
    return [
        (
            "R2 up to 0.81 (abstract)",
            "0.876 in its text; both are one split of 20 networks. Ten folds on its data: 0.67",
            "–"
            if gru is None or draws is None or not len(draws)
            else f"gru: ten folds {structure.text(gru.judged[ALL, USUAL]['r2'])}; single splits "
            f"{draws.min():.2f} to {draws.max():.2f}",
        ),
        (
            "BA graphs are better for LSTM and GRU",
            "in its own data they are worse in all four: LSTM .916 against .976, GRU .928 against "
            ".984; they have fewer sources",
            "WS minus BA: " + ", ".join(f"{cell} {gain:+.3f}" for cell, gain in better.items()),
        ),
        (
            "GRU and LSTM have the structure of the graph",
            "masks were interleaved where gates stand one behind another: of the connections that "
            "a graph asks for, 37 % (BA) and 51 % (WS) were missing",
            "interleaved, our graphs would lack "
            + _by_prior({p: _missing(of, GATES["gru"]) for p, of in own.items()})
            + "; tiled, as here, none",
        ),
        (
            "a network computes its whole graph",
            "the classifier read the last layer alone: 67 to 82 % of the sinks were dead",
            "sinks below the last layer: "
            + _by_prior({p: _dead(of) for p, of in own.items()})
            + "; all are read here",
        ),
        (
            "Watts-Strogatz graphs are small worlds",
            "they were rewired with p = 1: clustering 0.19, as that of any random graph of as many "
            "edges; p = 0.1 gives 0.38 to 0.49",
            "clustering (of a random graph with as many edges): "
            + ", ".join(f"{p} {a:.2f} ({b:.2f})" for p, (a, b) in clustered.items()),
        ),
        (
            "properties of structure tell accuracy",
            "source nodes alone, the width of the embedding, do as well: R2 GRU .70, LSTM .41, "
            "ReLU .20, tanh .21",
            "source nodes alone: "
            + ", ".join(
                f"{cell} {structure.text(told.judged[SOURCES, USUAL]['r2'])}"
                for cell, told in found.told.items()
            ),
        ),
        (
            "Barabasi-Albert graphs as networkx draws them",
            "networkx 3 starts from a star, which leaves one source; the paper's had 2.4 to 2.8",
            "sources: " + ", ".join(f"{p} {n:.1f}" for p, n in sources.items()),
        ),
        (
            "Reber strings need memory",
            f"a rule of two symbols is right in {100 * BIGRAMS:.2f} % of its test strings, where "
            f"its tanh networks stay ({100 * PLATEAU:.3f} %); one of three in "
            f"{100 * TRIGRAMS:.1f} %. The embedded grammar is the honest task",
            ", ".join(f"{name} {100 * share:.2f} %" for name, share in found.rules.items()) or "–",
        ),
    ]


def _by_prior(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{100 * share:.0f} % ({prior})" for prior, share in shares.items())


def _missing(graphs: Iterable[tuple[int, Sequence[Edge]]], n_gates: int) -> float:
    """Return the share of wanted gate connections that interleaved masks leave out."""
    n_wanted = n_missing = 0
    for n, edges in graphs:
        level = layers(n, edges)
        for i in range(1, 1 + max(level)):
            rows = [v for v in range(n) if level[v] == i]
            mask = np.zeros((len(rows), n), dtype=bool)
            for a, b in edges:
                if level[b] == i:
                    mask[rows.index(b), a] = True
            wanted = np.tile(mask, (n_gates, 1))
            n_wanted += int(wanted.sum())
            n_missing += int((wanted & ~np.repeat(mask, n_gates, axis=0)).sum())
    return n_missing / max(1, n_wanted)


def _dead(graphs: Iterable[tuple[int, Sequence[Edge]]]) -> float:
    """Return the share of sinks that do not lie in the last layer."""
    n_sinks = n_dead = 0
    for n, edges in graphs:
        level = layers(n, edges)
        sinks = set(range(n)) - {a for a, _ in edges}
        n_sinks += len(sinks)
        n_dead += sum(level[v] < max(level) for v in sinks)
    return n_dead / max(1, n_sinks)
