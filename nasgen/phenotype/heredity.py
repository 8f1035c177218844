"""Executes heredity plans: which weights a child takes from its parents, by gene tag.

The only place that does (Chung 2018: gene tagging; Painter 2018: twins; Chen 2016: Net2Net). A step
of the child meets the step of a parent that has the same tag and layer; inside a tensor, rows and
columns meet by channel tag. `align` serves every tensor that has a network's names: weights, norm
statistics, masks, optimiser moments.

A plan is JSON. `{}`: by tag, the first parent that has a value gives it, the rest stays fresh, that
is as `build` drew it; a larger kernel keeps the old one in its middle and gets zeros around it.
Otherwise it maps tags of the child (written as text) to rules:

    {"tags": {"<tag>": rule}, "out": {"<tag>": rule}, "in": {"<tag>": rule},
     "rest": {"mean": [parent, ...], "weights": [...]}}

"tags" holds on every axis and for vertices, "out" and "in" go first on the axis they name. "rest"
averages what no rule names over these parents, by tag, instead of taking the first one's.

| rule | a channel | a vertex (in "tags") |
|---|---|---|
| {"inherit": t, "parent": i, "scale": s} | channel t of parent i (0), times s (1) | t's tensors |
| {"copy": t, "parent": i, "scale": s} | same, or where parent i has no t: the child's own t | t's |
| {"negate": t, "parent": i, "scale": s} | copy with scale -s | - |
| {"mean": [[i, t], ...], "weights": [w, ...], "scale": s} | average over parents | the same |
| {"identity": t, "parent": i} | reads channel t, unchanged, and nothing else | - |
| {"zero": true} | exactly 0 | - |
| {"fresh": true} | stays as drawn | stays as drawn |

A scale on "in" acts on the weights that read the channel. A scale (or zero) on "out" acts on what
the channel finally is: on gain and shift where the layer has a gain (a tensor of axes ("out",)
called "weight", as in batch norm), else on weights and bias. It acts once, at the step that owns
the channel. Statistics follow the out axis and are never scaled, nor zeroed. A zero on "in" learns
from the first step on; a zero on "out" before a ReLU does not, since the slope there is 0: silence
new channels at their readers.

A mean counts, value by value, the parents that hold it: with weights (1 each, normalised over these
parents) of the "out" axis where that averages, else of the "in" axis. Whole numbers, such as a
count of batches, are the first parent's. Averaged batch statistics want a new estimate.

An identity acts at the step that owns the new channel: 1 in the middle of the kernel that reads t,
0 elsewhere, no bias; a layer with a norm is refused (in training it would take the mean away). In
every later step the new channel is what t was in the parent.

"inherit", "copy" and "negate" take "noise": [[t, f], ...]: on top, f times what was drawn for
channel t of the child. Copies of one channel learn alike for ever; noise that adds up to 0 over
them parts them and keeps the function.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nasgen.errors import EvaluationError, IncompatibleError
from nasgen.genotypes import Plan
from nasgen.phenotype.filling import Filling
from nasgen.phenotype.network import PREFIX, AxisTags, Network, tensor_tags
from nasgen.phenotype.plans import Rules, read_plan
from nasgen.search_spaces.blueprint import Blueprint, Step

Parent = tuple[Blueprint, Mapping[str, Tensor]]


@dataclass(frozen=True)
class HeredityReport:
    """How many values of the child came from parents, were set by rule, or stayed fresh.

    `n_zero` counts what a zero or an identity set.
    """

    n_inherited: int = 0
    n_zero: int = 0
    n_fresh: int = 0

    @property
    def n_values(self) -> int:
        """All values of the child."""
        return self.n_inherited + self.n_zero + self.n_fresh


def inherit(
    child: Network,
    child_blueprint: Blueprint,
    parents: Sequence[Parent],
    plan: Plan,
    matched: bool = False,
) -> HeredityReport:
    """Fill a freshly built network from its parents, in place; parents stay as they are.

    `parents` are (blueprint, state dict). `matched`: in a tensor of which a part is inherited, what
    is fresh is scaled to the root mean square of that part, before rules copy it (variance
    transfer, after Yuan 2023; Wang and Painter 2018, figure 10); layers that are new as a whole
    stay as they were drawn. Raises IncompatibleError for a plan or
    weights that do not fit, EvaluationError (kind "non-finite") for weights that are NaN or
    infinite.
    """
    state = child.state_dict()
    values, report = align(child_blueprint, state, parents, plan, matched=matched)
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
    matched: bool = False,
) -> tuple[dict[str, Tensor], HeredityReport]:
    """Return new tensors of the child, filled from the parents' tensors of the same names.

    What is fresh is taken from `tensors`. `scaled=False` moves and averages values without scale,
    sign, zeros, identities or noise, as masks and moments need; `matched` is that of `inherit`,
    which raises alike.
    """
    rules = read_plan(plan, blueprint, [b for b, _ in parents])
    child_tags = tensor_tags(blueprint, tensors)
    step_of = {step.name: step for step in blueprint.steps}
    givers = [_Giver(b, t, tensor_tags(b, t), i) for i, (b, t) in enumerate(parents)]
    result: dict[str, Tensor] = {}
    whole: dict[str, tuple[_Giver, Step] | None] = {}
    counts = np.zeros(3, dtype=np.int64)
    for name, drawn in tensors.items():
        drawn = drawn.detach()
        if name not in child_tags:
            result[name] = drawn.clone()
            counts += (drawn.numel(), 0, 0)
            continue
        _, step_name, inner = name.split(".", 2)
        if step_name not in whole:
            whole[step_name] = _whole(step_of[step_name], givers, rules)
        if (given := whole[step_name]) is not None:
            found = given[0].tensor(given[1], inner)[0].detach()
            if found.shape == drawn.shape:  # if not, what follows says why
                result[name] = torch.empty_like(drawn).copy_(found)
                counts += (0, drawn.numel(), 0)
                continue
        step = step_of[step_name]
        filling = Filling(step, inner, drawn, child_tags[name], rules, scaled, matched)
        for giver in givers:
            source = giver.source(filling.step, rules)
            if source is not None:
                theirs, weight = source
                tensor, tags_of = giver.tensor(theirs, inner)
                filling.take(giver.number, theirs, tensor.detach(), tags_of, weight)
        filling.finish()
        result[name] = filling.values
        counts += filling.counts()
    n_fresh, n_inherited, n_zero = (int(n) for n in counts)
    return result, HeredityReport(n_inherited, n_zero, n_fresh)


def _whole(step: Step, givers: Sequence[_Giver], rules: Rules) -> tuple[_Giver, Step] | None:
    """Return (parent, its step) when a step of the child is simply that of its first giver.

    Most steps are: where an edit changed nothing and no rule says anything there is nothing to
    align, which saves most of the time of a plan.
    """
    if rules.averages or rules.names(step):
        return None
    for giver in givers:
        source = giver.source(step, rules)
        if source is not None:
            theirs = source[0]
            kept = [(s.params, s.in_shapes, s.in_tags, s.out_tags) for s in (step, theirs)]
            return (giver, theirs) if kept[0] == kept[1] else None
    return None


class _Giver:
    """A parent: its steps by gene tag, its tensors and their tags."""

    def __init__(
        self, blueprint: Blueprint, tensors: Mapping[str, Tensor], by: dict[str, AxisTags], i: int
    ) -> None:
        self.tensors, self.tags, self.number = tensors, by, i
        self.steps = {step.tag: step for step in blueprint.steps}
        self.checked: set[str] = set()

    def source(self, step: Step, rules: Rules) -> tuple[Step, float] | None:
        """Return the step that gives to a step of the child, and its weight; or None."""
        given = rules.for_vertex(step.tag, self.number)
        if given is None:
            return None
        found = self.steps.get(given[0])
        return (found, given[1]) if found is not None and found.layer == step.layer else None

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
            # A finite sum needs one pass; only one that is not (it may be too large) needs more.
            is_float = tensor.is_floating_point()
            if is_float and not math.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
                raise EvaluationError(
                    f"parent {self.number}: tensor '{name}' holds NaN or infinite values; a parent "
                    "that diverged cannot give weights.",
                    kind="non-finite",
                )
            self.checked.add(name)
        return tensor, self.tags[name]
