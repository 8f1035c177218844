"""Seconds of processor time to train random graphs alone and side by side (`evaluation/abreast`).

Of a step of training on Reber strings, a graph: alone; eight and twenty as one block-diagonal
network; and beside it a dense LSTM of three layers with as many weights as such a graph.

    python benchmarks/abreast.py --batch 32
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasgen.data import reber
from nasgen.evaluation.abreast import Abreast
from nasgen.genotypes.recurrent import CELLS
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces.random_graph_rnn import RandomGraphRnn
from nasgen.search_spaces.recurrent import RecurrentSpace, chain

SHAPE, N_GRAPHS, GOAL = (128, 53), 20, 1.5
TOGETHER = (8, 20)


def graphs(cell: str) -> list[Network]:
    """Return networks of graphs of both priors, 10 to 50 vertices."""
    found = []
    for i in range(N_GRAPHS):
        prior = ("barabasi-albert", "watts-strogatz")[i % 2]
        space = RandomGraphRnn(prior=prior, cells=(cell,))
        genotype = space.sample(np.random.default_rng(i)).mint(0, i)
        found.append(build(space.blueprint(genotype, SHAPE, 2), i))
    return found


def dense(n_weights: float) -> Network:
    """Return three dense layers of LSTM units with about so many weights."""
    space = RecurrentSpace(embedding=8)
    made = [build(space.blueprint(chain("lstm", [n] * 3), SHAPE, 2)) for n in range(2, 40)]
    return min(made, key=lambda network: abs(count(network) - n_weights))


def count(network: nn.Module) -> int:
    """Return how many weights of recurrent layers are not 0."""
    named = network.named_parameters()
    return sum(int((p != 0).sum()) for name, p in named if "weight_ih" in name or "hh" in name)


def step_ms(network: nn.Module, rows: tuple[Tensor, Tensor, Tensor], repeats: int) -> float:
    """Return the milliseconds of processor time of a step, the median."""
    x, lengths, targets = rows
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    if isinstance(network, Abreast):
        network.kept_by(optimizer)
    seconds = []
    for _ in range(repeats + 1):
        began = time.process_time()
        outputs = network(x, lengths=lengths)
        each = outputs.unbind(1) if outputs.ndim == 3 else [outputs]
        optimizer.zero_grad()
        torch.stack([F.cross_entropy(one, targets) for one in each]).sum().backward()
        if isinstance(network, Abreast):
            network.clip(1.0)
        else:
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.process_time() - began)
    return 1000 * statistics.median(seconds[1:])


def measured(cell: str, batch: int, repeats: int) -> dict[str, object]:
    """Return the row of a kind of units and a size of batches."""
    strings = reber.dataset("reber", 4 * batch, 0)
    x, lengths = (torch.from_numpy(strings.inputs[n][:batch]) for n in ("x", "lengths"))
    rows = x[:, : int(lengths.max())], lengths, torch.from_numpy(strings.targets[:batch])
    found = graphs(cell)
    n_weights = statistics.mean(map(count, found))
    rival = dense(n_weights)
    dense_ms = step_ms(rival, rows, repeats)
    together = {}
    for n in TOGETHER:
        groups = [found[i : i + n] for i in range(0, N_GRAPHS - n + 1, n)]
        together[n] = statistics.mean(step_ms(Abreast(g), rows, repeats) / n for g in groups)
    return {
        "cell": cell,
        "batch": batch,
        "graphs": N_GRAPHS,
        "layers": statistics.mean(len(n.blueprint.steps) - 3 for n in found),
        "weights": round(n_weights),
        "alone_ms": round(statistics.mean(step_ms(n, rows, repeats) for n in found), 2),
        "dense_lstm_ms": round(dense_ms, 2),
        "dense_lstm_weights": count(rival),
        "goal": GOAL,
        **{f"abreast_{n}_ms": round(ms, 2) for n, ms in together.items()},
        "of_dense": round(together[N_GRAPHS] / dense_ms, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, nargs="+", default=[32], help="strings of a step")
    parser.add_argument("--repeats", type=int, default=5, help="steps that are timed")
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=CELLS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for batch, cell in itertools.product(options.batch, options.cells):
        print(json.dumps(measured(cell, batch, options.repeats)), flush=True)


if __name__ == "__main__":
    main()
