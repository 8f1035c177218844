"""Zero-cost scores: what an untrained network tells on one batch. Higher promises more accuracy.

The option "log" says that a score spans orders of magnitude: a predictor reads its logarithm. Those
with usual = False are no part of the features "zero-cost": they take longer, or came later; name
them, as in "zero-cost+zico".
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
    Entry(
        "n_layers",
        "nasgen.evaluation.scores.layers:n_layers",
        "layers with trainable weights: what every other score must beat",
        reference="Tybl 2025",
        options={"usual": False},
    ),
    Entry(
        "zico",
        "nasgen.evaluation.scores.zico:zico",
        "how large the gradients are beside their deviation between two labelled batches",
        reference="Li 2023",
        options={"usual": False},
    ),
    Entry(
        "vkdnw",
        "nasgen.evaluation.scores.vkdnw:vkdnw",
        "layers, and how evenly the Fisher information of their weights is spread; needs no labels",
        reference="Tybl 2025",
        options={"usual": False},
    ),
    Entry(
        "az_expressivity",
        "nasgen.evaluation.scores.az_nas:expressivity",
        "how evenly the maps behind each block spread in all directions; needs no labels",
        reference="Lee 2024",
        options={"usual": False},
    ),
    Entry(
        "az_progressivity",
        "nasgen.evaluation.scores.az_nas:progressivity",
        "the least gain of expressivity from one block to the next; needs no labels",
        reference="Lee 2024",
        options={"usual": False},
    ),
    Entry(
        "az_trainability",
        "nasgen.evaluation.scores.az_nas:trainability",
        "how much blocks pass gradients on at their own size; needs no labels",
        reference="Lee 2024",
        options={"usual": False, "log": True},
    ),
)
