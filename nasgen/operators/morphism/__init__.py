"""Morphisms: mutations that preserve the function of the network."""

from nasgen.registry import Entry

ENTRIES: tuple[Entry, ...] = ()
