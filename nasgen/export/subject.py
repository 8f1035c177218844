"""What is exported: trained networks with their shares, and how rows become what they read.

Sparse networks are compacted first: what is exported has no channel that is dead.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nasgen.evaluation.feeds.base import stored_of
from nasgen.evaluation.inference import Answers
from nasgen.evaluation.transform import Transform
from nasgen.export import joined
from nasgen.genotypes import Genotype
from nasgen.phenotype import heredity
from nasgen.phenotype.compaction import compact
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces.blueprint import INPUT, Blueprint, Step

Array = NDArray[Any]
PROBABILITIES: Final = "probabilities"
MEANS: Final = (PROBABILITIES, "logits")  # what is averaged of several networks
TINY: Final = float(np.finfo(np.float32).tiny)  # the least probability whose logarithm is taken
# What the decoder adds, by role.
ADDED: Final = {
    "stem": "brings the input down",
    "resize": "to the size of the smallest map",
    "project": "to the width of the widest map",
    "cap": "back to the most channels that are allowed",
    "head": "one output a class or value",
}


class Serves(Protocol):
    """What export needs of `nasgen.evaluation.inference.Inference`."""

    transform: Transform
    views: Sequence[Any]
    artifacts: Any
    space: Any

    def decode(self, genotype_json: Mapping[str, Any]) -> tuple[Genotype, Blueprint]: ...
    def network(self, genotype_json: Mapping[str, Any], weights_ref: str) -> Network: ...
    def raw_answers(
        self, genotype_json: Mapping[str, Any], weights_ref: str, raw: Any
    ) -> Answers: ...


@dataclass(frozen=True, eq=False)
class Member:
    """One network: in evaluation mode, on the CPU, with its share of the answer.

    `facts` is what model.json says of it: where it comes from, what was measured of it.
    """

    network: Any  # a Network; of a unit of several `joined.Joined`
    genotype: Genotype
    share: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blueprint(self) -> Blueprint:
        """Its build steps."""
        found: Blueprint = self.network.blueprint
        return found

    @cached_property
    def steps(self) -> tuple[tuple[Step, str, str], ...]:
        """Its steps in order, each with a name for source text and what it is in words.

        A vertex is called by its operation and its number in `nasgen show --trial`, and described
        as in the report's drawing; what the decoder adds by its role.
        """
        nodes = self.genotype.outline().nodes
        place = {node.tag: i for i, node in enumerate(nodes)}
        taken: set[str] = {"x"}
        found = []
        for step in self.blueprint.steps:
            at = place.get(step.tag) if step.role == "vertex" else None
            kind = re.sub(r"[^0-9A-Za-z]", "_", step.layer)
            kind = f"layer_{kind}" if kind[0].isdigit() or keyword.iskeyword(kind) else kind
            words = ADDED.get(step.role, "")
            if step.role == "vertex":
                words = _described(step) if at is None else nodes[at].text
            name, n = kind if at is None else f"{kind}_{at}", 2
            while name in taken:
                name, n = f"{kind}_{n}" if at is None else f"{kind}_{at}_{n}", n + 1
            taken.add(name)
            found.append((step, name, printable(words)))
        return tuple(found)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the inputs that it reads beside the main one."""
        names = (o.removeprefix(f"{INPUT}.") for s in self.blueprint.steps for o in s.others)
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True, eq=False)
class Unit:
    """A network of what is written: one member, or several that are computed together.

    `places` are those of its members in the subject, in the order of its outputs; `member` is the
    first of them, with a network that answers for all.
    """

    places: tuple[int, ...]
    member: Member

    @property
    def steps(self) -> Sequence[joined.Named]:
        """Its steps in order, each with a name for source text and what it is in words."""
        network = self.member.network
        return network.called if isinstance(network, joined.Joined) else self.member.steps

    @property
    def ends(self) -> Sequence[str]:
        """Names of the steps whose outputs it returns."""
        network = self.member.network
        is_joined = isinstance(network, joined.Joined)
        return network.ends if is_joined else [self.member.blueprint.steps[-1].name]


@dataclass(frozen=True, eq=False)
class Subject:
    """Networks that answer together, and all that their answers depend on.

    `mixed` says of what their shares average: "probabilities" (or values) or "logits";
    `temperature` sharpens (< 1) or flattens (> 1) probabilities afterwards. `views` are those over
    which each network's predictions are averaged, beside the row itself. `is_joined`: networks are
    written together where that saves time here, which is measured; else each is on its own.
    """

    members: tuple[Member, ...]
    transform: Transform
    views: tuple[Any, ...] = ()
    mixed: str = PROBABILITIES
    temperature: float = 1.0
    is_joined: bool = True

    @cached_property
    def reads(self) -> nn.Module | None:
        """The feed as a module; None where it has none."""
        return self.transform.feed.standalone()

    @cached_property
    def shows(self) -> nn.Module | None:
        """The views as a module, if there are any."""
        return self.transform.feed.standalone_views(self.views) if self.views else None

    def inputs(self, raw: Any) -> dict[str, Tensor]:
        """Return raw rows as what the exported network takes, in the order of its arguments."""
        feed = self.transform.feed
        stored = stored_of(feed, raw)
        if self.reads is not None:
            return _tensors(feed.numbers(stored))
        found = feed.batch(_tensors(feed.prepared(stored)))
        return {"x": found["x"], **found}  # the main input first

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """The networks as they are written, each in one unit.

        What several have in common is computed once. Those of the same shape lie side by side where
        that takes less time.
        """
        if not self.is_joined:
            return tuple(Unit((i,), member) for i, member in enumerate(self.members))
        networks = [member.network for member in self.members]
        found = joined.units(networks, [member.steps for member in self.members])
        return tuple(
            Unit(
                places,
                self.members[places[0]]
                if network is None
                else replace(self.members[places[0]], network=network),
            )
            for places, network in found
        )


class Live(nn.Module):
    """The subject as it is in nasgen, for formats that trace it where no source can be written."""

    def __init__(self, subject: Subject, names: Sequence[str]) -> None:
        super().__init__()
        self.names, self.units = tuple(names), subject.units
        self.reads, self.shows = subject.reads, subject.shows
        self.networks = nn.ModuleList([unit.member.network for unit in subject.units])
        self.shares = [member.share for member in subject.members]
        self.is_logits = subject.mixed != PROBABILITIES
        self.temperature, self.task = subject.temperature, subject.transform.task
        self.n_views = 1 + len(subject.views) if self.shows is not None else 1

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the answers to inputs in the order of `names`."""
        given = dict(zip(self.names, inputs, strict=True))
        x = inputs[0] if self.reads is None else self.reads(*inputs)
        x = x if self.shows is None else self.shows(x)
        found: dict[int, Tensor] = {}
        for network, unit in zip(self.networks, self.units, strict=True):
            more = {name: given[name] for name in unit.member.wanted if name in given}
            outputs = network(x, **more).float()
            for i, place in enumerate(unit.places):
                p = self.task.predictions(outputs if len(unit.places) == 1 else outputs[:, i])
                if self.n_views > 1:
                    p = p.reshape(self.n_views, -1, *p.shape[1:]).mean(0)
                found[place] = p
        each = [found[place] for place in sorted(found)]
        return mix(each, self.shares, self.is_logits, self.temperature)


def mix(
    found: Sequence[Tensor], shares: Sequence[float], is_logits: bool, temperature: float
) -> Tensor:
    """Return what networks answer together, by their shares; see `Subject`."""
    if is_logits:
        logits = [s * p.clamp(min=TINY).log() for p, s in zip(found, shares, strict=True)]
        return (torch.stack(logits).sum(0) / temperature).softmax(1)
    p = (
        found[0]
        if len(found) == 1
        else torch.stack([s * p for p, s in zip(found, shares, strict=True)]).sum(0)
    )
    return p if temperature == 1.0 else (p.clamp(min=TINY).log() / temperature).softmax(1)


def member(
    inference: Serves,
    genotype_json: Mapping[str, Any],
    refs: Mapping[str, str],
    share: float = 1.0,
    facts: Mapping[str, Any] | None = None,
) -> Member:
    """Return a trained network as a member, a sparse one without what is dead.

    Raises StoreError for weights that are gone or damaged.
    """
    network = inference.network(genotype_json, refs["weights"])
    network = _contiguous(network)
    genotype, _ = inference.decode(genotype_json)
    if "support" in refs and hasattr(genotype, "narrowed"):
        shape = inference.transform.feed.input_shape
        n_outputs = inference.transform.task.n_outputs

        def decode(found: Any) -> Blueprint:
            blueprint: Blueprint = inference.space.blueprint(found, shape, n_outputs)
            return blueprint

        parameters = dict(network.named_parameters())
        masks = {name: (p != 0).numpy() for name, p in parameters.items() if p.ndim > 1}
        small = compact(decode, genotype, masks)
        if small.blueprint is not network.blueprint:
            child = build(small.blueprint)
            parents = [(network.blueprint, network.state_dict())]
            heredity.inherit(child, small.blueprint, parents, small.plan)
            network, genotype = child, small.genotype
    return Member(network.eval(), genotype, share, facts or {})


def _contiguous(network: Network) -> Network:
    """Return a network on the CPU, its weights in the usual memory order."""
    moved: Any = network.to("cpu")
    for parameter in moved.parameters():
        parameter.data = parameter.data.contiguous()
    return network


def printable(text: str) -> str:
    """Return text for a comment: one line, nothing that could end it."""
    return "".join(c if c.isprintable() and c not in '"\\' else " " for c in text).strip()


def _described(step: Step) -> str:
    params = dict(step.params)
    words = step.layer.replace("_", " ")
    words += f" {params['kernel']}×{params['kernel']}" if "kernel" in params else ""
    return words + (f" · {params['channels']}" if "channels" in params else "")


def _tensors(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    plain = {name: np.require(a, requirements=["C", "W"]) for name, a in arrays.items()}
    return {name: torch.from_numpy(a) for name, a in plain.items()}
