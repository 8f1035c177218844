"""The contract of a pruning: which synapses of one parent stay.

    pruning(name, weight, support, budget, rng, **given) -> support

It runs where the weights are, once for each tensor that may be sparse: weights of convolutions and
dense layers, not biases, norms or the classifier.

- `name`: the tensor's name.
- `weight`: float array, 1 to 4 axes; 0 where `support` is False.
- `support`: bool array of that shape, True where the synapse exists.
- `budget`: how many synapses may stay at most, 0 <= budget <= the number that exist. It is
  `algorithm.retention` times that number, rounded.
- `rng`: a `numpy.random.Generator` that is the tensor's own, the only source of randomness.
- `given`: what the entry's `requires` names beyond weights and support, such as `predictions`: a
  tuple with one array a parent.

Returned is a bool array of that shape. It never grows: True only where `support` is.

With `scope="network"` in the entry it is called once: `name` is the tuple of all names, `weight`
and `support` are {name: array}, `budget` counts all tensors together, and it returns {name: array}.
Arrays that come in are read-only. A member that draws nothing says options={"draws": False}: then a
parent has one child by it, and a second one is refused as a duplicate.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from nasgen.phenotype.survival import Array, Mask


class Pruning(Protocol):
    """A pruning of one tensor; see the module."""

    def __call__(
        self,
        name: str,
        weight: Array,
        support: Mask,
        budget: int,
        rng: np.random.Generator,
        **given: Any,
    ) -> Mask: ...
