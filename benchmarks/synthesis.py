"""What synthesised networks cost: time to mate, to answer, to train, memory; and the best of them.

    python benchmarks/synthesis.py mating
    python benchmarks/synthesis.py networks RUN --name shafiee2016
    python benchmarks/synthesis.py best --data mnist:DIR --goals 94 125 250 clusters --seeds 0 1 2
    python benchmarks/synthesis.py modes --data mnist:DIR
    python benchmarks/synthesis.py steps --data mnist:DIR
    python benchmarks/synthesis.py several --data mnist:DIR
    python benchmarks/synthesis.py evolved RUN --data cifar10:DIR
    python benchmarks/synthesis.py table1 --data mnist:DIR

One row a figure and setting goes to docs/results/synthesis.jsonl; what stands there is not measured
again, so a stopped command goes on. `python benchmarks/figures.py --table` writes
docs/synthesis.md from the rows. Nothing else should use the cores meanwhile.

- `mating`: milliseconds to make a child of five parents, from reading their weights to the network
  that can be trained: of `lenet` and of a network of 5 M weights. Parents are untrained children of
  one ancestor.
- `networks`: the best network of each generation of a finished run beside the ancestor, by
  validation images: what is left of it, multiply-adds (compacted, and gathered as well); of some
  generations the median time for a batch of 1 and of 256 images on one thread, in turns with the
  ancestor in the same process; the time of a training step of the last generation beside the
  first, in turns too; the memory of a worker that mates and trains beside that of one which trains
  the ancestor.
- `best`: one search a seed, its settings chosen on validation images of another seed. Each goal
  takes the first generation that is small enough, trains it longer, on all training images, and
  tests it once.
- `modes`: environments and numbers of steps beside each other, at equal size after equal epochs, on
  a tenth of MNIST; validation images alone.
- `steps`: few large steps by synapses alone beside the small steps of `best`, on all of MNIST, at
  equal size after equal epochs; validation images alone.
- `several`: five parents, a tenth of MNIST, few kernels.
- `evolved`: the best network of a search as the ancestor.
- `table1`: preset `shafiee2016`, nothing tuned, on all of MNIST, by `factor` and `normaliser`, an
  epoch a generation.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count, product
from pathlib import Path
from typing import Any

import arms
from measured import BATCHES, N_ROUNDS, Measured, answering, in_turns, median_ms, of_generations
from provenance import RESULTS, short, stamp
from smallest import GOALS, best, search

import nasgen
from nasgen.evaluation import device
from nasgen.evaluation.derivation import Deriver, prunable
from nasgen.evaluation.inference import Inference
from nasgen.evaluation.precision import mixed_precision
from nasgen.evaluation.training import make_optimizer
from nasgen.genotypes import Dag, Draft
from nasgen.genotypes.derivation import Derivation
from nasgen.phenotype import support
from nasgen.phenotype.gathered import gathered
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces import networks
from nasgen.settings.fidelity import n_cores
from nasgen.store.artifacts import Artifacts
from nasgen.store.rows import Row, Rows

FILE = RESULTS / "synthesis.jsonl"
KEYS = ("figure", "network", "mating", "environment", "name", "goal", "seed")
ARMS = {  # commands that measure arms, and what they do
    "modes": "environments beside each other, on a tenth of MNIST",
    "steps": "large steps beside the small ones of best",
    "several": "five parents, on a tenth of MNIST",
    "evolved": "a network of a search as the ancestor",
    "table1": "the generations of Shafiee 2016 with nothing tuned, on all of MNIST",
}
N_PARENTS = 5
N_TIMED = 4  # generations of a run whose time to answer is measured, beside the last one
WIDTHS = (64, 128, *([256] * 9))  # of the network of 5 M weights, 3x3 convolutions
MATED = (
    ("intersect-mean", {"name": "normaliser"}),
    ("intersect-mean", {"name": "factor"}),
    ("mean", {"name": "factor"}),
    ("product", {"name": "factor"}),
    ("intersect-mean", {"name": "rank"}),
)


# ---- mating --------------------------------------------------------------------------------------


def large() -> Dag:
    """Return a chain of convolutions with about five million weights."""
    draft = Draft()
    here = draft.input
    for width in WIDTHS:
        here = draft.add("conv", [here], channels=width, kernel=3)
    draft.connect(here, draft.output)
    return draft.freeze().mint(0, 1)


ANCESTORS: dict[str, Callable[[], Dag]] = {
    "lenet": lambda: Dag.from_json(networks.read("lenet")["genotype"]).mint(0, 0),
    "5 M weights": large,
}


class Family:
    """An ancestor and children of it, as derivations and jobs know them; nothing is trained."""

    def __init__(self, ancestor: Dag, folder: Path) -> None:
        options = {"name": "dag-cnn", "max_channels": max(WIDTHS), "max_depth": 40}
        context = {"space": options, "data": {"source": "digits"}, "threads": 1, "training": {}}
        self.artifacts = Artifacts(folder)
        inference = Inference(context, self.artifacts)
        self.deriver = Deriver(inference)
        network = build(inference.decode(ancestor.to_json())[1])
        self.n_weights = sum(
            network.state_dict()[n].numel()
            for n in prunable(network.blueprint, network.state_dict())
        )
        self.ancestor = self.kept("ancestor", ancestor, network, {})

    def kept(self, name: str, genotype: Any, network: Network, masks: Mapping[str, Any]) -> Row:
        """Return a parent as jobs bring it, its tensors stored."""
        tensors = {k: t.numpy() for k, t in network.state_dict().items()}
        refs = {"weights": self.artifacts.save(tensors)}
        if masks:
            refs["support"] = self.artifacts.save(masks)
        return {"genotype": genotype.to_json(), "identity": name, "refs": refs}

    def child(self, parents: Sequence[Row], mating: str, environment: Row, seed: int) -> Any:
        """Return what a derivation makes of its parents."""
        settings = {"environment": environment, "generation": 1, "m": N_PARENTS}
        names = tuple(parent["identity"] for parent in parents)
        derivation = Derivation(names, "matings", mating, settings, seed)
        return self.deriver.derive(derivation, {"parents": parents}, seed)


def mating(network: str, name: str, environment: Row, n: int = 9) -> Row:
    """Return how long a child of five parents takes, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        family = Family(ANCESTORS[network](), Path(folder) / "artifacts")
        parents = []
        for i in range(N_PARENTS):
            made = family.child([family.ancestor], "mean", environment, i)
            parents.append(family.kept(f"p{i}", made.genotype, made.network, made.support))
        with device.threads(1):
            ms = median_ms(lambda: family.child(parents, name, environment, 99), n)
    return {**stamp(), "n_weights": family.n_weights, "parents": N_PARENTS, "ms": round(ms, 1)}


# ---- networks of a run ---------------------------------------------------------------------------


def steps(run: nasgen.Run, measured: Mapping[str, Measured]) -> dict[str, float]:
    """Return milliseconds of a training step on the same images, with the run's recipe."""
    evaluator = run.evaluator(threads=1)
    recipe, task = evaluator.recipe, evaluator.inference.task

    def stepping(of: Measured) -> Callable[[], None]:
        network = of.built().train()
        optimizer = make_optimizer(network, recipe)
        held = support.Support.of(network, of.masks)
        held.follow(optimizer)
        gathered(network, held.to_arrays())  # as networks with a support are trained
        batches = evaluator._batches({"seed": 0})
        stream = (batch for _ in count() for batch in batches.epoch())
        _, (autocast, _) = mixed_precision(recipe.precision, evaluator.device, batches.side)

        def step() -> None:
            inputs, targets = next(stream)
            with autocast:
                loss = task.loss(network(inputs["x"]), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

        return step

    return in_turns({name: stepping(of) for name, of in measured.items()}, N_ROUNDS)


def peak_mib(run: nasgen.Run, seq: int) -> float:
    """Return the largest memory of a process that trains a trial's network again, briefly."""
    code = [sys.executable, __file__, "peak", str(run.path), str(seq)]
    done = subprocess.run(code, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def trained_again(path: str, seq: int) -> None:
    """Mate, if it was mated, and train a trial's network for a moment; print the peak in MiB."""
    run = nasgen.load(path)
    trial = run.trial(seq)
    parents = [run.trial(parent) for parent in trial.parents]
    given = [
        {"genotype": dict(p.genotype), "identity": p.identity, "seq": p.seq, "refs": dict(p.refs)}
        for p in parents
    ]
    job = {
        "seq": seq,
        "attempt": 1,
        "genotype": dict(trial.derivation or trial.genotype),
        "fidelity": trial.fidelity.to_json() | {"epochs": 0.05, "seconds": None},
        "seed": trial.seed,
        "wants": [],
        "inherit": {"parents": given, "plan": {}} if given else None,
    }
    result = run.evaluator(threads=1).evaluate(job)
    if result["state"] != "COMPLETE":
        sys.exit(str(result["failure"]))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def run_networks(path: str) -> Row:
    """Return what the networks of a finished run cost, generation by generation."""
    with device.threads(1), device.flushed_denormals():
        return _run_networks(path)


def _run_networks(path: str) -> Row:
    run = nasgen.load(path)
    trials = of_generations(run)
    measured = {g: Measured(run, trial) for g, trial in trials.items()}
    ancestor, last = measured[0], measured[max(measured)]
    bred = [g for g in measured if g]
    timed = {bred[-1], *bred[:: -(-len(bred) // N_TIMED)]}
    rows = []
    for g, of in measured.items():
        row = {"generation": g, **of.counts()}
        row |= {"val_accuracy": of.trial.metrics.get("val_accuracy"), "ms": {}}
        for batch in BATCHES if g in timed else ():
            row["ms"][str(batch)] = answering(ancestor, of, batch)
        rows.append(row)
        print(json.dumps(row), flush=True)
    first = measured[bred[0]]
    return {
        **stamp(),
        "data": short(run.config.data.source),
        "seed": run.config.seed,
        "environment": {"name": run.config.environment.name, **run.config.environment.options},
        "parents": run.config.algorithm.model_dump().get("parents"),
        "generations": rows,
        "step_ms": steps(run, {"ancestor": ancestor, "first": first, "last": last}),
        "peak_mib": {
            name: peak_mib(run, of.trial.seq)
            for name, of in (("ancestor", ancestor), ("last", last))
        },
    }


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("mating", help="time to make a child of five parents")
    of_run = commands.add_parser("networks", help="what the networks of a finished run cost")
    of_run.add_argument("run", help="folder of a run with algorithm synthesis")
    of_run.add_argument("--name", required=True, help="what the rows call it, such as its preset")
    of_best = commands.add_parser("best", help="the smallest networks of a wanted accuracy")
    of_best.add_argument("--data", required=True, help="such as mnist:DIR")
    of_best.add_argument("--goals", nargs="+", choices=GOALS, default=list(GOALS))
    of_best.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    of_best.add_argument("--threads", type=int, default=n_cores())
    of_best.add_argument("--runs", type=Path, default=Path("runs"), help="where the runs are kept")
    for name, what in ARMS.items():
        of_arms = commands.add_parser(name, help=what)
        if name == "evolved":
            of_arms.add_argument("network", help="RUN or RUN:TRIAL")
        of_arms.add_argument("--data", required=True, help="such as mnist:DIR")
        of_arms.add_argument("--arms", nargs="+", help="some of them; default: all")
        of_arms.add_argument("--seeds", type=int, nargs="+", default=[0])
        of_arms.add_argument("--threads", type=int, default=1)
        of_arms.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept")
    peak = commands.add_parser("peak")
    peak.add_argument("run")
    peak.add_argument("seq", type=int)
    given = parser.parse_args()
    if given.command == "peak":
        trained_again(given.run, given.seq)
        return
    rows = Rows.open(FILE, KEYS)
    if given.command == "mating":
        for network in ANCESTORS:
            for name, environment in MATED:
                key = {"network": network, "mating": name, "environment": environment["name"]}
                _show(rows, partial(mating, network, name, environment), "mating", **key)
    elif given.command == "networks":
        seed = nasgen.load(given.run).config.seed
        _show(rows, partial(run_networks, given.run), "networks", name=given.name, seed=seed)
    elif given.command in ARMS:
        for seed, (name, arm) in product(given.seeds, _arms(given).items()):
            make = partial(_measured, given, seed, name, arm)
            _show(rows, make, given.command, name=name, seed=seed)
    else:
        for seed in given.seeds:
            about = (seed, given.data, given.runs / f"best-{seed}", given.threads)
            before = _show(rows, partial(search, *about), "search", seed=seed)
            for goal in given.goals:
                _show(rows, partial(best, goal, *about, before), "best", goal=goal, seed=seed)


def _arms(given: argparse.Namespace) -> Mapping[str, arms.Arm | str]:
    """Return the arms of a command, those that are named if any are."""
    found: Mapping[str, arms.Arm | str]
    if given.command == "evolved":
        found = {Path(given.network).name: arms.evolved(given.network)}
    else:
        found = {
            "modes": arms.MODES,
            "steps": {"10 large steps": arms.LARGE_STEPS},
            "several": arms.SEVERAL,
            "table1": {mode: mode for mode in ("factor", "normaliser")},
        }[given.command]
    if unknown := [name for name in given.arms or () if name not in found]:
        sys.exit(f"--arms: expected some of {', '.join(found)}, got {', '.join(unknown)}.")
    return {name: arm for name, arm in found.items() if name in (given.arms or found)}


def _measured(given: argparse.Namespace, seed: int, name: str, arm: arms.Arm | str) -> Row:
    def folder(of: str) -> Path:
        return Path(given.runs) / f"{of}-{seed}"

    if isinstance(arm, str):
        return arms.table1(arm, given.data, seed, folder(f"table1-{arm}"), given.threads)
    if "origin" not in arm.tables:
        first = arms.ancestor(given.data, seed, folder("tenth"), given.threads)
        arm = arms.beginning_with(arm, first)
    own = folder(f"{given.command}-{name.replace(', ', '-').replace(' ', '-')}")
    return arms.measure(arm, given.data, seed, own, given.threads)


def _show(rows: Rows, make: Callable[[], Row], figure: str, **key: Any) -> Row:
    row = rows.measured(make, figure=figure, **dict.fromkeys(KEYS[1:]) | key)
    print(json.dumps(row), flush=True)
    return row


if __name__ == "__main__":
    main()
