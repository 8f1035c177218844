"""Matings: functions of (parents, space, rng) that mix the weights of m parents.

No search uses this group yet; `nasgen check` tests its members.
"""

from nasgen.registry import Entry

ENTRIES: tuple[Entry, ...] = ()
