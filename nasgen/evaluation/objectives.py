"""The objectives a search can optimise or constrain. Members load torch only when resolved.

An entry with the option "untrained" is known before training: its value depends on genotype,
blueprint and network, not on weights or predictions.
"""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "val_accuracy",
        "nasgen.evaluation.metrics:val_accuracy",
        "share of the validation images that are classified correctly",
        options={"direction": "maximize", "unit": "fraction"},
    ),
    Entry(
        "error_rate",
        "nasgen.evaluation.metrics:error_rate",
        "share of the validation images that are classified wrongly",
        options={"direction": "minimize", "unit": "fraction"},
    ),
    Entry(
        "n_params",
        "nasgen.evaluation.metrics:n_params",
        "trainable parameters",
        options={"direction": "minimize", "unit": "parameters", "untrained": True},
    ),
    Entry(
        "flops",
        "nasgen.evaluation.metrics:flops",
        "floating-point operations for one image, two for each multiply-add",
        options={"direction": "minimize", "unit": "operations", "untrained": True},
    ),
    Entry(
        "latency_ms",
        "nasgen.evaluation.metrics:latency_ms",
        "median time for one image on one thread",
        options={"direction": "minimize", "unit": "ms"},
    ),
)
