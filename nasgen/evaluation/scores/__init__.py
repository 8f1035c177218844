"""Zero-cost scores: what an untrained network tells on one batch. Higher promises more accuracy.

The option "log" says that a score spans orders of magnitude: a predictor reads its logarithm.
"""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "jacob_cov",
        "nasgen.evaluation.scores.jacob_cov:jacob_cov",
        "how differently the network responds to changes of different images; needs no labels",
        reference="Mellor 2020; Abdelfattah 2021",
        options={"log": True},
    ),
    Entry(
        "naswot",
        "nasgen.evaluation.scores.naswot:naswot",
        "how differently the ReLUs fire on different images; needs no labels",
        reference="Mellor 2021",
    ),
    Entry(
        "synflow",
        "nasgen.evaluation.scores.synflow:synflow",
        "what all paths of weights carry from input to output; needs no images",
        reference="Tanaka 2020; Abdelfattah 2021",
        options={"log": True},
    ),
    Entry(
        "grad_norm",
        "nasgen.evaluation.scores.grad_norm:grad_norm",
        "norms of the weights' gradients of the loss on one labelled batch",
        reference="Abdelfattah 2021",
        options={"log": True},
    ),
    Entry(
        "n_params",
        "nasgen.evaluation.scores.size:n_params",
        "trainable parameters: what every other score must beat",
        options={"log": True},
    ),
    Entry(
        "flops",
        "nasgen.evaluation.scores.size:flops",
        "floating-point operations for one image: what every other score must beat",
        options={"log": True},
    ),
)
