"""Number of trainable layers (Tybl 2025, section 3): on NAS-Bench-201 above most other scores.

It says how deep and how rich in convolutions a network is, whatever their width: what every other
score must beat, as `n_params` and `flops` are.
"""

from __future__ import annotations

from nasgen.evaluation.scores.base import Probe, layers


def n_layers(probe: Probe) -> float:
    """Return the number of layers that own trainable weights; norms and biases are none."""
    return float(len(layers(probe.network)))
