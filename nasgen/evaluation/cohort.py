"""Relatives in joint training: one set of weights, one optimiser, one update at a time.

Painter 2018 (neuroevolution with shared parameters): instead of training ten children of the same
parents one after the other, train them in turns on the slices that they share. What is kept apart
and why:

- Every step is one network's update and decays the weights of that network once.
- Networks are visited in rounds, so that each has made equally many steps before they are ranked:
  shared weights suit the network that was trained last.
- Each network sees its own shuffled images and keeps its own batch norm statistics.
- At the end each network gets its own copy of its weights: nothing is shared on disk.

What ends one ends all, pruning excepted: when the loss of one member is no number any more, the
weights that it shares are spoiled for the others too, so all of them fail, with a reason that names
the culprit. Their parents keep their weights, and growth goes on from those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from nasgen.errors import EvaluationError, IncompatibleError
from nasgen.evaluation import optimizer_state
from nasgen.evaluation.evaluation import Evaluation
from nasgen.evaluation.new_parts import hasten
from nasgen.evaluation.optimizer_state import State
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.training import Trainee, make_optimizer
from nasgen.phenotype.network import Network
from nasgen.phenotype.shared import SUPPORT, SharedParameters
from nasgen.phenotype.support import Support


class Cohort:
    """Networks that share parameters, with the optimiser of all of them.

    `members` gives (network, optimiser state or {}) one at a time; the networks' own parameters are
    emptied, see `SharedParameters`. Members of a state "support" (bool tensors) are kept to it.
    """

    def __init__(self, members: Iterable[tuple[Network, State]], recipe: Recipe) -> None:
        self.shared = SharedParameters(members)
        self.optimizer = make_optimizer(self.shared, recipe)
        self.parameters: dict[str, Tensor] = dict(self.shared.named_parameters())
        masks = self.shared.companions.pop(SUPPORT, {})
        if masks:
            Support(self.parameters, masks).follow(self.optimizer)
        new = optimizer_state.write(self.optimizer, self.parameters, self.shared.companions)
        hasten(self.optimizer, new, recipe.new_rate)
        self.shared.companions.clear()  # the optimiser has copies

    @contextmanager
    def released(self, member: int) -> Iterator[State]:
        """Give a network its own copy of its weights inside, and yield its part of the moments."""
        of_blocks = optimizer_state.read(self.optimizer, self.parameters)
        with self.shared.released(member):
            yield {kind: self.shared.joined(member, of) for kind, of in of_blocks.items()}


def check_alike(jobs: Sequence[Mapping[str, Any]]) -> None:
    """Raise IncompatibleError unless the jobs of a cohort have the same fidelity and images."""
    for field in ("fidelity", "with_validation"):
        values = [job.get(field) for job in jobs]
        if any(value != values[0] for value in values):
            raise IncompatibleError(
                f"cohort of trial {jobs[0]['seq']}: expected the same '{field}' for all members, "
                f"got {values}; relatives that train together make equally many steps."
            )


def blame(error: BaseException, trials: Sequence[Evaluation], trainees: Sequence[Trainee]) -> None:
    """Fail all trials of a joint training that has ended with an error, and name who diverged."""
    culprits = [t.job["seq"] for t, of in zip(trials, trainees, strict=True) if of.history.diverged]
    for trial in trials:
        if culprits and trial.job["seq"] not in culprits:
            sentence = f"trial {culprits[0]}, which trains on the same weights, diverged: {error}"
            trial.fail(EvaluationError(sentence, "non-finite"))
        else:
            trial.fail(error)
