"""Reads the parents of a derivation from what a job says of them, and refuses those that are wrong.

What is wrong with a parent is no fault of the operator that would have mixed it: such a trial fails
with the kind "inheritance", and the search goes on with the other parents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from nasgen import genotypes
from nasgen.errors import EvaluationError, IllegalGenotypeError, IncompatibleError, StoreError
from nasgen.evaluation.framing import Decode, Parent
from nasgen.evaluation.inference import TensorStore
from nasgen.genotypes.derivation import Derivation
from nasgen.phenotype import support
from nasgen.phenotype.network import parameter_shapes
from nasgen.phenotype.survival import Array
from nasgen.search_spaces.blueprint import Blueprint

KIND: Final = "inheritance"


def read(
    decode: Decode, artifacts: TensorStore, derivation: Derivation, given: Mapping[str, Any]
) -> list[Parent]:
    """Return the parents that a derivation names, of those in `given` ({"parents": [...]}).

    Raises EvaluationError of kind "inheritance" with the parent and what is wrong with it.
    """
    known = [parent.get("identity") for parent in given["parents"]]
    for name in derivation.parents:
        if name not in known:
            raise EvaluationError(
                f"the derivation names the parent trial '{name}', which is none of those given "
                f"({', '.join(map(str, known)) or 'none'}); the ledger may be damaged.",
                KIND,
            )
    wanted: Sequence[Mapping[str, Any]] = [
        given["parents"][known.index(name)] for name in derivation.parents
    ]
    return [_parent(decode, artifacts, one) for one in wanted]


def load(artifacts: TensorStore, given: Mapping[str, Any], name: str) -> dict[str, Array]:
    """Return the arrays that a parent has kept under a name; raises like `read`."""
    who = _who(given)
    if name not in given["refs"]:
        raise EvaluationError(f"{who} kept no {name}, which the operator needs.", KIND)
    try:
        found: dict[str, Array] = artifacts.load(given["refs"][name])
    except StoreError as error:
        raise EvaluationError(
            f"the {name} of {who} are gone: {error} What operators need is kept of trials that "
            "may become parents; store.keep_weights = 'all' keeps it of all.",
            KIND,
        ) from error
    return found


def _parent(decode: Decode, artifacts: TensorStore, given: Mapping[str, Any]) -> Parent:
    who = _who(given)
    weights = {k: torch.from_numpy(v) for k, v in load(artifacts, given, "weights").items()}
    masks = load(artifacts, given, "support") if "support" in given["refs"] else {}
    try:
        genotype = genotypes.read(given["genotype"])
        blueprint = decode(genotype)
        _check_shapes(blueprint, weights)
        whole = support.completed(blueprint, masks)
    except (IllegalGenotypeError, IncompatibleError) as error:
        raise EvaluationError(
            f"{who}: {error} Its network, gene tags, weights and support do not fit each other: a "
            "file or the ledger was changed. The search goes on with other parents.",
            KIND,
        ) from error
    for name, tensor in weights.items():
        # A finite sum needs one pass; only one that is not (it may be too large) needs more.
        is_float = tensor.is_floating_point()
        if is_float and not math.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
            raise EvaluationError(
                f"{who}: tensor '{name}' holds NaN or infinite values; a parent that diverged "
                "cannot give weights.",
                KIND,
            )
    return Parent(genotype, blueprint, weights, whole)


def _check_shapes(blueprint: Blueprint, weights: Mapping[str, Tensor]) -> None:
    for name, shape in parameter_shapes(blueprint).items():
        got = tuple(weights[name].shape) if name in weights else None
        if got != shape:
            said = "none" if got is None else f"one of shape {got}"
            raise IncompatibleError(
                f"weights: expected a tensor '{name}' of shape {shape}, got {said}."
            )


def _who(given: Mapping[str, Any]) -> str:
    return f"parent trial {given.get('seq', repr(given['identity']))}"
