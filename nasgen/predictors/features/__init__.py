"""Feature sets: how a genotype becomes a row of numbers for a predictor."""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "structural",
        "nasgen.predictors.features.structural:Structural",
        "counts, depth, stages, widths, kernels and size, read from the graph alone",
        reference="Stier 2021, section 4.4",
    ),
)
