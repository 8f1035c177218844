"""What stays the same for all trials of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nasgen.objectives import Objective


@dataclass(frozen=True)
class Plan:
    """What stays the same for all trials of a run."""

    seed: int
    objectives: tuple[Objective, ...]
    search_fidelity: Mapping[str, Any]  # {"epochs", "fraction", "seconds"}
    finish_fidelity: Mapping[str, Any]
    recipe_digest: str
    data_digest: str
    n_train: int = 1  # training images, validation excluded
    widen: float = 1.0  # factor for the channels of finalists
    inherit_weights: bool = False
    keep_optimizer: bool = False  # of trials in the search, for those who inherit from them
    # Whom a pruner may compare a trial with: nobody, all of earlier generations, all told before.
    compares: Literal["none", "generations", "results"] = "none"

    def identity(
        self, key: str, fidelity: Mapping[str, Any], initial: tuple[str | None, ...] = ()
    ) -> str:
        """Return the trial identity: no two trials of a run have the same."""
        parts = [key, dict(fidelity), self.recipe_digest, self.data_digest, list(initial)]
        return hashlib.blake2b(
            json.dumps(parts, sort_keys=True).encode(), digest_size=16
        ).hexdigest()
