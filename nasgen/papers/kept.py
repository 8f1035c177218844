"""Tables of networks that come with nasgen, so that they can be studied without training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nasgen.bench import labels
from nasgen.errors import ConfigError
from nasgen.papers import PRESETS

# Reproduction -> table that takes the place of the usual one as soon as it has enough networks.
LARGER: Final[Mapping[str, str]] = {"stier2021-nas": "stier2021-space"}
ENOUGH: Final = 1000  # networks


@dataclass(frozen=True)
class Kept:
    """A table of a reproduction: `n` networks, `said` is which they are, in words."""

    file: Path
    n: int
    said: str


def larger(name: str) -> Kept | None:
    """Return the table of the paper's own space; None where there is none, or none yet."""
    file = PRESETS / f"{LARGER.get(name, '')}.csv.gz"
    if name not in LARGER or not file.is_file():
        return None
    n = labels.n_rows(file)
    return Kept(file, n, f"{n:,} networks of the paper's space, {file.name}")


def table(name: str) -> Kept:
    """Return the table that is used; ConfigError when none has been kept.

    That is the one of the paper's own space where it has `ENOUGH` networks.
    """
    other = larger(name)
    if other is not None and other.n >= ENOUGH:
        return other
    file = PRESETS / f"{name}.csv.gz"
    if not file.is_file():
        raise ConfigError(
            f"no table of '{name}' is kept with nasgen; `nasgen reproduce {name}` makes one: name "
            "the file that it writes."
        )
    n = labels.n_rows(file)
    said = f"{n:,} networks, {file.name}"
    if other is not None:
        said += (
            f", whose vertices were drawn with nasgen's own frequencies; {other.file.name} of the "
            f"paper's space has {other.n:,} and is used from {ENOUGH:,} on"
        )
    return Kept(file, n, said)
