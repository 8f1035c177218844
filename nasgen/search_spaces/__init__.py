"""Search spaces: which genotypes are legal, how they are sampled and what they mean."""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "dag-cnn",
        "nasgen.search_spaces.dag_cnn:DagCnn",
        "convolutional networks of free topology: conv, pooling, sum, concat, skip",
        reference="Stier 2021, section 4.4",
        accepts="dag",
    ),
    Entry(
        "inception",
        "nasgen.search_spaces.inception:Inception",
        "stacked inception and residual blocks between reductions, made to be grown",
        reference="Szegedy 2015; Painter 2018",
        accepts="dag",
    ),
)
