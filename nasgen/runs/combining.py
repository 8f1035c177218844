"""Combines trained networks of one or more runs, and says what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nasgen.ensembles.trained import TrainedEnsemble, choose
from nasgen.errors import ConfigError
from nasgen.evaluation.tasks.base import ranked_by

if TYPE_CHECKING:
    from nasgen.runs.results import Run


def ensemble_summary(ensemble: TrainedEnsemble) -> dict[str, Any]:
    """Return the JSON of an ensemble; its test metric is computed now."""
    metric = ensemble.members[0].inference.task.metric
    return {
        "members": [
            {"run": m.run, "trial": m.trial.seq, "weight": round(w, 6)}
            for m, w in zip(ensemble.members, ensemble.weights, strict=True)
        ],
        f"val_{metric}": ensemble.val_metrics[metric],
        **ensemble.tested(),
    }


def combine_runs(runs: Sequence[Run], method: str | None, rounds: int | None) -> TrainedEnsemble:
    """Choose an ensemble from the kept networks of several runs on the same data and split."""
    first = runs[0]
    for other in runs[1:]:
        a, b = first.record["data"]["digest"], other.record["data"]["digest"]
        if a != b or first.config.data.model_dump(
            exclude={"source"}
        ) != other.config.data.model_dump(exclude={"source"}):
            raise ConfigError(
                f"{first.path} and {other.path} use different data or validation splits; an "
                "ensemble needs the same."
            )
    networks = [n for run in runs for n in run.networks()]
    if not networks:
        raise ConfigError(
            "no trial with kept weights in " + ", ".join(str(r.path) for r in runs) + "."
        )
    settings = first.config.ensemble
    networks.sort(key=lambda n: ranked_by(first.task, n.trial.metrics)[0])
    with first.resolved.scope.active():
        return choose(networks, method or settings.name, rounds or settings.rounds)
