"""What one search of a bench found, and a file that keeps what many have found."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nasgen.bench.base import find, parts
from nasgen.errors import DataError
from nasgen.registry import code
from nasgen.store.folder import machine, versions
from nasgen.store.ledger import utc_now
from nasgen.store.rows import Rows
from nasgen.store.trial import Trial

UNKNOWN: Final = "not recorded"  # the code of rows of before it was named
N_DECIMALS: Final = 5  # of a score in per cent; tables are in single precision
ROUNDING: Final = 1e-6  # of sums of parts of a training
NUMBERS: Final = ("val", "test", "at", "ends", "holes")  # of a search, a column each

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Finished:
    """Scores in per cent of the networks that were trained to the end, in that order.

    `at` says how many whole trainings had been spent by then. `ends` says it for every training
    that was begun, those of networks that the bench does not know too, and `holes` for these alone.
    `why` says of a search without a score what became of its first network.
    """

    val: tuple[float, ...]
    test: tuple[float, ...]
    at: tuple[float, ...]
    ends: tuple[float, ...]
    holes: tuple[float, ...] = ()
    why: str = ""

    @classmethod
    def of(cls, trials: Iterable[Trial], n_epochs: int) -> Self:
        """Return what finished trials found."""
        val, test, at = [], [], []
        ends, holes, spent, why = [], [], 0.0, ""
        for trial in trials:
            if trial.state == "ESTIMATED":  # a predictor's word, which costs no training
                continue
            spent += cost(trial, n_epochs)
            ends.append(spent)
            if trial.state == "FAILED":
                holes.append(spent)
                why = why or str(trial.failure or "")
            elif trial.state == "COMPLETE" and not trial.rungs_below:
                val.append(100 * float(trial.metrics["val_accuracy"]))
                test.append(100 * float(trial.metrics["test_accuracy"]))
                at.append(spent)
        why = "" if val else why or "no training came to its end."
        return cls(tuple(val), tuple(test), tuple(at), tuple(ends), tuple(holes), why)

    @property
    def nothing(self) -> str:
        """Say that no network has a score, and why, of the search; "" where one has."""
        if self.val:
            return ""
        n = f"{self.n_trials} network{'' if self.n_trials == 1 else 's'}"
        return f"asked for {n}, none with a score; the first: {self.why}"

    @property
    def spent(self) -> float:
        """The whole trainings that were spent, one for each hole."""
        return self.ends[-1] if self.ends else 0.0

    @property
    def n_queries(self) -> int:
        """`spent` in full queries."""
        return math.floor(self.spent + ROUNDING)

    @property
    def n_holes(self) -> int:
        """Networks that the bench does not know."""
        return len(self.holes)

    @property
    def n_trials(self) -> int:
        """Trainings that were begun."""
        return len(self.ends)

    def until(self, n_queries: int) -> Self:
        """Return what the same search had found if it had been played to fewer queries."""
        begins = (0.0, *self.ends)[: len(self.ends)]
        n = sum(is_before(begin, n_queries) for begin in begins)
        end = self.ends[n - 1] + ROUNDING if n else 0.0
        kept = [i for i, at in enumerate(self.at) if at <= end]
        val, test, at = (tuple(row[i] for i in kept) for row in (self.val, self.test, self.at))
        holes = tuple(hole for hole in self.holes if hole <= end)
        return replace(self, val=val, test=test, at=at, ends=self.ends[:n], holes=holes)

    def curves(self, n_queries: int) -> Floats:
        """Return (2, n_queries): the best so far, and what is reported of the network that was it.

        What holes cost is part of the way there. Before the first training came to its end that
        one stands for it. NaN where no network has a score.
        """
        if not self.val:
            return np.full((2, n_queries), np.nan)
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
        found: dict[str, Any] = {name: list(getattr(self, name)) for name in NUMBERS}
        return {**found, "why": self.why} if self.why else found

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; ValueError, KeyError or TypeError for something else."""
        numbers: dict[str, Any] = {name: tuple(map(float, data[name])) for name in NUMBERS}
        made = cls(**numbers, why=str(data.get("why", "")))
        is_whole = bool(made.ends) if made.val else bool(made.why)
        if not is_whole or not len(made.val) == len(made.test) == len(made.at):
            raise ValueError("expected a network and what was spent for each score.")
        return made


def cost(trial: Trial, n_epochs: int) -> float:
    """Return what a training has cost, in whole trainings of `n_epochs`; a hole costs one."""
    done = trial.metrics.get("epochs_done")
    return 1.0 if done is None else float(done) / n_epochs


def is_before(spent: float, n_queries: int) -> bool:
    """Tell whether another training may begin when so much of `n_queries` has been spent."""
    return spent < n_queries - ROUNDING


class Kept:
    """Searches in a file of JSON lines: what stands there is not played again.

    Of a search the networks are kept that were better than all before, which is what curves need.

    A row belongs to a bench, its file's text, the digest of its table, an algorithm, a seed, a
    signal, settings and the version of nasgen. One with more queries is cut where fewer are wanted.
    It also names the machine and the state of nasgen's code that made it: rows of another state
    than the present `code` answer too, and `codes` counts them.
    `file` need not be there, its folder is made; a last line that was cut off is played again. Of
    rows of one search the longest counts. `n_older` counts rows without the digest of a table: they
    stay in the file and answer nothing. Raises DataError for a file of something else, StoreError
    for one that cannot be read.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.n_older = 0
        self.code = package_code()  # before anything is played, as it was imported
        self._known: dict[str, tuple[int, Finished]] = {}
        self._codes: dict[str, str] = {}  # of the row that answers
        self._asked: dict[str, None] = {}
        self._rows = Rows.open(file, ())
        for number, row in enumerate(self._rows.read, start=1):
            try:
                search, n_queries, found = row["search"], int(row["n_queries"]), row["found"]
                if "table" not in search:
                    self.n_older += 1
                    continue
                made_by = str(row.get("code", UNKNOWN))
                self._know(_text(search), n_queries, Finished.from_json(found), made_by)
            except (ValueError, KeyError, TypeError, OverflowError):
                raise DataError(
                    f"--rows: {file}, line {number}: expected a search that `nasgen bench --rows` "
                    "wrote, got something else; name another file."
                ) from None

    def get(self, play: Mapping[str, Any]) -> Finished | None:
        """Return what a search with these arguments found; None where it was not played.

        Nor does a longer one answer that had found nothing by then.
        """
        text = _text(_search(play))
        self._asked[text] = None
        n, found = self._known.get(text, (0, None))
        if found is None or n < play["n_queries"]:
            return None
        short = found.until(play["n_queries"])
        return short if short.val or not found.val else None

    def add(self, play: Mapping[str, Any], found: Finished) -> None:
        """Append a search to the file; StoreError where that fails."""
        search = _search(play)
        self._know(_text(search), play["n_queries"], found, self.code)
        short = {
            name: [round(value, N_DECIMALS) for value in values] if name in NUMBERS else values
            for name, values in found.rises().to_json().items()
        }
        about = machine()
        origin = {
            "code": self.code,
            "measured": utc_now(),
            "machine": {key: about[key] for key in ("processor", "cores")},
        }
        row = {"search": search, "n_queries": play["n_queries"], "found": short}
        self._rows.append(row | origin)

    @property
    def codes(self) -> dict[str, int]:
        """State of the code -> how many of the searches that were asked for it has made."""
        return dict(Counter(self._codes[text] for text in self._asked if text in self._codes))

    def _know(self, text: str, n_queries: int, found: Finished, made_by: str) -> None:
        """Remember a search, unless a longer one is known: several processes may have played it."""
        if n_queries >= self._known.get(text, (0, found))[0]:
            self._known[text] = n_queries, found
            self._codes[text] = made_by


def package_code() -> str:
    """Return the digest of nasgen's own Python files, which tells states of the code apart."""
    return code.digest_of(Path(__file__).parents[1])


def _search(play: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes a search that which it is."""
    file, chosen = parts(play["bench"])
    named = {k: v for k, v in play.items() if k != "n_queries" and v is not None}
    if file is not None:
        named["bench"] = f"{Path(file).name}{f':{chosen}' if chosen else ''}"
        named["digest"] = code.digest_of(Path(file))
    return {**named, "table": find(play["bench"]).digest, "version": versions()["nasgen"]}


def _text(search: Mapping[str, Any]) -> str:
    return json.dumps(search, sort_keys=True)
