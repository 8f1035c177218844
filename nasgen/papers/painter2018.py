"""Painter 2018: is growing an ensemble better than training one? Accuracy against training FLOPs.

Section 4 of the proposal asks to compare a single network, an ensemble of networks and the method
by accuracy against FLOPs. Growth plays three times: its last 60 % of the FLOPs go to one network,
or to as many as survive a round, for their ensemble; or members of a round train jointly on shared
parameters. Two controls are added: growth whose new weights are random instead of zero-initialised,
which the authors' later paper found as good, and the final architecture trained from scratch: with
all that growth spent, and with what it and its ancestors alone were trained for, divided by 0.6.
Where the grown network is as good as the latter, its line took 0.6 of the training. What is not
grown has the learning-rate cycle that is best for one training. Networks and ensembles are chosen
on validation images; each arm is tested once.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nasgen import registry
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
REVISION = 4  # raised when morphisms or training change: rows of before are not comparable
RANDOM = "random-pad"  # the morphism of the control
ARMS = {
    "growth": "growth, one network in the end",
    "several": "growth, several in the end",
    "shared": "growth on shared parameters",
    "one": "one network",
    "independent": "ensemble of independent networks",
    "random-pad": "growth with random padding",
    "scratch": "final architecture from scratch",
    "lineage": "final architecture from scratch, its lineage / 0.6",
}
# What the authors' report says of CIFAR-10, without augmentation: its base network, its best
# network of neuroevolution, and the ensemble of co-evolution. Its base got fewer FLOPs.
REPORTED = {("one", "best"): 0.70, ("shared", "best"): 0.74, ("shared", "ensemble"): 0.75}
GROWN = ("decay", "new_parts", "new_rate")  # settings of [training] that only growth has
# For what is one job: all cores but one would wait for it.
ALL_CORES: dict[str, dict[str, Any]] = {"execution": {"threads_per_trial": n_cores()}}
COLUMNS = (
    "arm", "seed", "training FLOPs", "best, test", "weights", "ensemble, test", "networks", "wall",
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
        several = merge(growth, {"algorithm": {"finals": n}})
        shared = merge(growth, {"algorithm": {"shared": True}}) | ALL_CORES  # one job a round
        final = self.folder / "final.json"
        final.parent.mkdir(parents=True, exist_ok=True)
        final.write_text(json.dumps(grown["genotype"]), encoding="utf-8")
        origin = {"origin": {"network": str(final)}}
        best = grown["best"]["flops"]
        usual = self.tables["algorithm"].get("morphisms", {})
        morphisms = {**dict.fromkeys(usual, 0.0), RANDOM: 1.0}
        random = merge(growth, {"algorithm": {"morphisms": morphisms, "widen_rounds": 0}})
        return [
            grown,
            self._row("several", several),
            self._row("shared", shared),
            self._row("one", self._fixed(flops / first)),
            self._row("independent", self._fixed(flops / first / n, repetitions=n)),
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


def _accuracies(rows: Sequence[Row], arm: str, part: str) -> list[float]:
    """Return the test accuracies of an arm, one a seed; NaN where there is none."""
    found = [(row[part] or {}).get("test_accuracy") for row in rows if row["arm"] == arm]
    return [math.nan if value is None else value for value in found]


def _compared(rows: Sequence[Row]) -> list[Compared]:
    is_papers = all(row["data"].startswith("cifar10:") for row in rows)
    found = []
    for arm, title in ARMS.items():
        for part in PARTS:
            paper = REPORTED.get((arm, part)) if is_papers else None
            values = _accuracies(rows, arm, part)
            found.append(Compared.of(title, f"{part}, chosen on validation images",
                                     "test accuracy", paper, values))  # fmt: skip
        flops = [row["train_flops"] for row in rows if row["arm"] == arm]
        found.append(Compared.of(title, "all its networks", "training FLOPs", None, flops))
    return found


def _targets(rows: Sequence[Row]) -> list[Target]:
    """Return what growth should gain over its controls, in points of test accuracy."""

    def gain(first: tuple[str, str], second: tuple[str, str]) -> float | None:
        pairs = zip(_accuracies(rows, *first), _accuracies(rows, *second), strict=True)
        gains = [a - b for a, b in pairs if math.isfinite(a - b)]
        return 100 * sum(gains) / len(gains) if gains else None

    return [
        Target.least(
            "growth's best network minus its architecture from scratch, for the FLOPs of its "
            "lineage / 0.6 (points)", 0.0, gain(("growth", "best"), ("lineage", "best")),
        ),
        Target.least(
            "growth's ensemble of several minus its best network (points)", 1.0,
            gain(("several", "ensemble"), ("several", "best")),
        ),
        Target.least(
            "growth's ensemble of several minus one of independent networks, equal FLOPs (points)",
            0.0, gain(("several", "ensemble"), ("independent", "ensemble")),
        ),
        Target.least(
            "growth apart minus growth on shared parameters, best networks (points)", 0.0,
            gain(("growth", "best"), ("shared", "best")),
        ),
    ]  # fmt: skip


# ---- showing -------------------------------------------------------------------------------------

NOTES = (
    "Training FLOPs are 3 x the forward FLOPs of one image x the images seen, counted; one "
    "network, independent networks and the final architecture from scratch may spend what growth "
    "spent; random padding plays the same rounds, with networks of its own; the last arm gets the "
    "FLOPs of the grown network and its ancestors (all members, where they were trained jointly), "
    "divided by 0.6. Growth's ensemble chooses among all its networks, the independent one has as "
    "many as growth keeps in a round: see the numbers of networks. Lines: best validation "
    "accuracy so far. Marks: test accuracy of the ensemble, looked at once; an ensemble of one is "
    "the network itself.",
)


def _cells(row: Row) -> list[str]:
    best, ensemble = row["best"], row["ensemble"]
    return [
        ARMS[row["arm"]],
        str(row["seed"]),
        f"{row['train_flops']:.3g}",
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
        css = f"c{order.index(row['arm'])}"
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
