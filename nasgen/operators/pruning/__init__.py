"""Prunings: functions that take synapses away, run where the weights are; see `base`."""

from nasgen.registry import Entry

_HERE = "nasgen.operators.pruning"
_STIER = "Stier 2021, section 4.1"
_DRAWS_NOTHING = {"draws": False}

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "magnitude",
        f"{_HERE}.magnitude:Magnitude",
        "class-blinded: the largest weights of the network stay",
        reference=_STIER,
        scope="network",
        options=_DRAWS_NOTHING,
    ),
    Entry(
        "class-uniform",
        f"{_HERE}.class_uniform:ClassUniform",
        "the largest weights of each layer stay, of all the same share",
        reference=_STIER,
        options=_DRAWS_NOTHING,
    ),
    Entry(
        "class-distributed",
        f"{_HERE}.class_distributed:ClassDistributed",
        "the weights stay that are large for their layer, |w| / sigma",
        reference=_STIER,
        scope="network",
        options=_DRAWS_NOTHING,
    ),
    Entry(
        "random",
        f"{_HERE}.random:Random",
        "synapses drawn at random stay, of every tensor the same share",
        reference=_STIER,
        options={"fills_buckets": False},  # sums of what is drawn say nothing
    ),
    Entry(
        "obd",
        f"{_HERE}.obd:OptimalBrainDamage",
        "the weights stay without which the loss would rise most, by its curvature",
        reference="LeCun 1990",
        requires=("curvature",),
        scope="network",
        options=_DRAWS_NOTHING,
    ),
    Entry(
        "layerwise-obs",
        f"{_HERE}.layerwise_obs:LayerwiseObs",
        "the output of each layer changes least, and the weights that stay make up for the others",
        reference="Dong 2017",
        requires=("inputs",),
        options=_DRAWS_NOTHING,
    ),
)
