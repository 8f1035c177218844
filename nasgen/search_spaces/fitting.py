"""Which operators fit a search space: by the type of its genotypes, and by what they ask it for."""

from __future__ import annotations

from typing import Any

from nasgen.errors import IncompatibleError
from nasgen.genotypes.kinds import accepted, varies
from nasgen.registry import Entry, plugins
from nasgen.search_spaces.base import SearchSpace


def needed(operator: Entry) -> type[SearchSpace]:
    """Return the type of search space that an operator needs; `SearchSpace` itself: any.

    Raises UnknownNameError or IncompatibleError where its entry names no such type.
    """
    found: Any = operator.space or SearchSpace
    if isinstance(found, str):
        found = plugins.imported(found, f"'{operator.name}': space")
    if not isinstance(found, type) or not issubclass(found, SearchSpace):
        raise IncompatibleError(
            f"'{operator.name}': space must be a subclass of nasgen.SearchSpace, or "
            f"'package.module:Type', got {operator.space!r}."
        )
    return found


def fits(operator: Entry, space: type[SearchSpace]) -> bool:
    """Tell whether an operator works on the genotypes of a search space and gets what it asks."""
    if not varies(accepted(operator), space.genotype) or not issubclass(space, needed(operator)):
        return False
    return space.varied or is_asked_for(operator)


def is_asked_for(operator: Entry) -> bool:
    """Tell whether an operator names a space, or changes weights and no graph."""
    return needed(operator) is not SearchSpace or operator.runs_in == "worker"


def misfit(operator: Entry, space: type[SearchSpace]) -> str:
    """Return why an operator does not fit a search space, to follow the operator's name."""
    if not varies(accepted(operator), space.genotype):
        return f"does not work on the {space.genotype.kind} genotypes of"
    wanted = needed(operator)
    if issubclass(space, wanted):
        return "names no space, and only drawn networks belong to"
    return f"asks a space for what {wanted.__module__}.{wanted.__qualname__} offers, unlike"
