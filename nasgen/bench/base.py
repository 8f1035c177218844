"""What a bench is: a space whose networks have known scores, and a known optimum."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Protocol

from nasgen.bench import synthetic, table
from nasgen.errors import UnknownNameError, suggest

NAMES: Final = (*table.NAMES, synthetic.NAME)


class Bench(Protocol):
    """A table, or a function of the graph. Scores are per cent, higher is better."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    @property
    def space(self) -> Mapping[str, Any]:
        """The [space] of a config that searches it."""

    @property
    def signals(self) -> Mapping[str, str]:
        """Column used as the score in a search -> column that is reported; the default first."""

    @property
    def n_networks(self) -> int | None:
        """How many different legal networks it knows; None: no search meets the end of them."""

    def signal(self, name: str | None) -> tuple[str, str]:
        """Return (searched, reported) columns, None: the first; ConfigError for an unknown one."""

    def accuracy(self, genotype: Any, column: str) -> float:
        """Return the score of a legal genotype; EvaluationError if it is not known."""

    def optimum(self, column: str) -> float:
        """Return the greatest score that there is."""


@cache
def find(name: str) -> Bench:
    """Return a bench by its name; raises UnknownNameError."""
    if name == synthetic.NAME:
        return synthetic.SyntheticDag()
    if name not in NAMES:
        raise UnknownNameError(
            f"bench '{name}' does not exist{suggest(name, NAMES)} Expected {', '.join(NAMES)}."
        )
    return table.load(name)
