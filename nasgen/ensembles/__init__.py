"""Combining trained networks: who takes part, with which weight."""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "greedy",
        "nasgen.ensembles.greedy:select",
        "adds the network that improves the ensemble on validation rows most, with replacement",
        reference="Caruana 2004",
    ),
    Entry("average", "nasgen.ensembles.average:select", "every candidate with equal weight"),
)
