"""What several networks that begin alike have in common.

Relatives may have layers in common, weights and all: networks of a growth share them, and one that
goes on from another may have kept its first layers. A layer is the same in two networks if it is of
the same kind, its tensors are equal bit for bit, and so are the layers that it reads. Of a sequence
such as convolution, norm and ReLU the first modules may be common and the rest not.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from nasgen.export import stacks
from nasgen.phenotype.network import Network
from nasgen.search_spaces.blueprint import INPUT

COUNTED = "num_batches_tracked"  # a buffer of norms that no answer depends on


@dataclass(frozen=True)
class Piece:
    """Modules of a step that run one after another; `key` is equal where their outputs are.

    `modules` has them by their names in a sequence; "" stands for the whole step. They are those of
    `n` networks side by side; `reads_one`: that read a map which is the same for all, given once.
    """

    key: str
    modules: tuple[tuple[str, nn.Module], ...]
    has_weights: bool
    n: int = 1
    reads_one: bool = True


Pieces = Mapping[str, Sequence[Piece]]  # name of a step -> its pieces


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


def side_by_side(networks: Sequence[Network]) -> dict[str, list[Piece]]:
    """Return the steps of networks of one shape in pieces: what all have in common, and the rest.

    The rest of a step is one piece, in which their modules lie side by side; raises `stacks.Apart`
    where they cannot.
    """
    if len(networks) == 1:
        return pieces(networks[0])
    each = [pieces(network) for network in networks]
    found: dict[str, list[Piece]] = {}
    common = {INPUT}  # outputs that are the same for all
    for step in networks[0].blueprint.steps:
        own = [parts[step.name] for parts in each]
        n_equal = 0
        while n_equal < len(own[0]) and len({parts[n_equal].key for parts in own}) == 1:
            n_equal += 1
        found[step.name] = own[0][:n_equal]
        if n_equal == len(own[0]):
            common.add(step.name)
            continue
        rest = [together(parts[n_equal:]) for parts in own]
        is_common = n_equal > 0 or (len(step.inputs) == 1 and step.inputs[0] in common)
        reads_one = is_common and stacks.can_read_one(rest[0])
        module = stacks.stacked(rest, reads_one)
        whole = own[0][-1].modules[0][0] == ""
        modules = (("", module),) if whole else tuple(module.named_children())
        key = repr([parts[-1].key for parts in own])
        weighs = any(part.has_weights for part in own[0][n_equal:])
        found[step.name].append(Piece(key, modules, weighs, len(networks), reads_one))
    return found


def linked(labels: Sequence[Iterable[Hashable]]) -> list[tuple[int, ...]]:
    """Return the places of things in groups: those that have a label in common, over others too."""
    group = list(range(len(labels)))  # place -> the least place of its group
    first: dict[Hashable, int] = {}
    for place, own in enumerate(labels):
        for label in own:
            a, b = group[first.setdefault(label, place)], group[place]
            group = [min(a, b) if other in (a, b) else other for other in group]
    return [tuple(p for p, of in enumerate(group) if of == least) for least in sorted({*group})]


def weighed(found: Pieces) -> set[str]:
    """Return the keys of those pieces that have weights."""
    return {piece.key for parts in found.values() for piece in parts if piece.has_weights}


def together(run: Sequence[Piece]) -> nn.Module:
    """Return pieces of a step as one module, in which those of a sequence keep their names."""
    named = [pair for piece in run for pair in piece.modules]
    return named[0][1] if named[0][0] == "" else nn.Sequential(OrderedDict(named))


def _modules(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the modules of a sequence by name; any other module whole, as ""."""
    if type(module) is nn.Sequential and len(module):
        return [(name, child) for name, child in module._modules.items() if child is not None]
    return [("", module)]
