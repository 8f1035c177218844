"""Which search a config asks for where it leaves that open, and the plan that it follows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nasgen import registry
from nasgen.engine.algorithms.prune import Prune
from nasgen.engine.algorithms.synthesis import Synthesis
from nasgen.errors import ConfigError, NasgenError
from nasgen.runs.resolved import Resolved
from nasgen.settings.config import SearchConfig
from nasgen.settings.cores import Speed
from nasgen.settings.fidelity import finish_fidelity, n_baselines, search_fidelity
from nasgen.settings.plan import FOLLOWED, Plan, planned

AUTO, PLANNED, OTHER = "auto", "lineage", "genetic"


def with_algorithm(config: SearchConfig) -> SearchConfig:
    """Return the config with the algorithm "auto" replaced by a name.

    In a time budget random search trains its networks on as `lineage` does, so that the two differ
    in where networks come from alone; that it does is written out too.
    """
    section, training = config.algorithm, config.training
    if section.name == AUTO:
        name = PLANNED if _can_be_planned(config) else OTHER
        section = section.model_copy(update={"name": name})
    is_left_open = "inherit_weights" not in training.model_fields_set
    if section.name == "random" and is_left_open and _can_be_planned(config):
        training = training.model_copy(update={"inherit_weights": True})
    return config.model_copy(update={"algorithm": section, "training": training})


def _can_be_planned(config: SearchConfig) -> bool:
    """Tell whether a time budget may be shared out as a plan has it: nothing set says otherwise."""
    section, training = config.algorithm, config.training
    own = section.model_extra or {}
    known = registry.options_of(registry.resolve("algorithms", PLANNED))
    return (
        config.budget.time is not None
        and len(config.objectives.names) == 1
        and training.epochs is None
        and training.seconds is None
        and config.finish.networks != 0
        and section.rungs == 1
        and not section.matings
        and set(own) <= set(known)
        and config.predictor.mode == "filter"
    )


def follows_plan(run: Resolved) -> bool:
    """Tell whether the networks of a search are trained on, stretch by stretch, as a plan says."""
    kind, config = run.algorithm_type.plans, run.config
    draws_on = config.training.inherit_weights and config.budget.time is not None
    return kind == "lines" or (kind == "drawn" and draws_on and config.algorithm.rungs == 1)


def check(run: Resolved) -> None:
    """Raise ConfigError for settings that contradict the algorithm."""
    if not registry.known("algorithms", run.config.algorithm.name):
        return
    config, name = run.config, run.config.algorithm.name
    problems: list[str] = []
    most = run.algorithm_type.objectives
    if most is not None and len(config.objectives.names) > most:
        problems.append(
            f"algorithm.name: '{name}' searches for {most} objective, got "
            f"{list(config.objectives.names)}; use 'nsga2' for several."
        )
    if follows_plan(run) and config.training.seconds is not None:
        problems.append(
            f"training.seconds: expected none with algorithm.name = '{name}', whose plan says how "
            f"long networks are trained, got {config.training.seconds:g} s; leave it out, or use "
            "'genetic'."
        )
    section = config.algorithm
    for option, group in {"mating": "matings", "method": "prunings"}.items():
        own = run.algorithm_type.own_operators(group, section.options)
        table = getattr(section, group)
        if option in section.options and own not in ({}, table):
            problems.append(
                f"algorithm.{option}: expected none beside [algorithm.{group}], which names "
                f"{', '.join(table)}, got '{section.options[option]}'; leave one of them out."
            )
    if section.options.get("first_epochs") == 0:
        problems += _untrained(run)
    if problems:
        raise ConfigError(problems)


def _untrained(run: Resolved) -> list[str]:
    """Return a sentence where a network is to be taken as it is, but has no weights worth that."""
    try:
        origin = run.origin
    except NasgenError:  # which is said where it is read
        return []
    if origin is not None and origin.refs:
        return []
    network, note = run.config.origin.network, "" if origin is None else origin.note
    if issubclass(run.algorithm_type, Prune):
        # Pruning at initialisation is a method, but nobody prunes what is not trained at all, nor
        # takes random weights for the ones that a run has lost.
        what = "the first network,"
        if run.config.algorithm.options.get("epochs") != 0 and not note:
            return []
    elif issubclass(run.algorithm_type, Synthesis):
        what = "the ancestor, the network"
    else:
        return []
    what += " that the search space draws" if network is None else f" '{network}'"
    why = f" ({note.rstrip('.')})" if note else ""
    return [
        f"algorithm.first_epochs: expected a number above 0, because {what}, has no trained "
        f"weights, got 0{why}. Leave it out, or let origin.network name RUN or RUN:TRIAL, whose "
        "weights are kept."
    ]


def plan_of(
    run: Resolved,
    record: Mapping[str, Any],
    leg: Mapping[str, Any],
    n_train: int,
    workers: int,
    time_s: float | None,
    speed: Speed | None = None,
    designed: bool = False,
) -> Plan | None:
    """Return the plan of the segment `leg` of a run; None where its algorithm follows none.

    `time_s` are its seconds: all of them where `speed` says how many are gone, else those that are
    left; None without a limit. `designed`: its first networks are designs of the space. A run that
    began without a plan goes on without one.
    """
    first = record["legs"][0]
    began = (first.get("plan") or {}).get("strategy") in FOLLOWED
    if not follows_plan(run) or not (leg is first or began):
        return None
    config, n_trials = run.config, leg["trials"]
    return planned(
        time_s,
        n_train,
        workers,
        speed,
        threads=config.execution.threads_per_trial,
        breeds=run.algorithm_type.plans == "lines",
        has_lines=leg is not first,
        designed=designed,
        n_trials=None if n_trials is None else n_trials - n_baselines(config, n_trials),
        first=config.algorithm.population,
        finalists=config.finish.networks,
        finish_share=config.finish.share,
        baselines=n_baselines(config, n_trials),
        epochs=search_fidelity(config, n_train).epochs or 1.0,
        finish_epochs=finish_fidelity(config, n_train, timed=False).epochs or 4.0,
        most_epochs=(
            search_fidelity(config, n_train).epochs or math.inf,
            finish_fidelity(config, n_train, timed=True).epochs or math.inf,
        ),
    )
