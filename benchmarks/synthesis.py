"""What synthesised networks cost: time to mate, to answer, to train, memory; and the best of them.

    python benchmarks/synthesis.py mating
    python benchmarks/synthesis.py networks RUN --name shafiee2016
    python benchmarks/synthesis.py best --data mnist:DIR --goals 94 125 250 clusters --seeds 0 1 2

One row a figure and setting goes to docs/results/synthesis.jsonl; what stands there is not measured
again, so a stopped command goes on. `python benchmarks/figures.py --table` writes
docs/synthesis.md from the rows. Nothing else should use the cores meanwhile.

- `mating`: milliseconds to make a child of five parents, from reading their weights to the network
  that can be trained: of `lenet` and of a network of 5 M weights. Parents are untrained children of
  one ancestor.
- `networks`: the best network of each generation of a finished run beside the ancestor, by
  validation images: what is left of it, multiply-adds (compacted, and gathered as well), the median
  time for a batch of 1 and of 256 images on one thread, in turns with the ancestor in the same
  process; the time of a training step of the last generation beside the first; the memory of a
  worker that mates and trains beside that of one which trains the ancestor.
- `best`: the settings of `GOALS`, chosen on validation images of other seeds, one search a seed.
  The network that has the wanted size and is best on validation images is tested once.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from provenance import RESULTS, short, stamp

import nasgen
from nasgen import papers
from nasgen.evaluation import device
from nasgen.evaluation.derivation import Deriver, prunable
from nasgen.evaluation.inference import Inference
from nasgen.evaluation.measure import multiply_adds
from nasgen.evaluation.training import make_optimizer
from nasgen.genotypes import Dag, Draft
from nasgen.genotypes.derivation import Derivation
from nasgen.phenotype import clusters, support, survival
from nasgen.phenotype.gathered import gathered, saved
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces import networks
from nasgen.settings.config import merge
from nasgen.settings.fidelity import n_cores
from nasgen.store.artifacts import Artifacts
from nasgen.store.rows import Row, Rows
from nasgen.store.trial import Trial

FILE = RESULTS / "synthesis.jsonl"
KEYS = ("figure", "network", "mating", "environment", "name", "goal", "seed")
N_PARENTS = 5
BATCHES = (1, 256)
N_ROUNDS = 20
WIDTHS = (64, 128, *([256] * 9))  # of the network of 5 M weights, 3x3 convolutions
MATED = (
    ("intersect-mean", {"name": "normaliser"}),
    ("intersect-mean", {"name": "factor"}),
    ("mean", {"name": "factor"}),
    ("product", {"name": "factor"}),
    ("intersect-mean", {"name": "rank"}),
)


def median_ms(call: Callable[[], object], n: int, n_warm: int = 2) -> float:
    """Return the median milliseconds of `n` calls."""
    return in_turns({"": call}, n, n_warm)[""]


def in_turns(
    calls: Mapping[str, Callable[[], object]], n: int, n_warm: int = 3
) -> dict[str, float]:
    """Return the median milliseconds of each of some calls, which take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(n + n_warm):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            began = time.perf_counter()
            calls[name]()
            if turn >= n_warm:
                times[name].append(time.perf_counter() - began)
    return {name: 1000 * statistics.median(found) for name, found in times.items()}


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


class Measured:
    """A trial's network in each of its forms, with random images to answer."""

    def __init__(self, run: nasgen.Run, trial: Trial) -> None:
        self.trial, inference = trial, run.inference
        self.genotype, self.blueprint = inference.decode(trial.genotype)
        artifacts = Artifacts(run.folder.path / "artifacts")
        self.weights = {
            k: torch.from_numpy(v) for k, v in artifacts.load(trial.refs["weights"]).items()
        }
        kept = artifacts.load(trial.refs["support"]) if "support" in trial.refs else {}
        self.masks = support.completed(self.blueprint, kept)
        self.shape = self.blueprint.input_shape

    def built(self) -> Network:
        """Return its network, as compaction left it."""
        network = build(self.blueprint)
        network.load_state_dict(self.weights)
        moved: Network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return moved.eval()

    def counts(self) -> Row:
        """Return what is left: synapses, kernels and filters, classifier and biases left out."""
        names = prunable(self.blueprint, self.weights)
        left = {name: self.masks[name] for name in names}
        return {
            "synapses": survival.n_synapses(left),
            "kernels": clusters.n_clusters(left, "kernel"),
            "filters": clusters.n_clusters(left, "filter"),
            "by_layer": [clusters.n_clusters(mask, "kernel") for mask in left.values()],
            "values": int(sum(mask.sum() for mask in self.masks.values())),  # all that is left
            "multiply_adds": (n := multiply_adds(self.built(), self.shape)),
            "gathered": n - saved(gathered(self.built()), torch.zeros((1, *self.shape))),
        }


def of_generations(run: nasgen.Run) -> dict[int, Trial]:
    """Return the best network of each generation, the ancestor's as 0."""
    found: dict[int, Trial] = {}
    for trial in run.ranked:
        if trial.phase == "search":
            found.setdefault(trial.generation, trial)
    if len(found) < 2:
        sys.exit(f"{run.path}: expected an ancestor and a generation of children, trained.")
    return dict(sorted(found.items()))


def answering(ancestor: Measured, child: Measured, batch: int) -> dict[str, float]:
    """Return milliseconds for a batch of random images: the ancestor, the child in both forms."""
    n = N_ROUNDS if batch > 8 else 10 * N_ROUNDS
    forms = {
        "ancestor": ancestor.built(),
        "compacted": child.built(),
        "gathered": gathered(child.built()),
    }
    x = torch.randn((batch, *child.shape)).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        found = in_turns({k: partial(net, x) for k, net in forms.items()}, n)
    return {name: round(ms, 4) for name, ms in found.items()}


def steps(run: nasgen.Run, measured: Mapping[str, Measured]) -> dict[str, float]:
    """Return milliseconds of a training step on the same images, with the run's recipe."""
    evaluator = run.evaluator(threads=1)

    def stepping(of: Measured) -> Callable[[], None]:
        network = of.built().train()
        optimizer = make_optimizer(network, evaluator.recipe)
        support.Support.of(network, of.masks).follow(optimizer)
        batches = evaluator._batches({"seed": 0})
        stream = (batch for _ in count() for batch in batches.epoch())

        def step() -> None:
            inputs, targets = next(stream)
            optimizer.zero_grad(set_to_none=True)
            evaluator.inference.task.loss(network(inputs["x"]), targets).backward()
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
    rows = []
    for g, of in measured.items():
        row = {"generation": g, **of.counts()}
        row |= {"val_accuracy": of.trial.metrics.get("val_accuracy"), "ms": {}}
        for batch in BATCHES if g else ():
            row["ms"][str(batch)] = answering(ancestor, of, batch)
        rows.append(row)
        print(json.dumps(row), flush=True)
    first = measured[min(g for g in measured if g)]
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


# ---- the best ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Goal:
    """A size and the accuracy to reach at it, with the settings that were chosen for it.

    `counts` is the metric that says the size, `last` how many epochs the smallest network gets.
    """

    what: str
    counts: str
    efficiency: float
    accuracy: float
    settings: Mapping[str, Any]
    last: float

    @property
    def mode(self) -> str:
        """The settings in words."""
        environment = self.settings["environment"]
        return (
            f"`{environment['name']}`"
            + (f" ({environment['score']})" if "score" in environment else "")
            + f", {self.settings['algorithm']['generations']} generations"
        )


# What all goals have in common: a gradual schedule, learning from the ancestor's answers.
COMMON: dict[str, Any] = {
    "algorithm": {"first_epochs": 20, "epochs": 4},
    "training": {"optimizer": "adamw", "distil": 0.5, "label_smoothing": 0.0, "start_scale": 1.0},
}


def sparser(times: float, generations: int) -> dict[str, Any]:
    """Return the settings of an environment that leaves one synapse in so many."""
    environment = {"name": "rank", "score": "loss", "final": 1 / times, "generations": generations}
    return {"algorithm": {"generations": generations}, "environment": environment}


# Two filters a generation leave together with their kernels, so that small batches are faster too.
FILTERS = {
    "algorithm": {"generations": 6},
    "environment": {
        "name": "normaliser", "cluster": "filter", "final": 1 / 3.7, "generations": 6,
        "retention_clusters": 0.5, "retention_synapses": 0.98,
    },
}  # fmt: skip
GOALS = {
    "94": Goal("synapses", "synaptic_efficiency", 94, 99.2, sparser(95, 10), 60),
    "125": Goal("synapses", "synaptic_efficiency", 125, 99.0, sparser(126, 10), 60),
    "250": Goal("synapses", "synaptic_efficiency", 250, 98.4, sparser(252, 12), 60),
    "clusters": Goal("kernels", "cluster_efficiency", 10, 98.8, FILTERS, 20),
}


def searched(goal: Goal) -> dict[str, Any]:
    """Return the settings of a goal's search: those of the preset, but with its own environment."""
    preset = tomllib.loads(papers.preset("synthesis").read_text())
    return merge(preset | {"environment": {}}, merge(COMMON, goal.settings))


def best(name: str, seed: int, source: str, runs: Path, threads: int) -> Row:
    """Search, train the smallest network longer, test it once; a run that was begun goes on."""
    goal, folder = GOALS[name], runs / f"best-{name}-{seed}"
    tables = searched(goal)
    fixed = {
        "seed": seed,
        "data": {"source": source},
        "execution": {"threads_per_trial": threads, "workers": 1},
    }
    began = time.monotonic()
    if (folder / "run.json").exists():
        run = nasgen.load(folder)
        run = run if run.is_complete else nasgen.resume(folder)
    else:
        run = nasgen.run(tables, out=folder, overrides=[fixed])
    last = max(of_generations(run).items())[1]
    efficiency = float(last.metrics[goal.counts])
    if efficiency < goal.efficiency:
        sys.exit(
            f"{folder}: expected {goal.counts} >= {goal.efficiency:g} in the last generation, got "
            f"{efficiency:.1f}; the settings of goal '{name}' leave too much."
        )
    forms = [Measured(run, trial) for trial in (of_generations(run)[0], last)]
    with device.threads(1), device.flushed_denormals():
        times = {str(batch): answering(*forms, batch) for batch in BATCHES}
    run.threads = threads
    trained = run.train(last.seq, epochs=goal.last, with_validation=True)
    return {
        **stamp(),
        "data": short(source),
        "mode": goal.mode,
        "wanted": {
            "what": goal.what, "efficiency": goal.efficiency, "accuracy": goal.accuracy
        },
        "settings": merge(tables, {"last": goal.last}),
        "efficiency": round(efficiency, 2),
        "synapses": last.metrics["n_synapses"],
        "kernels": last.metrics["n_kernels"],
        "cluster_efficiency": last.metrics["cluster_efficiency"],
        "val_accuracy": last.metrics["val_accuracy"],
        "test_accuracy": trained["test_accuracy"],
        "ms": times,
        "threads": threads,
        "wall_s": round(max(time.monotonic() - began, _spent(run) + trained["wall_s"]), 1),
    }  # fmt: skip


def _spent(run: nasgen.Run) -> float:
    """Return the seconds of a run, all its segments together."""
    return float(run.summary["wall_s"])


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
    else:
        for seed in given.seeds:
            for goal in given.goals:
                make = partial(best, goal, seed, given.data, given.runs, given.threads)
                _show(rows, make, "best", goal=goal, seed=seed)


def _show(rows: Rows, make: Callable[[], Row], figure: str, **key: Any) -> None:
    whole = {"figure": figure, **dict.fromkeys(KEYS[1:]), **key}
    print(json.dumps(rows.measured(make, **whole)), flush=True)


if __name__ == "__main__":
    main()
