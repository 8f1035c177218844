"""How data of each form become batches that networks read.

An entry's option "space" names the search space of such data where a config names none, "graphs"
the one that makes networks of graphs whose vertices say nothing.
"""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "image",
        "nasgen.evaluation.feeds.image:ImageFeed",
        "maps (C, H, W): normalised by channel, shifted and mirrored in training",
        options={"space": "dag-cnn", "graphs": "random-graph-mlp"},
    ),
    Entry(
        "table",
        "nasgen.evaluation.feeds.table:TableFeed",
        "columns of numbers and texts: scaled, one-hot, missing values marked",
        options={"space": "mlp", "graphs": "random-graph-mlp"},
    ),
    Entry(
        "sequence",
        "nasgen.evaluation.feeds.sequence:SequenceFeed",
        "tokens or vectors of unequal length: padded batch by batch, with their lengths",
        options={"space": "recurrent", "graphs": "random-graph-rnn"},
    ),
)
