"""NSGA-III (Deb & Jain 2014): for three objectives or more, where fronts hold nearly all.

Crowding says little there; survivors are those close to reference points spread over the front.
Prefer `nsga2` for two objectives.
"""

from __future__ import annotations

from typing import final

from nasgen.engine.algorithms.nsga2 import Nsga2


@final
class Nsga3(Nsga2):
    """The loop of `nsga2` with NSGA-III as survival; no options of its own."""

    def __init__(self, population: int, seed: int) -> None:
        super().__init__(population, seed, survival="nsga3")
