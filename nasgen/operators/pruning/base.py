"""The contract of a pruning: which synapses of one parent stay.

    pruning(name, weight, support, budget, rng, **given) -> support

It runs where the weights are, once for each tensor that may be sparse: weights of convolutions and
dense layers, not biases, norms or the classifier.

- `name`: the tensor's name. The two tensors of a recurrent layer are joined, under the first name,
  see `nasgen.phenotype.folding`.
- `weight`: float array, 1 to 4 axes, (out, in, ...); 0 where `support` is False.
- `support`: bool array of that shape, True where the synapse exists.
- `budget`: how many synapses may stay at most, 0 <= budget <= the number that exist. It is the same
  share of each tensor: `algorithm.retention` of what may be pruned, or what the algorithm says.
- `rng`: a `numpy.random.Generator` that is the tensor's own, the only source of randomness.
- `given`: what the entry's `requires` names beyond weights and support, a tuple with one entry a
  parent: arrays of `predictions`; `curvature`, for each weight h_ii, the second derivative of the
  mean loss of the training rows (see `nasgen.evaluation.curvature`), >= 0, of the weight's shape;
  `inputs`, for each outgoing channel alike, the mean of x x^T over what comes in, float64 of shape
  (n, n), n the weights that lead to one outgoing channel; of a layer with gates, which are the last
  of three axes of its weight, (gates, n, n), n the weights of one gate (`nasgen.evaluation.moments`
  says what the gates read).

Returned is a bool array of that shape. It never grows: True only where `support` is.

With `scope="network"` in the entry it is called once: `name` is the tuple of all names, `weight`,
`support`, `curvature` and `inputs` are {name: array}, `budget` counts all tensors together, and it
returns {name: array}. Arrays that come in are read-only. A member that draws nothing says
options={"draws": False}: then a parent has one child by it, and a second one is refused as a
duplicate.

A pruning that says how much each weight would be missed is a `Salient`: it counts, solves and
breaks ties as all of these do, can take whole kernels and filters, and can be asked what a bucket
of saliency holds. What has a method `adjusted(weight, support, kept, **given)` changes the weights
that stay: it is called for each tensor, `given` what belongs to it, and returns their values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, overload

import numpy as np

from nasgen.errors import ConfigError
from nasgen.phenotype.saliency import GRANULARITIES, Granularity, strongest, within_bucket
from nasgen.phenotype.survival import Array, Arrays, Mask, Masks


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


@dataclass(frozen=True)
class Salient(ABC):
    """A pruning that keeps the weights with the largest saliencies.

    - `granularity`: what leaves as a whole, and what budgets count: "weight"; "kernel", one (out,
      in) slice; "filter", all that leads to one outgoing channel: a neuron of a dense layer, a
      hidden unit of a recurrent one, through all its gates.
    """

    granularity: Granularity = "weight"

    def __post_init__(self) -> None:
        if self.granularity not in GRANULARITIES:
            raise ConfigError(
                f"granularity: expected one of {', '.join(GRANULARITIES)}, got "
                f"{self.granularity!r}."
            )

    @abstractmethod
    def saliency(
        self, weight: Array, support: Mask, rng: np.random.Generator, **given: Any
    ) -> Array:
        """Return how much the network would miss each weight of a tensor: finite, >= 0.

        `given` are the arrays of this tensor and the one parent. What lies outside of the support
        does not matter.
        """

    @overload
    def __call__(
        self,
        name: str,
        weight: Array,
        support: Mask,
        budget: int,
        rng: np.random.Generator,
        **given: Any,
    ) -> Mask: ...
    @overload
    def __call__(
        self,
        name: tuple[str, ...],
        weight: Arrays,
        support: Masks,
        budget: int,
        rng: np.random.Generator,
        **given: Any,
    ) -> Masks: ...
    def __call__(
        self, name: Any, weight: Any, support: Any, budget: int, rng: Any, **given: Any
    ) -> Any:
        """Return the support of the `budget` most salient weights, kernels or filters."""
        if isinstance(name, str):
            values = {name: self.saliency(weight, support, rng, **_of(name, given))}
            return strongest(values, {name: support}, budget, self.granularity)[name]
        values = self.saliencies(weight, support, dict.fromkeys(name, rng), **given)
        return strongest(values, support, budget, self.granularity)

    def saliencies(
        self,
        weight: Arrays,
        support: Masks,
        rngs: Mapping[str, np.random.Generator],
        **given: Any,
    ) -> dict[str, Array]:
        """Return the saliencies of each tensor."""
        return {
            n: self.saliency(w, support[n], rngs[n], **_of(n, given)) for n, w in weight.items()
        }

    def bucketed(
        self,
        weight: Arrays,
        support: Masks,
        bucket: float,
        rngs: Mapping[str, np.random.Generator],
        *,
        compete: bool,
        **given: Any,
    ) -> int:
        """Return how many units stay when as many leave as a bucket of saliency holds.

        The tensors `compete` where the pruning is called once for all of them.
        """
        values = self.saliencies(weight, support, rngs, **given)
        return within_bucket(values, support, bucket, self.granularity, compete=compete)


def _of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is given of one tensor and the one parent."""
    return {
        key: parents[0][name] if isinstance(parents[0], Mapping) else parents[0]
        for key, parents in given.items()
    }
