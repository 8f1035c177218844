"""What a worker process is given, and what it makes of it: the entry point of the executors."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from nasgen.execution.base import Evaluate
from nasgen.registry import plugins
from nasgen.settings import objectives
from nasgen.settings.config import SearchConfig, Stopping
from nasgen.stoppers.base import stopper_of
from nasgen.store.artifacts import Artifacts

EVALUATOR: Final = "nasgen.runs.workers:evaluator"


def plugins_of(config: SearchConfig, scope: plugins.Scope) -> dict[str, Any]:
    """Return what [plugins] names, and where Python looks for modules in this process.

    With it what dotted paths may name, what of the run is not there, and the digests: see `Scope`.
    """
    section = config.plugins
    path = [entry or os.getcwd() for entry in sys.path] if section.modules else []
    modules = [name for name in section.modules if name.partition(":")[0] != plugins.MAIN]
    return {
        "files": list(section.files),
        "modules": modules,
        "path": path,
        "importable": None if scope.importable is None else sorted(scope.importable),
        "missing": list(scope.missing),
        "digests": plugins.digests_of(scope.files, modules),
    }


def scope_of(context: Mapping[str, Any]) -> plugins.Scope:
    """Return the plug-ins of a context, loaded in this process."""
    given = context.get("plugins", {})
    # Behind what is there: a module beside the driver's script must not hide one of Python's.
    sys.path += [entry for entry in given.get("path", ()) if entry not in sys.path]
    files, modules = given.get("files", ()), given.get("modules", ())
    importable, missing = given.get("importable"), given.get("missing", ())
    scope = plugins.Scope(files, modules, importable, missing, given.get("digests"))
    # What a stored run cannot load is passed over: what needs it says so.
    return scope.load(None if scope.importable is None else scope.missing)


def evaluator(context: Mapping[str, Any]) -> Evaluate:
    """Return the evaluator of a context, which is JSON: see `Resolved.worker_context`."""
    from nasgen.evaluation.evaluator import Evaluator  # loads torch

    scope = scope_of(context)
    with scope.active():
        section = Stopping.model_validate(context.get("stopping", {}))
        judge = stopper_of(section, objectives.named(context["objectives"][0]).direction)
        made: Evaluate = Evaluator(context, Artifacts(context["artifacts"]), judge)
    return scope.around(made)


def inference(context: Mapping[str, Any]) -> Any:
    """Return the service that answers with the trained networks of a run (loads torch)."""
    from nasgen.evaluation.inference import Inference

    scope = scope_of(context)
    with scope.active():
        return scope.around(Inference(context, Artifacts(context["artifacts"])))
