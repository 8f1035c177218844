"""Stier 2021, section 4.4: does the structure of a network tell its accuracy before training?

The paper's genetic search makes networks (half of the candidates drawn anew, half mutated); each is
trained briefly, and described by 56 features. Predictors learn 70 % of them and are evaluated on
the rest, as in the paper; one such split is mostly luck, so it is drawn anew several times, and
cross-validation stands beside it. Two controls the paper lacks: a line in log parameters alone, and
correlations once size is taken out. The table of networks can be kept, and studied without
training: `nasgen predictors evaluate stier2021-nas`. The scale "quick" takes the one that comes
with nasgen where that is large enough (see `kept`); `benchmarks/paper_space.py` makes it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from nasgen import registry
from nasgen.bench import labels
from nasgen.bench.labels import Labelled
from nasgen.papers import kept, outcome, preset
from nasgen.papers.base import USUAL, Reproduction, Request, finished, scale_of
from nasgen.papers.outcome import Compared, Target
from nasgen.predictors import evaluate
from nasgen.predictors.base import Floats
from nasgen.predictors.importance import correlations, importances
from nasgen.report import numbers
from nasgen.report.charts import Line, Mark, plot
from nasgen.report.scale import Axis, axis
from nasgen.report.sheet import Table, sheet
from nasgen.runs import reading, session
from nasgen.runs.results import Run
from nasgen.settings.config import merge, read_toml
from nasgen.store.rows import Row

PAPER = "stier2021-nas"
PRESET = "stier2021"  # its space, operators and features
FEATURES = "stier2021"
REMOVED = 0.2  # share of the population that makes way each generation; the paper's is 0.1
LEARNT = 0.7  # share of the networks that a predictor learns from
RANKED_BY = "forest"  # whose importances are shown
N_TOP = 10
SHOWN = {"r2": "R2", "kendall": "Kendall tau", "top_kendall": "tau in the best tenth"}
SIZE = "size alone"  # the predictor that is a line in ln(parameters)
PAPERS_NETWORKS = 2472
PAPERS_SPREADS = 6  # of its ten most important features, all of them correlated positively
SPREADS = tuple(
    f"{length}_std_{op}"
    for length in ("shortest", "longest", "walk")
    for op in ("conv", "max_pool", "avg_pool")
)
CENTRALITY = "closeness_mean"  # the paper's "mean centrality", the inverse of a farness
KEPT_SCALE = USUAL  # the scale at which the networks of the kept table were trained
N_MORE = 3  # times that a run is continued because some trainings failed
PROTOCOLS = {"split": "70/30 split", "folds": "5-fold cross-validation"}


@dataclass(frozen=True)
class Scale:
    """How many networks must be trained, on what share of the images; `repeats` of both protocols.

    `predictors` are evaluated; empty: all that are registered.
    """

    data: str
    networks: int
    fraction: float
    epochs: float
    validation: float  # share of the training images
    repeats: int
    predictors: tuple[str, ...] = ()


SCALES = {
    "tiny": Scale("digits", 40, 0.25, 1.0, 0.2, 1, ("ridge", "forest", "rank")),
    # A validation image costs a third of a training image: with 2,500 of them accuracies have a
    # standard error of one point, and half of the time goes into training.
    "quick": Scale("cifar10", 300, 0.08, 1.0, 0.05, 5),
    "paper": Scale("cifar10", 2472, 1.0, 1.0, 0.1, 5),
}


@dataclass(frozen=True)
class Networks:
    """The networks of a reproduction, and where they come from: `said` is that in words."""

    found: Labelled
    request: Request
    scale: Scale
    source: str
    file: Path
    said: str
    seconds: float = 0.0  # of training


def reproduce(request: Request) -> Reproduction:
    """Train what is missing of the networks; return scores, importances and the page.

    Each seed is a run in OUT/SCALE/seedN that is resumed, a network a row of its ledger; where
    trainings failed it is continued, at most `N_MORE` times, until the scale's number is complete.
    Networks of several seeds are evaluated together. All stand in OUT/stier2021-nas.csv.gz,
    figures in OUT/stier2021-nas.html. Nothing is trained where the kept table is large enough,
    unless data or seeds are named. Raises ConfigError for an unknown scale or missing data,
    DataError when too few networks could be trained, or the table is of another space.
    """
    began = time.monotonic()
    networks = _kept(request) or _trained(request)
    found, request, scale = networks.found, networks.request, networks.scale
    request.note(f"{networks.said}; evaluating predictors")
    judged = _judged(found, scale, request.seeds[0])
    ranked = _ranked(found, scale, request.seeds[0])
    title = f"Stier 2021, structural prediction on {networks.source}, scale {request.scale}"
    tables = [_score_table(f"Predictors, {PROTOCOLS[p]}", judged, p) for p in PROTOCOLS]
    tables.append(_feature_table(ranked))
    page = request.out / f"{PAPER}.html"
    figures = Markup("").join([_correlation_figure(ranked), _size_figure(found)])
    page.write_text(sheet(title, _notes(networks, ranked), figures, tables), encoding="utf-8")
    about = {"scale": request.scale, "data": networks.source, "seeds": list(request.seeds)}
    first = {
        "kind": "networks",
        "n": len(found.y),
        "file": str(networks.file),
        "origin": networks.said,
        "val_accuracy": {
            name: round(float(f(found.y)), 4)
            for name, f in (("mean", np.mean), ("sd", np.std), ("min", np.min), ("max", np.max))
        },
    }
    compared, targets = _compared(found, judged, ranked), _targets(judged)
    return Reproduction(
        request.scale,
        [row | about for row in (first, *judged, *ranked)],
        [*tables, *outcome.tables(compared, targets)],
        page,
        compared,
        targets,
        seconds=networks.seconds or time.monotonic() - began,
    )


def _kept(request: Request) -> Networks | None:
    """Return the table that comes with nasgen, where it answers what is asked; else None."""
    table = kept.table(PAPER)
    names_more = request.data is not None or request.seeds
    if request.scale not in ("", KEPT_SCALE) or names_more or table != kept.larger(PAPER):
        return None
    found = labels.of_file(table.file, FEATURES)
    space = reading.resolved(read_toml(preset(PRESET))).space
    labels.check_space(table.file, found, space, f"preset '{PRESET}'")
    seeds = sorted({int(row["seed"]) for row in found.rows if row.get("seed")})
    request.out.mkdir(parents=True, exist_ok=True)
    return Networks(
        found,
        replace(request, scale=KEPT_SCALE, seeds=tuple(seeds) or (0,)),
        SCALES[KEPT_SCALE],
        SCALES[KEPT_SCALE].data,
        table.file,
        f"{table.said}, trained before (--seed 0 trains others)",
    )


def _trained(request: Request) -> Networks:
    asked = request
    request, scale, source = scale_of(request, SCALES)
    if request.scale == KEPT_SCALE and not asked.seeds and (other := kept.larger(PAPER)):
        request.note(
            f"the table of the paper's space, {other.file.name}, has {other.n:,} networks; it is "
            f"used from {kept.ENOUGH:,} on, so {scale.networks} are trained"
            if other.n < kept.ENOUGH
            else f"{other.file.name} is not used, because --data names what to train on"
        )
    runs = [_run(request, scale, source, seed) for seed in request.seeds]
    found = labels.together([labels.of_run(run) for run in runs])
    file = request.out / f"{PAPER}.csv.gz"
    labels.write(found, file)
    seconds = sum(run.summary["wall_s"] for run in runs)
    said = f"{len(found.y):,} networks of the paper's space, trained here, {file}"
    return Networks(found, request, scale, source, file, said, seconds)


def tables(scale: Scale, source: str, seed: int) -> dict[str, Any]:
    """Return the config of the search that makes the networks of a seed."""
    return merge(
        read_toml(preset(PRESET)),
        {
            "seed": seed,
            "data": {"source": source, "validation": scale.validation},
            # 6 of 30 make way instead of 3, so that two workers seldom wait; with one worker too,
            # because rows of one table are to come from one search.
            "algorithm": {"remove_worst": REMOVED},
            # Small batches: a few thousand images must make enough steps to tell networks apart.
            "training": {"epochs": scale.epochs, "fraction": scale.fraction, "batch_size": 32},
            "budget": {"trials": scale.networks},
            "predictor": {"name": "none"},  # an estimate would be no label
            "finish": {"networks": 0},
            "ensemble": {"candidates": 1, "rounds": 1},
            "store": {"keep_weights": "pareto"},
        },
    )


def _run(request: Request, scale: Scale, source: str, seed: int) -> Run:
    folder = request.out / request.scale / f"seed{seed}"
    request.note(f"seed {seed}: {scale.networks} networks in {folder}")
    config = tables(scale, source, seed)
    run = finished(folder, config, request.overrides, request.listeners)
    wanted = run.config.budget.trials
    while wanted and (n_missing := wanted - _n_complete(run)) > 0:
        if len(run.record["legs"]) > N_MORE:
            request.note(f"seed {seed}: {n_missing} of {wanted} networks could not be trained")
            break
        request.note(f"seed {seed}: {n_missing} trainings failed; as many more")
        run = session.resume(folder, trials=f"+{n_missing}", listeners=request.listeners)
    return run


def _n_complete(run: Run) -> int:
    return sum(t.state == "COMPLETE" and t.phase == "search" for t in run.trials)


# ---- judging -------------------------------------------------------------------------------------


def _judged(found: Labelled, scale: Scale, seed: int) -> list[Row]:
    """Return a row for each predictor, size alone last, with the scores of both protocols."""
    n = len(set(found.keys))
    n_learnt = round(LEARNT * n)
    splits = {
        "split": evaluate.draws(found.keys, n_learnt, n - n_learnt, 2 * scale.repeats, seed),
        "folds": evaluate.folds(found.keys, scale.repeats, seed),
    }
    rows: list[Row] = []
    size: Row = {"kind": "predictor", "predictor": SIZE}
    # What scores untrained networks needs images, which the table has not.
    known = [n for n, e in registry.entries("predictors").items() if not e.requires]
    for name in scale.predictors or known:
        factory = registry.resolve("predictors", name)
        row: Row = {"kind": "predictor", "predictor": name}
        for protocol, parts in splits.items():
            result = evaluate.evaluate(
                factory, found.X, found.y, found.names, parts, seed, found.size
            )
            row[protocol], size[protocol] = result["predictor"], result["size"]
        rows.append(row)
    return [*rows, size]


def _ranked(found: Labelled, scale: Scale, seed: int) -> list[Row]:
    """Return a row for each of the most important features, the first one first."""
    splits = evaluate.folds(found.keys, scale.repeats, seed)[: evaluate.N_FOLDS]
    factory = registry.resolve("predictors", RANKED_BY)
    weights = importances(factory, found.X, found.y, splits, seed)
    alone = correlations(found.X, found.y)
    beside = correlations(found.X, found.y, found.size)
    order = np.argsort(-weights, kind="stable")[:N_TOP]
    return [
        {
            "kind": "feature",
            "rank": rank,
            "feature": found.names[i],
            "importance": _number(weights[i]),
            "r": _number(alone[i]),
            "r_given_size": _number(beside[i]),
        }
        for rank, i in enumerate(order.tolist(), start=1)
    ]


def _number(value: Any) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


# ---- beside the paper ----------------------------------------------------------------------------


def _compared(found: Labelled, judged: Sequence[Row], ranked: Sequence[Row]) -> list[Compared]:
    spreads = [row for row in ranked if row["feature"] in SPREADS]
    rising = [row for row in spreads if (row["r"] or 0.0) > 0]
    ten = f"{len(ranked)} features that a {RANKED_BY} would miss most"
    central = _number(correlations(found.X, found.y)[found.names.index(CENTRALITY)])
    places = [row["rank"] for row in ranked if row["feature"] == CENTRALITY]
    rows = [
        Compared("networks", "trained once", "number", PAPERS_NETWORKS, len(found.y)),
        Compared("networks", "the best one", "validation accuracy", None, float(found.y.max())),
        Compared(ten, "", "deviations of path lengths to convolutions and pools",
                 PAPERS_SPREADS, len(spreads)),
        Compared(ten, "", "of these correlated positively with accuracy",
                 PAPERS_SPREADS, len(rising)),
        Compared(f"mean centrality ({CENTRALITY})", "the paper: one of the ten, negative",
                 "correlation with accuracy", None, central),
        Compared(f"mean centrality ({CENTRALITY})", "the paper: one of the ten, negative",
                 "place among the ten", None, places[0] if places else None),
    ]  # fmt: skip
    for row in judged:
        for protocol, what in PROTOCOLS.items():
            scores = row[protocol] or {}
            rows += [
                Compared(row["predictor"], what, name, None, scores[key]["mean"])
                for key, name in SHOWN.items()
                if scores.get(key) is not None
            ]
    return rows


def _targets(judged: Sequence[Row]) -> list[Target]:
    """Return whether structure tells more than size does: the control that the paper lacks."""
    taus = {row["predictor"]: _mean(row["folds"], "kendall") for row in judged}
    size = taus.pop(SIZE)
    best = max((tau for tau in taus.values() if tau is not None), default=None)
    gain = None if best is None or size is None else best - size
    return [Target.least("Kendall tau of the best predictor minus that of size alone", 0.0, gain)]


def _mean(scores: Any, name: str) -> float | None:
    return None if scores is None or scores[name] is None else float(scores[name]["mean"])


# ---- showing -------------------------------------------------------------------------------------


def _score_table(title: str, rows: Sequence[Row], protocol: str) -> Table:
    cells = [[row["predictor"], *(_score(row[protocol], name) for name in SHOWN)] for row in rows]
    return Table(title, ["predictor", *SHOWN.values()], cells)


def _score(scores: Any, name: str) -> str:
    if scores is None or scores[name] is None:
        return numbers.NONE
    mean, sd = scores[name]["mean"], scores[name]["sd"]
    return f"{mean:.2f} ± {numbers.NONE if sd is None else format(sd, '.2f')}"


def _feature_table(rows: Sequence[Row]) -> Table:
    return Table(
        "The most important features",
        ["", "feature", "R2 lost without it", "r with accuracy", "r, size taken out"],
        [
            [
                str(row["rank"]),
                row["feature"],
                *(
                    numbers.NONE if row[name] is None else f"{row[name]:+.3f}"
                    for name in ("importance", "r", "r_given_size")
                ),
            ]
            for row in rows
        ],
    )


def _notes(networks: Networks, ranked: Sequence[Row]) -> list[str]:
    found = networks.found
    names = [row["feature"] for row in ranked]
    spreads = [n for n in names if n in SPREADS]
    n_drawn = sum(row["operator"] == "sample" for row in found.rows)
    return [
        f"{networks.said[0].upper()}{networks.said[1:]}.",
        f"{len(found.y):,} networks (the paper: 2,472), {n_drawn:,} drawn and the others mutated, "
        "each trained once and briefly. Mean and standard deviation over splits; 70/30 is the "
        "paper's protocol, drawn anew several times. Size alone: a line in ln(parameters).",
        f"A share of {REMOVED:g} of the population makes way each generation, not the paper's 0.1, "
        "so that two workers seldom wait.",
        f"Of the {len(names)} features a {RANKED_BY} would miss most (R2 lost on networks held "
        f"back when the column is shuffled), {len(spreads)} are standard deviations of path "
        "lengths to convolutions and pools; the paper counts six of ten, all correlated "
        "positively with accuracy, and a negative mean centrality.",
    ]


def _correlation_figure(rows: Sequence[Row]) -> Markup:
    """Draw the correlations of the most important features, as in the paper's figure 8b."""
    marks, lines, ends = [], [], [0.0]
    for row in rows:
        for name, css, shape in (("r", "c0", "dot"), ("r_given_size", "c1", "diamond")):
            r = row[name]
            if r is None:
                continue
            ends.append(r)
            title = f"{row['feature']}: {'r' if name == 'r' else 'r, size taken out'} {r:+.3f}"
            label = row["feature"] if name == "r" else ""
            marks.append(Mark(r, row["rank"], title, css, shape, label))  # type: ignore[arg-type]
            if name == "r":
                lines.append(Line([(0.0, row["rank"]), (r, row["rank"])], css, title))
    n = len(rows)
    # From the top: the first one is the most important.
    ranks = Axis(n + 0.5, 0.5, tuple(float(i) for i in range(1, n + 1)), "rank", "importance rank")
    across = axis(ends, "r", "correlation with accuracy (diamond: size taken out)")
    return plot("correlations of features with accuracy", across, ranks, marks, lines)


def _size_figure(found: Labelled) -> Markup:
    """Draw accuracy against size: what the size-only baseline sees."""
    size: Floats = np.exp(found.size) if found.size is not None else np.zeros(len(found.y))
    marks = [
        Mark(float(x), float(y), f"{numbers.percent(float(y))}, {numbers.count(float(x))}")
        for x, y in zip(size, found.y, strict=True)
    ]
    x = axis(size.tolist(), "n_params", "parameters")
    y = axis(found.y.tolist(), "val_accuracy", "accuracy", log=False)
    return plot("accuracy against size", x, y, marks)
