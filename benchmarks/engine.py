"""Trials a second of a real search whose networks are never trained.

Everything but training takes part: selection, operators, legality, canonical keys, the ledger, the
executor's JSON. The median of some rounds counts, because the speed of a shared machine changes.
With `--memory` the bytes that the driver keeps for each trial: how much the process has grown since
its first population, and how much of that Python holds (slower, with `--traced`).
Run: python benchmarks/engine.py [--trials 1500] [--rounds 7] [--profile]
     python benchmarks/engine.py --memory --trials 20000 --ledgers sqlite [--traced]
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import pstats
import resource
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nasgen import registry
from nasgen.execution.serial import Serial
from nasgen.loop.constants import Constants
from nasgen.loop.search import Search
from nasgen.runs import reading
from nasgen.settings.budget import Budget
from nasgen.settings.fidelity import Fidelity
from nasgen.store.ledger import Ledger

POPULATION = 64


class Instant:
    """Answers every job at once; the objective is noise of its number, so that ranks move."""

    def evaluate(
        self, job: Mapping[str, Any], report: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Return a completed result without looking at the genotype."""
        value = {"val_accuracy": (job["seq"] * 2_654_435_761 % 2**32) / 2**32}
        return {"seq": job["seq"], "state": "COMPLETE", "objectives": value, "metrics": value}


def instant(context: Mapping[str, Any]) -> Instant:
    """Return the evaluator (the entry point of the executor)."""
    return Instant()


def search(
    url: str, trials: int, crossover_prob: float
) -> tuple[Search, Callable[[], tuple[float, float]]]:
    """Return a search, and what tells (wall, CPU) seconds since its first population was told."""
    resolved = reading.resolved(
        {
            "algorithm": {
                "population": POPULATION,
                "offspring": POPULATION,
                "crossover_prob": crossover_prob,
            }
        }
    )
    constants = Constants(
        seed=0,
        objectives=resolved.objectives,
        search_fidelity=Fidelity(epochs=1.0),
        finish_fidelity=Fidelity(),
        recipe_digest="r",
        data_digest="d",
    )
    names = [*registry.names("mutations"), *registry.names("crossovers"), "sample", "finish"]
    directions = {o.name: o.direction for o in constants.objectives}
    bred: list[tuple[float, float]] = []

    def listen(event: str, data: Mapping[str, Any]) -> None:
        if event == "generation":
            bred.append((time.perf_counter(), time.process_time()))

    found = Search(
        constants,
        resolved.algorithm(lambda proposal: found.is_new(proposal)),
        Serial(f"{Path(__file__).stem}:instant", {}),
        Ledger.create(url, directions, names),
        Budget(trials + POPULATION, 0),
        set(),
        (listen,),
    )
    return found, lambda: (time.perf_counter() - bred[0][0], time.process_time() - bred[0][1])


def main() -> None:
    """Print offspring a second for each ledger; each offspring is legal and has its own key."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1500, help="offspring, sampling left out")
    parser.add_argument("--crossover-prob", type=float, default=0.3)
    parser.add_argument("--ledgers", nargs="+", default=["memory", "sqlite", "journal"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--traced", action="store_true")
    options = parser.parse_args()
    for kind in options.ledgers:
        if options.memory:
            print(json.dumps({"ledger": kind, **memory(kind, options)}), flush=True)
            continue
        rounds = [one_round(kind, options) for _ in range(options.rounds)]
        seconds, cpu_s = (statistics.median(clock) for clock in zip(*rounds, strict=True))
        rate = {"ledger": kind, "offspring": options.trials, "seconds": round(seconds, 3)}
        rate |= {"per_second": round(options.trials / seconds, 1)}
        rate |= {"per_cpu_second": round(options.trials / cpu_s, 1), "rounds": options.rounds}
        rate |= {"fastest": round(options.trials / min(rounds)[0], 1)}
        print(json.dumps(rate), flush=True)


def memory(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return how many bytes a trial costs the process that searches."""
    if options.traced:
        tracemalloc.start(1)
    sizes: list[int] = []

    def size() -> int:
        gc.collect()
        if options.traced:
            return tracemalloc.get_traced_memory()[0]
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    with tempfile.TemporaryDirectory() as folder:
        url = {"memory": "memory", "sqlite": f"sqlite:///{folder}/ledger.db"}[kind]
        found, _ = search(url, options.trials, options.crossover_prob)

        def listen(event: str, data: Mapping[str, Any]) -> None:
            if event == "told" and found.n_told in (POPULATION, options.trials + POPULATION):
                sizes.append(size())

        found.listeners += (listen,)
        found.run([], 0)
        found.ledger.close()
    return {
        "trials": options.trials,
        "bytes_per_trial": round((sizes[-1] - sizes[0]) / options.trials),
        "measured": "held by Python" if options.traced else "resident size of the process",
    }


def one_round(kind: str, options: argparse.Namespace) -> tuple[float, float]:
    """Return the (wall, CPU) seconds of one search."""
    with tempfile.TemporaryDirectory() as folder:
        url = {
            "memory": "memory",
            "sqlite": f"sqlite:///{folder}/ledger.db",
            "journal": f"journal:{folder}/ledger.log",
        }[kind]
        found, since = search(url, options.trials, options.crossover_prob)
        profile = cProfile.Profile() if options.profile else None
        if profile is not None:
            profile.enable()
        found.run([], 0)
        seconds = since()
        if profile is not None:
            profile.disable()
            pstats.Stats(profile).sort_stats("cumulative").print_stats(80)
        keys = {t.key for t in found.trials.values()}
        assert len(keys) == len(found.trials) == options.trials + POPULATION
        found.ledger.close()
        return seconds


if __name__ == "__main__":
    main()
