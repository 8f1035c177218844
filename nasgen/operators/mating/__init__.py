"""Matings: functions of (parents, space, rng) that mix the weights of m parents."""

from nasgen.registry import Entry

ENTRIES: tuple[Entry, ...] = ()
