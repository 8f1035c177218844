"""What a worker process is given, and what it makes of it: the entry point of the executors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nasgen.execution.base import Evaluate
from nasgen.settings import objectives
from nasgen.settings.config import Stopping
from nasgen.stoppers.base import stopper_of
from nasgen.store.artifacts import Artifacts

EVALUATOR: Final = "nasgen.runs.workers:evaluator"


def evaluator(context: Mapping[str, Any]) -> Evaluate:
    """Return the evaluator of a context, which is JSON: see `Resolved.worker_context`."""
    from nasgen.evaluation.evaluator import Evaluator  # loads torch

    section = Stopping.model_validate(context.get("stopping", {}))
    judge = stopper_of(section, objectives.named(context["objectives"][0]).direction)
    made: Evaluate = Evaluator(context, Artifacts(context["artifacts"]), judge)
    return made


def inference(context: Mapping[str, Any]) -> Any:
    """Return the service that answers with the trained networks of a run (loads torch)."""
    from nasgen.evaluation.inference import Inference

    return Inference(context, Artifacts(context["artifacts"]))
