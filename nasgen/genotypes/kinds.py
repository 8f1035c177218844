"""Which kinds of genotypes there are: read from JSON, accepted by operators and feature sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasgen import registry
from nasgen.errors import FOREIGN, IllegalGenotypeError, IncompatibleError, NasgenError, suggest
from nasgen.genotypes.base import Genotype
from nasgen.registry import plugins


def read(data: Any) -> Genotype:
    """Return the genotype of JSON data, by its "kind".

    Raises IllegalGenotypeError for an unknown kind, which names the known ones, and for data that
    are no genotype of their kind.
    """
    kind = data.get("kind") if isinstance(data, Mapping) else None
    known = registry.names("genotypes")
    if kind not in known:
        got = f"'{kind}'" if isinstance(kind, str) else f"{kind!r} in {type(data).__name__} data"
        near = suggest(kind, known) if isinstance(kind, str) else "."
        raise IllegalGenotypeError(
            f"expected a genotype whose 'kind' is one of {', '.join(known)}, got {got}{near} A "
            "kind that a plug-in brings is known where the plug-in is named (--plugin)."
        )
    try:
        found: Genotype = registry.resolve("genotypes", kind).from_json(data)
    except (NasgenError, MemoryError):
        raise
    except FOREIGN as error:
        raise IllegalGenotypeError(
            f"expected the JSON of a genotype of the kind '{kind}', but reading it raised "
            f"{type(error).__name__}: {error}."
        ) from error
    return found


def accepted(entry: registry.Entry) -> type[Genotype]:
    """Return the type of genotypes that an operator or feature set works on.

    `accepts` of its entry is a type, the name of a kind, or "package.module:Type"; "" means graphs
    (`Dag`). Raises UnknownNameError for an unknown kind, IncompatibleError for what is no type of
    genotypes.
    """
    found: Any = entry.accepts or "dag"
    if isinstance(found, str):
        # A path is the operator's own, from code that runs already; a config cannot set it.
        is_path = ":" in found
        found = plugins.imported(found) if is_path else registry.resolve("genotypes", found)
    if not isinstance(found, type) or not issubclass(found, Genotype):
        raise IncompatibleError(
            f"'{entry.name}': accepts must be a subclass of nasgen.Genotype or the name of a kind "
            f"({', '.join(registry.names('genotypes'))}), got {entry.accepts!r}."
        )
    return found


def reads(wanted: type[Genotype], own: type[Genotype]) -> bool:
    """Tell whether what reads genotypes of the type `wanted` reads those of the type `own`."""
    return issubclass(own, wanted)


def varies(wanted: type[Genotype], own: type[Genotype]) -> bool:
    """Tell whether an operator on genotypes of the type `wanted` keeps to the type `own`.

    It does on its own type and on subclasses, unless one of these restricts what it inherits from.
    What accepts every `Genotype` cannot edit any, so it fits all.
    """
    if not issubclass(own, wanted):
        return False
    between = own.__mro__[: own.__mro__.index(wanted)]
    return wanted is Genotype or not any(vars(kind).get("is_restricted") for kind in between)
