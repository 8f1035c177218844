"""Memory of ten relatives on shared parameters, against one network and against ten copies.

Two kinds of relatives: children of a drawn network, each with one of its convolutions wider by
`--by` channels; and children of the seed of a space, made as growth makes them. The latter grow the
network much, and what is new in each of them is shared with nobody. Counted are the bytes of all
storages that live between two steps: parameters, buffers and AdamW's moments, after every relative
has made an update. `--seconds` also measures the time of one update, against the same network on
parameters of its own.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from nasgen import registry
from nasgen.engine.algorithms.growth import Growth
from nasgen.genotypes import Child, Dag
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import Network, build
from nasgen.phenotype.shared import SharedParameters
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.graph import GraphSpace
from nasgen.search_spaces.inception import Inception

SHAPE, N_CLASSES = (3, 32, 32), 10
SPACES: dict[str, GraphSpace] = {"dag-cnn": DagCnn(), "inception": Inception()}


def network_of(
    space: GraphSpace, child: Child, parent: Network | None = None, seed: int = 0
) -> Network:
    """Return a network in channels-last order that starts from its parent's weights."""
    network = build(space.blueprint(child.genotype, SHAPE, N_CLASSES), seed)
    if parent is not None:
        given = [(parent.blueprint, parent.state_dict())]
        inherit(network, network.blueprint, given, child.plan)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def wider(space: GraphSpace, dag: Dag, n: int, by: int) -> Iterator[Child]:
    """Yield `n` children that are wider in one place each."""
    convs = [v for v in dag.inner if "channels" in dict(v.params)]
    for i in range(n):
        vertex = convs[i % len(convs)]
        channels = min(vertex.channels + by, space.max_channels)
        yield Child(dag.change(vertex.tag, channels=channels)).mint(0, i + 1)


def grown(space: GraphSpace, dag: Dag, n: int, seed: int) -> Iterator[Child]:
    """Yield `n` children by growth's own morphisms in turn."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        name = Growth.morphisms[i % len(Growth.morphisms)]
        child: Child = registry.resolve("morphisms", name)(dag, space, rng)
        yield child.mint(0, i + 1)


def mib(modules: list[nn.Module], optimizers: list[torch.optim.Optimizer]) -> float:
    """Return the MiB of all storages of parameters, buffers and optimiser states."""
    tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    for optimizer in optimizers:
        tensors += [t for state in optimizer.state.values() for t in state.values()]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values()) / 2**20


def update(
    run: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, *member: int
) -> None:
    """Make one update on made-up labels."""
    loss = F.cross_entropy(run(*member, images), torch.arange(len(images)) % N_CLASSES)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def measure(
    space: GraphSpace, dag: Dag, relatives: Sequence[Child], batch: int, seconds: bool
) -> dict[str, Any]:
    """Return the memory of relatives of a network, and with `seconds` the time of an update."""
    parent = network_of(space, Child(dag))
    images = torch.randn(batch, *SHAPE).contiguous(memory_format=torch.channels_last)
    members = [network_of(space, child, parent, i + 1) for i, child in enumerate(relatives)]

    copies = [copy.deepcopy(member) for member in members]
    own = [torch.optim.AdamW(network.parameters(), fused=True) for network in copies]
    for network, optimizer in zip(copies, own, strict=True):
        update(network.train(), optimizer, images)
    shared = SharedParameters((member.train(), {}) for member in members)
    optimizer = torch.optim.AdamW(shared.parameters(), fused=True)
    for i in range(len(members)):
        update(shared, optimizer, images, i)

    alone = copy.deepcopy(parent).train()
    its_own = torch.optim.AdamW(alone.parameters(), fused=True)
    update(alone, its_own, images)
    one = mib([alone], [its_own])
    ten, apart = mib([shared, *members], [optimizer]), mib(list(copies), list(own))
    result = {
        "relatives": len(members),
        "n_blocks": len(shared.blocks),
        "mib": {"parent": round(one, 3), "shared": round(ten, 3), "copies": round(apart, 3)},
        "shared_to_parent": round(ten / one, 3),
        "shared_to_mean_child": round(ten / (apart / len(members)), 3),
        "copies_to_parent": round(apart / one, 3),
    }
    if seconds:
        times: dict[str, list[float]] = {"shared": [], "own": []}
        for i in [*range(len(members))] * 3:
            start = time.perf_counter()
            update(shared, optimizer, images, i)
            middle = time.perf_counter()
            update(copies[i], own[i], images)
            times["shared"].append(middle - start)
            times["own"].append(time.perf_counter() - middle)
        result["ms_an_update"] = {
            name: round(1000 * float(np.median(found)), 2) for name, found in times.items()
        }
    return result


def main() -> None:
    """Print one JSON list: wider relatives, then grown ones of each space."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--relatives", type=int, default=10)
    parser.add_argument("--by", type=int, default=4)
    parser.add_argument("--genotype-seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)

    space, seed, n = SPACES["dag-cnn"], given.genotype_seed, given.relatives
    dag = space.sample(np.random.default_rng(seed)).mint(0, 0)
    families = {f"wider by {given.by} channels": (space, dag, list(wider(space, dag, n, given.by)))}
    for name, of in SPACES.items():
        dag = of.seed(np.random.default_rng(seed)).mint(0, 0)
        families[f"grown, seed of {name}"] = (of, dag, list(grown(of, dag, n, seed)))
    rows = [
        {"kind": kind, **measure(*family, given.batch, given.seconds)}
        for kind, family in families.items()
    ]
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
