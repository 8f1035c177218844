"""nasgen and GOLEM on the same objective: the best score over evaluations, and the seconds it took.

Run: python benchmarks/golem.py [--python /path/to/python] [--seeds 10] [--evaluations 600]

GOLEM (`pip install thegolem`) may live in an environment of its own, named by --python: of nasgen
it needs only `nasgen.bench.synthetic`, which imports the standard library alone. Both searches
score graphs by the objective `synthetic-dag`, begin with 20 graphs drawn from one distribution, and
run in one process; nasgen's time includes the drawing. GOLEM has its own operators and default
settings; a rule forbids what the space `dag-cnn` forbids. It is written for the interface of
thegolem 0.4 (`EvoGraphOptimizer`).

A graph that GOLEM scores again counts again; "distinct" counts equal ones once. GOLEM calls
`gc.collect` after every evaluation; --no-collect turns that off, to see what else takes time.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from nasgen.bench.synthetic import NAME, SPACE, WIDTHS, Seen, score

ROOT = Path(__file__).resolve().parents[1]
LOOKS = (50, 100, 200, 300, 600, 1000, 2000)
POPULATION = 20  # of nasgen's "genetic" here, and GOLEM's default
OPS = {f"conv{k}x{c}": ("conv", k, c) for k in (3, 5, 7) for c in WIDTHS} | {
    op: (op, 0, 0) for op in ("max_pool", "avg_pool", "sum", "concat")
}
NAME_OF = {label: name for name, label in OPS.items()}
MERGING = ("sum", "concat")
TIMEOUT_MIN = 60.0
UNBOUNDED = 1_000_000  # generations: the evaluations are what ends a search


class Done(Exception):  # noqa: N818 - no error: the evaluations are used up
    """Leaves GOLEM's loop."""


# ---- nasgen --------------------------------------------------------------------------------------


def drawn(seed: int) -> list[dict[str, Any]]:
    """Return graphs for GOLEM to begin with, as JSON."""
    from nasgen.bench.play import resolved
    from nasgen.bench.synthetic import seen
    from nasgen.seeding import generator

    space, rng = resolved(NAME, "genetic", seed).space, generator(seed, "golem", 0)
    graphs = [seen(space.sample(rng)) for _ in range(POPULATION)]
    return [{"labels": g.labels, "sources": g.sources} for g in graphs]


def nasgen(seed: int, evaluations: int) -> dict[str, Any]:
    """Return what one search found, {"values", "seconds", "distinct"}."""
    from nasgen.bench.play import play

    start = time.perf_counter()
    values, _ = play(NAME, "genetic", seed, evaluations)
    return {"values": values, "seconds": time.perf_counter() - start, "distinct": len(values)}


# ---- GOLEM, perhaps in another interpreter -------------------------------------------------------


def seen_by(graph: Any) -> Seen:
    """Return a graph of GOLEM as the objective sees it; nodes without parents read the input."""
    order: list[Any] = []
    waiting = list(graph.nodes)
    while waiting:
        ready = [n for n in waiting if all(any(p is o for o in order) for p in n.nodes_from)]
        if not ready:
            raise ValueError("the graph has a cycle")
        order += ready
        waiting = [n for n in waiting if not any(n is r for r in ready)]
    number = {id(node): i for i, node in enumerate(order, 1)}
    return Seen(
        [OPS[str(node.content["name"])] for node in order],
        [sorted(number[id(p)] for p in node.nodes_from) or [0] for node in order],
    )


def is_legal(graph: Any) -> bool:
    """Return True for what `dag-cnn` allows, else raise ValueError, as GOLEM's rules do."""
    if len(graph.nodes) > SPACE["max_vertices"] or graph.depth > SPACE["max_depth"]:
        raise ValueError("the graph is too large")
    for node in graph.nodes:
        if (len(node.nodes_from) > 1) != (str(node.content["name"]) in MERGING):
            raise ValueError("one input, but for merging vertices")
    return True


def golem(seed: int, evaluations: int, initial: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what one search of GOLEM found, {"values", "seconds", "distinct"}."""
    import numpy as np
    from golem.core.dag.verification_rules import DEFAULT_DAG_RULES
    from golem.core.optimisers.genetic.gp_optimizer import EvoGraphOptimizer
    from golem.core.optimisers.genetic.gp_params import GPAlgorithmParameters
    from golem.core.optimisers.genetic.operators.crossover import CrossoverTypesEnum
    from golem.core.optimisers.graph import OptGraph, OptNode
    from golem.core.optimisers.objective import Objective
    from golem.core.optimisers.optimization_parameters import GraphRequirements
    from golem.core.optimisers.optimizer import GraphGenerationParams

    random.seed(seed)
    np.random.seed(seed)
    graphs = []
    for data in initial:
        nodes: list[Any] = []
        for label, sources in zip(data["labels"], data["sources"], strict=True):
            parents = [nodes[s - 1] for s in sources if s]
            nodes.append(OptNode(NAME_OF[tuple(label)], nodes_from=parents))
        graphs.append(OptGraph(nodes))

    values: list[float] = []
    distinct: set[Any] = set()
    start = time.perf_counter()
    took = [0.0]

    def cost(graph: Any) -> float:
        """GOLEM minimises."""
        found = seen_by(graph)
        value = score(found)
        if len(values) < evaluations:
            values.append(value)
            distinct.add((tuple(found.labels), tuple(map(tuple, found.sources))))
            took[0] = time.perf_counter() - start
        return -value

    def look(population: Any, optimizer: Any) -> None:
        if len(values) >= evaluations:
            raise Done

    objective = Objective({"score": cost})
    optimizer = EvoGraphOptimizer(
        objective=objective,
        initial_graphs=graphs,
        requirements=GraphRequirements(
            num_of_generations=UNBOUNDED,
            timeout=timedelta(minutes=TIMEOUT_MIN),
            early_stopping_iterations=UNBOUNDED,
            early_stopping_timeout=TIMEOUT_MIN,
            max_depth=SPACE["max_depth"],
            max_arity=4,
            n_jobs=1,
            show_progress=False,
            history_dir=None,
        ),
        graph_generation_params=GraphGenerationParams(
            rules_for_constraint=[*DEFAULT_DAG_RULES, is_legal], available_node_types=list(OPS)
        ),
        graph_optimizer_params=GPAlgorithmParameters(
            pop_size=POPULATION,
            crossover_types=[CrossoverTypesEnum.subtree, CrossoverTypesEnum.one_point],
        ),
    )
    optimizer.set_iteration_callback(look)
    with contextlib.suppress(Done):
        optimizer.optimise(objective)
    return {"values": values, "seconds": took[0], "distinct": len(distinct)}


def answer() -> None:
    """Read jobs from standard input, search with GOLEM, print the results as the last line."""
    given = json.load(sys.stdin)
    # This file would be found in the place of the package of the same name.
    sys.path = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).parent.resolve()]
    if not given["collect"]:
        gc.collect = lambda *a: 0  # type: ignore[assignment]
    found = [golem(job["seed"], given["evaluations"], job["initial"]) for job in given["jobs"]]
    print("\n" + json.dumps(found))


# ---- the comparison ------------------------------------------------------------------------------


def line(name: str, runs: list[dict[str, Any]], evaluations: int) -> dict[str, Any]:
    """Return one engine's figures."""
    looks = [n for n in LOOKS if n < evaluations] + [evaluations]
    return {
        "engine": name,
        "seeds": len(runs),
        "best": {
            str(n): round(statistics.fmean(max(run["values"][:n]) for run in runs), 3)
            for n in looks
        },
        "evaluations": statistics.fmean(len(run["values"]) for run in runs),
        "distinct": statistics.fmean(run["distinct"] for run in runs),
        "seconds": round(statistics.fmean(run["seconds"] for run in runs), 3),
        "evaluations_per_s": round(
            sum(len(run["values"]) for run in runs) / sum(run["seconds"] for run in runs), 2
        ),
    }


def main() -> None:
    """Print one line of JSON an engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="interpreter with thegolem")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=600)
    parser.add_argument("--no-collect", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        answer()
        return
    nasgen(0, POPULATION)  # imports and first uses are no part of a search
    runs = [nasgen(seed, given.evaluations) for seed in range(given.seeds)]
    print(json.dumps(line("nasgen", runs, given.evaluations)), flush=True)
    request = {
        "evaluations": given.evaluations,
        "collect": not given.no_collect,
        "jobs": [{"seed": seed, "initial": drawn(seed)} for seed in range(given.seeds)],
    }
    done = subprocess.run(
        [given.python, str(Path(__file__).resolve()), "--worker"],
        input=json.dumps(request), capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        sys.exit(f"GOLEM did not run in {given.python}: {reason}")
    print(json.dumps(line("golem", json.loads(done.stdout.splitlines()[-1]), given.evaluations)))


if __name__ == "__main__":
    main()
