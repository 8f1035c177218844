"""Combines trained networks of one or more runs, and says what came of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from nasgen.data.split import share_held_out
from nasgen.ensembles.choosing import choose
from nasgen.ensembles.trained import TrainedEnsemble, TrainedNetwork
from nasgen.errors import ConfigError
from nasgen.evaluation.tasks.base import ranked_by
from nasgen.runs.ensembled import Ensembled
from nasgen.runs.results import Run
from nasgen.settings.ensemble import Ensemble

Say = Callable[[str], Any]
Source = Run | Ensembled  # what trained networks come from


def ensemble_summary(ensemble: TrainedEnsemble) -> dict[str, Any]:
    """Return the JSON of an ensemble; its test metric is computed now.

    "gap" is by how much the result on the rows that chose the members is better than that on test
    rows, in the unit of the metric; None where there are no test rows.
    """
    inference = ensemble.inference
    task = inference.task
    metric, section = task.metric, ensemble.section
    summary: dict[str, Any] = {
        "members": [
            {
                "run": m.run,
                **({"folder": m.folder} if m.folder else {}),
                "trial": m.trial.seq,
                "weight": round(w, 6),
                **({"averaged": list(m.averaged)} if m.averaged else {}),
                **({"distilled": True} if m.trial.is_distilled else {}),
            }
            for m, w in zip(ensemble.members, ensemble.weights, strict=True)
        ],
        f"val_{metric}": ensemble.val_metrics[metric],
        **ensemble.tested(),
        "n_params": ensemble.n_params,
    }
    if ensemble.temperature != 1.0:
        summary["temperature"] = ensemble.temperature
    if ensemble.cross_fitted:
        summary[f"cross_fitted_{metric}"] = ensemble.cross_fitted[metric]
    sign = 1 if task.direction == "maximize" else -1
    test = summary.get(f"test_{metric}_one_view")
    summary["gap"] = None if test is None else sign * (summary[f"val_{metric}"] - test)
    if section is not None:
        summary["method"] = section.name
        by = metric if section.select == "accuracy" else "loss"
        n = len(inference.targets("validation"))
        summary["selected_on"] = {"part": "validation", "rows": n, "by": by}
        if section.max_latency_ms is not None:
            summary["latency_ms"] = round(ensemble.latency_ms, 4)
    return summary


def combine_runs(
    sources: Sequence[Source],
    section: Ensemble | None = None,
    left_out: Say = warnings.warn,
    cross_fit: bool = False,
) -> TrainedEnsemble:
    """Choose an ensemble from the kept networks of runs, or folders of ensembles, on the same data.

    `section` are the settings (default: those of the first run). Raises as `gathered` and `choose`.
    """
    section = section or run_of(sources[0]).config.ensemble
    networks = gathered(sources, left_out)
    if section.size is not None and section.size > len(networks):
        left_out(
            f"ensemble.size = {section.size}: no more can take part than the {len(networks)} whose "
            "weights are kept."
        )
    first = run_of(sources[0])
    with first.resolved.scope.active():  # the method may be a plug-in's
        return choose(networks, section, left_out, cross_fit, first.config.seed)


def gathered(sources: Sequence[Source], left_out: Say = warnings.warn) -> list[TrainedNetwork]:
    """Return the candidates of runs and ensembles on the same data, best first, each once.

    Sources that do not go with the first one, as of another split, and those without a kept
    network, are left out, and `left_out` gets a sentence about each. Raises ConfigError where that
    leaves one of several, or none.
    """
    problems, fitting = [], []
    first = next((source for source in sources if source.networks()), sources[0])
    for source in sources:
        why = _against(first, source) or ("" if source.networks() else _bare(source))
        problems.append(why) if why else fitting.append(source)
    if not fitting or (problems and len(fitting) == 1):
        raise ConfigError(problems)
    for problem in problems:
        left_out(problem)
    found: dict[tuple[str, ...], TrainedNetwork] = {}
    for network in (network for source in fitting for network in source.networks()):
        # Tensors are named by their content: a run and an ensemble of it have the same ones.
        refs = (network.weights_ref, network.trial.refs.get("support", ""))
        found.setdefault((network.trial.key, *refs), network)
    task = run_of(first).task
    return sorted(found.values(), key=lambda n: ranked_by(task, n.trial.metrics)[0])


def run_of(source: Source) -> Run:
    """Return the run whose data and settings are those of a source."""
    return source if isinstance(source, Run) else source.first


def runs_of(sources: Sequence[Source], ensemble: TrainedEnsemble) -> list[Run]:
    """Return the run that each member of an ensemble comes from."""
    runs = [r for s in sources for r in ([s] if isinstance(s, Run) else s.runs.values())]
    return [next(r for r in runs if r.inference is m.inference) for m in ensemble.members]


def _bare(source: Source) -> str:
    if isinstance(source, Run) and source.best is None:
        try:
            source.trial()
        except ConfigError as error:  # which says why there is none
            return str(error)
    return (
        f"no trial with kept weights in {source.path}; `nasgen train RUN --out DIR` or a longer "
        "search makes one."
    )


def _against(first: Source, other: Source) -> str:
    """Return why the networks of a source cannot be combined with another's, "" for no reason."""
    runs = [run_of(first), run_of(other)]
    a, b = (run.record["data"] for run in runs)
    if a["task"] != b["task"]:
        why = f"have different tasks, {a['task']} and {b['task']}"
    elif a["classes"] != b["classes"]:
        why = f"have different classes, {_few(a['classes'])} and {_few(b['classes'])}"
    elif a["digest"] != b["digest"]:
        why = "use different data"
    elif _held_out(runs[0]) != _held_out(runs[1]):
        why = "use different validation splits"
    else:
        return ""
    return f"{first.path} and {other.path} {why}; an ensemble needs the same."


def _held_out(run: Run) -> tuple[float, int]:
    """Return what decides which rows of the same data validate."""
    data, n_rows = run.config.data, run.record["data"]["n_train"]
    return share_held_out(data.validation, n_rows), data.split_seed


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown}, ... ({len(names)})" if len(names) > 3 else shown or "none"
