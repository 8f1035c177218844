"""Executes heredity plans: which weights a child takes from its parents, by gene tag.

The only place that does (Chung 2018: gene tagging; Wang and Painter 2018: twins; Chen 2016:
Net2Net). A step of the child meets the step of a parent that has the same tag and layer; inside a
tensor, rows and columns meet by channel tag. `align` serves every tensor that has a network's
names: weights, norm statistics, masks, optimiser moments.

A plan is JSON. `{}`: by tag, the first parent that has a value gives it, the rest stays fresh, that
is as `build` drew it; a larger kernel keeps the old one in its middle and gets zeros around it.
Otherwise it maps tags of the child (written as text) to rules:

    {"tags": {"<tag>": rule}, "out": {"<tag>": rule}, "in": {"<tag>": rule}}

"tags" holds on every axis and for vertices, "out" and "in" go first on the axis they name.

| rule | a channel | a vertex (in "tags") |
|---|---|---|
| {"inherit": t, "parent": i, "scale": s} | channel t of parent i (0), times s (1) | t's tensors |
| {"copy": t, "parent": i, "scale": s} | same, or where parent i has no t: the child's own t | t's |
| {"negate": t, "parent": i, "scale": s} | copy with scale -s | - |
| {"zero": true} | exactly 0 | - |
| {"fresh": true} | stays as drawn | stays as drawn |

A scale on "in" acts on the weights that read the channel. A scale (or zero) on "out" acts on what
the channel finally is: on gain and shift where the layer has a gain (a tensor of axes ("out",)
called "weight", as in batch norm), else on weights and bias. It acts once, at the step that owns
the channel. Statistics follow the out axis and are never scaled, nor zeroed. A zero on "in" learns
from the first step on; a zero on "out" before a ReLU does not, since the slope there is 0: silence
new channels at their readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from nasgen.errors import EvaluationError, IncompatibleError
from nasgen.genotypes import Plan, tags
from nasgen.phenotype.network import PREFIX, AxisTags, Network, Tags, find_layer, tensor_tags
from nasgen.phenotype.plans import Rule, Rules, read_plan
from nasgen.search_spaces.blueprint import Blueprint, Step

Parent = tuple[Blueprint, Mapping[str, Tensor]]
Index = npt.NDArray[np.int64]
FRESH, INHERITED, ZERO = 0, 1, 2


@dataclass(frozen=True)
class HeredityReport:
    """How many values of the child came from parents, were set to zero, or stayed fresh."""

    n_inherited: int = 0
    n_zero: int = 0
    n_fresh: int = 0

    @property
    def n_values(self) -> int:
        """All values of the child."""
        return self.n_inherited + self.n_zero + self.n_fresh


def inherit(
    child: Network, child_blueprint: Blueprint, parents: Sequence[Parent], plan: Plan
) -> HeredityReport:
    """Fill a freshly built network from its parents, in place; parents stay as they are.

    `parents` are (blueprint, state dict). Raises IncompatibleError for a plan or weights that do
    not fit, EvaluationError (kind "non-finite") for weights that are NaN or infinite.
    """
    state = child.state_dict()
    values, report = align(child_blueprint, state, parents, plan)
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.copy_(values[name])
    return report


def align(
    blueprint: Blueprint,
    tensors: Mapping[str, Tensor],
    parents: Sequence[Parent],
    plan: Plan,
    scaled: bool = True,
) -> tuple[dict[str, Tensor], HeredityReport]:
    """Return new tensors of the child, filled from the parents' tensors of the same names.

    What is fresh is taken from `tensors`. `scaled=False` moves values without scale, sign
    or zeros, as masks and moments need. Raises like `inherit`.
    """
    rules = read_plan(plan, blueprint, [b for b, _ in parents])
    child_tags = tensor_tags(blueprint, tensors)
    step_of = {step.name: step for step in blueprint.steps}
    givers = [_Giver(b, t, tensor_tags(b, t), i) for i, (b, t) in enumerate(parents)]
    result: dict[str, Tensor] = {}
    counts = np.zeros(3, dtype=np.int64)
    for name, tensor in tensors.items():
        fresh = tensor.detach().clone()
        if name not in child_tags:
            result[name] = fresh
            counts[FRESH] += fresh.numel()
            continue
        _, step_name, inner = name.split(".", 2)
        job = _Tensor(step_of[step_name], inner, fresh, child_tags[name], rules, scaled)
        for giver in givers:
            job.take(giver)
        job.finish(givers)
        result[name] = job.values
        counts += np.bincount(job.origin.flatten().cpu().numpy(), minlength=3)
    n_fresh, n_inherited, n_zero = (int(n) for n in counts)
    return result, HeredityReport(n_inherited, n_zero, n_fresh)


class _Giver:
    """A parent: its steps by gene tag, its tensors and their tags."""

    def __init__(
        self, blueprint: Blueprint, tensors: Mapping[str, Tensor], by: dict[str, AxisTags], i: int
    ) -> None:
        self.tensors, self.tags, self.number = tensors, by, i
        self.steps = {step.tag: step for step in blueprint.steps}
        self.checked: set[str] = set()

    def step_for(self, step: Step, rules: Rules) -> Step | None:
        """Return the step that gives to a step of the child, or None."""
        rule = rules.vertices.get(step.tag, Rule("by tag", step.tag, self.number))
        if rule.verb == "fresh" or rule.parent != self.number:
            return None
        found = self.steps.get(rule.tag)
        return found if found is not None and found.layer == step.layer else None

    def tensor(self, step: Step, inner: str) -> tuple[Tensor, AxisTags]:
        """Return a tensor with its tags; raises when it is missing or not finite."""
        name = f"{PREFIX}.{step.name}.{inner}"
        if name not in self.tensors:
            raise IncompatibleError(
                f"parent {self.number}: expected a tensor '{name}' for vertex {step.tag}, it is "
                "missing. Its weights belong to another genotype."
            )
        tensor = self.tensors[name]
        if name not in self.checked:
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise EvaluationError(
                    f"parent {self.number}: tensor '{name}' holds NaN or infinite values; a parent "
                    "that diverged cannot give weights.",
                    kind="non-finite",
                )
            self.checked.add(name)
        return tensor, self.tags[name]


class _Tensor:
    """One tensor of the child while it is filled; `origin` says where each value came from."""

    def __init__(
        self, step: Step, inner: str, fresh: Tensor, by: AxisTags, rules: Rules, scaled: bool
    ) -> None:
        self.step, self.inner, self.values, self.tags = step, inner, fresh, by
        self.origin = torch.zeros(fresh.shape, dtype=torch.uint8, device=fresh.device)
        self.rules = rules
        axes = find_layer(step).axes
        self.roles = axes.get(inner, (None,) * fresh.dim())
        gains = [n for n, r in axes.items() if r == ("out",) and n.rpartition(".")[2] == "weight"]
        final = {n for gain in gains for n in (gain, gain.removesuffix("weight") + "bias")}
        statistic = inner.rpartition(".")[2].startswith("running_")
        self.final = inner in final if gains else not statistic
        self.scaled = scaled
        self.passed_on = {t for ranges in step.in_tags for t in tags.expand(ranges)}

    def take(self, giver: _Giver) -> None:
        """Fill what is still fresh and what this parent has."""
        source_step = giver.step_for(self.step, self.rules)
        if source_step is None:
            return
        source, source_tags = giver.tensor(source_step, self.inner)
        fitted = self._fitted(source.detach(), source_step, giver.number)
        if fitted is None:
            return
        values = fitted.to(device=self.values.device, dtype=self.values.dtype)
        places: list[Tensor] = []
        for axis, (mine, theirs) in enumerate(zip(self.tags, source_tags, strict=True)):
            if mine is None or theirs is None:
                places.append(_along(torch.arange(self.values.shape[axis]), axis, values.dim()))
                continue
            to, of, scale = self._matched(axis, mine, theirs, giver.number)
            if not len(to):
                return
            values = values.index_select(axis, torch.from_numpy(of).to(values.device))
            if self._scales(axis) and (scale != 1).any():
                factor = torch.from_numpy(scale).to(values)
                values = values * _along(factor, axis, values.dim())
            places.append(_along(torch.from_numpy(to), axis, values.dim()))
        where = tuple(places)
        taken = self.origin[where] != FRESH
        self.values[where] = torch.where(taken, self.values[where], values)
        self.origin[where] = INHERITED

    def _fitted(self, source: Tensor, step: Step, number: int) -> Tensor | None:
        """Return the parent's tensor with the child's size on untagged axes, or None."""
        pads: list[int] = []
        for axis in reversed(range(self.values.dim())):
            extra = self.values.shape[axis] - source.shape[axis] if self.tags[axis] is None else 0
            alike = (step.params, step.in_shapes) == (self.step.params, self.step.in_shapes)
            if extra and alike:
                raise IncompatibleError(
                    f"parent {number}: tensor '{PREFIX}.{step.name}.{self.inner}' has the shape "
                    f"{tuple(source.shape)}, the same layer of the child {tuple(self.values.shape)}"
                    ". Its weights belong to another genotype."
                )
            if extra and (axis < 2 or extra % 2):
                return None
            pads += [extra // 2, extra // 2]
        return functional.pad(source, pads) if any(pads) else source

    def _matched(
        self, axis: int, mine: Tags, theirs: Tags, number: int
    ) -> tuple[Index, Index, npt.NDArray[np.float64]]:
        """Return (places in the child, places in the parent, scales) along one axis."""
        place = {key: i for i, key in enumerate(_counted(theirs))}
        rules = self._rules(axis)
        to, of, scales = [], [], []
        for i, (tag, nth) in enumerate(_counted(mine)):
            rule = rules.get(tag, Rule("by tag", tag, number))
            if rule.verb in ("zero", "fresh") or rule.parent != number:
                continue
            at = place.get((rule.tag, nth))
            if at is not None:
                to.append(i)
                of.append(at)
                once = self.roles[axis] == "in" or tag not in self.passed_on
                scales.append(rule.scale if once else 1.0)
        return np.array(to, np.int64), np.array(of, np.int64), np.array(scales, np.float64)

    def finish(self, givers: Sequence[_Giver]) -> None:
        """Set zeros, then copy channels of the child's own, axis by axis."""
        for axis, mine in enumerate(self.tags):
            rules = self._rules(axis)
            if mine is None or not rules or not self.scaled:
                continue
            zero = [i for i, t in enumerate(mine.tolist()) if rules.get(t, Rule("")).verb == "zero"]
            if zero and (self.roles[axis] == "in" or self.final):
                where = torch.tensor(zero, device=self.values.device)
                self.values.index_fill_(axis, where, 0)
                self.origin.index_fill_(axis, where, ZERO)
        for axis, mine in enumerate(self.tags):
            if mine is not None and self._rules(axis):
                self._copy_own(axis, mine, givers)

    def _copy_own(self, axis: int, mine: Tags, givers: Sequence[_Giver]) -> None:
        rules, keys = self._rules(axis), _counted(mine)
        place = {key: i for i, key in enumerate(keys)}
        for i, (tag, nth) in enumerate(keys):
            rule = rules.get(tag)
            if rule is None or rule.verb != "copy" or (rule.tag, nth) not in place:
                continue
            if self._held_by(givers[rule.parent], axis, rule.tag):
                continue
            of = place[(rule.tag, nth)]
            if rules.get(rule.tag, Rule("")).verb == "copy":
                raise IncompatibleError(
                    f"heredity plan: tag {tag} copies {rule.tag}, itself a copy; name the original."
                )
            once = self.roles[axis] == "in" or tag not in self.passed_on
            scale = rule.scale if once and self._scales(axis) else 1.0
            self.values.select(axis, i).copy_(self.values.select(axis, of) * scale)
            self.origin.select(axis, i).copy_(self.origin.select(axis, of))

    def _held_by(self, giver: _Giver, axis: int, tag: int) -> bool:
        step = giver.step_for(self.step, self.rules)
        if step is None:
            return False
        theirs = giver.tensor(step, self.inner)[1][axis]
        return theirs is not None and bool((theirs == tag).any())

    def _rules(self, axis: int) -> Mapping[int, Rule]:
        return self.rules.axes.get(self.roles[axis] or "", {})

    def _scales(self, axis: int) -> bool:
        return self.scaled and (self.roles[axis] == "in" or self.final)


def _counted(axis_tags: Tags) -> list[tuple[int, int]]:
    """Return (tag, how often it came before): a concat may hold a channel twice."""
    seen: dict[int, int] = {}
    keys = []
    for tag in axis_tags.tolist():
        nth = seen.get(tag, 0)
        seen[tag] = nth + 1
        keys.append((tag, nth))
    return keys


def _along(values: Tensor, axis: int, n_axes: int) -> Tensor:
    """Return a vector shaped to lie along one axis, for broadcasting."""
    return values.view([-1 if i == axis else 1 for i in range(n_axes)])
