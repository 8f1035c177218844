"""The optimiser's memory follows the weights: saved, moved by the heredity plan, put to work again.

A state is {kind: {tensor name: values}}: the moments of AdamW ("exp_avg", "exp_avg_sq") or of SGD
("momentum_buffer"), and "age", the number of updates each coordinate has seen. What is new in a
child has age 0, whether the plan says zero, fresh or nothing.

**How moments move.** By the plan of the weights, but without its scales and signs. The gradient of
a weight is (error behind it) x (activation before it) and does not hold the weight itself: the
divided readers of a Net2Wider copy (Chen 2016) and the negated reader of a twin (Wang and Painter
2018) have, when they begin, exactly the gradient of the original. What *feeds* such a reader sees
its gradient scaled by a factor f, while its moments are still those of before: SGD forgets that at
the rate of its momentum, AdamW moves by about f times the learning rate until its second moment has
followed, over 1 / (1 - beta2) updates. Only where a plan negates a channel together with its
readers does the direction turn; that first moment is wrong for about 1 / (1 - beta1) = 10 updates.

**New coordinates in an old tensor.** torch keeps one step count T for each tensor. With both
moments 0 at T >> 1 nothing corrects their bias, and the first update is
(1 - beta1) / sqrt(1 - beta2) = 3.16 times the learning rate. No choice of T, m, v that does not
know the gradient can treat the new as newborn and the old as before: the old need their T, and
with T the bound over all gradients is the 3.16. So a new coordinate starts with v = the mean of
the tensor's old coordinates, which bounds the update for gradients up to ten times their usual
size, and at its first gradient g v is raised to g^2 (1 - beta2^T) where it is less. Then
v_hat >= g^2, m_hat <= g, and |update| <= lr whatever g is. The first gradient is the first that is
not exactly 0: behind a zeroed reader it comes late. The old coordinates keep m, v and T, to
the bit, and update as without growth. SGD's momentum starts at 0, which is what SGD itself does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nasgen.evaluation.training import BETAS
from nasgen.genotypes import Plan
from nasgen.phenotype.heredity import align
from nasgen.search_spaces.blueprint import Blueprint

Array = np.ndarray[Any, Any]
State = dict[str, dict[str, Tensor]]
Parent = tuple[Blueprint, Mapping[str, Tensor], State]  # blueprint, weights, state (may be {})
AGE, STEP = "age", "step"
ADAMW, SGD = ("exp_avg", "exp_avg_sq"), ("momentum_buffer",)


def read(optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor]) -> State:
    """Return the state of named parameters; one that was never updated has age 0 everywhere."""
    kinds = _kinds(optimizer)
    state: State = {kind: {} for kind in (AGE, *kinds)}
    for name, parameter in parameters.items():
        kept = optimizer.state.get(parameter) or {}
        known = kept.get(kinds[0]) is not None
        age = torch.as_tensor(kept.get(STEP, 1.0) if known else 0.0)
        state[AGE][name] = age.to(parameter.device, parameter.dtype).expand(parameter.shape)
        for kind in kinds:
            state[kind][name] = kept[kind] if known else torch.zeros_like(parameter)
    return state


def write(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor], state: State
) -> dict[Tensor, Tensor]:
    """Let a fresh optimiser go on from a state; {} is legal, and a tensor it does not hold is new.

    A state of another optimiser's kinds is left aside. Coordinates of age 0 are treated as the
    module says. Returns parameter -> mask of those, where there are any beside older ones in the
    network.
    """
    kinds = _kinds(optimizer)
    usable = set(kinds) <= set(state)
    newborn: dict[Tensor, Tensor] = {}
    new: dict[Tensor, Tensor] = {}
    for name, parameter in parameters.items():
        if not parameter.requires_grad:
            continue
        found = None
        if usable and name in state[AGE]:
            age = state[AGE][name]
            if bool((age == 0).any()):
                new[parameter] = (age == 0).to(parameter.device)
            found = _at_one_step(age, {kind: state[kind][name] for kind in kinds})
        if found is not None:
            step, moments = found
            # Fused kernels walk through memory: a moment must lie there as its parameter does.
            kept = {k: torch.empty_like(parameter).copy_(m) for k, m in moments.items()}
            if kinds == ADAMW:
                kept[STEP] = torch.tensor(step, dtype=torch.float32, device=parameter.device)
                if parameter in new:
                    newborn[parameter] = new[parameter].clone()
            optimizer.state[parameter] = kept
        elif kinds == SGD:
            # torch's fused SGD cannot mix tensors with and without a buffer.
            optimizer.state[parameter] = {kinds[0]: torch.zeros_like(parameter)}
    if newborn:
        _bound_first_update(optimizer, newborn)
    return new


def moved(
    blueprint: Blueprint,
    parameters: Mapping[str, Tensor],
    parents: Sequence[Parent],
    plan: Plan,
) -> State:
    """Return the state of a child, moved from its parents by the plan of its weights.

    {} when no parent has a state. A parent without one counts as never updated, also where it
    gives the weights. Raises like `nasgen.phenotype.heredity.align`.
    """
    kinds = next((set(state) for _, _, state in parents if state), set())
    blank = {name: torch.zeros_like(p, device="cpu") for name, p in parameters.items()}
    child: State = {}
    for kind in sorted(kinds):
        givers = []
        for parent_blueprint, weights, state in parents:
            held = state[kind] if set(state) == kinds else {}
            zeros = {n: torch.zeros_like(w) for n, w in weights.items() if n not in held}
            givers.append((parent_blueprint, {**zeros, **held}))
        child[kind] = align(blueprint, blank, givers, plan, scaled=False)[0]
    return child


def to_arrays(state: State) -> dict[str, Array]:
    """Return the state for the store, as "<tensor name>/<kind>", with one "step" for a tensor."""
    kinds = [kind for kind in state if kind != AGE]
    arrays: dict[str, Array] = {}
    for name, age in state[AGE].items():
        found = _at_one_step(age, {kind: state[kind][name] for kind in kinds})
        if found is not None:
            arrays[f"{name}/{STEP}"] = np.array(found[0], dtype=np.float32)
            for kind, moment in found[1].items():
                arrays[f"{name}/{kind}"] = moment.detach().float().cpu().contiguous().numpy()
    return arrays


def from_arrays(arrays: Mapping[str, Array]) -> State:
    """Return the state that `to_arrays` wrote."""
    state: State = {AGE: {}}
    for full, array in arrays.items():
        name, _, kind = full.rpartition("/")
        # What has no step is no moment: another tool's loss scale, say.
        if kind != STEP and f"{name}/{STEP}" in arrays:
            moment = torch.from_numpy(array)
            state.setdefault(kind, {})[name] = moment
            state[AGE][name] = torch.tensor(float(arrays[f"{name}/{STEP}"])).expand(moment.shape)
    return state if len(state) > 1 else {}


def _kinds(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    return ADAMW if isinstance(optimizer, torch.optim.AdamW) else SGD


def _at_one_step(
    age: Tensor, moments: Mapping[str, Tensor]
) -> tuple[float, dict[str, Tensor]] | None:
    """Return (step, moments) as one step count can express them; None where nothing is known.

    Coordinates of different ages (slices from several parents, blocks of a cohort) meet at the
    oldest: what the bias correction makes of a moment stays the same.
    """
    known = age > 0
    if not bool(known.any()):
        return None
    if set(moments) != set(ADAMW):
        return 1.0, {kind: torch.where(known, m, 0) for kind, m in moments.items()}
    step = float(age.max())
    result = {}
    for kind, beta in zip(ADAMW, BETAS, strict=True):
        ages = age.double().clamp(min=1)
        factor = ((1 - beta**step) / (1 - beta**ages)).to(age)
        result[kind] = torch.where(known, moments[kind] * factor, 0)
    usual = result["exp_avg_sq"][known].mean()
    if usual == 0:
        return None  # no gradient ever came through: as good as new
    result["exp_avg_sq"] = torch.where(known, result["exp_avg_sq"], usual)
    return step, result


def _bound_first_update(optimizer: torch.optim.Optimizer, newborn: dict[Tensor, Tensor]) -> None:
    """Raise v of new coordinates (where the mask is True) to their first gradient's square.

    A gradient of exactly 0 is none yet: the reader in front of it may still be silent.
    """

    def raised(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        for parameter in [p for p in newborn if p.grad is not None]:
            gradient = parameter.grad
            assert gradient is not None
            first = newborn[parameter] & (gradient != 0)
            newborn[parameter] &= ~first
            if not bool(newborn[parameter].any()):
                del newborn[parameter]
            # In float16 the gradient is still scaled here, and may be infinite.
            if getattr(optimizer, "grad_scale", None) is None:
                kept = optimizer.state[parameter]
                seen = gradient.square() * (1 - BETAS[1] ** float(kept[STEP]))
                square = kept["exp_avg_sq"]
                square.copy_(torch.where(first, torch.maximum(square, seen), square))

    optimizer.register_step_pre_hook(raised)
