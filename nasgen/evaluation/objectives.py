"""The objectives a search can optimise or constrain. Members load torch only when resolved.

The option "metric" names the task's metric that an objective reads: a task that does not measure it
cannot be searched for it. An entry with the option "untrained" is known before training: its value
depends on genotype, blueprint, network and support, not on weights or predictions. One with the
option "ancestor" compares with the ancestor of the network's line, which its job names.
"""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "val_accuracy",
        "nasgen.evaluation.metrics:val_accuracy",
        "share of the validation rows that are classified correctly",
        options={"direction": "maximize", "unit": "fraction", "metric": "accuracy"},
    ),
    Entry(
        "error_rate",
        "nasgen.evaluation.metrics:error_rate",
        "share of the validation rows that are classified wrongly",
        options={"direction": "minimize", "unit": "fraction", "metric": "accuracy"},
    ),
    Entry(
        "val_rmse",
        "nasgen.evaluation.metrics:val_rmse",
        "root of the mean squared error on the validation rows, in the unit of the targets",
        options={"direction": "minimize", "unit": "of the targets", "metric": "rmse"},
    ),
    Entry(
        "val_mae",
        "nasgen.evaluation.metrics:val_mae",
        "mean absolute error on the validation rows, in the unit of the targets",
        options={"direction": "minimize", "unit": "of the targets", "metric": "mae"},
    ),
    Entry(
        "val_r2",
        "nasgen.evaluation.metrics:val_r2",
        "share of the variance of the validation targets that is explained",
        options={"direction": "maximize", "unit": "fraction", "metric": "r2"},
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
        "floating-point operations for one row, two for each multiply-add",
        options={"direction": "minimize", "unit": "operations", "untrained": True},
    ),
    Entry(
        "n_synapses",
        "nasgen.evaluation.metrics:n_synapses",
        "weights that exist, those of the classifier, biases and norms not counted",
        options={"direction": "minimize", "unit": "synapses", "untrained": True},
    ),
    Entry(
        "storage_bytes",
        "nasgen.evaluation.metrics:storage_bytes",
        "bytes of all values: each tensor dense, as bitmap and values, or as CSR, the smallest",
        options={"direction": "minimize", "unit": "bytes", "untrained": True},
    ),
    Entry(
        "synaptic_efficiency",
        "nasgen.evaluation.metrics:synaptic_efficiency",
        "how many times fewer synapses than its ancestor, the network that its line began with",
        reference="Shafiee 2016; Chung 2017",
        options={"direction": "maximize", "unit": "times", "untrained": True, "ancestor": True},
    ),
    Entry(
        "cluster_efficiency",
        "nasgen.evaluation.metrics:cluster_efficiency",
        "how many times fewer kernels, (out, in) slices of a layer, than its ancestor, in total",
        reference="Shafiee 2016; Chung 2017",
        options={"direction": "maximize", "unit": "times", "untrained": True, "ancestor": True},
    ),
    Entry(
        "latency_ms",
        "nasgen.evaluation.metrics:latency_ms",
        "median time for one row on one thread",
        options={"direction": "minimize", "unit": "ms"},
    ),
)
