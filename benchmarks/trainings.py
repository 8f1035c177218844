"""Trains many networks on many image sets: the rows of the table that `transfer` learns from.

    python benchmarks/trainings.py collect --until 2000 --data ../shared/data
    python benchmarks/trainings.py pack

`collect` appends one row a network to trainings.jsonl and goes on where it was ended; several
processes may be at work at once (`--processes`), one thread each. `pack` adds the rows to the table
that comes with nasgen, which is all that need be kept of them: what is in it is not trained again.

A network is trained once and measured at three to five numbers of images, each twice the one
before. The learning rate rises and then stays; measured is the average of the weights over the last
part of the steps so far (polynomial decay, Shamir and Zhang 2013, "Stochastic gradient descent for
non-smooth optimization"), which is about as good as weights at the end of a decay of that length.
So each measurement stands for a whole training, and a number of images is a fidelity of its own.
How many images a network is shown follows from its operations: all cost about the same time, and
the numbers are the same on every machine. Seconds are those of the process, so that other work on
the cores counts little; `pace_s`, a fixed piece of work done before, tells what is left of that.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from image_sets import SOURCES, ImageSet, image_set, schedule
from provenance import stamp
from torch import Tensor, nn

import nasgen
from nasgen import registry, seeding
from nasgen.errors import DataError, NasgenError, NotApplicable
from nasgen.evaluation import device
from nasgen.evaluation.images import ImageBatches, Normaliser
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.scores.base import Probe
from nasgen.evaluation.training import make_optimizer
from nasgen.genotypes import Child, Dag
from nasgen.genotypes.kinds import accepted, varies
from nasgen.phenotype.network import build
from nasgen.predictors import trainings
from nasgen.predictors.features.network import NETWORK, of_network
from nasgen.predictors.pace import BATCH, Pace
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings.config import Training
from nasgen.store.rows import Rows

ROWS = Path("trainings.jsonl")
KEYS = ("number",)
SEED = 16
SPACE = DagCnn(max_channels=512, max_depth=60, max_vertices=120)
# Seconds of training and share of the networks; the first is the cheapest fidelity.
LEVELS = ((2.5, 0.84), (12.0, 0.12), (60.0, 0.04))
N_POINTS = (3, 4, 5)  # measurements of a network of each level
UNIT = 500  # images: all measurements lie at this times a power of two
MOST_IMAGES = 1_024_000
MACS = (3e5, 3e7)  # multiply-adds of one 3 x 32 x 32 image, drawn log-uniformly
CHANNELS = (4, 512)
RATE = 0.5  # of the recipe's peak learning rate, which a whole cycle only touches
WARMUP = 1000  # images in which the rate rises
TAIL = 8  # the average's weight lies on the last 1 / (TAIL + 1) of the steps
SCORES = ("synflow", "naswot", "jacob_cov")
SCORED = 64  # images
ORIGINS = (("sample", 0.35), ("mutated", 0.3), ("design", 0.35))
POINT = ("images", "accuracy", "loss", "cpu_s")
ORIGIN = ("commit", "versions", "machine", "recipe")  # of rows, once in the table
MOST_BYTES = 5_000_000  # of the table
VERSION = 1  # of how rows are made: another one begins anew


# ---- which network, on what, for how long --------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """Row `number` of the table: a network, an image set, and after how many images to measure."""

    number: int
    data: str
    level: int
    origin: str
    dag: Dag
    images: tuple[int, ...]


def work(number: int, folder: Path) -> Work:
    """Return what row `number` is, drawn from its number alone."""
    rng = seeding.generator(SEED, "training", number)
    names = schedule()
    # Image sets in turn, shifted each round: no level or kind of network keeps to one of them.
    data = names[number % len(names)]
    level = int(rng.choice(len(LEVELS), p=[share for _, share in LEVELS]))
    origin, dag = network(rng)
    found = image_set(data, folder)
    blueprint = SPACE.blueprint(dag, found.shape, found.n_classes)
    _, log_macs, log_values, n_steps, *_ = of_network(blueprint)
    image_s = Pace.usual().image_s(math.exp(log_macs), math.exp(log_values), n_steps)
    steps = round(math.log2(max(1.0, LEVELS[level][0] / image_s / UNIT)))
    last = min(MOST_IMAGES, UNIT * 2 ** max(steps, 2))
    images = tuple(last >> k for k in reversed(range(N_POINTS[level])))
    return Work(number, data, level, origin, dag, images)


def network(rng: np.random.Generator) -> tuple[str, Dag]:
    """Return where a network comes from, and the network, at a cost that is drawn."""
    names, shares = zip(*ORIGINS, strict=True)
    origin = str(rng.choice(names, p=shares))
    macs = float(np.exp(rng.uniform(*np.log(MACS))))
    if origin == "design":
        designs = SPACE.designs((3, 32, 32), 10, macs)
        design = designs[int(rng.integers(len(designs)))]
        # Scaled, since what fits a budget is of one size; sometimes with a mutation or two.
        origin, dag, n = f"design {design.name}", design.genotype, int(rng.integers(0, 3))
    else:
        dag, n = SPACE.sample(rng), int(rng.integers(1, 6)) if origin == "mutated" else 0
    dag, done = mutated(scaled(dag, macs), n, rng)
    return " ".join((origin, *done)), dag


def scaled(dag: Dag, macs: float) -> Dag:
    """Return the graph with other channels, so that it has about that many multiply-adds."""
    for _ in range(3):  # steps and limits of channels leave something over
        log_macs = of_network(SPACE.blueprint(dag, (3, 32, 32), 10))[NETWORK.index("log_macs")]
        factor = math.sqrt(macs / math.exp(log_macs))
        if 0.9 < factor < 1.1:
            break
        draft = dag.edit()
        for v in dag.inner:
            if v.get("channels"):
                channels = 4 * max(1, round(v.channels * factor / 4))
                draft.change(v.tag, channels=int(np.clip(channels, *CHANNELS)))
        dag = draft.freeze()
    return dag


def mutated(dag: Dag, n: int, rng: np.random.Generator) -> tuple[Dag, list[str]]:
    """Return the graph after up to `n` mutations, and their names."""
    entries = registry.usual("mutations").values()
    names = [e.name for e in entries if varies(accepted(e), Dag) and e.origin == "built-in"]
    done: list[str] = []
    for _ in range(10 * n):
        name = names[int(rng.integers(len(names)))]
        try:
            child = registry.resolve("mutations", name)(dag, SPACE, rng)
        except NotApplicable:
            continue
        genotype = child.genotype if isinstance(child, Child) else child
        if not SPACE.problems(genotype):
            # Operators give provisional tags, which must be final before the next one.
            dag = genotype.mint(SEED, len(done))
            done.append(name)
        if len(done) == n:
            break
    return dag, done


# ---- one training --------------------------------------------------------------------------------


class Averaged:
    """The average of a network's tensors over the last part of the steps so far."""

    def __init__(self, of: nn.Module) -> None:
        self.network = copy.deepcopy(of).eval()
        self._pairs = [
            (own, other)
            for own, other in zip(
                self.network.state_dict().values(), of.state_dict().values(), strict=True
            )
            if own.is_floating_point()
        ]
        self.n = 0

    @torch.no_grad()
    def take(self) -> None:
        """Take the tensors as they are after another step."""
        self.n += 1
        share = (TAIL + 1) / (self.n + TAIL)
        for own, other in self._pairs:
            own.lerp_(other, share)


def measured(task: Work, folder: Path) -> dict[str, Any]:
    """Train the network of a row and return what the row holds besides its number."""
    data = image_set(task.data, folder)
    blueprint = SPACE.blueprint(task.dag, data.shape, data.n_classes)
    net = build(blueprint, seeding.integer(SEED, "weights", task.number))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    points, diverged = trained(net, data, task)
    return {
        "version": VERSION,
        "data": task.data,
        "parents": list(SOURCES[task.data].parents),
        "shape": list(data.shape),
        "classes": data.n_classes,
        "rows": len(data.y),
        "validated": len(data.y_val),
        "origin": task.origin,
        "level": task.level,
        "key": task.dag.key,
        "genotype": SPACE.adopt(task.dag).to_json(),  # provisional tags: short ones
        "seed": SEED,
        "recipe": recipe_of(data).digest(),
        "points": points,
        "diverged": diverged,
        "scores": scores(task, data),
    }


def recipe_of(data: ImageSet) -> Recipe:
    """Return how networks are trained on an image set, but for the learning rate."""
    return Recipe.of(Training(batch_size=BATCH), data.shape)


def trained(net: nn.Module, data: ImageSet, task: Work) -> tuple[list[dict[str, float]], bool]:
    """Train a network; return its worth at each number of images, and whether it diverged."""
    recipe = recipe_of(data)
    images, labels = torch.from_numpy(data.x), torch.from_numpy(data.y)
    batches = ImageBatches(
        images, labels, torch.arange(len(labels)), recipe.batch_for(len(labels)),
        Normaliser.of(data.x),
        torch.Generator().manual_seed(seeding.integer(SEED, "batches", task.number)),
        recipe.crop, recipe.flip,
    )  # fmt: skip
    optimizer, average = make_optimizer(net, recipe), Averaged(net)
    points: list[dict[str, float]] = []
    seen, cpu_s = 0, 0.0
    began = time.process_time()
    net.train()
    for x, y in _for_ever(batches):
        for group in optimizer.param_groups:
            group["lr"] = RATE * recipe.lr * min(1.0, (seen + len(y)) / WARMUP)
        loss = F.cross_entropy(net(x), y, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.take()
        seen += len(y)
        if seen < task.images[len(points)]:
            continue
        cpu_s += time.process_time() - began
        if not math.isfinite(loss.item()):
            return points, True
        accuracy, log_loss = validated(average.network, data, batches.normalise)
        points.append(
            {
                "images": task.images[len(points)],
                "shown": seen,
                "cpu_s": round(cpu_s, 4),
                "accuracy": accuracy,
                "loss": round(log_loss, 5),
            }
        )
        if len(points) == len(task.images):
            break
        began = time.process_time()
    return points, False


def _for_ever(batches: ImageBatches) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        for inputs, labels in batches.epoch():
            yield inputs["x"], labels


@torch.inference_mode()
def validated(net: nn.Module, data: ImageSet, normalise: Normaliser) -> tuple[float, float]:
    """Return accuracy and cross-entropy on the validation images."""
    right, loss = 0, 0.0
    for i in range(0, len(data.y_val), 250):
        y = torch.from_numpy(data.y_val[i : i + 250])
        outputs = net(normalise(torch.from_numpy(data.x_val[i : i + 250])))
        right += int((outputs.argmax(1) == y).sum())
        loss += float(F.cross_entropy(outputs, y, reduction="sum"))
    return right / len(data.y_val), loss / len(data.y_val)


def scores(task: Work, data: ImageSet) -> dict[str, float | None]:
    """Return zero-cost scores of the untrained network; None for one that is no number."""
    blueprint = SPACE.blueprint(task.dag, data.shape, data.n_classes)
    net = build(blueprint, seeding.integer(SEED, "weights", task.number))
    x = Normaliser.of(data.x)(torch.from_numpy(data.x[:SCORED]))
    probe = Probe(net, x, torch.from_numpy(data.y[:SCORED]))
    found: dict[str, float | None] = {}
    for name in SCORES:
        began = time.process_time()
        value = float(registry.resolve("scores", name)(probe))
        found[name] = float(f"{value:.6g}") if math.isfinite(value) else None
        found[f"{name}_s"] = round(time.process_time() - began, 4)
    return found


def pace_s() -> float:
    """Return the CPU seconds of a fixed piece of work: convolutions forward and backward."""
    conv = nn.Conv2d(32, 32, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.zeros(64, 32, 16, 16).contiguous(memory_format=torch.channels_last)
    times = []
    for _ in range(6):
        began = time.process_time()
        conv(x).sum().backward()
        times.append(time.process_time() - began)
    return round(sorted(times)[len(times) // 2], 6)


# ---- the file ------------------------------------------------------------------------------------


def collect(numbers: Sequence[int], given: argparse.Namespace) -> None:
    """Measure the rows of these numbers that the file lacks."""
    about = {**stamp(), "versions": {"nasgen": nasgen.__version__, "torch": torch.__version__}}
    began = time.monotonic()
    rows = Rows(given.out, KEYS)  # to which several processes append at once
    for number in numbers:
        if time.monotonic() - began > given.seconds:
            break
        torch.manual_seed(seeding.integer(SEED, "training", number))
        with device.threads(1), device.flushed_denormals():
            task, pace = work(number, given.data), pace_s()
            started = time.process_time()
            row = {"number": number, **measured(task, given.data), "pace_s": pace, **about}
        row["cpu_s"] = round(time.process_time() - started, 3)
        rows.append(row)
        last = row["points"][-1] if row["points"] else {}
        print(
            f"{number}: {task.data}, {task.origin}, {last.get('images')} images, "
            f"{last.get('accuracy')}, {row['cpu_s']:.1f} s",
            file=sys.stderr, flush=True,
        )  # fmt: skip


def missing(given: argparse.Namespace) -> list[int]:
    """Return the numbers below `given.until` that neither the file nor the table has."""
    known = {row["number"] for row in (*collected(given.out), *table(given.table)[1])}
    return [number for number in range(given.until) if number not in known]


def pack(given: argparse.Namespace) -> None:
    """Add the rows to the table that comes with nasgen, and say what is in it."""
    head, packed = table(given.table)
    made: list[Any] = head.get("made", [])
    sets: dict[str, Any] = head.get("sets", {})
    known = {row["number"] for row in packed}
    for row in collected(given.out):
        if row["number"] in known or not row["points"]:
            continue
        # Rows that were collected before do not name their recipe.
        origin = {name: row[name] for name in ORIGIN if name in row}
        if origin not in made:
            made.append(origin)
        about = {name: row[name] for name in ("parents", "shape", "classes", "rows", "validated")}
        sets.setdefault(row["data"], about)
        packed.append(
            {
                "set": row["data"],
                **{name: row[name] for name in ("number", "origin", "genotype", "diverged")},
                "points": [[p[name] for name in POINT] for p in row["points"]],
                **{name: row[name] for name in ("scores", "pace_s")},
                "made": made.index(origin),
            }
        )
    if not packed:
        raise DataError(f"{given.out} has no rows; collect some first.")
    packed.sort(key=lambda row: row["number"])
    trainings.write(
        given.table, dict(sorted(sets.items())), packed, {"name": "dag-cnn", **SPACE.options()},
        made=made, seed=SEED, version=VERSION,
    )  # fmt: skip
    n_bytes = given.table.stat().st_size
    counts = {name: sum(row["set"] == name for row in packed) for name in sorted(sets)}
    print(json.dumps({"networks": len(packed), "bytes": n_bytes, "sets": counts}, indent=2))
    if n_bytes > MOST_BYTES:
        raise DataError(f"{given.table}: expected at most {MOST_BYTES} bytes, got {n_bytes}.")


def table(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return header and rows of the packed table; nothing where there is none of this version.

    One that is damaged or of an older format counts for none. What a later version of nasgen wrote
    does not: it would be lost.
    """
    if not path.is_file():
        return {}, []
    try:
        head, rows = trainings.lines(path)
    except trainings.NewerTableError:
        raise
    except DataError:
        print(f"{path} is damaged or of an older format: it counts for none.", file=sys.stderr)
        return {}, []
    return (head, rows) if head.get("version") == VERSION else ({}, [])


def collected(path: Path) -> list[dict[str, Any]]:
    """Return the rows that were not packed when they were collected, of this version."""
    return [row for row in Rows.open(path, KEYS).read if row["version"] == VERSION]


def main() -> None:
    """Collect rows, or pack them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("collect", help="train networks, a row each")
    command.add_argument("--until", type=int, default=2000, help="number of rows in all")
    command.add_argument("--seconds", type=float, default=math.inf, help="begin no row after that")
    command.add_argument("--processes", type=int, default=1)
    command.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder of the known image sets"
    )
    command.add_argument("--out", type=Path, default=ROWS)
    command.add_argument("--table", type=Path, default=trainings.SHIPPED)
    command = commands.add_parser("pack", help="write the rows to the table that nasgen brings")
    command.add_argument("--out", type=Path, default=ROWS, help="file of the rows")
    command.add_argument("--table", type=Path, default=trainings.SHIPPED)
    given = parser.parse_args()
    try:
        if given.command == "pack":
            pack(given)
            return
        numbers = missing(given)
        parts = [numbers[k :: given.processes] for k in range(given.processes)]
        if given.processes == 1:
            collect(numbers, given)
            return
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=collect, args=(part, given)) for part in parts]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if any(worker.exitcode for worker in workers):
            sys.exit(1)
    except NasgenError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
