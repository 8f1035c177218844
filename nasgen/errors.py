"""Every error nasgen raises on purpose; each says what was expected, what came and what to do."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable
from typing import Final


class NasgenError(Exception):
    """Base of all errors a user can cause and mend. The command line prints it and exits with 2."""

    def __str__(self) -> str:
        # KeyError quotes its argument; a sentence must reach the user as it was written.
        return str(self.args[0]) if self.args else self.__class__.__name__


# What code of plug-ins may raise: an exit that it asks for is an error, and must not end nasgen.
FOREIGN: Final = (Exception, SystemExit)


class ConfigError(NasgenError, ValueError):
    """One or more settings are wrong; `problems` lists all of them, one sentence each."""

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: tuple[str, ...] = (
            (problems,) if isinstance(problems, str) else tuple(problems)
        )
        super().__init__("\n".join(self.problems))


class UnknownNameError(NasgenError, KeyError):
    """A name that no registry knows."""


class IncompatibleError(NasgenError, TypeError):
    """Two parts that cannot work together, such as an operator with the wrong signature."""


class ChangedError(NasgenError):
    """The code of a plug-in is no longer what it was when the run loaded it."""


class PlanError(IncompatibleError):
    """A heredity plan that is not understood, or that names a tag or a parent that is not there."""


class IllegalGenotypeError(NasgenError, ValueError):
    """A genotype that breaks a structural rule or a rule of its search space."""


class NotApplicable(NasgenError, ValueError):  # noqa: N818 - a refusal, part of the operator contract
    """Raised by an operator that has nothing to do on these parents; another one is then tried.

    `kind` groups refusals in the report. nasgen's operators say "no_place" (nothing to work on),
    "unchanged" (only the parents again), and of children that are illegal "cycle", "depth", "size",
    "output" (not exactly one vertex before it) or "illegal" (any other rule of the space).
    """

    def __init__(self, *args: object, kind: str = "not_applicable") -> None:
        self.kind = kind
        super().__init__(*args)


class OperatorError(NasgenError, RuntimeError):
    """An operator raised, or returned something its contract forbids."""


class EvaluationError(NasgenError, RuntimeError):
    """A trial could not be measured; `kind` groups failures in the report."""

    def __init__(self, message: str, kind: str = "error") -> None:
        self.kind = kind
        super().__init__(message)


class MissingExtraError(NasgenError, ImportError):
    """An optional package is needed and absent."""


class StoreError(NasgenError, OSError):
    """A run folder, ledger or artifact cannot be read or written."""


class DamagedError(StoreError):
    """A stored file holds something else than was written: it is as good as lost, the rest not."""


class DataError(NasgenError, ValueError):
    """A data set is missing, damaged or not what its source string promises."""


def suggest(name: str, valid: Iterable[str]) -> str:
    """Return a sentence's end: "; did you mean 'x'?" of the nearest valid name, "." of none."""
    near = difflib.get_close_matches(str(name), list(valid), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else "."


def typed(command: str, *words: object) -> str:
    """Return a command for people to type: typed("resume", "my run") is "`nasgen resume 'my run'`".

    Words are quoted where a shell needs that, so that a line may be copied as it is.
    """
    return f"`{shlex.join(['nasgen', command, *map(str, words)])}`"
