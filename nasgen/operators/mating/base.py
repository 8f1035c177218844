"""The contract of a mating: how strong each synapse of a child is, from the weights of m parents.

    mating(name, weights, supports, rng, **given) -> (strengths, support)

It runs where the weights are, once for each tensor that may be sparse: weights of convolutions and
dense layers, not biases, norms or the classifier. Parents are aligned beforehand: index i of every
array is the synapse with the same gene tags (Chung 2018).

- `name`: the tensor's name.
- `weights`: one float array a parent, all of one shape (1 to 4 axes); 0 where `supports` is False.
- `supports`: one bool array a parent, True where that parent has the synapse.
- `rng`: a `numpy.random.Generator` that is the tensor's own, the only source of randomness.
- `given`: what the entry's `requires` names beyond these two: `predictions`, one array a parent, or
  `ranks`, one number a parent, 1 for the fittest.

Returned are `strengths` (numbers from 0 to the largest float32, of that shape) and `support` (bool,
of that shape, within the union of the parents' supports). Strengths say who survives, they are no
weights: a child inherits the mean weight over the parents that have the synapse. Which of the
support survive is the environment's to say ([environment] in the config, `nasgen list
environments`); without one, if it is larger than the parents' are on average, its weakest synapses
go until it is as large.

With `scope="network"` in the entry it is called once: `name` is the tuple of all names, each
parent's weights and support are {name: array}, and it returns two such mappings.

A member that draws nothing says options={"draws": False}: then the same parents have one child by
it, and a second one is refused as a duplicate.

A member whose support is what all parents have says options={"intersects": True}: environments then
thin it by R**(1/m) for m parents.

The order of the parents must not matter where their weights are equal; a member for which it does
says options={"ordered": True}. Arrays that come in are read-only. The number of parents is the
entry's `n_parents`, or `algorithm.parents` where that is a range.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from nasgen.phenotype.survival import Array, Mask


class Mating(Protocol):
    """A mating of one tensor; see the module."""

    def __call__(
        self,
        name: str,
        weights: Sequence[Array],
        supports: Sequence[Mask],
        rng: np.random.Generator,
        **given: Any,
    ) -> tuple[Array, Mask]: ...
