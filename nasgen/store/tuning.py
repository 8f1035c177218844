"""Optuna searches for settings: a sampler proposes them, a function of ours scores them.

The room knows nothing about what is tuned; who tunes says how a setting is drawn and what it is
worth. With `storage` the study is kept, so that an interrupted tuning goes on and
`optuna-dashboard` shows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from nasgen.errors import ConfigError, EvaluationError, StoreError
from nasgen.store.places import sqlite_url
from nasgen.store.quiet import quiet

Value = str | int | float | bool | None
DIRECTIONS: Final = ("maximize", "minimize")
N_UNPRUNED: Final = 4  # trials that run to their end before one may be stopped


class Draw(Protocol):
    """One trial of the tuning, as the function that scores it sees it. Ranges are inclusive."""

    def suggest_float(self, name: str, low: float, high: float, log: bool = False) -> float:
        """Return a number; `log` draws its order of magnitude."""

    def suggest_int(self, name: str, low: int, high: int, log: bool = False) -> int:
        """Return a whole number."""

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Any:
        """Return one of the choices."""

    def report(self, value: float, step: int) -> None:
        """Note what the score is so far, after `step` steps."""

    def prune(self) -> None:
        """End the trial here, by an exception, if it is worse than most were at this step."""


@dataclass(frozen=True)
class Best:
    """The best settings found, what they scored, and how many trials were completed for it."""

    params: Mapping[str, Any]
    value: float
    n_trials: int


class _Draw:
    """An Optuna trial behind the protocol."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def suggest_float(self, name: str, low: float, high: float, log: bool = False) -> float:
        return self.trial.suggest_float(name, low, high, log=log)

    def suggest_int(self, name: str, low: int, high: int, log: bool = False) -> int:
        return self.trial.suggest_int(name, low, high, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Any:
        return self.trial.suggest_categorical(name, list(choices))

    def report(self, value: float, step: int) -> None:
        self.trial.report(value, step)

    def prune(self) -> None:
        if self.trial.should_prune():
            raise optuna.TrialPruned


@quiet()
def optimise(
    suggest_and_score: Callable[[Draw], float],
    *,
    n_trials: int,
    seed: int,
    direction: str,
    storage: Path | None = None,
    study_name: str | None = None,
    first: Sequence[Mapping[str, Value]] = (),
) -> Best:
    """Score settings `n_trials` times and return the best; TPE proposes them (Bergstra 2011).

    `suggest_and_score` draws settings from its argument and returns their score; a score that is
    not finite counts as failed, and an exception ends the tuning. `direction` is "maximize" or
    "minimize". `storage` is a SQLite file, or None for memory; of a study that is there already
    only the missing trials are run. `first` are settings to try before any are drawn, such as
    those in use. Raises ConfigError, StoreError, and EvaluationError when no trial has a score.
    """
    if direction not in DIRECTIONS:
        raise ConfigError(f"direction: expected one of {', '.join(DIRECTIONS)}, got '{direction}'.")
    if n_trials < 1:
        raise ConfigError(f"trials: expected at least 1, got {n_trials}.")

    def objective(trial: optuna.Trial) -> float:
        return suggest_and_score(cast(Draw, _Draw(trial)))

    try:
        study = optuna.create_study(
            storage=None if storage is None else sqlite_url(storage),
            study_name=study_name,
            direction=StudyDirection[direction.upper()],
            pruner=optuna.pruners.MedianPruner(n_startup_trials=N_UNPRUNED),
            load_if_exists=storage is not None,
        )
        n_there = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
        # Not the same draws again when a study goes on.
        drawn = np.random.SeedSequence([seed, n_there]).generate_state(1)
        study.sampler = optuna.samplers.TPESampler(seed=int(drawn[0]))
        for settings in first:
            study.enqueue_trial(dict(settings), skip_if_exists=True)
        if n_trials > n_there:
            study.optimize(objective, n_trials=n_trials - n_there)
        trials = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise StoreError(f"the study {storage} cannot be used: {reason}.") from error
    scored = [t for t in trials if t.value is not None and math.isfinite(t.value)]
    if not scored:
        raise EvaluationError(
            f"none of the {n_trials} trials of the tuning gave a finite score; look at the first "
            "failure, and see whether the ranges hold settings that work."
        )
    sign = 1 if direction == "maximize" else -1
    best = max(scored, key=lambda t: sign * cast(float, t.value))
    return Best(dict(best.params), float(cast(float, best.value)), len(scored))
