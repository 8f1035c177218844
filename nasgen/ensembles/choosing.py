"""Chooses an ensemble of trained networks on the validation rows, and says what that is worth."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nasgen import registry
from nasgen.ensembles.base import Candidate, Candidates, EnsembleMethod, Limits, Mix
from nasgen.ensembles.mixing import Mixing
from nasgen.ensembles.trained import TrainedEnsemble, TrainedNetwork
from nasgen.errors import (
    FOREIGN,
    ConfigError,
    EvaluationError,
    IncompatibleError,
    NasgenError,
    StoreError,
)
from nasgen.settings import options
from nasgen.settings.ensemble import Ensemble

Say = Callable[[str], Any]
N_FOLDS = 5  # of cross-fitting


def method_of(section: Ensemble) -> EnsembleMethod:
    """Return the method that [ensemble] names, with its options; raises NasgenError."""
    target = registry.resolve("ensembles", section.name)
    given = options.read(target, section.options, "ensemble", section.name)
    try:
        made: Any = target(**given)
    except NasgenError:
        raise
    except FOREIGN as error:  # a plug-in's
        raise ConfigError(
            f"ensemble '{section.name}' cannot be made with the options {given}: "
            f"{type(error).__name__}: {error}."
        ) from error
    if not isinstance(made, EnsembleMethod):
        raise IncompatibleError(
            f"ensemble '{section.name}': expected a subclass of nasgen.EnsembleMethod, got "
            f"{type(made).__name__}; the documentation of nasgen.ensembles.base has an example."
        )
    return made


def choose(
    networks: Sequence[TrainedNetwork],
    section: Ensemble,
    left_out: Say = warnings.warn,
    cross_fit: bool = False,
    seed: int = 0,
) -> TrainedEnsemble:
    """Select an ensemble on the validation rows; `networks` are one or more, in any order.

    A method gets them in the order of what is asked for, `section.select`, best first. Networks
    whose tensors are damaged, or whose answers are not finite, are left out, and `left_out` gets a
    sentence about each. With `cross_fit` the ensemble's `cross_fitted` says what its method is
    worth on rows that it has not seen. `seed` is what methods draw from. Raises StoreError when
    none is left, ConfigError when none keeps the limits alone, or for wrong options, and
    IncompatibleError when the method breaks its contract.
    """
    method = method_of(section)
    Mixing(section.mean_of).check(networks[0].inference.task)
    while True:
        networks = [n for n in networks if _is_whole(n, lambda n: n.validation, left_out)]
        if not networks:
            raise StoreError(
                "no candidate of it can be read; `nasgen train RUN --out DIR` makes one."
            )
        candidates = _candidates(networks, section, left_out, seed)
        mix = asked(method, candidates, section.name)
        # Predictions may be there without weights: of the few that are chosen both are needed.
        chosen = [candidate.source for candidate, _ in mix]
        broken = [n for n in chosen if not _is_whole(n, TrainedNetwork.check, left_out)]
        if broken:
            networks = [n for n in networks if n not in broken]
            continue
        found = TrainedEnsemble(
            tuple(chosen), tuple(s for _, s in mix), candidates.mixing, section, seed=seed
        )
        if not cross_fit:
            return found
        return replace(found, cross_fitted=_cross_fitted(method, candidates, section.name))


def _candidates(
    networks: Sequence[TrainedNetwork], section: Ensemble, left_out: Say, seed: int
) -> Candidates:
    """Return what a method chooses from: networks that keep the limits alone, best first."""
    inference = networks[0].inference
    limits = Limits(section.size, section.max_params, section.max_latency_ms)
    found = [_candidate(network) for network in networks]
    fitting = tuple(member for member in found if limits.allow([member]))
    if not fitting:
        raise ConfigError(_too_large(found, limits))
    candidates = Candidates(
        fitting,
        inference.targets("validation"),
        inference.task,
        Mixing(section.mean_of),
        limits,
        section.select == "nll",
        section.rounds,
        seed,
        averaged=lambda found: _averaged(found, left_out),
    )
    return candidates.ranked()  # as those of cross-fitting are


def _candidate(network: TrainedNetwork) -> Candidate:
    n_params = network.trial.metrics.get("n_params") or 0
    return Candidate(network.validation, n_params, lambda: network.latency_ms, network)


def _averaged(found: Sequence[Candidate], left_out: Say) -> Candidate | None:
    """Return the mean of networks' weights as a candidate, None where that makes no sense."""
    first, *others = (candidate.source for candidate in found)
    if not all(first.is_relative(other) for other in others):
        return None
    try:
        return _candidate(first.averaged_with(others))
    except (StoreError, EvaluationError) as error:
        left_out(f"{others[-1].name} is not averaged with others: {error}")
        return None


def _too_large(found: Sequence[Candidate], limits: Limits) -> list[str]:
    """Return a sentence for each limit that no candidate keeps, or one if they fail together."""
    problems = []
    least = min(member.n_params for member in found)
    if limits.n_params is not None and least > limits.n_params:
        problems.append(
            f"ensemble.max_params: expected at least {least:.0f}, the parameters of the smallest "
            f"network that was kept, got {limits.n_params:.0f}."
        )
    if limits.latency_ms is not None:
        quickest = min(member.latency_ms for member in found)
        if quickest > limits.latency_ms:
            problems.append(
                f"ensemble.max_latency_ms: expected at least {quickest:.3g}, the milliseconds of "
                f"the quickest network that was kept, got {limits.latency_ms:g}."
            )
    return problems or ["ensemble: no network keeps max_params and max_latency_ms together."]


def asked(
    method: EnsembleMethod, candidates: Candidates, name: str
) -> list[tuple[Candidate, float]]:
    """Return what a method chose, each member once, the heaviest first.

    Raises IncompatibleError where it breaks its contract.
    """
    try:
        mix: Mix = method.choose(candidates)
    except NasgenError:
        raise
    except FOREIGN as error:  # a plug-in's
        raise IncompatibleError(
            f"ensemble '{name}' failed with {type(error).__name__}: {error}."
        ) from error
    problem, shares = _read(mix)
    if not problem and not candidates.limits.allow(list(shares)):
        problem = "members that keep the limits together"
    if problem:
        raise IncompatibleError(f"ensemble '{name}': expected {problem}, got {str(mix)[:100]}.")
    return sorted(shares.items(), key=lambda pair: -pair[1])


def _read(mix: Any) -> tuple[str, dict[Candidate, float]]:
    """Return what is wrong with a mix, "" for nothing, and the share above 0 of each member."""
    expected = "candidates with shares of at least 0 that sum to 1, [(candidate, share), ...]"
    shares: dict[Candidate, float] = {}
    try:
        for member, share in mix:
            if not isinstance(member, Candidate) or not float(share) >= 0:
                return expected, {}
            if share > 0:
                shares[member] = shares.get(member, 0.0) + float(share)
    except (TypeError, ValueError):
        return expected, {}
    return ("" if abs(sum(shares.values()) - 1) < 1e-6 else expected), shares


def _cross_fitted(method: EnsembleMethod, candidates: Candidates, name: str) -> dict[str, float]:
    """Return what the task measures on each fold, chosen on the other folds.

    The members are others than those of the ensemble, but it is the method that is measured. Empty
    where there are too few rows for folds.
    """
    folds = candidates.folds(N_FOLDS)
    if len(folds) < N_FOLDS or any(len(rows) < 2 for rows in folds):
        return {}
    task, targets = candidates.task, candidates.targets
    predictions: Any = None
    for rows in folds:
        others = np.setdiff1d(np.arange(len(targets)), rows)
        mix = asked(method, candidates.on(others).ranked(), name)
        members = [(candidate.source, share) for candidate, share in mix]
        found = candidates.mixing.combined(
            task, [m.predictions[rows] for m, _ in members], [share for _, share in members]
        )
        if predictions is None:
            predictions = np.empty((len(targets), *found.shape[1:]))
        predictions[rows] = found
    return task.measured(predictions, targets)


def _is_whole(
    network: TrainedNetwork, look: Callable[[TrainedNetwork], Any], left_out: Say
) -> bool:
    try:
        look(network)
    except (StoreError, EvaluationError) as error:
        left_out(f"{network.name} is left out: {error}")
        return False
    return True
