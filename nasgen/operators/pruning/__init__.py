"""Prunings: functions that take synapses away, run where the weights are; see `base`."""

from nasgen.registry import Entry

_HERE = "nasgen.operators.pruning"
_STIER = "Stier 2021, section 4.1"

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "magnitude",
        f"{_HERE}.magnitude:magnitude",
        "the largest weights of the network stay",
        reference=_STIER,
        scope="network",
        options={"draws": False},
    ),
    Entry(
        "random",
        f"{_HERE}.random:random",
        "synapses drawn at random stay, of every tensor the same share",
        reference=_STIER,
    ),
)
