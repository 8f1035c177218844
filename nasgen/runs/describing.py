"""What the report of an ensemble shows: it is measured here, and drawn in `report`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from nasgen.ensembles import calibration, diversity
from nasgen.ensembles.choosing import choose
from nasgen.ensembles.mixing import Mixing
from nasgen.ensembles.trained import TrainedEnsemble, TrainedNetwork
from nasgen.errors import NasgenError
from nasgen.report.answers import interval, with_interval
from nasgen.report.ensemble import Calibration, EnsembleView, Size, render
from nasgen.report.numbers import change, percent, quantity, words
from nasgen.report.sheet import Table
from nasgen.runs import commands, tested
from nasgen.runs.reporting import data_summary
from nasgen.runs.results import Run

SIZES: Final = (1, 2, 3, 4, 6, 8, 12, 16)  # largest numbers of members to compare
N_PAIRED: Final = 12  # heaviest members whose answers are compared


def page(
    ensemble: TrainedEnsemble,
    networks: Sequence[TrainedNetwork],
    run: Run,
    summary: dict[str, Any],
) -> str:
    """Return the report of an ensemble as HTML.

    `networks` are the candidates, best first, `run` is one whose data they share; `summary` is what
    `ensemble_summary` says. Test rows that were not looked at yet are looked at now: those of the
    ensembles of other sizes.
    """
    inference = ensemble.inference
    part = "test" if inference.has_test else "validation"
    task, targets = inference.task, inference.targets(part)
    metric, n_val = task.metric, len(inference.targets("validation"))
    answers = ensemble.predictions(part)
    answered = tested.answered(task, run.dataset, answers, ensemble.classes)
    named = ["distilled" if m.trial.is_distilled else str(m.trial.seq) for m in ensemble.members]
    if len({member.place for member in ensemble.members}) > 1:
        named = [f"{m.place}:{name}" for m, name in zip(ensemble.members, named, strict=True)]
    has_classes = bool(ensemble.classes) and answers.ndim == 2
    heaviest = ensemble.members[:N_PAIRED]
    pairs = diversity.pairs(task, [member.predictions(part) for member in heaviest], targets)
    view = EnsembleView(
        title=f"Ensemble of {len(named)} network{'' if len(named) == 1 else 's'}",
        lead=data_summary(run.record["data"]),
        metric=metric,
        answered=answered,
        n_val=n_val,
        facts=_facts(ensemble, summary, metric),
        notes=_notes(
            ensemble,
            summary,
            metric,
            {"test": len(targets), "val": n_val, "cross_fitted": n_val},
            answered.unit,
        ),
        members=_members(ensemble, named, metric),
        sizes=_sizes(ensemble, networks, metric) if ensemble.section and inference.has_test else (),
        pairs=[(named[p.first], named[p.second], p.disagreement, p.q, p.kappa) for p in pairs],
        agreement="kappa" if has_classes else "correlation",
        calibration=_calibration(ensemble) if has_classes and inference.has_test else None,
        command=commands.line(),
    )
    return render(view)


def _facts(
    ensemble: TrainedEnsemble, summary: dict[str, Any], metric: str
) -> list[tuple[str, str]]:
    found = [
        (words(f"{part}_{metric}"), quantity(metric, summary[f"{part}_{metric}"]))
        for part in ("test", "val")
        if summary[f"{part}_{metric}"] is not None
    ]
    if f"cross_fitted_{metric}" in summary:
        found.append(
            (f"cross-fitted {metric}", quantity(metric, summary[f"cross_fitted_{metric}"]))
        )
    if summary["gap"] is not None:
        found.append(("gap to test", change(metric, summary["gap"])))
    return [
        *found,
        ("parameters", quantity("n_params", ensemble.n_params)),
        ("one row", quantity("latency_ms", ensemble.latency_ms)),
    ]


def _notes(
    ensemble: TrainedEnsemble,
    summary: dict[str, Any],
    metric: str,
    n_rows: Mapping[str, int],
    unit: str,
) -> list[str]:
    """Return what should be known of the figures; `n_rows` are those of each part."""
    on, views = summary.get("selected_on"), summary.get("views", 1)
    notes = []
    if on is not None:
        notes.append(
            f"Members and shares were chosen by the method {summary['method']} on {on['rows']:,} "
            f"validation rows, by {on['by']}: a result on rows that chose is expected to be better "
            "than on others."
        )
    if summary["gap"] is not None:
        notes.append(
            "The gap is by how much the result on validation rows is better than that on test "
            "rows, each seen once."
        )
    if f"cross_fitted_{metric}" in summary:
        notes.append(
            "Cross-fitted: on each of five parts of the validation rows, with members and shares "
            "chosen on the other four."
        )
    for part, n in n_rows.items():
        if within := interval(metric, summary.get(f"{part}_{metric}"), n):
            name = words(f"{part}_{metric}")
            notes.append(f"95 % interval of the {name}: {within}, from {n:,} {unit}.")
    if views > 1:
        one = quantity(metric, summary[f"test_{metric}_one_view"])
        notes.append(f"Test answers are means over {views} views of a row; with one view: {one}.")
    if ensemble.mean_of == "logits":
        notes.append("The mean of logits is taken, not of probabilities.")
    if ensemble.temperature != 1.0:
        notes.append(f"Probabilities have the temperature {ensemble.temperature:.3g}.")
    return notes


def _members(ensemble: TrainedEnsemble, named: Sequence[str], metric: str) -> Table:
    task, inference = ensemble.inference.task, ensemble.inference
    parts = {"val": "validation"} | ({"test": "test"} if inference.has_test else {})
    targets = {part: inference.targets(part) for part in parts.values()}

    def measured(member: TrainedNetwork, part: str) -> str:
        found = task.measured(member.predictions(part), targets[part])[metric]
        return with_interval(metric, found, len(targets[part]))

    rows = [
        [
            name if not m.averaged else f"mean of {', '.join(map(str, m.averaged))}",
            percent(share),
            *(measured(m, part) for part in parts.values()),
            quantity("n_params", m.trial.metrics.get("n_params")),
            quantity("latency_ms", m.latency_ms),
        ]
        for name, share, m in zip(named, ensemble.weights, ensemble.members, strict=True)
    ]
    names = [words(f"{part}_{metric}") for part in parts]
    return Table("", ["trial", "share", *names, "parameters", "one row"], rows)


def _sizes(
    ensemble: TrainedEnsemble, networks: Sequence[TrainedNetwork], metric: str
) -> list[Size]:
    """Return what ensembles of various largest numbers of members cost and are worth."""
    section = ensemble.section
    assert section is not None
    sign = 1 if ensemble.inference.task.direction == "maximize" else -1
    found: dict[tuple[int, float], Size] = {}
    for size in [n for n in SIZES if n <= min(len(networks), section.size or len(networks))]:
        try:
            smaller = section.model_copy(update={"size": size})
            made = choose(networks, smaller, lambda text: None, seed=ensemble.seed)
        except NasgenError:  # such as a limit that no network keeps
            continue
        val, test = made.val_metrics[metric], made.test_metrics[metric]
        one = Size(size, made.n_params, made.latency_ms, val, test)
        found.setdefault((made.n_params, val), one)  # a larger number that adds nobody is none
    shown, best = [], -math.inf
    for one in sorted(found.values(), key=lambda one: (one.n_params, -sign * one.val)):
        shown.append(replace(one, is_front=sign * one.val > best))
        best = max(best, sign * one.val)
    return shown


def _calibration(ensemble: TrainedEnsemble) -> Calibration:
    """Return how sure and how right the ensemble is on test rows, before and after."""
    task, targets = ensemble.inference.task, ensemble.inference.targets("test")
    tests = [member.test for member in ensemble.members]
    after = ensemble if ensemble.temperature != 1.0 else ensemble.calibrated()
    kinds = {"as it is": Mixing(ensemble.mixing.mean_of), "with temperature": after.mixing}
    found = {
        name: calibration.reliability(task, mixing.combined(task, tests, ensemble.weights), targets)
        for name, mixing in kinds.items()
    }
    return Calibration(
        after.temperature,
        [(name, {"nll": f.nll, "ece": f.ece, "accuracy": f.accuracy}) for name, f in found.items()],
        [(name, f.bins) for name, f in found.items()],
    )
