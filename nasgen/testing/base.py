"""What the contract suites share: a rule answers case by case, and its first wrong answer counts.

A rule is a generator function of a member's name. For each case that it tries it yields "" when the
member did well, else one sentence: expected, got, in which case.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar

from nasgen import registry
from nasgen.errors import FOREIGN, NasgenError
from nasgen.layers.base import Shape
from nasgen.operators.conformance import shapes_of
from nasgen.registry.plugins import Scope
from nasgen.search_spaces.base import SearchSpace

Rule = Callable[[str], Iterator[str]]

# How the author of a plug-in gives the suites something to read.
NAME_DATA = (
    "in the same file, with something small to read: "
    '@nasgen.dataset("mine", options={"example": "what follows the colon"}).'
)

# (C, H, W) of the images that everything must work for: grey and colour, tiny to 64 x 64, a size
# that does not halve well, and a map that is no square.
SHAPES = (
    *((c, side, side) for c, side in product((1, 3), (8, 16, 28, 32, 64))),
    (3, 12, 20),
)


def every_shape(space: SearchSpace) -> tuple[Shape, ...]:
    """Return input shapes that a space must work for: `SHAPES` where it reads images."""
    others = [shape for shape in shapes_of(space) if len(shape) != 3]
    return (*others, *(SHAPES if not space.ranks or 3 in space.ranks else ()))


@dataclass(frozen=True)
class Outcome:
    """How many cases were tried; the first counter-example of each broken rule; remarks."""

    n_checked: int = 0
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.n_checked + other.n_checked,
            self.problems + other.problems,
            self.notes + other.notes,
        )


def examine(cases: Iterator[str], origin: str = "") -> Outcome:
    """Run a rule to its first wrong answer.

    What the member raises is a wrong answer too, given with the last line in the file `origin`.
    """
    n_checked = 0
    try:
        for answer in cases:
            n_checked += 1
            if answer:
                return Outcome(n_checked, (answer,))
    except FOREIGN as error:
        return Outcome(n_checked + 1, (told(error, origin),))
    return Outcome(n_checked)


def examine_all(rules: Iterable[Rule], group: str, name: str) -> Outcome:
    """Run every rule on one member."""
    origin = registry.get(group, name).origin
    return sum((examine(rule(name), origin) for rule in rules), Outcome())


def told(error: BaseException, origin: str) -> str:
    """Return an error as a sentence, with the last line in `origin` that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    cause: BaseException | None = error.__cause__
    while cause is not None:
        frames += traceback.extract_tb(cause.__traceback__)
        cause = cause.__cause__
    own = [frame for frame in frames if frame.filename == origin]
    where = f" (line {own[-1].lineno} of {origin})" if own else ""
    if isinstance(error, NasgenError):
        return f"{error}{where}"
    return f"raised {type(error).__name__}: {error}{where}."


class Contract:
    """A suite about one registered member.

    `name` is the member's; `file`, if given, is a plug-in file to load first, relative to where
    pytest was started.
    """

    group: ClassVar[str]
    name: str
    file: ClassVar[str | Path | None] = None

    def holds(self, rule: Rule) -> None:
        """Fail with the rule's first counter-example, or when it found no case to try."""
        __tracebackhide__ = True  # pytest then shows the test, not this helper
        with self.scope().active():
            outcome = examine(rule(self.name), registry.get(self.group, self.name).origin)
        verify(outcome, f"{self.group} '{self.name}'")

    def scope(self) -> Scope:
        """Return the plug-ins of `file`, loaded."""
        return Scope([] if self.file is None else [self.file]).load()


def verify(outcome: Outcome, who: str) -> None:
    """Raise AssertionError unless something was checked and nothing was wrong."""
    __tracebackhide__ = True
    if outcome.problems:
        raise AssertionError(f"{who}: {' '.join(outcome.problems)}")
    if not outcome.n_checked:
        raise AssertionError(f"{who}: there was no case to check; {' '.join(outcome.notes)}")
