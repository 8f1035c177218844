"""Optuna's pruners on a shadow study: one objective, in memory, built for one training.

The ledger's own study will not do: Optuna's pruners refuse several objectives, and it changes
while trainings run. Here each training has a study with just the trials that its job names.
"""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import optuna
from optuna import pruners
from optuna.trial import TrialState, create_trial

from nasgen.stoppers.base import Curve, Direction, Stopper, Watch, require
from nasgen.store.quiet import quiet


class Shadow(Stopper):
    """A pruner of Optuna. `marks` tells that it writes marks on trials, so that others need too."""

    marks: ClassVar[bool] = False

    @abstractmethod
    def made(self, n_epochs: float) -> pruners.BasePruner:
        """Return Optuna's pruner for trainings of that length."""

    def watch(self, seq: int, n_epochs: float, others: Sequence[Curve]) -> Watch:
        begun: list[optuna.Trial] = []

        def stops(epoch: int, value: float) -> bool:
            if not begun:  # not before it is needed: many trainings end before the first look
                study = self._study(n_epochs, others)
                _fill(study, seq)
                begun.append(study.ask())
            begun[0].report(value, epoch)
            return bool(begun[0].should_prune())

        return stops

    @quiet()
    def _study(self, n_epochs: float, others: Sequence[Curve]) -> optuna.Study:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            pruner = self.made(n_epochs)
        study = optuna.create_study(
            study_name="nasgen", direction=self.direction, pruner=pruner
        )  # the name and the trials' numbers choose Hyperband's brackets
        for curve in sorted(others, key=lambda curve: curve.seq):
            _fill(study, curve.seq)
            if self.marks:
                trial = study.ask()
                for epoch, value in curve.values.items():
                    trial.report(value, epoch)
                    trial.should_prune()  # marks the rungs that it passed
                state = TrialState.PRUNED if curve.final is None else TrialState.COMPLETE
                study.tell(trial, curve.final, state)
            else:
                study.add_trial(_frozen(curve))
        return study


def _fill(study: optuna.Study, n: int) -> None:
    """Bring the study to `n` trials with some that are not read."""
    blank = create_trial(state=TrialState.FAIL)
    study.add_trials([blank] * (n - len(study.get_trials(deepcopy=False))))


def _frozen(curve: Curve) -> optuna.trial.FrozenTrial:
    return create_trial(
        state=TrialState.PRUNED if curve.final is None else TrialState.COMPLETE,
        value=curve.final,
        intermediate_values=dict(curve.values),
    )


class Percentile(Shadow):
    """Stops a training whose best value so far is outside the best `percentile` per cent.

    Compared with completed trainings at the same epoch, once there are `n_startup_trials` of them
    and `n_min_trials` have a value there.
    """

    def __init__(
        self,
        direction: Direction,
        percentile: float = 25.0,
        n_startup_trials: int = 5,
        n_min_trials: int = 1,
    ) -> None:
        super().__init__(direction)
        require(0 <= percentile <= 100, "percentile", "0 to 100", percentile)
        require(n_startup_trials >= 0, "n_startup_trials", "at least 0", n_startup_trials)
        require(n_min_trials >= 1, "n_min_trials", "at least 1", n_min_trials)
        self.percentile = percentile
        self.n_startup_trials, self.n_min_trials = n_startup_trials, n_min_trials

    def made(self, n_epochs: float) -> pruners.BasePruner:
        return pruners.PercentilePruner(
            self.percentile, self.n_startup_trials, n_min_trials=self.n_min_trials
        )


class Median(Percentile):
    """Stops a training whose best value so far is below the median of completed ones there."""

    def __init__(
        self, direction: Direction, n_startup_trials: int = 5, n_min_trials: int = 1
    ) -> None:
        super().__init__(direction, 50.0, n_startup_trials, n_min_trials)


class SuccessiveHalving(Shadow):
    """Asynchronous successive halving (Li 2020, "A System for Massively Parallel ...").

    After `min_resource` * `reduction_factor`**(k + `min_early_stopping_rate`) epochs, k from 0 on,
    the best 1 / `reduction_factor` of the trainings that came so far go on, and none before
    `bootstrap_count` of them came so far.
    """

    marks = True

    def __init__(
        self,
        direction: Direction,
        min_resource: int = 1,
        reduction_factor: int = 3,
        min_early_stopping_rate: int = 0,
        bootstrap_count: int = 0,
    ) -> None:
        super().__init__(direction)
        require(min_resource >= 1, "min_resource", "at least 1 epoch", min_resource)
        require(reduction_factor >= 2, "reduction_factor", "at least 2", reduction_factor)
        rate = min_early_stopping_rate
        require(rate >= 0, "min_early_stopping_rate", "at least 0", rate)
        require(bootstrap_count >= 0, "bootstrap_count", "at least 0", bootstrap_count)
        self.min_resource, self.reduction_factor = min_resource, reduction_factor
        self.min_early_stopping_rate, self.bootstrap_count = rate, bootstrap_count

    def made(self, n_epochs: float) -> pruners.BasePruner:
        return pruners.SuccessiveHalvingPruner(
            self.min_resource,
            self.reduction_factor,
            self.min_early_stopping_rate,
            self.bootstrap_count,
        )


class Hyperband(SuccessiveHalving):
    """Several brackets of successive halving; a trial's number decides which (Li 2018)."""

    def __init__(
        self,
        direction: Direction,
        min_resource: int = 1,
        reduction_factor: int = 3,
        bootstrap_count: int = 0,
    ) -> None:
        super().__init__(direction, min_resource, reduction_factor, 0, bootstrap_count)

    def made(self, n_epochs: float) -> pruners.BasePruner:
        return pruners.HyperbandPruner(
            self.min_resource,
            max(self.min_resource, math.ceil(n_epochs)),
            self.reduction_factor,
            self.bootstrap_count,
        )


class Patient(Shadow):
    """Stops what stays below its best by more than `min_delta` for over `patience` evaluations.

    With `wrapped` = "median" only if it is below the median too; "none" asks nothing else, which
    suits constant learning rates: under a one-cycle schedule values fall while the rate is high.
    """

    def __init__(
        self,
        direction: Direction,
        patience: int = 2,
        min_delta: float = 0.0,
        wrapped: Literal["median", "none"] = "median",
    ) -> None:
        super().__init__(direction)
        require(patience >= 0, "patience", "at least 0 evaluations", patience)
        require(0 <= min_delta < math.inf, "min_delta", "a number of at least 0", min_delta)
        self.patience, self.min_delta, self.wrapped = patience, min_delta, wrapped

    def made(self, n_epochs: float) -> pruners.BasePruner:
        inner = Median(self.direction).made(n_epochs) if self.wrapped == "median" else None
        return pruners.PatientPruner(inner, self.patience, self.min_delta)


class Threshold(Shadow):
    """Stops what leaves the range from `lower` to `upper`; at least one of them is given."""

    def __init__(
        self, direction: Direction, lower: float | None = None, upper: float | None = None
    ) -> None:
        super().__init__(direction)
        require(lower is not None or upper is not None, "lower", "a number, or upper", lower)
        legal = lower is None or upper is None or lower <= upper
        require(legal, "lower", f"at most upper = {upper}", lower)
        self.lower, self.upper = lower, upper

    def made(self, n_epochs: float) -> pruners.BasePruner:
        return pruners.ThresholdPruner(self.lower, self.upper)
