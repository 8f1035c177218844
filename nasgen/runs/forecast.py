"""What is to be expected of a budget: how many networks, how long each, in how many generations.

A search in lines follows its plan (`nasgen.settings.plan`). Others share time out as
`nasgen.settings.fidelity` says; what comes of that is estimated here.
"""

from __future__ import annotations

import math
from typing import Any

from nasgen import registry
from nasgen.engine.algorithms.base import Algorithm
from nasgen.loop.constants import Constants
from nasgen.runs.resolved import Resolved
from nasgen.settings.budget import Budget
from nasgen.settings.cores import Speed
from nasgen.settings.fidelity import n_workers
from nasgen.settings.plan import JOB_S, Plan

Json = dict[str, Any]


def of_plan(plan: Plan, resolved: Resolved) -> Json:
    """Return what run.json keeps of a plan that is followed, and what is shown of it."""
    val_s = plan.speed.val_s if plan.speed is not None else 0.0
    return {
        **plan.to_json(),
        "trials": plan.n_trials,
        "trial_s": None if plan.stretch_s is None else round(plan.stretch_s + val_s, 3),
        "generations": len(plan.rounds),
        "predictor": _predictor(resolved, _n_labels(plan)),
    }


def _n_labels(plan: Plan) -> int:
    """Return how many trainings have ended when the last new networks are bred; -1: none are."""
    last = max((k for k, r in enumerate(plan.rounds) if r.new), default=None)
    return -1 if last is None else sum(r.size for r in plan.rounds[:last])


def of_settings(
    resolved: Resolved,
    constants: Constants,
    budget: Budget,
    speed: Speed | None,
    n_done: int = 0,
) -> Json:
    """Return the same of a search whose settings say how long its trials are.

    `n_done` trials were made before, of those that its algorithm asks for.
    """
    workers, n_finish = n_workers(resolved.config), budget.n_finish
    n_last = n_finish + budget.n_baselines
    trial_s = _trial_s(constants, speed)
    n_search, algorithm = budget.n_search, resolved.algorithm(lambda proposal: True)
    if algorithm.n_trials is not None:
        n_asked = max(0, algorithm.n_trials - n_done)
        n_search = n_asked if n_search is None else min(n_search, n_asked)
    if budget.time_s is not None and trial_s is not None:
        waves = max(0.0, budget.search_left_s) / trial_s
        at_once = min(workers, algorithm.most_at_once or workers)
        n_timed = max(1, at_once * math.floor(waves))
        n_search = n_timed if n_search is None else min(n_search, n_timed)
    finish_s = None
    if budget.time_s is not None and n_finish:
        left = (budget.time_s - budget.reserve_s) * budget.finish_share
        each = left / math.ceil(n_last / workers) - (speed.val_s if speed is not None else 0.0)
        finish_s = round(max(0.5, each), 3)
    return {
        "strategy": "trials",
        "trials": None if n_search is None else n_search + n_last,
        "trial_s": None if trial_s is None else round(trial_s, 3),
        "generations": _generations(algorithm, n_search),
        "finalists": n_finish,
        "finish_s": finish_s,
        "predictor": _predictor(resolved, None if n_search is None else n_search - 1),
        "speed": None if speed is None else speed.to_json(),
    }


def _trial_s(constants: Constants, speed: Speed | None) -> float | None:
    """Return the seconds of one trial of the search; None where nothing says it."""
    fidelity = constants.search_fidelity
    limit = math.inf if fidelity.seconds is None else fidelity.seconds
    if speed is None:
        return None if math.isinf(limit) else limit + JOB_S
    n_rows = (fidelity.epochs or 1.0) * fidelity.fraction * constants.n_train
    return min(limit, n_rows * speed.image_s) + speed.val_s + JOB_S


def _generations(algorithm: Algorithm, n: int | None) -> int | None:
    """Return the generations that so many trials make; None where there are none."""
    if not n or not algorithm.is_generational:
        return None
    first = algorithm.population_size
    return 1 + math.ceil(max(0, n - first) / int(getattr(algorithm, "n_offspring", first)))


def _predictor(resolved: Resolved, n_labels: int | None) -> Json | None:
    """Return whether the predictor has enough labels when the last candidate is chosen."""
    section = resolved.config.predictor
    if section.name == "none":
        return None
    with resolved.scope.active():
        knows = "trainings" in registry.get("predictors", section.name).requires
    needs = 0 if knows and section.mode == "filter" else section.warmup
    fitted = None if n_labels is None else n_labels >= needs
    return {"name": section.name, "needs": needs, "fitted": fitted}
