"""Prunings: functions of (parent, space, rng) that take synapses, clusters or vertices away."""

from nasgen.registry import Entry

ENTRIES: tuple[Entry, ...] = ()
