"""What a filter learns from a finished trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nasgen.genotypes import Genotype
from nasgen.predictors.filter import Filter
from nasgen.store.trial import Trial


def taught(
    screen: Filter,
    genotype: Genotype,
    trial: Trial,
    trials: Mapping[int, Trial],
    objective: str,
    batch: Callable[[int], int | None],
) -> None:
    """Tell a filter the objective of a completed search trial, which it predicts.

    The lowest rung has all candidates, so its labels are alike and not chosen: they teach what to
    breed. What climbed teaches who is to climb. `batch` says in which batch a generation is.
    """
    value, rung = trial.objectives[objective], trial.fidelity.rung
    if rung:
        before = trials[trial.parents[0]].objectives[objective]
        screen.climbed(trial.seq, genotype, rung - 1, before, value)
        return
    begin = trial.fidelity.stretch[0] if trial.fidelity.is_partial else None
    screen.observe(trial.seq, genotype, value, trial.train_s, batch(trial.generation), begin)
