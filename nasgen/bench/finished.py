"""What one search of a bench found, and a file that keeps what many have found."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nasgen.bench.base import parts
from nasgen.errors import DataError, EvaluationError, StoreError
from nasgen.registry import code
from nasgen.store.folder import versions
from nasgen.store.trial import Trial

N_DECIMALS: Final = 5  # of a score in per cent; tables are in single precision
ROUNDING: Final = 1e-6  # of sums of parts of a training

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Finished:
    """Scores in per cent of the networks that were trained to the end, in that order.

    `at` says how many whole trainings had been spent by then, `spent` how many in all, of networks
    that the bench knows. `n_holes` counts those that it does not know, `n_trials` all trainings
    that were begun.
    """

    val: tuple[float, ...]
    test: tuple[float, ...]
    at: tuple[float, ...]
    spent: float
    n_holes: int = 0
    n_trials: int = 0

    @classmethod
    def of(cls, trials: Iterable[Trial], n_epochs: int, who: str) -> Self:
        """Return what finished trials found; EvaluationError where none has a score."""
        val, test, at = [], [], []
        spent, n_holes, n_trials, failure = 0.0, 0, 0, None
        for trial in trials:
            n_trials += 1
            if trial.state == "FAILED":
                n_holes += 1
                failure = failure or trial.failure
                continue
            spent += float(trial.metrics["epochs_done"]) / n_epochs
            if trial.state == "COMPLETE" and not trial.rungs_below:
                val.append(100 * float(trial.metrics["val_accuracy"]))
                test.append(100 * float(trial.metrics["test_accuracy"]))
                at.append(spent)
        if not val:
            raise EvaluationError(
                f"{who} asked for {n_trials} networks, none of them with a score; the first: "
                f"{failure or 'no training came to its end.'}"
            )
        return cls(tuple(val), tuple(test), tuple(at), spent, n_holes, n_trials)

    @property
    def n_queries(self) -> int:
        """The whole trainings that were spent."""
        return math.floor(self.spent + ROUNDING)

    def curves(self, n_queries: int) -> Floats:
        """Return (2, n_queries): the best so far, and what is reported of the network that was it.

        Before the first training came to its end that one stands for it.
        """
        best = np.maximum.accumulate(self.val)
        # The first network that reached each best: later equals change nothing.
        rises = np.concatenate([[True], best[1:] > best[:-1]])
        first = np.maximum.accumulate(np.where(rises, np.arange(len(best)), 0))
        queries = np.arange(1, n_queries + 1) + ROUNDING
        place = np.maximum(np.searchsorted(self.at, queries, side="right") - 1, 0)
        return np.stack([best[place], np.asarray(self.test)[first[place]]])

    def rises(self) -> Finished:
        """Return it with those networks alone that were better than all before: equal curves."""
        kept: list[int] = []
        for i, value in enumerate(self.val):
            if not kept or value > self.val[kept[-1]]:
                kept.append(i)
        val, test, at = (tuple(row[i] for i in kept) for row in (self.val, self.test, self.at))
        return replace(self, val=val, test=test, at=at)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data that `from_json` reads."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        val, test, at = (tuple(map(float, data[name])) for name in ("val", "test", "at"))
        return cls(val, test, at, float(data["spent"]), int(data["n_holes"]), int(data["n_trials"]))


class Kept:
    """Searches in a file of JSON lines: what stands there is not played again.

    Of a search the networks are kept that were better than all before, which is what curves need.

    A row belongs to a bench, its file's text, an algorithm, a seed, a signal, settings and the
    version of nasgen. One with as many queries or more serves for fewer. `file` need not be there;
    a last line that was cut off is played again. Raises DataError for a file of something else.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: dict[str, tuple[int, Finished]] = {}
        if not file.exists():
            return
        try:
            lines = file.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"--rows: {file} cannot be read ({error}).") from None
        for number, line in enumerate(lines, start=1):
            if not line:
                continue
            try:
                row = json.loads(line)
                self._known[_text(row["search"])] = (
                    int(row["n_queries"]),
                    Finished.from_json(row["found"]),
                )
            except (ValueError, KeyError, TypeError, RecursionError):
                if number == len(lines):
                    self._cut(lines[:-1])
                    break
                raise DataError(
                    f"--rows: {file}, line {number}: expected a search that `nasgen bench --rows` "
                    "wrote, got something else; name another file."
                ) from None

    def get(self, play: Mapping[str, Any]) -> Finished | None:
        """Return what a search with these arguments found; None where it was not played."""
        n, found = self._known.get(_text(_search(play)), (0, None))
        return found if n >= play["n_queries"] else None

    def add(self, play: Mapping[str, Any], found: Finished) -> None:
        """Append a search to the file; StoreError where that fails."""
        search = _search(play)
        self._known[_text(search)] = (play["n_queries"], found)
        short = {
            k: [round(x, N_DECIMALS) for x in v] if isinstance(v, list) else v
            for k, v in found.rises().to_json().items()
        }
        row = {"search": search, "n_queries": play["n_queries"], "found": short}
        try:
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
        except OSError as error:
            raise StoreError(
                f"{self.file} cannot be written ({error.strerror or error})."
            ) from None

    def _cut(self, lines: list[str]) -> None:
        """Take a line away that was not written to its end."""
        self.file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _search(play: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes a search that which it is."""
    file, chosen = parts(play["bench"])
    named = {k: v for k, v in play.items() if k != "n_queries" and v is not None}
    if file is not None:
        named["bench"] = f"{Path(file).name}{f':{chosen}' if chosen else ''}"
        named["digest"] = code.digest_of(Path(file))
    return {**named, "version": versions()["nasgen"]}


def _text(search: Mapping[str, Any]) -> str:
    return json.dumps(search, sort_keys=True)
