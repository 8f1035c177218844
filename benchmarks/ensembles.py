"""What ensembles cost: choosing one among many networks, answering with one as it is exported.

    python benchmarks/ensembles.py selection [--members 200] [--rows 10000] [--classes 100]
    python benchmarks/ensembles.py exported [RUN ...]
    python benchmarks/ensembles.py runtime RUN[:TRIAL]

Rows of `exported` and `runtime` go to docs/results/exported.jsonl; what stands there is not
measured again. Nothing else should use the cores meanwhile.

- `selection`: time and memory of each method, from made-up predictions.
- `exported`: the time that the exported model.py of an ensemble of five takes, as a share of that
  of its members, each exported alone and asked one after another, with the mean of their answers.
  Networks of `ENSEMBLES` have weights as they are drawn, and the best five of each RUN its own.
- `runtime`: the time that ONNX Runtime takes for model.onnx of a network, as a share of torch's for
  its model.py.

Times are the least of calls that take turns in one process, for batches of 1 and 256 rows: on one
thread that of its processor, which others that compute meanwhile hardly disturb; on two the wall's.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from provenance import RESULTS, stamp
from torch import Tensor, nn

import nasgen
from nasgen import genotypes, registry
from nasgen.data.base import Dataset, load, make
from nasgen.data.split import split
from nasgen.ensembles.base import Candidate, Candidates
from nasgen.ensembles.choosing import asked
from nasgen.evaluation import device
from nasgen.evaluation.feeds.base import Stored
from nasgen.evaluation.tasks.classification import Classification
from nasgen.evaluation.transform import Transform
from nasgen.export import python
from nasgen.export.folder import Rows as Compared
from nasgen.export.folder import write
from nasgen.export.python import answers
from nasgen.export.subject import Live, Member, Subject
from nasgen.genotypes import Genotype
from nasgen.phenotype.network import build
from nasgen.search_spaces import networks
from nasgen.store.rows import Row, Rows

METHODS = ("greedy", "average", "weighted", "stack", "diverse")
FILE = RESULTS / "exported.jsonl"
KEYS = ("figure", "network", "threads")
BATCHES = (1, 256)
THREADS = (1, 2)
N_MEMBERS = 5
TURNS, TURNS_S = (5, 200), 4.0  # least and most of one figure, and for how long


def candidates(n: int, n_rows: int, n_classes: int, rounds: int) -> Candidates:
    """Return networks that are right on about 60 % of the rows, and on partly the same ones."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, n_rows)
    hardness = rng.normal(2.6, 1.2, n_rows).astype(np.float32)
    common = rng.normal(0, 0.7, (n_rows, n_classes)).astype(np.float32)
    members = []
    for _ in range(n):
        logits = common + rng.normal(0, 0.7, (n_rows, n_classes)).astype(np.float32)
        logits[np.arange(n_rows), labels] += hardness + np.float32(rng.normal(0, 0.1))
        odds = np.exp(2 * logits)
        members.append(Candidate(odds / odds.sum(axis=1, keepdims=True)))
    found = Candidates(tuple(members), labels, Classification(n_classes), rounds=rounds)
    return found.ranked()


def selection(given: argparse.Namespace) -> None:
    """Print one JSON object: seconds of each method, memory of the whole process."""
    found = candidates(given.members, given.rows, given.classes, given.rounds)
    result: dict[str, object] = {"members": given.members, "rows": given.rows}
    result["classes"] = given.classes
    result["best_accuracy"] = found.score([(found.members[0], 1.0)])[0]
    for name in given.methods:
        began, cpu = time.perf_counter(), time.process_time()
        mix = asked(registry.resolve("ensembles", name)(), found, name)
        result[name] = {
            "seconds": round(time.perf_counter() - began, 2),
            "cpu_s": round(time.process_time() - cpu, 2),
            "members": len(mix),
            "accuracy": found.score(mix)[0],
        }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**result, "peak_gib": round(peak / 2**20, 2)}, indent=2))


def in_turns(calls: dict[str, Callable[[], object]], threads: int) -> dict[str, float]:
    """Return the least milliseconds of each of some calls, which take turns."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    found = {name: float("inf") for name in calls}
    names, began = list(calls), time.perf_counter()
    for turn in range(TURNS[1]):
        if turn >= TURNS[0] and time.perf_counter() - began > TURNS_S:
            break
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = clock()
            calls[name]()
            found[name] = min(found[name], 1000 * (clock() - start))
    return found


# ---- ensembles of five, as they are exported -----------------------------------------------------


def pixels(shape: tuple[int, ...]) -> Dataset:
    """Return random images of 10 classes."""
    rng = np.random.default_rng(0)
    return make("pixels", rng.integers(0, 256, (400, *shape), dtype=np.uint8), np.arange(400) % 10)


def drawn(space: str, dataset: Dataset, seeds: Sequence[int], **options: Any) -> Subject:
    """Return networks of these seeds: equal ones are of the same shape with other weights."""
    found = registry.resolve("search_spaces", space)(**options)
    return subject(
        dataset, found, [found.sample(np.random.default_rng(s)).mint(0, s) for s in seeds]
    )


def subject(dataset: Dataset, space: Any, found: Sequence[Genotype]) -> Subject:
    """Return untrained networks of genotypes with equal shares."""
    transform = Transform.fit(dataset, split(dataset, 0.25, 0).train)
    shape, n_outputs = transform.feed.input_shape, transform.task.n_outputs
    members = [
        Member(
            build(space.blueprint(genotype, shape, n_outputs), seed).eval(),
            genotype,
            1 / len(found),
        )
        for seed, genotype in enumerate(found)
    ]
    return Subject(tuple(members), transform)


def relatives(dataset: Dataset) -> Subject:
    """Return networks of one shape that have the first half of their layers in common."""
    genotype = genotypes.read(networks.read("resnet9")["genotype"]).mint(0, 0)
    found = subject(dataset, registry.resolve("search_spaces", "dag-cnn")(), [genotype] * N_MEMBERS)
    first = found.members[0].network
    early = [f"steps.{step.name}." for step in first.blueprint.steps[: len(first.steps) // 2]]
    kept = {n: t for n, t in first.state_dict().items() if n.startswith(tuple(early))}
    for member in found.members[1:]:
        member.network.load_state_dict(kept, strict=False)
    return found


ENSEMBLES: dict[str, Callable[[], Subject]] = {
    "dense, equal": lambda: drawn("mlp", _rows(), [3] * N_MEMBERS),
    "dense, different": lambda: drawn("mlp", _rows(), range(N_MEMBERS)),
    "convolutions on 8x8, equal": lambda: drawn("dag-cnn", load("digits"), [3] * N_MEMBERS),
    "convolutions on 8x8, different": lambda: drawn("dag-cnn", load("digits"), range(N_MEMBERS)),
    "convolutions on 32x32, different": lambda: drawn(
        "dag-cnn", pixels((3, 32, 32)), range(N_MEMBERS)
    ),
    "resnet9 on 32x32, first half in common": lambda: relatives(pixels((3, 32, 32))),
}


def _rows() -> Dataset:
    """Return the digits as rows of a table."""
    found = load("digits")
    return make("rows", found.x_train.reshape(len(found.x_train), -1).astype(float), found.targets)


def of_run(source: str) -> Subject:
    """Return the best five networks of a run with equal shares."""
    from nasgen.export.subject import member

    run = nasgen.load(source)
    best = run.networks()[:N_MEMBERS]
    if len(best) < N_MEMBERS:
        raise SystemExit(f"{source}: expected at least {N_MEMBERS} networks with kept weights.")
    service = best[0].inference
    members = [member(service, n.trial.genotype, n.trial.refs, 1 / N_MEMBERS) for n in best]
    return Subject(tuple(members), service.transform)


def loaded(found: Subject, inputs: dict[str, Tensor], raw: Any, folder: Path) -> nn.Module:
    """Export a subject and return the module of its model.py."""
    with torch.inference_mode():
        expected = Live(found, tuple(inputs)).eval()(*inputs.values()).numpy()
    write(found, Compared(raw, expected, None), folder, ("python",))
    return opened(folder)


def opened(folder: Path) -> nn.Module:
    """Return the module of an export's model.py."""
    path = folder / python.MODEL
    return python.opened(path, path.read_text())


@cache
def beside(make: Callable[[], Subject]) -> tuple[Subject, dict[str, Tensor], list[nn.Module]]:
    """Return an ensemble, rows as it takes them, and the modules of its exports.

    The first module is that of the ensemble, the others are those of its members alone.
    """
    found = make()
    raw = Stored(found.transform.feed.drawn(max(BATCHES), np.random.default_rng(0)) or {})
    inputs = found.inputs(raw)
    alone = [Subject((member,), found.transform) for member in found.members]
    with tempfile.TemporaryDirectory() as folder:
        modules = [
            loaded(each, inputs, raw, Path(folder) / str(i))
            for i, each in enumerate([found, *alone])
        ]
    return found, inputs, modules


def exported(make: Callable[[], Subject], threads: int) -> Row:
    """Return how long an exported ensemble takes beside its members one after another."""
    found, inputs, (together, *alone) = beside(make)
    units = [[type(unit.member.network).__name__, len(unit.places)] for unit in found.units]
    row: Row = {"units": units, "ratio": {}, "together_ms": {}, "one_by_one_ms": {}}
    with device.threads(threads):
        for n in BATCHES:
            few = {key: tensor[:n] for key, tensor in inputs.items()}
            times = in_turns(
                {
                    "together": partial(answers, together, few),
                    "one_by_one": lambda few=few: sum(answers(one, few) for one in alone),
                },
                threads,
            )
            row["ratio"][str(n)] = round(times["together"] / times["one_by_one"], 3)
            for key, ms in times.items():
                row[f"{key}_ms"][str(n)] = round(ms, 3)
    return row | stamp()


# ---- ONNX Runtime beside torch -------------------------------------------------------------------


@cache
def written(source: str) -> tuple[Any, nn.Module, bytes]:
    """Return a network, the module of its model.py, and its model.onnx, for one view of a row."""
    network = nasgen.load(source).network()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "out"
        made = network.export(folder, formats="python,onnx", views="1")
        if made.refused:
            raise SystemExit(str(made.refused))
        return network, opened(folder), (folder / "model.onnx").read_bytes()


def runtime(source: str, threads: int) -> Row:
    """Return how long ONNX Runtime takes for a network beside torch."""
    import onnxruntime

    network, model, file = written(source)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    feed = network.inference.transform.feed
    arrays = feed.numbers(feed.drawn(max(BATCHES), np.random.default_rng(0)))
    row: Row = {"trial": network.trial.seq, "n_params": network.trial.metrics.get("n_params")}
    row |= {"ratio": {}, "onnxruntime_ms": {}, "torch_ms": {}}
    with device.threads(threads):
        for n in BATCHES:
            given = {key: array[:n] for key, array in arrays.items()}
            plain = {key: torch.from_numpy(array) for key, array in given.items()}
            times = in_turns(
                {
                    "onnxruntime": partial(session.run, None, given),
                    "torch": partial(answers, model, plain),
                },
                threads,
            )
            row["ratio"][str(n)] = round(times["onnxruntime"] / times["torch"], 3)
            for key, ms in times.items():
                row[f"{key}_ms"][str(n)] = round(ms, 3)
    return row | stamp()


def main() -> None:
    """Measure what is asked for; print rows as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    choosing = commands.add_parser("selection")
    choosing.add_argument("--members", type=int, default=200)
    choosing.add_argument("--rows", type=int, default=10_000)
    choosing.add_argument("--classes", type=int, default=100)
    choosing.add_argument("--rounds", type=int, default=25)
    choosing.add_argument("--methods", nargs="+", default=METHODS)
    for name, many in (("exported", "*"), ("runtime", 1)):
        command = commands.add_parser(name)
        command.add_argument("runs", nargs=many, metavar="RUN")
        command.add_argument("--threads", type=int, nargs="+", default=THREADS)
        command.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args()
    if given.command == "selection":
        selection(given)
        return
    rows = Rows.open(given.out, KEYS)
    named = {Path(source).name: source for source in given.runs}
    works: dict[str, Callable[[int], Row]] = {}
    if given.command == "exported":
        makers = ENSEMBLES | {name: partial(of_run, source) for name, source in named.items()}
        works = {name: partial(exported, make) for name, make in makers.items()}
    else:
        works = {name: partial(runtime, source) for name, source in named.items()}
    for name, work in works.items():
        for threads in given.threads:
            row = rows.measured(
                partial(work, threads),
                figure=given.command, network=name, threads=threads,
            )  # fmt: skip
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
