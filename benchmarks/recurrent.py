"""Recurrent networks: dense, masked, without most of their units, and cell by cell.

Milliseconds of processor time of three layers of 50 units on Reber strings, one thread, in one
process and in turns. Per kind of units a row:

- "answer_ms": answers to 128 strings by the dense network, and by what is left compacted after
  80 % of the units of each layer (the smallest, by the sum of their weights) were taken out.
- "step_ms": a step of training without a support, with half of the weights masked, and by
  `torch.nn`'s cells in a Python loop over layers and symbols.

    python benchmarks/recurrent.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasgen.data import reber
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.training import make_optimizer
from nasgen.genotypes.recurrent import CELLS
from nasgen.layers.recurrent import GATES
from nasgen.phenotype.compaction import compact
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import Network, build
from nasgen.phenotype.support import Support
from nasgen.search_spaces.recurrent import RecurrentSpace, chain
from nasgen.settings.config import Training

SHAPE, N_LAYERS, N_UNITS = (128, 53), 3, 50
GONE = 0.8  # share of the units that leave
ANSWERED, TRAINED = 128, 32  # strings of a batch
SPACE = RecurrentSpace()
MODULES: dict[str, Any] = {"gru": nn.GRUCell, "lstm": nn.LSTMCell}


class Looped(nn.Module):
    """The same network cell by cell: an embedding, layers of cells, a linear map of the ends."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        make = MODULES.get(cell) or (
            lambda *sizes: nn.RNNCell(*sizes, nonlinearity=cell.removeprefix("rnn_"))
        )
        self.embedding = nn.Embedding(SHAPE[0], N_UNITS)
        self.cells = nn.ModuleList(make(N_UNITS, N_UNITS) for _ in range(N_LAYERS))
        self.linear = nn.Linear(N_UNITS, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        steps = list(self.embedding(x).unbind(1))
        for cell in self.cells:
            state = None
            for t, step in enumerate(steps):
                state = cell(step, state)
                steps[t] = state[0] if isinstance(state, tuple) else state
        ends = torch.stack(steps, 1)[torch.arange(len(x)), lengths - 1]
        found: Tensor = self.linear(ends)
        return found


def compacted(cell: str) -> tuple[Network, Network]:
    """Return a dense network and what is left of it without the smallest of its units."""
    genotype = chain(cell, [N_UNITS] * N_LAYERS).mint(0, 0)
    full = build(SPACE.blueprint(genotype, SHAPE, 2))
    masks = {}
    for name, p in full.named_parameters():
        if "weight_ih" in name or "weight_hh" in name:
            masks[name] = np.ones(tuple(p.shape), bool)
            if "weight_ih" in name:
                size = p.detach().abs().reshape(GATES[cell], N_UNITS, -1).sum((0, 2)).numpy()
                least = np.argsort(size)[: round(GONE * N_UNITS)]
            for gate in range(GATES[cell]):
                masks[name][gate * N_UNITS + least] = False
    held = Support.of(full, masks)
    left = compact(lambda g: SPACE.blueprint(g, SHAPE, 2), genotype, held.to_arrays())
    small = build(left.blueprint)
    inherit(small, left.blueprint, [(full.blueprint, full.state_dict())], left.plan)
    return full.eval(), small.eval()


def in_turns(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the milliseconds of processor time of each, medians; two turns warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for turn in range(repeats + 2):
        at = turn % len(names)
        for name in names[at:] + names[:at]:
            began = time.process_time()
            works[name]()
            if turn >= 2:
                seconds[name].append(1000 * (time.process_time() - began))
    return {name: round(statistics.median(found), 3) for name, found in seconds.items()}


def batch(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return symbols, lengths and classes of so many strings."""
    strings = reber.dataset("reber", 4 * n, 0)
    x, lengths = (torch.from_numpy(strings.inputs[name][:n]) for name in ("x", "lengths"))
    return x[:, : int(lengths.max())], lengths, torch.from_numpy(strings.targets[:n])


def stepping(network: nn.Module, rows: tuple[Tensor, Tensor, Tensor], sparse: bool) -> Any:
    """Return a step of training; `sparse`: half of the recurrent weights are masked."""
    x, lengths, targets = rows
    recipe = Recipe.of(Training(), SHAPE)
    optimizer: Any = torch.optim.AdamW(network.parameters(), fused=True)
    if isinstance(network, Network):
        optimizer = make_optimizer(network, recipe)
    if sparse:
        rng = np.random.default_rng(0)
        masks = {
            name: rng.random(tuple(p.shape)) < 0.5
            for name, p in network.named_parameters()
            if "weight_ih" in name or "weight_hh" in name
        }
        Support.of(network, masks).follow(optimizer)

    def step() -> None:
        loss = F.cross_entropy(network(x, lengths=lengths), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return step


def measured(cell: str, repeats: int) -> dict[str, Any]:
    """Return the row of a kind of units."""
    full, small = compacted(cell)
    x, lengths, _ = batch(ANSWERED)
    with torch.inference_mode():
        answers = in_turns(
            {
                "dense": lambda: full(x, lengths=lengths),
                "compacted": lambda: small(x, lengths=lengths),
            },
            repeats,
        )
    rows = batch(TRAINED)
    fresh = [build(full.blueprint, 1).train() for _ in range(2)]
    steps = in_turns(
        {
            "unmasked": stepping(fresh[0], rows, False),
            "masked": stepping(fresh[1], rows, True),
            "loop": stepping(Looped(cell), rows, False),
        },
        repeats,
    )
    return {
        "cell": cell,
        "units": [
            sum(s.out_shape[0] for s in n.blueprint.steps if s.role == "vertex")
            for n in (full, small)
        ],
        "batch": [ANSWERED, TRAINED],
        "threads": torch.get_num_threads(),
        "answer_ms": answers,
        "step_ms": steps,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=CELLS)
    parser.add_argument("--repeats", type=int, default=30, help="turns that are timed")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for cell in given.cells:
        print(json.dumps(measured(cell, given.repeats)), flush=True)


if __name__ == "__main__":
    main()
