"""Crossovers: functions of (first, second, space, rng) that return one or two children."""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "subgraph",
        "nasgen.operators.crossover.subgraph:subgraph",
        "the head of one parent and the tail of the other, cut where one vertex carries all paths",
        reference="after Stier 2021, section 4.4",
        accepts="dag",
    ),
    Entry(
        "uniform",
        "nasgen.operators.crossover.uniform:uniform",
        "every edge of a cell from either parent",
        reference="Syswerda 1989",
        accepts="cell",
    ),
)
