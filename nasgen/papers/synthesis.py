"""Evolutionary synthesis as an experiment: arms and seeds as finished runs of the one search.

Shafiee 2016, Chung 2017 and Chung 2018 are one system. An experiment trains one ancestor a seed,
lets every arm begin with it, and adds four controls with the same total of epochs along a line from
the ancestor to the last generation: the ancestor trained for all of them, pruned once by magnitude,
generations whose survivors are drawn at random, and a small dense network of equal size from
scratch. There is no training here; a row that was measured is kept, and so is a run.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Final

from nasgen.errors import StoreError, typed
from nasgen.papers import measuring, preset
from nasgen.papers.base import Request, finished
from nasgen.papers.outcome import Target
from nasgen.papers.smaller import narrowed
from nasgen.report.numbers import duration
from nasgen.runs import reading, workers
from nasgen.runs.results import Run
from nasgen.search_spaces import networks
from nasgen.settings.config import merge, read_toml
from nasgen.settings.fidelity import n_cores
from nasgen.store.rows import Row, Rows

REVISION: Final = 1  # raised when synthesis or training change: rows of before are not comparable
KEYS: Final = ("arm", "scale", "settings", "seed", "data")
ANCESTOR: Final = "ancestor"
CONTROLS: Final = {
    "dense": "control: the ancestor, dense",
    "one-shot": "control: pruned once by magnitude",
    "random": "control: random survivors",
    "small": "control: small and dense, from scratch",
}
# Few images are too few steps for the recipe of the presets: of a tenth of MNIST an ancestor learns
# 90 % in four epochs by it and 98 % by this one, which is what Chung 2017 has; of digits nothing.
FEW_IMAGES: Final = {"optimizer": "adamw", "lr": 0.002, "weight_decay": 1e-4, "batch_size": 32}
DIGITS: Final = {**FEW_IMAGES, "batch_size": 16}
# MatConvNet's network for CIFAR-10 with one channel coming in. Chung 2017 counts 143,136 synapses
# and 7,200 kernels: those of its first four layers, without biases and the classifier.
LENET_SYNAPSES: Final = 143_136
LENET_KERNELS: Final = (32, 1_024, 2_048, 4_096)
TIMED_S: Final = 1.0  # for which the ancestor is trained to find out how fast this machine is


@dataclass(frozen=True)
class Scale:
    """How much is spent.

    - `data`: what it is about, a loader's name, or "digits".
    - `fraction`: share of the training images; `validation`: share held out.
    - `first_epochs`, `epochs`: of the ancestor, and of each child.
    - `generations`: of children; the papers count the ancestor as the first one.
    - `seeds`: where none are named.
    - `alone`: everything in this process; else children are trained side by side.
    - `training`: a recipe that differs from that of the paper's preset.
    """

    data: str
    fraction: float
    validation: float
    first_epochs: float
    epochs: float
    generations: int
    seeds: tuple[int, ...] = (0,)
    alone: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def line_epochs(self) -> float:
        """Epochs along a line from the ancestor to the last generation."""
        return self.first_epochs + self.generations * self.epochs


@dataclass(frozen=True)
class Arm:
    """One way to synthesise: `tables` are laid on top of the paper's preset."""

    name: str
    title: str
    tables: Mapping[str, Any]


@dataclass(frozen=True)
class Paper:
    """What an experiment is about: the name of its preset, the network, what is tested.

    `tested` are generations of children in the order of nasgen, whose networks see test images;
    nothing is chosen by these.
    """

    name: str
    network: str
    tested: Collection[int]


class Study:
    """The runs of one paper, on one data set, with one seed.

    They lie in OUT/SCALE-SETTINGS/seedN/ARM, rows in OUT/PAPER.jsonl.
    """

    def __init__(
        self, paper: Paper, request: Request, scale: Scale, source: str, seed: int, rows: Rows
    ) -> None:
        self.paper, self.request, self.scale, self.seed = paper, request, scale, seed
        self.rows_file = rows
        settings = read_toml(preset(paper.name))
        # Rows and runs of other settings are left alone.
        text = json.dumps(
            [REVISION, asdict(scale), settings, paper.network, source], sort_keys=True
        )
        self.settings = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        self.folder = request.out / f"{request.scale}-{self.settings}" / f"seed{seed}"
        # All generations are run: where the accuracy has dropped is said by the table.
        settings["algorithm"].pop("drop", None)
        settings["algorithm"].pop("generations", None)
        settings.pop("budget", None)
        self.tables = merge(
            settings,
            {
                "seed": seed,
                "data": {"source": source, "validation": scale.validation},
                "training": {"fraction": scale.fraction, **scale.training},
                "origin": {"network": paper.network},
                "finish": {"networks": 0},
                "ensemble": {"candidates": 1, "rounds": 1},
                "store": {"keep_weights": "all"},  # all are counted and compared
                **({"execution": {"executor": "serial"}} if scale.alone else {}),
            },
        )
        self.source = reading.resolved(
            self.tables, paper.name, request.overrides
        ).config.data.source

    @property
    def ancestor(self) -> Row:
        """The row of the ancestor, which all arms begin with."""
        return self._row(ANCESTOR, ANCESTOR, self._trained_ancestor)

    def row(self, arm: Arm) -> Row:
        """Return the row of an arm: generations synthesised from the ancestor."""
        return self._row(arm.name, arm.title, lambda: self._finished(arm.name, self.tables_of(arm)))

    def controls(self, arm: Arm) -> list[Row]:
        """Return the rows of the controls of an arm, with the epochs of its line and its size."""
        own, first = self.row(arm), self.ancestor
        last = last_alive(own)
        n_steps = max(1, last["generation"])
        share = {
            name: min(0.999, max(1e-4, last[name] / first["generations"][0][name]))
            for name in ("n_synapses", "n_kernels")
        }
        epochs = self.scale.first_epochs + n_steps * self.scale.epochs
        # As many kernels and synapses a generation as the arm has kept, by chance alone.
        kernels = share["n_kernels"] ** (1 / n_steps)
        synapses = min(0.999, share["n_synapses"] ** (1 / n_steps) / kernels)
        root = share["n_synapses"] ** 0.5  # both retentions together are the share
        once = {
            "mating": "mean", "parents": 1, "population": 1, "generations": 1,
            "epochs": n_steps * self.scale.epochs,
        }  # fmt: skip
        made = {
            "dense": self._fixed(epochs),
            "one-shot": self._other(
                arm, once, {"name": "rank", "score": "magnitude"} | _retentions(root, root)
            ),
            "random": self._other(
                arm,
                # A union: random survivors of several parents have hardly anything in common.
                {"generations": n_steps, "mating": "mean"},
                {"name": "random"} | _retentions(kernels, synapses),
            ),
        }
        rows = [self._control(name, tables) for name, tables in made.items()]

        def small() -> Run:
            file = self.folder / "small.json"
            n = round(last["n_synapses"])
            file.write_text(json.dumps(narrowed(self._trained_ancestor(), n)), encoding="utf-8")
            return self._finished("small", self._fixed(epochs, str(file)))

        return [*rows, self._row("small", CONTROLS["small"], small)]

    def forecast(self, arms: Sequence[Arm]) -> float:
        """Return about how many seconds it takes to measure what is missing.

        That are arms, and the controls of one. As if no network were smaller than the ancestor,
        whose training and answers are timed. What is begun counts as if it were not.
        """
        known = {row["arm"] for row in self.rows_file.read if row["settings"] == self.settings
                 and row["seed"] == self.seed}  # fmt: skip
        scale, n = self.scale, self.scale.generations
        of_children = n * scale.epochs
        first, whole = _Work(scale.first_epochs), _Work(scale.line_epochs)
        pruned, drawn = _Work(of_children), _Work(of_children, n, 1 + self._n_tested)
        wanted = {ANCESTOR: first, "dense": whole, "small": whole} | {
            "one-shot": pruned, "random": drawn
        }  # fmt: skip
        for arm in arms:
            population = self._population(arm)
            waves = -(-population // n_cores())
            n_tested = 1 + self._n_tested * population
            wanted[arm.name] = _Work(waves * of_children, waves * n, n_tested, population > 1)
        missing = [work for name, work in wanted.items() if name not in known]
        return sum(self._costs.seconds(work) for work in missing) if missing else 0.0

    @property
    def _n_tested(self) -> int:
        """Generations of children of which each network sees the test images."""
        n = self.scale.generations
        return len({n, *(g for g in self.paper.tested if 0 < g < n)})

    @cached_property
    def _costs(self) -> _Costs:
        """What the ancestor costs on one thread of this machine, measured."""
        resolved = reading.resolved(self.tables, self.paper.name, self.request.overrides)
        context = resolved.worker_context(self.folder / "artifacts") | {"threads": 1}
        began = time.perf_counter()
        with resolved.scope.active():
            evaluator: Any = workers.evaluator(context)
            n_rows = len(evaluator.inference.part("validation")[0]["x"])
            begin_s = time.perf_counter() - began
            job = {
                "seq": -1, "attempt": 1, "seed": self.seed,
                "genotypes": [networks.read(self.paper.network)["genotype"]],
                "speed": {"threads": [1], "limit_s": TIMED_S},
                "limit_s": 60.0,
            }  # fmt: skip
            metrics = evaluator.evaluate(job).get("metrics", {})
            n_val = len(evaluator.inference.targets("validation"))
        row_s = float(next(iter(metrics.get("row_s", {"1": 0.0}).values())))
        val_s = float(metrics.get("val_s", 0.0))
        return _Costs(
            begin_s,
            row_s * n_rows * (1 - self.scale.validation) * self.scale.fraction,
            val_s,
            val_s * len(resolved.dataset.y_test) / max(1, n_val),
        )

    # ---- runs ------------------------------------------------------------------------------------

    def tables_of(self, arm: Arm) -> dict[str, Any]:
        """Return the tables of an arm."""
        scale = self.scale
        algorithm = {
            "name": "synthesis", "first_epochs": 0.0, "epochs": scale.epochs,
            "generations": scale.generations,
        }  # fmt: skip
        tables = merge(self.tables, {"algorithm": algorithm})
        tables = merge(tables, {"origin": {"network": str(self.folder / ANCESTOR)}})
        tables = merge(tables, arm.tables)
        if "name" in arm.tables.get("environment", {}):  # another one has other options
            tables["environment"] = dict(arm.tables["environment"])
        return tables if tables["algorithm"]["population"] > 1 else self._one_at_a_time(tables)

    def _other(
        self, arm: Arm, algorithm: Mapping[str, Any], environment: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the tables of an arm with other options, and another environment."""
        base = self.tables_of(arm)
        tags = {"tags": base.get("environment", {}).get("tags", True)}
        tables = merge({**base, "environment": {**environment, **tags}}, {"algorithm": algorithm})
        return tables if tables["algorithm"]["population"] > 1 else self._one_at_a_time(tables)

    def _population(self, arm: Arm) -> int:
        found: int = merge(self.tables, arm.tables)["algorithm"]["population"]
        return found

    def _fixed(self, epochs: float, network: str | None = None) -> dict[str, Any]:
        """Return the tables of one network that is trained from scratch."""
        base = {k: v for k, v in self.tables.items() if k not in ("algorithm", "environment")}
        more: dict[str, Any] = {"algorithm": {"name": "fixed"}, "training": {"epochs": epochs}}
        if network is not None:
            more["origin"] = {"network": network}
        return self._one_at_a_time(merge(base, more))

    def _one_at_a_time(self, tables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the tables of a run without two networks at once: all cores train one, here."""
        threads = 1 if self.scale.alone else n_cores()
        execution = {"executor": "serial", "threads_per_trial": threads}
        return merge(tables, {"execution": execution})

    def _trained_ancestor(self) -> Run:
        return self._finished(ANCESTOR, self._fixed(self.scale.first_epochs))

    def _control(self, name: str, tables: Mapping[str, Any]) -> Row:
        return self._row(name, CONTROLS[name], lambda: self._finished(name, tables))

    def _finished(self, name: str, tables: Mapping[str, Any]) -> Run:
        """Return a finished run; where it begins with the ancestor, that run comes first."""
        if tables["origin"]["network"] == str(self.folder / ANCESTOR):
            self._trained_ancestor()
        folder = self.folder / name
        return finished(folder, tables, self.request.overrides, self.request.listeners)

    def _row(self, name: str, title: str, make: Callable[[], Run]) -> Row:
        def measured() -> Row:
            self.request.note(f"seed {self.seed}: {title}")
            return self._measured(make(), title)

        key = {
            "scale": self.request.scale, "settings": self.settings, "seed": self.seed,
            "data": self.source,
        }  # fmt: skip
        return self.rows_file.measured(measured, arm=name, **key)

    def _measured(self, run: Run, title: str) -> Row:
        summary, record = run.summary, run.record
        found = measuring.generations(run, lambda generation: generation in self.paper.tested)
        if not found or not found[0]["n"]:
            why = typed("show", run.path, "--history")
            raise StoreError(f"{run.path}: its first network could not be trained; {why} says why.")
        return {
            "title": title,
            "n_channels": record["data"]["shape"][0],
            "generations": found,
            "trials": summary["trials"],
            "train_s": summary["train_s"],
            "wall_s": summary["wall_s"],
            "measured": record["created"],
            "machine": {k: record["machine"][k] for k in ("processor", "cores")},
            "versions": record["versions"],
        }


@dataclass(frozen=True)
class _Work:
    """What a run does, one network after the other: epochs, networks that it trains and tests.

    `is_abreast`: others are trained at the same time, in other processes.
    """

    epochs: float
    n_trained: int = 1
    n_tested: int = 2  # the best one and the ensemble of it
    is_abreast: bool = False


@dataclass(frozen=True)
class _Costs:
    """Seconds that a network takes on one thread: to read the data, of an epoch, of answers.

    `val_s` and `test_s` are for all images of a part.
    """

    begin_s: float
    epoch_s: float
    val_s: float
    test_s: float

    def seconds(self, work: _Work) -> float:
        """Return about how long a run takes."""
        # Worker processes read the data as well, at the same time.
        begin_s = (2 if work.is_abreast else 1) * self.begin_s
        answers_s = work.n_trained * self.val_s + work.n_tested * self.test_s
        return begin_s + work.epochs * self.epoch_s + answers_s


def opened(request: Request, paper: str) -> Rows:
    """Return the file of a paper's rows."""
    return Rows.open(request.out / f"{paper}.jsonl", KEYS)


def counts(study: Study) -> list[Target]:
    """Return whether the ancestor has the synapses and kernels of the papers' LeNet."""
    first = study.ancestor["generations"][0]
    if study.paper.network != "lenet" or study.ancestor["n_channels"] != 1:
        return []
    return [
        Target.near("synapses of the ancestor", LENET_SYNAPSES, first["n_synapses"], 0.0),
        Target.near("kernels of the ancestor", sum(LENET_KERNELS), first["n_kernels"], 0.0),
    ]


def last_alive(row: Mapping[str, Any]) -> Row:
    """Return the last generation of a row that is not dead; the ancestor's where all are."""
    alive = [g for g in row["generations"] if g["n"] and not g["dead"]]
    found: Row = alive[-1] if alive else row["generations"][0]
    return found


def _retentions(of_clusters: float, of_synapses: float) -> dict[str, float]:
    return {"retention_clusters": of_clusters, "retention_synapses": of_synapses}


NOTES: Final = (
    "Efficiency: synapses of the ancestor over those of the descendant. The classifier is never "
    "pruned; neither it nor biases count. Generations are means over their networks; nothing is "
    "chosen by test images. Lines: validation accuracy. Diamonds: test accuracy. 'collapsed': no "
    "network of the generation answers better than by guessing, or none has a path from the image "
    "to the classifier.",
    "All arms begin with one trained ancestor a seed. Controls get the epochs of a line from the "
    "ancestor to the last generation that is alive: the ancestor trained for all of them; the "
    "ancestor pruned once by magnitude to as many synapses, then trained; generations that keep as "
    "many kernels and synapses, drawn at random; a narrow dense network of about as many synapses, "
    "from scratch.",
)


def announce(request: Request, studies: Sequence[tuple[Study, Sequence[Arm]]]) -> None:
    """Say before anything is trained how much it is and how long it may take."""
    if studies[0][0].scale.alone:
        return
    seconds = sum(study.forecast(arms) for study, arms in studies)
    if seconds:
        request.note(
            f"to be done: about {duration(seconds)} on this machine as busy as it is now, less as "
            "far as small networks are faster; interrupted, the same command goes on."
        )
