"""Averaged weights: a training in the middle of its schedule is judged by where it has been lately.

In the middle of a schedule the learning rate is high and the last weights are noisy; their mean
over many steps is as good as a decay of the rate would make them (Polyak and Juditsky 1992;
Izmailov 2018 for networks, "Averaging weights leads to wider optima"). So networks can be compared
before the schedule ends. Training goes on from the last weights, not from their mean: the mean is
better only as long as the rate is low, and it lies behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Average:
    """The mean of tensors over the steps so far, in which later steps count for more.

    `share` in [0, 1] says for how much more: what was `share` of the steps so far ago counts for
    about 1/e. 1 is the plain mean over all steps, 0 the last values, without any copy. This is
    polynomial-decay averaging (Shamir and Zhang 2013), which need not know when a training ends:
    one that time ends has the same mean, relative to its length, as one of so many epochs. Values
    that are 0 at every step, such as what a support holds down, have the mean 0 exactly.
    """

    def __init__(self, tensors: Iterable[Tensor], share: float) -> None:
        self.share, self.n_steps = share, 0
        # Integers, such as how many batches a norm has seen, have no mean: the last ones stay.
        found = [t.detach() for t in tensors if t.is_floating_point()] if share else []
        self._values = found
        self._means = [value.clone() for value in found]

    def update(self) -> None:
        """Take in the values after one more step."""
        self.n_steps += 1
        if self._values:
            torch._foreach_lerp_(
                self._means, self._values, 1 / (1 + self.share * (self.n_steps - 1))
            )

    def settle(self) -> None:
        """Leave the mean in the tensors."""
        if self._values and self.n_steps:
            torch._foreach_copy_(self._values, self._means)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Have the mean in the tensors inside, and afterwards what was there before, to the bit."""
        kept = [value.clone() for value in self._values]
        self.settle()
        try:
            yield
        finally:
            if kept:
                torch._foreach_copy_(self._values, kept)


def buffers(networks: Iterable[nn.Module]) -> Iterator[Tensor]:
    """Yield what networks learn beside their parameters, such as the statistics of their norms."""
    for network in networks:
        yield from network.buffers()


def measure_statistics(network: nn.Module, show: Iterable[Callable[[], object]]) -> None:
    """Measure the statistics of a network's batch norms anew, as the mean over some batches.

    Each of `show` runs the network on one. The statistics of a mean of weights are not the mean of
    statistics (Izmailov 2018): activations of averaged weights vary less.
    """
    found = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    norms = [(norm, norm.momentum) for norm in found if norm.track_running_stats]
    if not norms:
        return
    for norm, _ in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a plain mean
    network.train()
    with torch.no_grad():
        for one in show:
            one()
    for norm, momentum in norms:
        norm.momentum = momentum
