"""Search spaces: which genotypes are legal, how they are sampled and what they mean."""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "dag-cnn",
        "nasgen.search_spaces.dag_cnn:DagCnn",
        "convolutional networks of free topology: conv, pooling, sum, concat, skip",
        reference="Stier 2021, section 4.4",
    ),
    Entry(
        "inception",
        "nasgen.search_spaces.inception:Inception",
        "stacked inception and residual blocks between reductions, made to be grown",
        reference="Szegedy 2015; Painter 2018",
    ),
    Entry(
        "mlp",
        "nasgen.search_spaces.mlp:Mlp",
        "dense networks of free topology for tables and sequences: dense, sum, concat, skip",
    ),
    Entry(
        "recurrent",
        "nasgen.search_spaces.recurrent:RecurrentSpace",
        "recurrent networks for sequences: tanh, ReLU, GRU and LSTM layers, with skips",
        reference="Stier 2021, section 4.2",
    ),
    Entry(
        "random-graph-rnn",
        "nasgen.search_spaces.random_graph_rnn:RandomGraphRnn",
        "random graphs whose vertices are recurrent units: Barabasi-Albert, Watts-Strogatz",
        reference="Stier 2021, section 4.3",
    ),
    Entry(
        "random-graph-mlp",
        "nasgen.search_spaces.random_graph_mlp:RandomGraphMlp",
        "random graphs whose vertices are dense units, for rows of numbers and images",
        reference="Stier 2021, section 4.3",
    ),
    Entry(
        "nasbench201",
        "nasgen.search_spaces.nasbench201:NasBench201",
        "cells of four nodes and six edges; all accuracies are known (nasgen bench)",
        reference="Dong 2020",
    ),
    Entry(
        "nasbench-macro",
        "nasgen.search_spaces.nasbench_macro:NasBenchMacro",
        "eight blocks in a chain, three kinds each; all accuracies are known (nasgen bench)",
        reference="Su 2021",
    ),
)
