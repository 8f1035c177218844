"""The contract of a part of the campaign `inputs`, and the parts by name."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tests.campaigns.damage import Rng

Act = Callable[[], Any]


class Part(ABC):
    """One format. `folder` is its own and empty; seeds are written there when it is made."""

    name: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Write what inputs are made of, and see that it is accepted undamaged."""

    @abstractmethod
    def draw(self, rng: Rng) -> Act:
        """Make an input and return what reads it, as a user's command would."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Release what is held."""


def generator(part: str, batch: int, number: int) -> Rng:
    """Return the generator of one input, which can be made again without the others."""
    return np.random.default_rng([zlib.crc32(part.encode()), batch, number])


def members() -> dict[str, type[Part]]:
    """Return all parts by name."""
    from tests.campaigns import files, folders, messages, networks, returned

    parts: tuple[type[Part], ...] = (
        files.Csv, files.Npz, files.Idx, files.Images, folders.Config, folders.RunFiles,
        folders.LedgerBits, networks.GenotypeFile, networks.Tensors, networks.Plans,
        returned.Objectives, returned.Mutations, returned.Layers, returned.Data,
        messages.Lines, messages.Results,
    )  # fmt: skip
    return {part.name: part for part in parts}


@contextmanager
def made(name: str, folder: Path) -> Iterator[Part]:
    """Make a part in a folder of its own."""
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    part = members()[name](own)
    try:
        yield part
    finally:
        part.close()
