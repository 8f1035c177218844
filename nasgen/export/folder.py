"""Writes the folder of an export: each format, compared with the original, and what it is.

It is written beside its place and moved there whole, so that no half of one is ever found.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nasgen.errors import ConfigError, EvaluationError, StoreError
from nasgen.evaluation.device import threads
from nasgen.export import card, onnx, python
from nasgen.export import torch as program
from nasgen.export.joined import Joined
from nasgen.export.source import UnheldError
from nasgen.export.subject import Live, Subject
from nasgen.layers.modules import Recurring
from nasgen.store import beside, tensors
from nasgen.store.folder import versions

FORMATS: Final[tuple[str, ...]] = (python.NAME, onnx.NAME, program.NAME)
RECORD: Final = "model.json"
EXAMPLES: Final = "examples.safetensors"
VERSION: Final = 3  # of model.json; 2 had no layers in common before layers side by side
TOLERANCE: Final = 1e-4  # of answers in float32, as a share of the largest answer where that is > 1
N_EXAMPLES: Final = 8
HEAVY: Final = 4096  # rows at once
TEST, VALIDATION, RANDOM = "test", "validation", "random"  # rows that formats are compared on

Array = NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """Rows to compare on, as the data set has them, and the answers that nasgen `expected`.

    `targets` are what the data set says, `part` where they come from. Random rows have no targets;
    `reason` says why there are no real ones.
    """

    raw: Any
    expected: Array
    targets: Array | None
    part: str = TEST
    reason: str = ""


@dataclass
class Written:
    """What came of an export: `record` is model.json, `refused` format -> why it is not there."""

    path: Path
    record: dict[str, Any]
    refused: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        formats = [name for name, of in self.record["formats"].items() if "file" in of]
        refused = f", refused={self.refused}" if self.refused else ""
        return f"Written({str(self.path)!r}, formats={formats}{refused})"

    @property
    def remark(self) -> str:
        """What should be known of the comparison with the original, "" for nothing."""
        on = self.record["compared_on"]
        if on["part"] != RANDOM:
            return ""
        return (
            f"{on['reason']} So each format was compared with the original on {on['rows']} random "
            "rows instead of test rows; to compare on test rows, export again with --data SOURCE, "
            "or from nasgen.load(RUN, data=SOURCE)."
        )

    @property
    def files(self) -> list[str]:
        """The names of the files, in order."""
        return sorted(p.name for p in self.path.iterdir())


def chosen(text: str) -> tuple[str, ...]:
    """Return the formats of --format: "all", or some of them with commas between."""
    names = tuple(dict.fromkeys(part.strip() for part in str(text).split(",")))
    if names == ("all",):
        return FORMATS
    if wrong := [name for name in names if name not in FORMATS]:
        raise ConfigError(
            f"formats (--format): expected all, or some of {', '.join(FORMATS)} with commas "
            f"between, got '{wrong[0]}'."
        )
    return names


def write(
    subject: Subject,
    rows: Rows,
    out: Path,
    formats: Iterable[str] = FORMATS,
    about: Mapping[str, Any] | None = None,
) -> Written:
    """Write the folder `out`, which must not be there; return what came of it.

    A format that cannot be written, or answers otherwise than the original, is left out and named
    with its reason. `about` is what model.json says beside what is known here. Raises StoreError
    where the folder cannot be written, EvaluationError where no format could be.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"{out} is there already; name another folder, or delete it.")
    inputs = subject.inputs(rows.raw)
    with beside.whole(out) as folder, threads(1), _quiet():
        made = _Making(subject, inputs, rows, folder)
        found = {name: made.format(name) for name in FORMATS if name in {*formats}}
        if not any("file" in of for of in found.values()):
            reasons = "; ".join(f"{name}: {of['refused']}" for name, of in found.items())
            raise EvaluationError(f"no format could be written: {reasons}")
        record = _record(subject, inputs, rows, found, about or {})
        made.rest(record)
    refused = {name: of["refused"] for name, of in found.items() if "refused" in of}
    return Written(out, record, refused)


class _Making:
    """The formats under construction: a later one uses what an earlier one made."""

    def __init__(
        self, subject: Subject, inputs: Mapping[str, Tensor], rows: Rows, folder: Path
    ) -> None:
        self.subject, self.inputs, self.rows, self.folder = subject, inputs, rows, folder
        self.head = card.head(subject, inputs)
        self.model: torch.nn.Module | None = None
        self.unheld = ""
        few = {name: tensor[:2] for name, tensor in inputs.items()}
        self.few = {n: torch.cat((t, t))[:2] for n, t in few.items()}
        try:
            self.model = python.write(subject, folder, inputs, self.head)
        except UnheldError as error:
            self.unheld = str(error)
        self._program: Any = None

    def format(self, name: str) -> dict[str, Any]:
        """Write one format and return its entry of model.json: its file, or why it is not there."""
        file = {python.NAME: python.MODEL, onnx.NAME: onnx.FILE, program.NAME: program.FILE}[name]
        try:
            answers = getattr(self, f"_{name}")()
        except _RefusedError as error:
            reason = str(error)
        except (OSError, StoreError) as error:
            raise StoreError(f"cannot write {self.folder / file}: {error}.") from None
        except Exception as error:  # of torch's and ONNX's exporters, which raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        else:
            difference = largest(answers, self.rows.expected)
            if difference <= TOLERANCE:
                return {"file": file, "largest_difference": difference, "rows": len(answers)}
            reason = f"its answers differ from the original's by up to {difference:.2g}"
        (self.folder / file).unlink(missing_ok=True)
        return {"refused": reason}

    def _python(self) -> Array:
        if self.model is None:
            raise _RefusedError(f"model.py cannot hold it: {self.unheld}")
        return self._of(lambda part: python.answers(self.model, part))  # type: ignore[arg-type]

    def _torch(self) -> Array:
        program.write(self._traced(), self.folder)
        return self._of(program.reader(self.folder))

    def _onnx(self) -> Array:
        if missing := onnx.missing():
            raise _RefusedError(
                f"it needs {', '.join(missing)}: pip install 'nasgen[export]' brings that"
            )
        onnx.write(self._traced(), self.folder, self.inputs)
        return self._of(onnx.reader(self.folder))

    def _traced(self) -> Any:
        networks = [member.network for member in self.subject.members]
        if any(isinstance(part, Recurring) for net in networks for part in net.modules()):
            raise _RefusedError(
                "torch.export writes recurrent layers out step by step, for sequences of one "
                "length alone; use the format python"
            )
        if self._program is None:
            model = self.model or Live(self.subject, tuple(self.inputs))
            free = self.subject.transform.feed.free_axes
            self._program = program.program(model.eval(), self.few, free)
        return self._program

    def _of(self, answers: Callable[[Mapping[str, Tensor]], Tensor]) -> Array:
        """Return the answers to all rows, some at once."""
        n, found = len(self.rows.expected), []
        for start in range(0, n, HEAVY):
            part = {name: t[start : start + HEAVY] for name, t in self.inputs.items()}
            found.append(answers(part).numpy())
        return np.concatenate(found)

    def rest(self, record: Mapping[str, Any]) -> None:
        """Write what is no format: model.json, the transform, examples, README.md, example.py."""
        self.subject.transform.save(self.folder)
        if not card.has_columns(self.subject):
            few = {f"inputs.{name}": t[:N_EXAMPLES].numpy() for name, t in self.inputs.items()}
            tensors.save(self.folder / EXAMPLES, few)
        texts = {
            RECORD: json.dumps(record, indent=1) + "\n",
            "README.md": card.readme(record),
        }
        if "file" in record["formats"].get(python.NAME, {}):
            texts["example.py"] = card.example(record)
        if record["examples"]["rows"] is not None:
            texts["encoder.py"] = card.ENCODER
        for name, text in texts.items():
            (self.folder / name).write_text(text, encoding="utf-8")


class _RefusedError(Exception):
    """Why a format is not written."""


def largest(found: Array, expected: Array) -> float:
    """Return the largest difference, as a share of the largest number where that is above 1."""
    if found.shape != expected.shape:
        return float("inf")
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    off = np.abs(found.astype(np.float64) - expected).max(initial=0.0) / scale
    return float(off) if np.isfinite(off) else float("inf")


def _record(
    subject: Subject,
    inputs: Mapping[str, Tensor],
    rows: Rows,
    formats: Mapping[str, Any],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Return model.json."""
    transform, task = subject.transform, subject.transform.task
    n = min(N_EXAMPLES, len(rows.expected))
    return {
        "nasgen_export": VERSION,
        "versions": versions(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "form": transform.form,
        "task": transform.name,
        "classes": list(transform.classes),
        "inputs": card.inputs(subject, inputs),
        "columns": [[c.name, c.kind] for c in getattr(transform.feed, "columns", ())],
        "codes": [list(of) for of in getattr(transform.feed, "codes", ())],
        "missing": card.missing(),
        "vocabulary": [*getattr(transform.feed, "vocabulary", ())],
        "answers": card.answers(subject),
        **networks(subject),
        "formats": dict(formats),
        "compared_on": {
            "part": rows.part, "rows": len(rows.expected), "reason": rows.reason,
        },
        "examples": {
            "part": rows.part,
            "rows": card.example_rows(subject, rows.raw, n),
            "answers": rows.expected[:n].tolist(),
            "targets": None if rows.targets is None else rows.targets[:n].tolist(),
        },
        "measure": {"metric": task.metric, "direction": task.direction},
        **about,
    }  # fmt: skip


def networks(subject: Subject) -> dict[str, Any]:
    """Return what `reading.subject` reads beside the weights and the transform, as JSON."""
    shared = {  # place of a network that is written with others -> where its tensors are
        place: {"tensors": names}
        for unit in subject.units
        if isinstance(unit.member.network, Joined)
        for place, names in zip(unit.places, unit.member.network.tensors, strict=True)
    }
    return {
        "mixed": subject.mixed,
        "temperature": subject.temperature,
        "views": [list(view) for view in subject.views],
        "stacks": [list(unit.places) for unit in subject.units],
        "members": [
            {
                "share": member.share,
                **member.facts,
                "genotype": member.genotype.to_json(),
                "steps": [{**asdict(step), "called": name, "does": words}
                          for step, name, words in member.steps],
                "input_shape": list(member.blueprint.input_shape),
                "n_outputs": member.blueprint.n_classes,
                **shared.get(place, {}),
            }
            for place, member in enumerate(subject.members)
        ],
    }  # fmt: skip


@contextmanager
def _quiet() -> Any:
    """Keep what torch's and ONNX's exporters print and warn of to themselves."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
