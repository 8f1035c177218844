"""Pruners stop trainings that promise little. (Pruning of weights is an operator: `prunings`.)"""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "median",
        "nasgen.store.shadow:Median",
        "stops what is below the median of others at the same epoch: the first choice",
        reference="Golovin 2017",
    ),
    Entry(
        "percentile",
        "nasgen.store.shadow:Percentile",
        "stops what is outside the best `percentile` per cent at the same epoch",
        reference="Golovin 2017",
    ),
    Entry(
        "successive-halving",
        "nasgen.store.shadow:SuccessiveHalving",
        "lets the best 1/reduction_factor go on at epochs that grow by that factor",
        reference="Li 2020",
    ),
    Entry(
        "hyperband",
        "nasgen.store.shadow:Hyperband",
        "successive halving that begins at several epochs, a bracket each",
        reference="Li 2018",
    ),
    Entry(
        "patient",
        "nasgen.store.shadow:Patient",
        "stops what stays below its own best for `patience` evaluations, and below the median",
        reference="Prechelt 1998",
    ),
    Entry(
        "threshold",
        "nasgen.store.shadow:Threshold",
        "stops what is below `lower` or above `upper`, such as the accuracy of chance",
    ),
    Entry(
        "curve",
        "nasgen.predictors.curve:Curves",
        "stops what is unlikely to become one of the best, by regression on learning curves",
        reference="Baker 2017",
    ),
)
