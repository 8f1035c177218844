"""A mating of three parents: of their weights at a synapse the middle one counts.

    nasgen check three_parents.py
    nasgen search --data digits --plugin three_parents.py \
        --set algorithm.matings.median=1 --set algorithm.crossover_prob=0.5

A weight that is extreme in one parent alone does not decide, and what two of three have survives.
`weights` and `supports` hold one array a parent, 0 and False where it has no such synapse. Parents
that are not related have few synapses in common, so their child keeps few: it pays once a search
has relatives to offer, or when it starts from one network (`origin.network`).
"""

import numpy as np

import nasgen


@nasgen.mating("median", n_parents=3, requires=("weights",))
def median(name, weights, supports, rng):
    """Strength is the size of the parents' median weight; what most of them have stays."""
    return np.abs(np.median(weights, axis=0)), np.sum(supports, axis=0) >= 2
