"""Several networks that begin alike as one, which computes once what they have in common.

Relatives may have layers in common, weights and all: networks of a growth share them, and one that
goes on from another may have kept its first layers. A layer is the same in two networks if it is of
the same kind, its tensors are equal bit for bit, and so are the layers that it reads. Of a sequence
such as convolution, norm and ReLU the first modules may be common and the rest not.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor, nn

from nasgen.export.source import renamed
from nasgen.phenotype.network import PREFIX, Network
from nasgen.search_spaces.blueprint import INPUT, Step

Named = tuple[Step, str, str]  # a step, its name in source text, what it is in words
COUNTED = "num_batches_tracked"  # a buffer of norms that no answer depends on


@dataclass(frozen=True)
class Piece:
    """Modules of a step that run one after another; `key` is equal where their outputs are.

    `modules` has them by their names in a sequence; "" stands for the whole step.
    """

    key: str
    modules: tuple[tuple[str, nn.Module], ...]
    has_weights: bool


def pieces(network: Network) -> dict[str, list[Piece]]:
    """Return the steps of a network in pieces: the modules of a sequence, others whole.

    What changes its input in place belongs to the piece before it.
    """
    found: dict[str, list[Piece]] = {}
    outputs = {INPUT: INPUT}
    for step in network.blueprint.steps:
        module = network.steps[step.name]
        parts: list[list[tuple[str, nn.Module]]] = []
        for name, child in _modules(module):
            if parts and any(getattr(m, "inplace", False) for m in child.modules()):
                parts[-1].append((name, child))
            else:
                parts.append([(name, child)])
        key = repr([outputs[source] for source in step.inputs])
        own = (step.layer, step.params, step.in_shapes, step.others)
        found[step.name] = []
        for i, modules in enumerate(parts):
            digest = hashlib.blake2b(repr((key, own, i, modules)).encode(), digest_size=16)
            named = [pair for _, m in modules for pair in m.state_dict().items()]
            tensors = [tensor for name, tensor in named if not name.endswith(COUNTED)]
            for tensor in tensors:
                digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().contiguous().numpy().tobytes())
            key = digest.hexdigest()
            found[step.name].append(Piece(key, tuple(modules), bool(tensors)))
        outputs[step.name] = key
    return found


def families(networks: Sequence[Network]) -> list[tuple[int, ...]]:
    """Return the places of networks that have weights in common, at least two in each family."""
    family = list(range(len(networks)))  # place -> the least place of its family
    first: dict[str, int] = {}
    for place, network in enumerate(networks):
        for piece in (p for of in pieces(network).values() for p in of if p.has_weights):
            a, b = family[first.setdefault(piece.key, place)], family[place]
            family = [min(a, b) if other in (a, b) else other for other in family]
    groups = [tuple(p for p, of in enumerate(family) if of == least) for least in {*family}]
    return sorted(places for places in groups if len(places) > 1)


class Family(nn.Module):
    """Networks as one: (B, C, ...) -> (B, n, n_outputs); `named` are the steps of each.

    `called` are the steps that it computes, `ends` the last one of each network, `tensors` for each
    network the names of its tensors -> those in the source of this module.
    """

    def __init__(self, networks: Sequence[Network], named: Sequence[Sequence[Named]]) -> None:
        super().__init__()
        self.n, self.steps = len(networks), nn.ModuleDict()
        self.called: list[Named] = []
        self.ends: list[str] = []
        self.tensors: list[dict[str, str]] = []
        split = [pieces(network) for network in networks]
        owners: dict[str, list[int]] = {}
        for k, of in enumerate(split):
            for key in {piece.key: None for parts in of.values() for piece in parts}:
                owners.setdefault(key, []).append(k)
        made: dict[str, Named] = {}
        for k, network in enumerate(networks):
            outputs: dict[str, str] = {INPUT: INPUT}
            tensors: dict[str, str] = {}
            for step, name, words in named[k]:
                runs = [[*run] for _, run in groupby(split[k][step.name], lambda p: owners[p.key])]
                sources = tuple(outputs[source] for source in step.inputs)
                for i, run in enumerate(runs):
                    module, key = _joined(run), run[-1].key
                    if key not in made:
                        place, others = f"step{len(self.steps)}", step.others if i == 0 else ()
                        self.steps[place] = module
                        called = self._free(name + (f"_part{i + 1}" if len(runs) > 1 else ""), k)
                        here = replace(step, name=place, inputs=sources, others=others)
                        made[key] = here, called, words + _of(owners[key], self.n)
                        self.called.append(made[key])
                    here, called, _ = made[key]
                    tensors |= renamed(module, f"{PREFIX}.{step.name}.", f"{called}.")
                    sources = (here.name,)
                outputs[step.name] = sources[0]
            self.tensors.append(tensors)
            self.ends.append(outputs[network.blueprint.steps[-1].name])
        steps = tuple(step for step, _, _ in self.called)
        self.blueprint = replace(networks[0].blueprint, steps=steps)

    def _free(self, name: str, k: int) -> str:
        """Return a name for a step of the network `k` that no other step has."""
        taken = {called for _, called, _ in self.called} | {"x"}
        found, n = name, 1
        while found in taken:
            found, n = f"{name}_of_{k + 1}" + (f"_{n}" if n > 1 else ""), n + 1
        return found

    def forward(self, x: Tensor, **others: Tensor) -> Tensor:
        """Return the outputs of each network."""
        maps = {INPUT: x}
        for step in self.blueprint.steps:
            names = [name.removeprefix(f"{INPUT}.") for name in step.others]
            more = {name: others[name] for name in names if name in others}
            inputs = [maps[source] for source in step.inputs]
            maps[step.name] = self.steps[step.name](*inputs, **more)
        return torch.stack([maps[end] for end in self.ends], 1)


def _of(owners: Sequence[int], n: int) -> str:
    """Return whose a step is, for a comment; "" where it belongs to all networks."""
    return "" if len(owners) == n else f" (network {', '.join(str(k + 1) for k in owners)})"


def _joined(run: Sequence[Piece]) -> nn.Module:
    """Return pieces of a step as one module, in which those of a sequence keep their names."""
    named = [pair for piece in run for pair in piece.modules]
    return named[0][1] if named[0][0] == "" else nn.Sequential(OrderedDict(named))


def _modules(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the modules of a sequence by name; any other module whole, as ""."""
    if type(module) is nn.Sequential and len(module):
        return [(name, child) for name, child in module._modules.items() if child is not None]
    return [("", module)]
