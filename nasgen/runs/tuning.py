"""Tunes how networks are trained: Optuna proposes recipes, validation rows choose between them.

The recipe in use is trained first, under the same seed and for as many epochs as the others, so
what is handed back is never worse than it on validation rows. A recipe gets a quarter of the
epochs first, with a schedule of its own; the worse half ends there (median rule, Golovin 2017).
Several networks judge a recipe by their mean, each under a seed of its own that all recipes share,
so that no recipe is chosen for suiting one network or one draw.
Test images are not looked at. Prefer Optuna alone when no architecture is searched.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from nasgen import genotypes, seeding
from nasgen.data.split import split
from nasgen.errors import ConfigError, EvaluationError, StoreError
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.tasks.base import TIE, ranked_by
from nasgen.runs import threads, workers
from nasgen.runs.resolved import Resolved
from nasgen.runs.results import Run
from nasgen.runs.retraining import Again
from nasgen.settings import fidelity
from nasgen.settings.config import Training
from nasgen.store.artifacts import Artifacts
from nasgen.store.folder import RunFolder
from nasgen.store.rows import Row, Rows
from nasgen.store.trial import Trial
from nasgen.store.tuning import Draw, optimise

STUDY: Final = "tune.db"
ROWS: Final = "tune.jsonl"
FRAGMENT: Final = "tune.toml"
SCREEN: Final = 0.25  # share of the epochs after which a recipe may be dropped
LR: Final = {"sgd": (0.01, 1.0), "adamw": (5e-4, 0.03)}  # around the defaults, a factor of ten
DECAY: Final = {"sgd": (1e-5, 5e-3), "adamw": (1e-3, 0.5)}
SMOOTHING: Final = (0.0, 0.3)
WARMUP: Final = (0.05, 0.5)
BATCHES: Final = (16, 32, 64, 128, 256)

Settings = dict[str, Any]  # of [training]


@dataclass(frozen=True)
class Subject:
    """Networks and how long each is trained, on a `fraction` of the rows.

    What they begin with, keep to and learn from lies in `artifacts`.
    """

    name: str
    resolved: Resolved
    networks: tuple[Again, ...]
    epochs: float
    fraction: float = 1.0
    artifacts: Artifacts | None = None

    @property
    def genotypes(self) -> list[Mapping[str, Any]]:
        """The networks as JSON."""
        return [network.genotype for network in self.networks]

    def digest(self, seed: int) -> str:
        """Return what two tunings must share to be one: networks, data, recipe in use, length."""
        keys = [
            "".join((genotypes.read(network.genotype).key, *network.all_refs))
            for network in self.networks
        ]
        parts = [
            keys[0] if len(keys) == 1 else keys,
            self.resolved.config.data.model_dump(),
            self.resolved.recipe_digest,
            Recipe.of(self.resolved.config.training, self.resolved.dataset.shape).digest(),
            self.epochs,
            self.fraction,
            seed,
        ]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=6).hexdigest()


@dataclass(frozen=True)
class Tuned:
    """The recipe in use and the best one, as rows: settings, the task's metric, val_loss, train_s.

    Both are means over the networks, whose own are the row's `accuracies`; seconds are their sum.
    `rows` are all that were tried; `fragment` is the file with the best one's [training] table.
    """

    subject: Subject
    baseline: Row
    best: Row
    rows: list[Row]
    fragment: Path

    @property
    def metric(self) -> str:
        """The name under which rows have what recipes are compared by, such as val_accuracy."""
        return f"val_{self.subject.resolved.task.metric}"

    @property
    def gain(self) -> float:
        """By how much the best recipe is better than the current one, >= 0."""
        sign = 1.0 if self.subject.resolved.task.direction == "maximize" else -1.0
        return sign * float(self.best[self.metric] - self.baseline[self.metric])

    def to_json(self) -> dict[str, Any]:
        """Return what `nasgen tune --json` prints."""
        states = [row["state"] for row in self.rows]
        names = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAILED"}
        return {
            "network": self.subject.name,
            "networks": len(self.subject.genotypes),
            "epochs": self.subject.epochs,
            "trials": {name: states.count(state) for name, state in names.items()},
            "baseline": self.baseline,
            "best": self.best,
            "gain": self.gain,
            "toml": str(self.fragment),
        }


def best_of(run: Run, epochs: float | None = None, n: int = 1) -> Subject:
    """Return the `n` best networks of a run, each to be trained as long as the best was there.

    After the best one come finalists, then the others, by what they reached; each network once.
    Raises ConfigError when no trial of the run is complete, or fewer than `n` networks are.
    """
    trial = run.trial()
    done = float(trial.metrics.get("epochs_done") or trial.fidelity.epochs or 0.0)
    fraction = float(trial.fidelity.fraction)
    others = [t for t in run.ranked if t.is_feasible]
    others.sort(key=lambda t: t.phase != "finish")  # stable
    networks: dict[tuple[str, str | None], Trial] = {}
    for other in (trial, *others):
        networks.setdefault((other.key, other.refs.get("support")), other)
    chosen = list(networks.values())[:n]
    if len(chosen) < n:
        raise ConfigError(
            f"--networks: expected at most {len(chosen)}, the complete and different networks of "
            f"{run.path}, got {n}."
        )
    seqs = ", ".join(str(t.seq) for t in chosen)
    name = f"{run.path}, trial{'s' if n > 1 else ''} {seqs}"
    found = tuple(run.again_of(t) for t in chosen)
    length, artifacts = epochs or round(done, 3), run.folder.artifacts
    return Subject(name, run.resolved, found, length, fraction, artifacts)


def first_of(resolved: Resolved, epochs: float | None = None) -> Subject:
    """Return the network of a config's [origin], else the seed of its space."""
    config = resolved.config
    rng = seeding.generator(config.seed, "tune")
    origin = resolved.origin
    drawn = resolved.space.seed(rng) if origin is None else origin.genotype
    n_train = len(_split(resolved).train)
    cost = fidelity.search_fidelity(config, n_train)
    genotype = drawn.mint(config.seed, 0).to_json()
    name = f"the first network of {config.space.name}"
    length = epochs or cost.epochs or 1.0
    return Subject(name, resolved, (Again(genotype),), length, cost.fraction)


def tune(
    subject: Subject,
    folder: Path,
    n_trials: int,
    seed: int,
    time_s: float | None = None,
    told: Callable[[Row], None] = lambda row: None,
    progress: Callable[[Mapping[str, Any]], None] = lambda row: None,
    n_threads: int | None = None,
) -> Tuned:
    """Try `n_trials` recipes in all, the one in use included, and return the best.

    The study goes to FOLDER/tune.db, a row a recipe to FOLDER/tune.jsonl, the best recipe to
    FOLDER/tune.toml; what is there already is not trained again. After `time_s` the recipe in
    training is dropped, unless it is the one in use. `told` hears of each new row, `progress` of
    each epoch. Networks are trained on `n_threads` threads, by default on as many as train the
    first one fastest. Raises EvaluationError when the recipe in use cannot be trained.
    """
    began = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written ({error.strerror or error}).") from None
    owner = RunFolder(folder)
    owner.lock()
    try:
        rows = Rows.open(folder / ROWS, ("study", "number"))
        deadline = math.inf if time_s is None else began + time_s
        tuning = _Tuning(subject, seed, rows, deadline, told, progress, n_threads)
        with tempfile.TemporaryDirectory(prefix="nasgen-tune-") as weights:
            tuning.run(Path(weights), (folder / STUDY).resolve(), n_trials)
        baseline, best = tuning.rows[0], tuning.best
        owner.write_text(FRAGMENT, to_toml(best, baseline, tuning.metric))
        return Tuned(subject, baseline, best, tuning.rows, folder / FRAGMENT)
    finally:
        owner.unlock()


def to_toml(best: Row, baseline: Row, metric: str = "val_accuracy") -> str:
    """Return the [training] table of a recipe; what it leaves open is left out."""
    gained = f"{best[metric]:.4f}, the recipe before {baseline[metric]:.4f}"
    lines = [
        f"# validation {metric.removeprefix('val_')} {gained}, {best['epochs']:g} epochs",
        "[training]",
    ]
    settings = [f"{k} = {json.dumps(v)}" for k, v in best["recipe"].items() if v is not None]
    return "\n".join([*lines, *settings]) + "\n"


class _OutOfTimeError(Exception):
    """The budget is spent in the middle of a training."""


class _Tuning:
    """One study: what was tried, what is tried next."""

    def __init__(
        self,
        subject: Subject,
        seed: int,
        rows: Rows,
        deadline: float,
        told: Callable[[Row], None],
        progress: Callable[[Mapping[str, Any]], None],
        n_threads: int | None,
    ) -> None:
        self.subject, self.seed, self.file, self.deadline = subject, seed, rows, deadline
        self.told, self.progress, self.n_threads = told, progress, n_threads
        self.study = f"recipe-{subject.digest(seed)}"
        config = subject.resolved.config
        shape = subject.resolved.dataset.shape
        is_image = len(shape) == 3
        self.channels, self.side = (shape[0], min(shape[1:])) if is_image else (0, 0)
        self.task = subject.resolved.task
        n_images = round(len(_split(subject.resolved).train) * subject.fraction)
        own = Recipe.of(config.training, shape)
        # Those that a small data set does not shrink to fewer images.
        fitting = (b for b in BATCHES if b == replace(own, batch_size=b).batch_for(n_images))
        self.batches = tuple(fitting) or (own.batch_size,)
        self.n_images = n_images
        # How embeddings begin follows from the data; no setting says it.
        known = (f.name for f in fields(own) if f.name in Training.model_fields)
        self.own: Settings = {name: getattr(own, name) for name in known}
        self.weights = Path()

    @property
    def rows(self) -> list[Row]:
        return [row for row in self.file.read if row["study"] == self.study]

    @property
    def best(self) -> Row:
        complete = [row for row in self.rows if row["state"] == "COMPLETE"]
        return min(complete, key=lambda r: (*ranked_by(self.task, r), r["number"]))

    def run(self, weights: Path, storage: Path, n_trials: int) -> None:
        self.weights = weights
        if not self.rows:
            deadline, self.deadline = self.deadline, math.inf
            baseline = self._tried(self.own, lambda accuracy: None)
            self.deadline = deadline
            if baseline["state"] != "COMPLETE":
                raise EvaluationError(
                    f"the recipe in use cannot be trained: {baseline['failure']} Change [training] "
                    "so that it can, then tune."
                )
            self._keep(baseline)
        # One trial a call: the clock and the rows decide about the next, and a study that goes on
        # draws what it would have drawn. More calls than rows, because a study also holds what was
        # interrupted.
        for wanted in range(len(self.rows), 3 * n_trials + 10):
            if len(self.rows) >= n_trials or time.monotonic() >= self.deadline:
                return
            try:
                optimise(
                    self._score,
                    n_trials=wanted,
                    seed=seeding.integer(self.seed, "tune"),
                    direction="maximize",
                    storage=storage,
                    study_name=self.study,
                    first=(self._in_range(self.own),),
                )
            except _OutOfTimeError:
                return

    # ---- one recipe --------------------------------------------------------------------------

    def _score(self, draw: Draw) -> float:
        """Train a drawn recipe; return its accuracy, 0 for one that cannot be trained."""

        def look(accuracy: float) -> None:
            draw.report(accuracy, 1)
            draw.prune()

        settings = self._drawn(draw)
        row = next((row for row in self.rows if self._same(row["recipe"], settings)), None)
        if row is None:
            row = self._tried(settings, look)
            self._keep(row)
        elif row["screened"] is not None:
            look(self._goodness(row["screened"]))
        return self._goodness(row[self.metric])

    @property
    def metric(self) -> str:
        """The name under which trials record what recipes are compared by."""
        return f"val_{self.task.metric}"

    def _goodness(self, value: float | None) -> float:
        """Return a metric as the study maximises it; a recipe that failed has the least."""
        if self.task.direction == "maximize":
            return float(value or 0.0)
        return -math.inf if value is None else -float(value)

    def _tried(self, settings: Settings, look: Callable[[float], None]) -> Row:
        """Return the row of a recipe; `look` gets its accuracy after a short training."""
        row: Row = {
            "epochs": self.subject.epochs,
            "state": "FAILED",
            "recipe": settings,
            "screened": None,
            "accuracies": None,
            self.metric: None,
            TIE: None,
            "train_s": None,
            "failure": None,
        }
        short = self._evaluated(settings, SCREEN * self.subject.epochs)
        if short[-1]["state"] != "COMPLETE":
            return row | {"failure": short[-1]["failure"]}
        row["screened"] = _mean(short, self.metric)
        try:
            look(self._goodness(row["screened"]))
        except Exception:
            self._keep(row | {"state": "PRUNED"})
            raise
        results = self._evaluated(settings, self.subject.epochs)
        row |= {name: results[-1][name] for name in ("state", "failure")}
        row["train_s"] = round(sum(result["train_s"] for result in results), 3)
        if row["state"] == "COMPLETE":
            row["accuracies"] = [result["metrics"][self.metric] for result in results]
            row |= {name: _mean(results, name) for name in (self.metric, TIE)}
        return row

    def _keep(self, row: Row) -> None:
        key = {"study": self.study, "number": len(self.rows)}
        self.told(self.file.measured(lambda: row, **key))

    def _evaluated(self, settings: Settings, epochs: float) -> list[dict[str, Any]]:
        """Return the result messages of the networks, one after the other, up to one that fails."""
        context = self.subject.resolved.worker_context(self.weights)
        context["threads"] = self.n_threads or fidelity.n_cores()
        context["objectives"] = [self.metric]
        context["training"] |= {**settings, "seconds": None, "time_limit": None}
        number = len(self.rows)

        def report(row: dict[str, Any]) -> bool:
            self.progress({**row, "number": number})
            return time.monotonic() < self.deadline

        evaluator = workers.evaluator(context)
        if self.n_threads is None:
            self.n_threads = threads.fastest(evaluator, self.subject.genotypes[0], self.seed)
        cost = {"epochs": epochs, "fraction": self.subject.fraction, "seconds": None}
        cost["threads"] = self.n_threads
        results: list[dict[str, Any]] = []
        for place, network in enumerate(self.subject.networks):
            job = {
                "seq": number,
                "attempt": 1,
                "fidelity": cost,
                "seed": seeding.integer(self.seed, "tune/training", place),
                "with_validation": False,
            } | network.job()
            if (kept := self.subject.artifacts) is not None:
                for ref in network.all_refs:
                    Artifacts(self.weights).save(kept.load(ref))
            result: dict[str, Any] = evaluator.evaluate(job, report)
            for file in self.weights.iterdir():
                file.unlink()
            if result["state"] == "PRUNED":
                raise _OutOfTimeError
            if result["failure_kind"] == "store":
                raise StoreError(f"{result['failure']}")
            results.append(result)
            if result["state"] != "COMPLETE":
                break
        return results

    # ---- ranges ------------------------------------------------------------------------------

    def _drawn(self, draw: Draw) -> Settings:
        kind = draw.suggest_categorical("optimizer", tuple(LR))
        settings = {
            "optimizer": kind,
            "lr": _short(draw.suggest_float(f"{kind}_lr", *LR[kind], log=True)),
            "weight_decay": _short(
                draw.suggest_float(f"{kind}_weight_decay", *DECAY[kind], log=True)
            ),
            "batch_size": draw.suggest_categorical("batch_size", self.batches),
            "warmup": _short(draw.suggest_float("warmup", *WARMUP)),
            "label_smoothing": _short(draw.suggest_float("label_smoothing", *SMOOTHING)),
            "flip": self.own["flip"],
            "crop": draw.suggest_int("crop", 0, self.side // 4),
        }
        if self.channels == 3:  # digits and letters are not mirrored
            settings["flip"] = draw.suggest_categorical("flip", (True, False))
        return settings | {"start_scale": self.own["start_scale"]}

    def _batch(self, settings: Settings) -> int:
        """Return the images a step that settings come to: fewer than asked for of a small set."""
        return Recipe(**settings).batch_for(self.n_images)

    def _same(self, one: Settings, other: Settings) -> bool:
        """Return whether two recipes train alike."""
        return all(
            self._batch(one) == self._batch(other) if name == "batch_size" else one[name] == value
            for name, value in other.items()
        )

    def _in_range(self, settings: Settings) -> dict[str, Any]:
        """Return the drawn values of settings, the nearest where they lie outside the ranges."""
        kind, batch = settings["optimizer"], self._batch(settings)
        found = {
            "optimizer": kind,
            f"{kind}_lr": float(np.clip(settings["lr"], *LR[kind])),
            f"{kind}_weight_decay": float(np.clip(settings["weight_decay"], *DECAY[kind])),
            "batch_size": min(self.batches, key=lambda b: abs(b - batch)),
            "warmup": float(np.clip(settings["warmup"], *WARMUP)),
            "label_smoothing": float(np.clip(settings["label_smoothing"], *SMOOTHING)),
            "crop": min(settings["crop"], self.side // 4),
        }
        return found | ({"flip": settings["flip"]} if self.channels == 3 else {})


def _short(value: float) -> float:
    """Return a number of three significant digits: more of them say nothing about a recipe."""
    return float(f"{value:.3g}")


def _mean(results: Sequence[Mapping[str, Any]], metric: str) -> float:
    return float(np.mean([result["metrics"][metric] for result in results]))


def _split(resolved: Resolved) -> Any:
    data = resolved.config.data
    return split(resolved.dataset, data.validation, data.split_seed)
