"""Checks every member of a plug-in file; `nasgen check my_ops.py` prints the findings."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from nasgen import registry
from nasgen.errors import FOREIGN, IncompatibleError
from nasgen.registry.plugins import Scope
from nasgen.testing.base import Outcome, examine, told

NO_CASE = "there was no case to check, so nothing is known about it."
N_CASES = 100  # of an operator, in the default space

# Group -> the module whose `check(group, name)` applies the family's rules.
SUITES = {
    "genotypes": "nasgen.testing.genotypes",
    "mutations": "nasgen.testing.operators",
    "morphisms": "nasgen.testing.operators",
    "crossovers": "nasgen.testing.operators",
    "matings": "nasgen.testing.matings",
    "prunings": "nasgen.testing.prunings",
    "environments": "nasgen.testing.environments",
    "ensembles": "nasgen.testing.ensembles",
    "search_spaces": "nasgen.testing.search_spaces",
    "layers": "nasgen.testing.layers",
    "objectives": "nasgen.testing.objectives",
    "scores": "nasgen.testing.scores",
    "datasets": "nasgen.testing.datasets",
    "predictors": "nasgen.testing.predictors",
    "feeds": "nasgen.testing.feeds",
    "tasks": "nasgen.testing.tasks",
}


@dataclass(frozen=True)
class Finding:
    """The verdict on one member.

    `n_checked` counts the cases that were tried. `message` holds the first counter-example of each
    broken rule, or a remark on a member that is fine, or nothing.
    """

    group: str
    name: str
    ok: bool
    n_checked: int
    message: str = ""

    @property
    def verdict(self) -> str:
        """The word that `nasgen check` prints; what was not checked is not fine."""
        if self.ok:
            return "fine"
        return "not checked" if self.message.startswith(NO_CASE) else "BROKEN"

    def to_json(self) -> dict[str, Any]:
        """Return the line that `nasgen check --json` prints."""
        return asdict(self)


def check_file(path: str | Path, n: int = N_CASES) -> list[Finding]:
    """Load a plug-in file and check what it registers, in the order of the groups.

    Operators are tried on `n` parents and on n / 2 of a narrow space.
    Raises NasgenError when the file cannot be loaded or registers nothing.
    """
    scope = Scope([path]).load()
    if not scope.members:
        raise IncompatibleError(
            f"plug-in {path}: expected at least one member, it registers none; put a decorator "
            'such as @nasgen.mutation("my-name") above a function.'
        )
    with scope.active():
        return [
            check_member(group, name, n) for group, own in scope.members.items() for name in own
        ]


def check_member(group: str, name: str, n: int = N_CASES) -> Finding:
    """Check one registered member, built-in or not; UnknownNameError for a name nobody knows."""
    origin = registry.get(group, name).origin
    try:
        outcome = _suite(group)(group, name, **({"n": n} if group in registry.PARENTS else {}))
    except FOREIGN as error:
        # A member may fail before its first case, such as a class that cannot be constructed.
        outcome = Outcome(problems=(told(error, origin),))
    if not outcome.problems and not outcome.n_checked:
        outcome += Outcome(problems=(" ".join((NO_CASE, *outcome.notes)),))
    texts = outcome.problems or outcome.notes
    return Finding(group, name, not outcome.problems, outcome.n_checked, "\n".join(texts))


def _suite(group: str) -> Callable[..., Outcome]:
    if group not in SUITES:
        return _resolves
    module = importlib.import_module(SUITES[group])
    return cast(Callable[..., Outcome], module.check)


def _resolves(group: str, name: str) -> Outcome:
    """Groups without a suite: the member can be found."""

    def rule() -> Any:
        registry.resolve(group, name)
        yield ""

    return examine(rule())
