"""A network is filled from its parents' weights, and its optimiser's moments from theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

import numpy as np
import torch

from nasgen.errors import FOREIGN, EvaluationError, NasgenError, PlanError
from nasgen.evaluation import optimizer_state
from nasgen.evaluation.evaluation import MAX_MESSAGE, Json
from nasgen.evaluation.inference import TensorStore
from nasgen.evaluation.optimizer_state import State
from nasgen.phenotype import support
from nasgen.phenotype.heredity import HeredityReport, Parent, inherit
from nasgen.phenotype.network import Network
from nasgen.search_spaces.blueprint import Blueprint

Array = np.ndarray[Any, Any]


@final
@dataclass(frozen=True)
class Inheritance:
    """Fills networks from parents whose tensors lie in `artifacts`.

    `read` turns a parent's genotype JSON into its blueprint. `on_bad_parent` is the setting of
    [training]: what happens to a child whose parents' weights are gone or do not fit. `matched` is
    that of `nasgen.phenotype.heredity.inherit`.
    """

    artifacts: TensorStore
    read: Callable[[Mapping[str, Any]], Blueprint]
    on_bad_parent: Literal["scratch", "drop"]
    matched: bool = False

    def fill(
        self, network: Network, blueprint: Blueprint, given: Mapping[str, Any]
    ) -> tuple[Json, State]:
        """Fill a network from its parents; return how many values came from where, and the state.

        Where the optimiser's state alone cannot be had, "optimizer_not_inherited" says why.
        When it cannot be done, [training] on_bad_parent decides: the network stays as it was drawn,
        with the reason under "not_inherited", or the trial fails with the kind "inheritance". A
        plan that cannot be executed always fails the trial, with the kind "plan".
        """
        try:
            report, weights = self._inherit(network, blueprint, given)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except PlanError as error:  # no fault of the parents
            raise EvaluationError(
                f"operator '{given.get('operator', '?')}' wrote a heredity plan that cannot be "
                f"executed: {error}",
                "plan",
            ) from error
        except FOREIGN as error:  # whatever a file or a plug-in's plan holds
            reason = f"the parents' weights cannot be inherited: {error}"
            if self.on_bad_parent == "drop":
                raise EvaluationError(reason, "inheritance") from error
            report = HeredityReport(n_fresh=sum(t.numel() for t in network.state_dict().values()))
            return {**asdict(report), "not_inherited": reason[:MAX_MESSAGE]}, {}
        try:
            return asdict(report), self._inherit_state(network, blueprint, given, weights)
        except (NasgenError, RuntimeError, KeyError) as error:
            return {**asdict(report), "optimizer_not_inherited": str(error)[:MAX_MESSAGE]}, {}

    def support(self, blueprint: Blueprint, job: Mapping[str, Any]) -> dict[str, Array] | None:
        """Return the support of a job's network, None for one of which every weight exists.

        The job's own "support" is a reference to bool arrays under the network's tensor names;
        without it the supports of its parents are moved by the plan of the weights. Raises
        EvaluationError (kind "inheritance") when it cannot be had: without it pruned weights
        would come back.
        """
        parents = (job.get("inherit") or {}).get("parents", ())
        refs = [parent["refs"].get("support") for parent in parents]
        try:
            if job.get("support") is not None:
                return support.closed(blueprint, self.artifacts.load(job["support"]))
            if not any(refs):
                return support.closed(blueprint, {}) if blueprint.is_sparse else None
            givers = [
                (self.read(parent["genotype"]), self.artifacts.load(ref) if ref else {})
                for parent, ref in zip(parents, refs, strict=True)
            ]
            return support.moved(blueprint, givers, job["inherit"].get("plan") or {})
        except (NasgenError, RuntimeError, KeyError) as error:
            raise EvaluationError(
                f"the support cannot be had: {error} Put the file back from a copy.", "inheritance"
            ) from error

    def _inherit(
        self, network: Network, blueprint: Blueprint, given: Mapping[str, Any]
    ) -> tuple[HeredityReport, list[Parent]]:
        """Fill a network from its parents; return what came, and the parents' weights."""
        parents: list[Parent] = []
        for i, parent in enumerate(given["parents"]):
            if "weights" not in parent["refs"]:
                raise EvaluationError(f"parent {i} kept no weights.")
            # Where the schedule goes on, its weights are a mean; training goes on from the last.
            refs = parent["refs"]
            weights = self.artifacts.load(refs.get("last", refs["weights"]))
            tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
            parents.append((self.read(parent["genotype"]), tensors))
        plan = given.get("plan") or {}
        return inherit(network, blueprint, parents, plan, self.matched), parents

    def _inherit_state(
        self,
        network: Network,
        blueprint: Blueprint,
        given: Mapping[str, Any],
        weights: Sequence[Parent],
    ) -> State:
        """Return the optimiser's state of a child, from parents whose weights it has."""
        refs = [parent["refs"].get("optimizer") for parent in given["parents"]]
        kept = [self.artifacts.load(ref) if ref else {} for ref in refs]
        for i, arrays in enumerate(kept):
            for name, array in arrays.items():
                if not np.isfinite(array).all():
                    raise EvaluationError(f"parent {i}: its moment '{name}' is not finite.")
        states = [optimizer_state.from_arrays(arrays) if arrays else {} for arrays in kept]
        givers = [(*parent, state) for parent, state in zip(weights, states, strict=True)]
        parameters = dict(network.named_parameters())
        return optimizer_state.moved(blueprint, parameters, givers, given.get("plan") or {})


def is_bred(job: Mapping[str, Any]) -> bool:
    """Tell whether a job's network is a child, and no further training of its parent."""
    made_by = (job.get("inherit") or {}).get("operator")
    return made_by is not None and made_by not in ("continue", "finish")
