"""The contract of a zero-cost score: one finite number, repeatable, and nothing changed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
import torch

from nasgen import registry, seeding
from nasgen.evaluation.promises import number
from nasgen.evaluation.scores.base import Probe
from nasgen.phenotype.network import build
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.testing.base import Contract, Outcome, examine_all

N_IMAGES, N_CLASSES = 8, 3
LAYERS = ("conv", "max_pool", "sum")  # networks are kept longer than plug-ins are loaded


def check(group: str, name: str) -> Outcome:
    """Apply every rule to a score."""
    return examine_all(RULES, group, name)


@cache
def probe(seed: int, channels: int = 1) -> Probe:
    """Return an untrained network with a batch of noise."""
    space, shape = DagCnn(max_channels=12, layers=LAYERS), (channels, 8, 8)
    genotype = space.sample(seeding.generator(0, "contract score", seed)).mint(0, seed)
    rng = seeding.generator(0, "contract images", seed)
    return Probe(
        build(space.blueprint(genotype, shape, N_CLASSES), seed),
        torch.from_numpy(rng.normal(size=(N_IMAGES, *shape)).astype(np.float32)),
        torch.arange(N_IMAGES) % N_CLASSES,
    )


def _score(name: str, of: Probe) -> float:
    torch.manual_seed(0)
    return number(registry.resolve("scores", name)(of), "it")


def finite(name: str) -> Iterator[str]:
    """It returns one finite number for grey and coloured images."""
    for seed in range(3):
        for channels in (1, 3):
            value = _score(name, probe(seed, channels))
            yield "" if math.isfinite(value) else f"expected a finite number, got {value!r}."


def repeatable(name: str) -> Iterator[str]:
    """One network and batch give one score."""
    for seed in range(2):
        both = [_score(name, probe(seed)) for _ in range(2)]
        same = both[0] == both[1]
        yield "" if same else f"two scores of one network: {both}; draw from torch's generator."


def pure(name: str) -> Iterator[str]:
    """It leaves network, images and labels as they are: it works on `probe.copy()`."""
    for seed in range(2):
        of = probe(seed)
        before = [t.clone() for t in _tensors(of)]
        _score(name, of)
        same = all(map(torch.equal, before, _tensors(of)))
        clean = all(p.grad is None for p in of.network.parameters())
        yield "" if same and clean else "it changed the probe; work on probe.copy()."


def _tensors(of: Probe) -> list[torch.Tensor]:
    return [of.images, of.labels, *of.network.state_dict().values()]


RULES = (finite, repeatable, pure)


class ScoreContract(Contract):
    """Inherit and set `name`."""

    group = "scores"

    def test_it_is_finite(self) -> None:
        """For several networks."""
        self.holds(finite)

    def test_it_repeats(self) -> None:
        """Randomness comes from torch's generator alone."""
        self.holds(repeatable)

    def test_it_is_pure(self) -> None:
        """Network and batch stay as they are."""
        self.holds(pure)
