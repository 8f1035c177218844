"""A training step with narrow maps side by side, beside the same step without; bfloat16.

Steps of both run in turns. Nothing is gained on a processor without AMX, and nothing is printed
there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

from nasgen import genotypes
from nasgen.evaluation import narrow
from nasgen.phenotype.network import build
from nasgen.search_spaces import networks
from nasgen.search_spaces.dag_cnn import DagCnn

N_CLASSES = 10


def main() -> None:
    """Print one JSON object a batch size and side: microseconds an image, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="resnet9", help="a name of `nasgen list networks`")
    parser.add_argument("--widen", type=float, default=1.5, help="factor of its channels")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--sides", type=int, nargs="+", default=[16, 20, 24, 28, 32])
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    if not narrow.pays():
        parser.error("this processor has no matrix unit for bfloat16 that narrow maps leave idle")
    torch.set_flush_denormal(True)
    space = DagCnn(max_channels=1024)
    read = genotypes.read(networks.read(given.network)["genotype"])
    genotype = space.widened(read, given.widen)
    network = build(space.blueprint(genotype, (3, 32, 32), N_CLASSES))
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, 0.9, nesterov=True, fused=True)
    autocast = torch.autocast("cpu", torch.bfloat16)
    ways = {"usual": autocast, "beside": narrow.Within(autocast, narrow.NarrowMaps())}
    for n_batch in given.batches:
        labels = torch.randint(0, N_CLASSES, (n_batch,))
        for side in given.sides:
            images = torch.randn(n_batch, 3, side, side)
            images = images.contiguous(memory_format=torch.channels_last)
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            for n_round in range(given.rounds + 1):
                for name, context in ways.items():
                    began = time.perf_counter()
                    for _ in range(3):
                        with context:
                            loss = F.cross_entropy(network(images).float(), labels)
                        optimizer.zero_grad(set_to_none=True)
                        loss.backward()
                        optimizer.step()
                    if n_round:  # the first one chooses kernels
                        seconds[name].append((time.perf_counter() - began) / 3)
            ratios = [b / a for a, b in zip(seconds["usual"], seconds["beside"], strict=True)]
            row = {
                f"{name}_us": round(1e6 * statistics.median(took) / n_batch)
                for name, took in seconds.items()
            }
            about = {"network": given.network, "widen": given.widen, "batch": n_batch, "side": side}
            about |= {"threads": torch.get_num_threads()}
            print(json.dumps(about | row | {"ratio": round(statistics.median(ratios), 3)}))


if __name__ == "__main__":
    main()
