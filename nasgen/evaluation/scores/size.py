"""Size as a score: on NAS-Bench-201 few scores tell more than parameters and operations do."""

from __future__ import annotations

from nasgen.evaluation import measure
from nasgen.evaluation.scores.base import Probe


def n_params(probe: Probe) -> float:
    """Return the number of trainable parameters."""
    return float(measure.n_params(probe.network))


def flops(probe: Probe) -> float:
    """Return the floating-point operations for one row."""
    example = {"x": probe.images[:1]} | {name: of[:1] for name, of in probe.others.items()}
    return float(measure.flops(probe.network, example))
