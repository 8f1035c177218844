"""What stays the same for all trials of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from nasgen.settings.constraints import Constraint, violation
from nasgen.settings.fidelity import Fidelity
from nasgen.settings.objectives import Objective
from nasgen.store.trial import Trial

_JSON = json.JSONEncoder(sort_keys=True)  # kept, because `json.dumps` makes one a call


@dataclass(frozen=True)
class Constants:
    """What stays the same for all trials of a run."""

    seed: int
    objectives: tuple[Objective, ...]
    search_fidelity: Fidelity
    finish_fidelity: Fidelity
    recipe_digest: str
    data_digest: str
    n_train: int = 1  # training images, validation excluded
    n_steps: int = 0  # updates in an epoch; 0: unknown
    widen: float | None = 1.0  # factor for the channels of finalists; None: what the time allows
    inherit_weights: bool = False
    keep_optimizer: bool = False  # of trials in the search, for those who inherit from them
    keep_clusters: bool = False  # of dense networks too, with which sparse ones are compared
    limit_s: float | None = None  # of a trial, after which its worker is ended; None: no limit
    # Trials that a stopper compares with: none, those of earlier generations, all finished before.
    compares: Literal["none", "generations", "results"] = "none"
    constraints: tuple[Constraint, ...] = ()
    origin: Mapping[str, str] = field(default_factory=dict)  # what the first network starts with
    has_ancestors: bool = False  # whether jobs say from which networks a trial comes
    distils: bool = False  # whether trials learn from them
    as_of: int | None = None  # revision of the algorithm that the run began with; None: present

    def judged(self, trial: Trial) -> Trial:
        """Return a finished trial with its constraints' values apart, and how far it breaks them.

        An evaluator measures what is constrained as it does objectives.
        """
        values = trial.objectives
        objectives = {o.name: values[o.name] for o in self.objectives if o.name in values}
        if not self.constraints and list(objectives) == list(values):  # nothing to take apart
            return trial
        return replace(
            trial,
            objectives=objectives,
            constraints={c.name: values[c.name] for c in self.constraints if c.name in values},
            violation=violation(self.constraints, values),
        )

    def identity(self, key: str, fidelity: Fidelity, initial: tuple[str | None, ...] = ()) -> str:
        """Return the trial identity: no two trials of a run have the same."""
        parts = [key, fidelity.to_json(), self.recipe_digest, self.data_digest, list(initial)]
        return hashlib.blake2b(_JSON.encode(parts).encode(), digest_size=16).hexdigest()
