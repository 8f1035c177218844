"""Prunings: functions of (parent, space, rng) that take synapses, clusters or vertices away.

No search uses this group yet; `nasgen check` tests its members.
"""

from nasgen.registry import Entry

ENTRIES: tuple[Entry, ...] = ()
