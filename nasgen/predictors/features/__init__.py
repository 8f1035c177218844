"""Feature sets: how a genotype becomes a row of numbers for a predictor.

One that requires "data" is made with a worker's context, one that requires "facts" with the search
space and what is known of the run (`Facts`), one that requires "space" with the search space alone,
all others without arguments.
"""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "structural",
        "nasgen.predictors.features.structural:Structural",
        "counts, depth, stages, widths, kernels and size, read from the graph alone",
        reference="after Stier 2021, section 4.4",
    ),
    Entry(
        "network",
        "nasgen.predictors.features.network:NetworkFeatures",
        "cost, layers at each resolution and widths on the data at hand, and the images shown",
        reference="after Stier 2021, section 4.4; Kadlecova 2024",
        requires=("facts",),
    ),
    Entry(
        "paths",
        "nasgen.predictors.features.paths:Paths",
        "what lies on the paths from input to output, by the labels that the space draws",
        reference="White 2021a; Kadlecova 2024",
        accepts="nasgen.genotypes:Genotype",
        requires=("space",),
    ),
    Entry(
        "path-hashes",
        "nasgen.predictors.features.path_hashes:PathHashes",
        "which labelled paths there are, each counted in the place that its hash names",
        reference="White 2021a; Weinberger 2009",
        accepts="nasgen.genotypes:Genotype",
    ),
    Entry(
        "stier2021",
        "nasgen.predictors.features.stier2021:Stier2021",
        "the paper's 56: layer masses, path lengths by operation, centralities of the graph",
        reference="Stier 2021, section 4.4",
        accepts="dag",
    ),
    Entry(
        "random-graph",
        "nasgen.predictors.features.random_graph:RandomGraph",
        "the 23 properties of the graph of a recurrent network's units: size, paths, centralities",
        reference="Stier 2021, section 4.3",
        accepts="recurrent",
    ),
    Entry(
        "random-graph-directed",
        "nasgen.predictors.features.random_graph:RandomGraphDirected",
        "paths, degrees and centralities of that graph with edges followed in their direction",
        reference="after Stier 2021, section 4.3",
        accepts="recurrent",
    ),
    Entry(
        "random-graph-mlp",
        "nasgen.predictors.features.random_graph:RandomGraphDense",
        "those 23 of the graph whose vertices are dense layers",
        reference="after Stier 2021, section 4.3",
        accepts="dag",
    ),
    Entry(
        "nasbench201",
        "nasgen.predictors.features.cells:NasBench201Features",
        "operations on the paths through the cell: most, least, and ways with these alone",
        reference="Kadlecova 2024",
        accepts="cell",
    ),
    Entry(
        "nasbench-macro",
        "nasgen.predictors.features.cells:NasBenchMacroFeatures",
        "which blocks stand where in each stage",
        accepts="cell",
    ),
    Entry(
        "zero-cost",
        "nasgen.evaluation.zero_cost:ZeroCost",
        "the usual scores of the untrained network on one batch, see `nasgen list scores`",
        reference="Abdelfattah 2021",
        accepts="nasgen.genotypes:Genotype",
        requires=("data",),
    ),
)
