"""What a run answered on its test rows, kept with it: no report needs the data or torch again.

Of data without test rows, what it answered on the validation rows: "test" is then 0 in "rows".

    answers.json    {"format", "rows": {"validation", "test"}, "best", "ensemble"}

It is written when a run ends, when the test rows are looked at anyway: counts of answers by class,
or some answers beside the truth, and the rows that are furthest off, with their pictures.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from nasgen.data import columns, forms
from nasgen.data.base import Dataset
from nasgen.errors import ConfigError
from nasgen.evaluation.tasks.base import Task
from nasgen.report.answers import Answered, Mistake, Values
from nasgen.settings.text import parsed

if TYPE_CHECKING:
    from nasgen.ensembles.trained import TrainedEnsemble
    from nasgen.runs.results import Run
    from nasgen.store.trial import Trial

Array = NDArray[Any]
FILE: Final = "answers.json"
FORMAT: Final = 1
N_MISTAKES: Final = 24
N_CELLS: Final = 6  # of a table's row that stand beside a mistake
MOST_PIXELS: Final = 96  # along the longer side of a picture: larger ones are thinned out
N_POINTS: Final = 400  # answers that are drawn beside the truth
N_OUTPUTS: Final = 6  # of a row that are drawn
FAULTS: Final = (KeyError, TypeError, ValueError, AttributeError)  # of JSON that is not as written
LEVELS: Final = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantiles of errors


@dataclass(frozen=True)
class Kept:
    """What a run knows of its test: rows of each part (None: not known), answers by whom.

    The answers are to validation rows where `n_test` is 0.
    """

    n_val: int | None
    n_test: int
    best: Answered | None = None
    ensemble: Answered | None = None
    why: str = ""  # there are no answers


def answered(task: Task, dataset: Dataset, predictions: Array, classes: Sequence[str]) -> Answered:
    """Return what the predictions of the test rows of a data set come to.

    Of classes they are probabilities (n_test, n_classes), of values of the shape of the targets; of
    a task whose predictions are neither, the numbers of rows is all. A data set without test rows
    has validation rows in their place.
    """
    targets, unit = dataset.targets_test, forms.unit(dataset.form) + "s"
    part = "test" if dataset.has_test else "validation"
    plain = Answered(len(targets), unit, part=part)
    if classes and predictions.shape == (len(targets), len(classes)) and targets.ndim == 1:
        answers = task.decided(predictions)
        if answers.shape == targets.shape and answers.dtype.kind in "iu":
            return Answered(
                len(targets),
                unit,
                tuple(classes),
                _counts(answers, targets),
                mistakes=_mistakes(dataset, predictions, answers, classes),
                part=part,
            )
    are_values = targets.dtype.kind == "f" and predictions.size == targets.size
    if not are_values or not len(targets):
        return plain
    truth = targets.reshape(len(targets), -1).astype(np.float64)
    given = predictions.reshape(truth.shape).astype(np.float64)
    return Answered(
        len(targets),
        unit,
        values=_values(truth, given),
        mistakes=_far_off(dataset, truth, given),
        part=part,
    )


def _counts(answers: Array, targets: Array) -> dict[tuple[int, int], int]:
    """Return how many rows there are of each (true class, answered class) that occurs."""
    pairs, n = np.unique(np.stack([targets, answers], axis=1), axis=0, return_counts=True)
    return {(int(i), int(j)): int(k) for (i, j), k in zip(pairs, n, strict=True)}


def _mistakes(
    dataset: Dataset, predictions: Array, answers: Array, classes: Sequence[str]
) -> list[Mistake]:
    """Return the rows that are answered wrongly with most confidence, these first."""
    targets = dataset.targets_test
    sure = predictions[np.arange(len(answers)), answers]
    wrong = np.flatnonzero(answers != targets)
    chosen = wrong[np.argsort(-sure[wrong], kind="stable")][:N_MISTAKES]
    shown = _shown(dataset)
    return [
        Mistake(
            int(row),
            classes[int(targets[row])],
            classes[int(answers[row])],
            float(sure[row]),
            **shown(int(row)),
        )
        for row in chosen
    ]


def _values(truth: Array, given: Array) -> list[Values]:
    """Return answers beside the truth, (n, k) both, for each of the first outputs."""
    rows = np.unique(np.linspace(0, len(truth) - 1, min(N_POINTS, len(truth))).round().astype(int))
    found = []
    for k in range(min(N_OUTPUTS, truth.shape[1])):
        errors = given[:, k] - truth[:, k]
        found.append(
            Values(
                [(float(truth[row, k]), float(given[row, k])) for row in rows],
                {level: float(np.quantile(errors, level)) for level in LEVELS},
                float(np.sqrt(np.square(errors).mean())),
                float(np.abs(errors).mean()),
                f"output {k + 1}" if truth.shape[1] > 1 else "",
            )
        )
    return found


def _far_off(dataset: Dataset, truth: Array, given: Array) -> list[Mistake]:
    """Return the rows whose answers are furthest from the truth, in deviations of each output."""
    spread = truth.std(axis=0)
    off = np.abs((given - truth) / np.where(spread > 0, spread, 1.0)).mean(axis=1)
    shown = _shown(dataset)
    return [
        Mistake(
            int(row),
            _listed(truth[row]),
            _listed(given[row]),
            error=_listed(given[row] - truth[row], "+"),
            **shown(int(row)),
        )
        for row in np.argsort(-off, kind="stable")[:N_MISTAKES]
    ]


def _listed(values: Array, sign: str = "") -> str:
    more = ", …" if len(values) > N_CELLS else ""
    return ", ".join(f"{value:{sign}.4g}" for value in values[:N_CELLS]) + more


def _shown(dataset: Dataset) -> Callable[[int], dict[str, Any]]:
    """Return what shows a test row: its picture, or some of its cells."""
    if dataset.form == "image":
        from nasgen.data import pictures  # loads Pillow

        images = dataset.x_test
        low, high = (0, 255) if images.dtype == np.uint8 else (images.min(), images.max())
        step = math.ceil(max(images.shape[2:]) / MOST_PIXELS)
        return lambda row: {
            "png": pictures.png(images[row, :, ::step, ::step], float(low), float(high))
        }
    if not dataset.columns:
        return lambda row: {}

    def cells(row: int) -> dict[str, Any]:
        inputs = {name: array[[row]] for name, array in dataset.inputs_test.items()}
        found = list(columns.named(dataset.columns, inputs).items())[:N_CELLS]
        texts = [f"{name} {_cell(values[0])}" for name, values in found]
        return {"text": ", ".join(texts) + (", …" if len(dataset.columns) > N_CELLS else "")}

    return cells


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:20]


# ---- as JSON -------------------------------------------------------------------------------------


def record(run: Run, best: Trial, ensemble: TrainedEnsemble | None) -> dict[str, Any]:
    """Return what a run keeps of its test: answers of the best network and of the ensemble.

    None for one that was not tested; an ensemble of the best network alone is left out.
    """
    inference, dataset = run.inference, run.dataset
    found: dict[str, Any] = {
        "format": FORMAT,
        "rows": {
            "validation": len(inference.targets("validation")),
            "test": len(dataset.targets_test) if dataset.has_test else 0,
        },
        "best": None,
        "ensemble": None,
    }

    def described(predictions: Array) -> dict[str, Any]:
        return to_json(answered(inference.task, dataset, predictions, inference.classes))

    part = "test" if dataset.has_test else "validation"
    if run.folder.artifacts.exists(best.weights_ref):
        network = run.network(best.seq)
        if network.is_tested or not dataset.has_test:
            found["best"] = {"trial": best.seq, **described(network.predictions(part))}
    if ensemble is not None and (members := _members(ensemble)) != [[best.seq]]:
        found["ensemble"] = {"members": members, **described(ensemble.predictions(part))}
    return found


def _members(ensemble: TrainedEnsemble) -> list[list[int]]:
    """Return the trials of each member: several, where it is the mean of their weights."""
    return [list(member.averaged or [member.trial.seq]) for member in ensemble.members]


def to_json(found: Answered) -> dict[str, Any]:
    """Return answers as JSON; names of classes are in the record of the run."""
    return {
        "counts": [[i, j, n] for (i, j), n in found.counts.items()],
        "values": [
            {
                "name": one.name,
                "points": [list(point) for point in one.points],
                "errors": [[level, error] for level, error in one.errors.items()],
                "rmse": one.rmse,
                "mae": one.mae,
            }
            for one in found.values
        ],
        "mistakes": [_mistake_json(mistake) for mistake in found.mistakes],
    }


def _mistake_json(mistake: Mistake) -> dict[str, Any]:
    png = mistake.png
    row = {
        "row": mistake.row,
        "true": mistake.true,
        "answered": mistake.answered,
        "confidence": mistake.confidence,
        "png": None if png is None else base64.b64encode(png).decode(),
        "text": mistake.text,
        "error": mistake.error,
    }
    return {name: value for name, value in row.items() if value not in (None, "")}


def of_json(
    data: Mapping[str, Any], n_rows: int, unit: str, classes: Sequence[str], part: str = "test"
) -> Answered:
    """Return the answers that `to_json` wrote; what is damaged raises what reading JSON raises."""
    counts = {(int(i), int(j)): int(n) for i, j, n in data["counts"]}
    places = [place for pair in counts for place in pair]
    if (
        any(not 0 <= place < len(classes) for place in places)
        or min(counts.values(), default=0) < 0
    ):
        raise ValueError("expected counts of the run's classes")
    if counts and sum(counts.values()) != n_rows:
        raise ValueError(f"expected counts of {n_rows} rows")
    values = [
        Values(
            [(float(a), float(b)) for a, b in one["points"]],
            {float(level): float(error) for level, error in one["errors"]},
            float(one["rmse"]),
            float(one["mae"]),
            str(one["name"]),
        )
        for one in data["values"]
    ]
    mistakes = [
        Mistake(
            int(row["row"]),
            str(row["true"]),
            str(row["answered"]),
            None if row.get("confidence") is None else float(row["confidence"]),
            None if row.get("png") is None else base64.b64decode(row["png"], validate=True),
            str(row.get("text", "")),
            str(row.get("error", "")),
        )
        for row in data["mistakes"]
    ]
    used = tuple(classes) if counts else ()
    return Answered(n_rows, unit, used, counts, values, mistakes, part)


def read(run: Run, summary: Mapping[str, Any]) -> Kept:
    """Return what a run has kept of its test, as far as that goes with its summary.

    A run of an older version has kept nothing, and a file that is damaged is left out; `why` then
    says so.
    """
    data = run.record["data"]
    unit = forms.unit(data.get("form", "image")) + "s"
    on = (summary.get("ensemble") or {}).get("selected_on") or {}
    empty = Kept(on.get("rows"), data["n_test"])
    if summary["best"] is None:
        return empty
    try:
        found = parsed(run.path / FILE, json.loads, "JSON")
        if found["format"] != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {found['format']}")
        n_val, n_test = (int(found["rows"][part]) for part in ("validation", "test"))
        about = (n_test or n_val, unit, run.classes, "test" if n_test else "validation")
        best, ensemble = (
            None if found[name] is None else of_json(found[name], *about)
            for name in ("best", "ensemble")
        )
        of = (found["best"] or {}).get("trial"), (found["ensemble"] or {}).get("members")
    except FileNotFoundError:
        return replace(empty, why="the run was made by a version that did not keep them.")
    except (ConfigError, OSError, *FAULTS) as error:
        return replace(empty, why=f"{FILE} is damaged: {error}")
    rows = (summary.get("ensemble") or {}).get("members", ())
    members = [list(row.get("averaged") or [row["trial"]]) for row in rows]
    is_best, is_ensemble = of[0] == summary["best"]["trial"], of[1] == members
    return Kept(n_val, n_test, best if is_best else None, ensemble if is_ensemble else None)
