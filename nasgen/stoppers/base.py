"""The contract of a stopper: it sees a training after each epoch, and finished ones beside it.

The job brings what to compare with, so a decision follows from the job alone: it is the same on
every worker, in whatever order others finish, and when a trial is asked for again after a crash.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nasgen import registry
from nasgen.errors import ConfigError
from nasgen.settings import options
from nasgen.settings.config import FORMER, Stopping

Direction = Literal["maximize", "minimize"]
Watch = Callable[[int, float], bool]  # (epoch, value), epochs ascending -> True: stop now


@dataclass(frozen=True)
class Curve:
    """How the first objective developed in one training: epoch (from 1) -> value.

    `final` is the value that the whole training reached, None if it was pruned. `seq` numbers
    trials.
    """

    seq: int
    values: Mapping[int, float]
    final: float | None = None

    def to_json(self) -> list[Any]:
        """Return [seq, [[epoch, value], ...], final]."""
        return [self.seq, [list(pair) for pair in self.values.items()], self.final]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Curve:
        """Return what `to_json` wrote."""
        seq, pairs, final = data
        return cls(int(seq), {int(epoch): float(value) for epoch, value in pairs}, final)


class Stopper(ABC):
    """Judges trainings. `direction` is "maximize" or "minimize", of the first objective.

    Further arguments of a constructor are options of [stopping]; wrong ones raise ConfigError.
    """

    def __init__(self, direction: Direction) -> None:
        self.direction = direction

    @abstractmethod
    def watch(self, seq: int, n_epochs: float, others: Sequence[Curve]) -> Watch:
        """Return the judge of one training, which ends after `n_epochs`.

        `others` have the same fidelity. The judge is called after epochs, in ascending order and
        with finite values, but not after the last epoch.
        """


def require(legal: bool, option: str, expected: str, got: Any) -> None:
    """Raise ConfigError for an option of [stopping] that is out of range."""
    if not legal:
        raise ConfigError(f"stopping.{option}: expected {expected}, got {got!r}.")


def stopper_of(section: Stopping, direction: Direction) -> Stopper | None:
    """Return the stopper that [stopping] describes, or None for "none"."""
    if section.stopper == "none":
        if section.options:
            raise ConfigError(
                f"'stopping.{name}' is an option of a stopper; name one, such as "
                "stopping.stopper = 'median'."
                if f"stopping.{name}" not in FORMER
                else f"'stopping.{name}' is no setting; did you mean 'stopping.stopper'?"
                for name in section.options
            )
        return None
    target = registry.resolve("stoppers", section.stopper)
    given = options.read(target, section.options, "stopping", section.stopper)
    made: Stopper = target(direction, **given)
    return made
