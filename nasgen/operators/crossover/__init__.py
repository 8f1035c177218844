"""Crossovers: functions of (first, second, space, rng) that return one or two children."""

from nasgen.operators.needs import CELLS, GRAPHS
from nasgen.registry import Entry

_HERE = "nasgen.operators.crossover"
_STIER = "Stier 2021, section 4.4"

ENTRIES = (
    Entry(
        "path",
        f"{_HERE}.path:path",
        "exchanges the longest unbranched chains of two parents",
        reference=_STIER,
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "bridge",
        f"{_HERE}.bridge:bridge",
        "exchanges the parts behind a bridge of each parent",
        reference=_STIER,
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "layer",
        f"{_HERE}.layer:layer",
        "matching layers get the average of both parents' channels",
        reference=_STIER,
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "subgraph",
        f"{_HERE}.subgraph:subgraph",
        "the head of one parent and the tail of the other, cut where one vertex carries all paths",
        reference="after Stier 2021, section 4.4",
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "uniform",
        "nasgen.operators.crossover.uniform:uniform",
        "every edge of a cell from either parent",
        reference="Syswerda 1989",
        accepts="cell",
        space=CELLS,
    ),
)
