"""Painter 2018: is growing an ensemble better than training one? Accuracy against training FLOPs.

Section 4 of the proposal asks to compare a single network, an ensemble of networks and the method
by accuracy against FLOPs. Growth plays four times: its last 60 % of the FLOPs go to one network,
or to as many as survive a round, for their ensemble; or members of a round train jointly on shared
parameters, for as many epochs, and for as many FLOPs. Controls are added: growth whose new weights
are random instead of zero-initialised, which the authors' later paper found as good, and the final
architecture trained from scratch: with all that growth spent, several times for an ensemble with
all of it, and with what the grown network and its ancestors alone were trained for, divided by 0.6.
Where the grown network is as good as the latter, its line took 0.6 of the training. What is not
grown has the learning-rate cycle that is best for one training. Networks and ensembles are chosen
on validation images; each arm is tested once.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nasgen import registry
from nasgen.bench.summary import spread
from nasgen.data.base import load
from nasgen.data.split import split
from nasgen.engine.algorithms.growth import Growth
from nasgen.errors import StoreError, typed
from nasgen.evaluation.recipe import Recipe
from nasgen.papers import outcome, preset
from nasgen.papers.base import Reproduction, Request, finished, scale_of
from nasgen.papers.outcome import Compared, Target
from nasgen.report import numbers
from nasgen.report.charts import Line, Mark, plot
from nasgen.report.figures import N_COLOURS
from nasgen.report.scale import axis
from nasgen.report.sheet import Table, sheet
from nasgen.runs import reading
from nasgen.runs.results import Run
from nasgen.settings.config import SearchConfig, merge, read_toml
from nasgen.settings.fidelity import n_cores
from nasgen.store.rows import Row, Rows
from nasgen.store.trial import BACKWARD, Trial, training_flops

PAPER = "painter2018"
LINEAGE_SHARE = 0.6  # of the training that the final architecture gets from scratch
REVISION = 5  # raised when morphisms or training change: rows of before are not comparable
RANDOM = "random-pad"  # the morphism of the control
ARMS = {
    "growth": "growth, one network in the end",
    "several": "growth, several in the end",
    "shared": "growth on shared parameters, its epochs",
    "shared-flops": "growth on shared parameters, its FLOPs",
    "one": "one network",
    "independent": "ensemble of independent networks",
    "independent-final": "ensemble of its final architecture, independent",
    "random-pad": "growth with random padding",
    "scratch": "final architecture from scratch",
    "lineage": "final architecture from scratch, its lineage / 0.6",
}
# What the authors' report says of CIFAR-10, without augmentation: its base network, its best
# network of neuroevolution, and the ensemble of co-evolution. Its base got fewer FLOPs.
REPORTED = {("one", "best"): 0.70, ("shared", "best"): 0.74, ("shared", "ensemble"): 0.75}
GROWN = ("decay", "new_parts", "new_rate")  # settings of [training] that only growth has
N_STORED, N_BYTES = 3, 4  # of each parameter: its value and two moments of AdamW, in float32
# For what is one job: all cores but one would wait for it.
ALL_CORES: dict[str, dict[str, Any]] = {"execution": {"threads_per_trial": n_cores()}}
# Of each arm: what of it, metric, field of the row.
COSTS = (
    ("all its networks", "training FLOPs", "train_flops"),
    ("the networks of a round", "bytes of weights and moments", "memory_bytes"),
)
COLUMNS = (
    "arm", "seed", "training FLOPs", "memory", "best, test", "weights", "ensemble, test",
    "networks", "wall",
)  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """How much is spent: steps of 64 images, with the proposal's letters."""

    data: str
    first_steps: int  # N1
    steps: int  # N2, of each member in a round
    members: int  # M1
    survivors: int  # M2
    rounds: int  # K

    def growth(self, n_train: float, batch_size: int) -> dict[str, Any]:
        """Return the options of the algorithm for `n_train` training images."""
        return {
            "population": self.members,
            "survivors": self.survivors,
            "rounds": self.rounds,
            "first_epochs": self.first_steps * batch_size / n_train,
            "epochs": self.steps * batch_size / n_train,
            "shared": False,
        }


SCALES = {
    "tiny": Scale("digits", 24, 6, 4, 2, 2),
    "quick": Scale("cifar10", 300, 150, 4, 2, 2),
    # The report's 5,000 steps a round are shared by 10 members.
    "paper": Scale("cifar10", 5000, 500, 10, 3, 15),
}


def reproduce(request: Request) -> Reproduction:
    """Run what is missing of every arm and seed; return the rows, their table and the page.

    Runs lie in OUT/SCALE-SETTINGS/seedN/ARM, rows in OUT/painter2018.jsonl, the figure in
    OUT/painter2018.html. Raises ConfigError for an unknown scale or missing data.
    """
    request, scale, source = scale_of(request, SCALES)
    for morphism in (RANDOM, *Growth.morphisms):  # before anything is trained
        registry.get("morphisms", morphism)
    rows = Rows.open(request.out / f"{PAPER}.jsonl", ("arm", "scale", "settings", "seed", "data"))
    wanted = [
        row for seed in request.seeds for row in _Seed(request, scale, source, seed, rows).rows()
    ]
    page = request.out / f"{PAPER}.html"
    title = f"Painter 2018 on {source}, scale {request.scale}"
    table = Table(title, COLUMNS, [_cells(row) for row in wanted])
    page.write_text(sheet(title, NOTES, _figure(wanted), [table]), encoding="utf-8")
    seconds = sum(row["wall_s"] for row in wanted)
    compared, targets = _compared(wanted), _targets(wanted)
    tables = [table, *outcome.tables(compared, targets)]
    return Reproduction(request.scale, wanted, tables, page, compared, targets, seconds)


class _Seed:
    """The arms of one seed; growth comes first, since the others may spend what it spent."""

    def __init__(self, request: Request, scale: Scale, source: str, seed: int, rows: Rows) -> None:
        self.request, self.scale, self.seed, self.rows_file = request, scale, seed, rows
        settings = read_toml(preset(PAPER))
        # Rows and runs of other settings are left alone.
        text = json.dumps([REVISION, asdict(scale), settings], sort_keys=True)
        self.settings = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        self.folder = request.out / f"{request.scale}-{self.settings}" / f"seed{seed}"
        tables = merge(settings, {"seed": seed, "data": {"source": source}})
        config = reading.resolved(tables, PAPER, request.overrides).config
        self.source = config.data.source
        self.tables = merge(tables, {"data": {"source": self.source}})
        self.n_train = _n_train(config)
        self.n_shown = self.n_train * config.training.fraction  # in an epoch
        recipe = Recipe.of(config.training, load(self.source).shape)
        self.batch_size = recipe.batch_for(round(self.n_shown))

    def rows(self) -> list[Row]:
        """Return one row an arm, in the order of `ARMS`."""
        growth = {"algorithm": self.scale.growth(self.n_shown, self.batch_size)}
        grown = self._row("growth", growth)
        flops, first = grown["train_flops"], grown["first_flops"]
        n = self.scale.survivors
        several = self._row("several", merge(growth, {"algorithm": {"finals": n}}))
        shared = merge(growth, {"algorithm": {"shared": True}}) | ALL_CORES  # one job a round
        final = self.folder / "final.json"
        final.parent.mkdir(parents=True, exist_ok=True)
        final.write_text(json.dumps(grown["genotype"]), encoding="utf-8")
        origin = {"origin": {"network": str(final)}}
        best = grown["best"]["flops"]
        usual = self.tables["algorithm"].get("morphisms", {})
        morphisms = {**dict.fromkeys(usual, 0.0), RANDOM: 1.0}
        # Members of other sizes may survive, so this meets what growth spent about.
        joint = self._row("shared", shared)
        factor = flops / joint["train_flops"]
        longer = {name: factor * growth["algorithm"][name] for name in ("first_epochs", "epochs")}
        random = merge(growth, {"algorithm": {"morphisms": morphisms, "widen_rounds": 0}})
        return [
            grown,
            several,
            joint,
            self._row("shared-flops", merge(shared, {"algorithm": longer})),
            self._row("one", self._fixed(flops / first)),
            self._row("independent", self._fixed(flops / first / n, repetitions=n)),
            self._row("independent-final", self._fixed(flops / best / n, repetitions=n) | origin),
            self._row("random-pad", random),
            self._row("scratch", self._fixed(flops / best) | origin),
            self._row(
                "lineage", self._fixed(grown["lineage_flops"] / LINEAGE_SHARE / best) | origin
            ),
        ]

    def _fixed(self, forwards: float, repetitions: int = 1) -> dict[str, Any]:
        """Return the tables of a network trained on as many images as cost `forwards` passes."""
        epochs = forwards / BACKWARD / self.n_shown
        tables = {
            "algorithm": {"name": "fixed", "repetitions": repetitions},
            "training": {"epochs": epochs},
        }
        return tables | ALL_CORES if repetitions == 1 else tables

    def _row(self, arm: str, tables: Mapping[str, Any]) -> Row:
        def make() -> Row:
            self.request.note(f"seed {self.seed}: {ARMS[arm]}")
            base = dict(self.tables)
            if "name" in tables["algorithm"]:  # not grown: one cycle
                del base["algorithm"]
                own = base.get("training", {})
                base["training"] = {k: v for k, v in own.items() if k not in GROWN}
            run = finished(
                self.folder / arm,
                merge(base, tables),
                self.request.overrides,
                self.request.listeners,
            )
            return self._measured(run)

        key = {
            "scale": self.request.scale, "settings": self.settings, "seed": self.seed,
            "data": self.source,
        }  # fmt: skip
        return self.rows_file.measured(make, arm=arm, **key)

    def _measured(self, run: Run) -> Row:
        summary, record = run.summary, run.record
        if summary["best"] is None:
            why = typed("show", run.path, "--history")
            raise StoreError(f"{run.path}: no trial completed; {why} says why.")
        cost = {
            trial.seq: training_flops(trial.metrics, trial.fidelity, self.n_train)
            for trial in run.trials
        }
        curve, spent, best = [], 0.0, 0.0
        for trial in sorted(run.trials, key=lambda t: t.told or 0):
            spent += cost[trial.seq]
            best = max(best, trial.metrics.get("val_accuracy") or 0.0)
            curve.append([spent, best])
        return {
            "train_flops": spent,
            "lineage_flops": lineage_flops(run, self.n_train),
            "first_flops": run.trial(0).metrics["flops"],
            "memory_bytes": memory_bytes(run),
            "best": summary["best"],
            "ensemble": summary["ensemble"],
            "key": run.trial(summary["best"]["trial"]).key,
            "genotype": dict(run.trial(summary["best"]["trial"]).genotype),
            "curve": curve,
            "trials": summary["trials"],
            "train_s": summary["train_s"],
            "wall_s": summary["wall_s"],
            "measured": record["created"],
            "machine": {k: record["machine"][k] for k in ("processor", "cores")},
            "versions": record["versions"],
        }


def memory_bytes(run: Run) -> int:
    """Return the bytes of weights and AdamW's moments of a round's networks, of the largest round.

    Of members that are trained jointly, what they share by gene tag counts once. Activations,
    buffers and data do not count.
    """
    rounds: dict[int, list[Trial]] = {}
    for trial in run.trials:
        if trial.metrics.get("n_params"):
            rounds.setdefault(trial.generation, []).append(trial)
    return N_STORED * N_BYTES * max(_n_stored(run, members) for members in rounds.values())


def _n_stored(run: Run, members: Sequence[Trial]) -> int:
    """Return how many weights the networks of a round have together."""
    if members[0].cohort is None:
        return sum(int(member.metrics["n_params"]) for member in members)
    from nasgen.phenotype.network import build  # loads torch
    from nasgen.phenotype.shared import SharedParameters

    inference: Any = run.inference

    def alike() -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yield the networks, all values equal, so that tags alone say what is shared."""
        for member in members:
            network = build(inference.decode(dict(member.genotype))[1])
            for parameter in network.parameters():
                parameter.data.zero_()
            yield network, {}

    return sum(block.numel() for block in SharedParameters(alike()).blocks)


def lineage_flops(run: Run, n_train: int) -> float:
    """Return the training FLOPs of the best network and its ancestors.

    Where they were trained jointly, all members of the cohort count.
    """
    line = {t.seq: t for seq in _ancestry(run) for t in run.trials if _trains(t, run.trial(seq))}
    return sum(training_flops(t.metrics, t.fidelity, n_train) for t in line.values())


def _ancestry(run: Run) -> list[int]:
    """Return the best trial and its ancestors: a grown network has one parent."""
    line = [run.summary["best"]["trial"]]
    while parents := run.trial(line[-1]).parents:
        line.append(parents[0])
    return line


def _trains(trial: Trial, member: Trial) -> bool:
    """Tell whether a trial trains what `member` consists of: itself, and who shares its weights."""
    joint = member.cohort is not None and trial.cohort == member.cohort
    return joint or trial.seq == member.seq


def _n_train(config: SearchConfig) -> int:
    dataset = load(config.data.source)
    return len(split(dataset, config.data.validation, config.data.split_seed).train)


# ---- beside the paper ----------------------------------------------------------------------------

PARTS = ("best", "ensemble")
Arm = tuple[str, str]  # and which part of it


@dataclass(frozen=True)
class Gain:
    """Test accuracies of two arms beside each other, paired by seed.

    `least` is what the first should be ahead of the second, in points; None: there is no goal.
    `above`: by more than that, with all of its 95 % interval, so that one seed cannot tell.
    """

    what: str
    first: Arm
    second: Arm
    least: float | None = None
    above: bool = False

    def pairs(self, rows: Sequence[Row]) -> list[tuple[float, float]]:
        """Return both accuracies in per cent for each seed that has both."""
        first, second = (
            {row["seed"]: 100 * value for row, value in _tested(rows, *arm)}
            for arm in (self.first, self.second)
        )
        return [(first[seed], second[seed]) for seed in first if seed in second]

    def measured(self, rows: Sequence[Row]) -> dict[str, Any] | None:
        """Return the mean difference with its interval; None where no seed has both."""
        pairs = self.pairs(rows)
        return spread(np.array([a - b for a, b in pairs])) if pairs else None

    @property
    def goal(self) -> str:
        """What should be gained, "" for nothing."""
        if self.least is None:
            return ""
        return f"interval above {self.least:g}" if self.above else f"≥ {self.least:g}"

    def met(self, found: Mapping[str, Any]) -> bool | None:
        """Tell whether what was `measured` is as wanted; None where that cannot be told."""
        mean, half = found["mean"], found["ci95"]
        if self.least is None or (self.above and half is None):
            return None
        return bool(mean - half > self.least if self.above else mean >= self.least)


GAINS = (
    Gain("growth's best network minus its architecture from scratch, for its lineage's FLOPs / 0.6",
         ("growth", "best"), ("lineage", "best"), 0.0),
    Gain("growth's ensemble minus its best network",
         ("growth", "ensemble"), ("growth", "best"), 1.0),
    Gain("growth's ensemble minus one of independent networks, equal FLOPs",
         ("growth", "ensemble"), ("independent", "ensemble"), 0.0, above=True),
    Gain("growth's ensemble minus one of its final architecture, equal FLOPs",
         ("growth", "ensemble"), ("independent-final", "ensemble"), 0.0, above=True),
    Gain("growth's ensemble of several minus its best network",
         ("several", "ensemble"), ("several", "best"), 1.0),
    Gain("growth's ensemble of several minus one of independent networks, equal FLOPs",
         ("several", "ensemble"), ("independent", "ensemble"), 0.0, above=True),
    Gain("growth's ensemble of several minus one of its final architecture, equal FLOPs",
         ("several", "ensemble"), ("independent-final", "ensemble"), 0.0, above=True),
    Gain("growth's best network minus that of growth on shared parameters, equal epochs",
         ("growth", "best"), ("shared", "best")),
    Gain("growth's best network minus that of growth on shared parameters, equal FLOPs",
         ("growth", "best"), ("shared-flops", "best")),
    Gain("growth's ensemble minus that of growth on shared parameters, equal FLOPs",
         ("growth", "ensemble"), ("shared-flops", "ensemble")),
    Gain("growth's best network minus one network, equal FLOPs",
         ("growth", "best"), ("one", "best")),
    Gain("growth's best network minus its architecture from scratch, equal FLOPs",
         ("growth", "best"), ("scratch", "best")),
    Gain("growth's ensemble minus that of growth with random padding",
         ("growth", "ensemble"), ("random-pad", "ensemble")),
)  # fmt: skip


def _tested(rows: Sequence[Row], arm: str, part: str) -> Iterator[tuple[Row, float]]:
    """Yield the rows of an arm that have a test accuracy, with it."""
    for row in (row for row in rows if row["arm"] == arm):
        value = (row[part] or {}).get("test_accuracy")
        if value is not None and math.isfinite(value):
            yield row, value


def _compared(rows: Sequence[Row]) -> list[Compared]:
    is_papers = all(row["data"].startswith("cifar10:") for row in rows)
    found = []
    for arm, title in ARMS.items():
        for part in PARTS:
            paper = REPORTED.get((arm, part)) if is_papers else None
            values = [value for _, value in _tested(rows, arm, part)]
            found.append(Compared.of(title, f"{part}, chosen on validation images",
                                     "test accuracy", paper, values))  # fmt: skip
        own = [row for row in rows if row["arm"] == arm]
        for setting, metric, name in COSTS:
            found.append(Compared.of(title, setting, metric, None, [row[name] for row in own]))
    for gain in GAINS:
        values = [a - b for a, b in gain.pairs(rows)]
        found.append(Compared.of(gain.what, "test, paired by seed", "points", None, values))
    return found


def _targets(rows: Sequence[Row]) -> list[Target]:
    """Return what growth should gain over its controls, in points of test accuracy."""
    found = []
    for gain in (gain for gain in GAINS if gain.goal):
        got, met = numbers.NONE, None
        if (points := gain.measured(rows)) is not None:
            half = "" if points["ci95"] is None else f" ± {points['ci95']:.2f}"
            got, met = f"{points['mean']:+.2f}{half}", gain.met(points)
        found.append(Target(f"{gain.what} (points)", gain.goal, got, met))
    return found


# ---- showing -------------------------------------------------------------------------------------

NOTES = (
    "Training FLOPs are 3 x the forward FLOPs of one image x the images seen, counted; one "
    "network, independent networks and the final architecture from scratch may spend what growth "
    "spent, the last two of them also as ensembles; random padding plays the same rounds, with "
    "networks of its own, and so does growth on shared parameters, once with its epochs in "
    "proportion, so that it spends about what growth spent; the last arm gets the FLOPs of the "
    "grown network and its ancestors (all members, where they were trained jointly), divided by "
    "0.6. Growth's ensemble chooses among all its networks, the independent ones have as many as "
    "growth keeps in a round: see the numbers of networks. Memory is that of the weights and "
    "AdamW's moments of all networks of a round, of the largest one, shared weights counted once. "
    "Lines: best validation accuracy so far. Marks: test accuracy of the ensemble, looked at once; "
    "an ensemble of one is the network itself.",
)


def _cells(row: Row) -> list[str]:
    best, ensemble = row["best"], row["ensemble"]
    return [
        ARMS[row["arm"]],
        str(row["seed"]),
        f"{row['train_flops']:.3g}",
        f"{row['memory_bytes'] / 2**20:.2f} MiB",
        numbers.percent(best["test_accuracy"]),
        f"{best['n_params']:,}",
        numbers.percent(ensemble["test_accuracy"]),
        str(len(ensemble["members"])),
        f"{row['wall_s']:.0f} s",
    ]


def _figure(rows: list[Row]) -> Any:
    order = list(ARMS)
    marks, lines, xs, ys = [], [], [], []
    for row in rows:
        css = f"c{order.index(row['arm']) % N_COLOURS}"
        accuracy = row["ensemble"]["test_accuracy"]
        name = f"{ARMS[row['arm']]}, seed {row['seed']}"
        title = f"{name}: {numbers.percent(accuracy)} test accuracy"
        marks.append(Mark(row["train_flops"], accuracy, title, css, "diamond", row["arm"]))
        points = [(x, y) for x, y in row["curve"] if x > 0]
        if len(points) > 1:
            lines.append(Line(points, css, name, step=True))
        xs += [x for x, _ in points] + [row["train_flops"]]
        ys += [y for _, y in points] + [accuracy]
    x = axis(xs, "flops", "training FLOPs")
    return plot(
        "accuracy against training FLOPs", x, axis(ys, "val_accuracy", "accuracy"), marks, lines
    )
