"""The ledger: an Optuna study in which every trial of a run is one Optuna trial.

The study is called `nasgen`, so `optuna-dashboard sqlite:///RUN/ledger.db` opens any run. What
nasgen needs to rebuild a trial stands in the user attributes "trial" (written when it is proposed)
and "result" (written when it has finished); parameters and values are there for Optuna's own tools.
"""

from __future__ import annotations

import dataclasses
import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
from alembic.util.exc import CommandError
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from nasgen.errors import StoreError
from nasgen.settings.fidelity import Fidelity
from nasgen.store import migrations, places, records
from nasgen.store.places import shown
from nasgen.store.quiet import quiet
from nasgen.store.records import ASKED, TOLD, Row, signed
from nasgen.store.sqlite import Sqlite
from nasgen.store.trial import Trial

STUDY = "nasgen"
# Optuna's tools spread what they draw over these bounds, so that wide ones make importances flat.
# What is larger is shown as the bound; the genotype itself stands in the attribute "trial".
_COUNT = IntDistribution(0, 64)
_CHANNELS = IntDistribution(1, 1 << 14, log=True)
# Optuna knows no estimates: its tools see such a trial as pruned, without a value, so that none of
# them takes a prediction for a measurement. The state itself stands in the attribute "result".
_STATES = {
    "COMPLETE": TrialState.COMPLETE,
    "PRUNED": TrialState.PRUNED,
    "ESTIMATED": TrialState.PRUNED,
    "FAILED": TrialState.FAIL,
}
_ASKED = [
    "seq",
    "genotype",
    "key",
    "identity",
    "operator",
    "outline",
    "tags",
    "shown",
    "generation",
    "parents",
    "plan",
    "phase",
    "fidelity",
    "goes_on",
    "seed",
    "attempt",
    "asked_after",
    "cohort",
    "fell_back_from",
    "number",
    "refusals",
    "screening",
    "started",
]
_TOLD = [
    "state",
    "told",
    "objectives",
    "constraints",
    "violation",
    "metrics",
    "curve",
    "train_s",
    "refs",
    "failure_kind",
    "failure",
    "finished",
]

# What the fields of a trial may be, for records that something has changed.
_TYPES: dict[str, Any] = {f.name: Mapping for f in dataclasses.fields(Trial)} | {
    **dict.fromkeys(("key", "identity", "operator", "state", "phase"), str),
    **dict.fromkeys(("seq", "generation", "seed", "attempt", "asked_after"), int),
    **dict.fromkeys(("told", "cohort", "number"), int | None),
    **dict.fromkeys(("failure_kind", "failure", "started", "finished"), str | None),
    **dict.fromkeys(("parents", "tags", "curve"), tuple),
    **dict.fromkeys(("violation", "train_s"), int | float),
    "goes_on": bool,
    "fidelity": Fidelity,
    "derivation": Mapping | None,
}

_DERIVED = ["genotype", "key", "derivation", "outline", "tags", "shown"]


# What Optuna, its libraries and this module raise over a file that is not what it was.
DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, CommandError, LookupError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip


@contextmanager
def _reported(url: str) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError, optuna.exceptions.StorageInternalError) as error:
        if isinstance(error, StoreError):
            raise
        reason = str(error.__cause__ or error).splitlines()[0]
        raise StoreError(
            f"the ledger {shown(url)} cannot be used: {reason}. Check that the file is a nasgen "
            "ledger, that the disk has space and that you may write there."
        ) from error


@contextmanager
def _foreign(url: str) -> Iterator[None]:
    """Say that a ledger is damaged, whatever Optuna and its libraries raise over it."""
    try:
        with _reported(url):
            yield
    except StoreError:
        raise
    except DAMAGE as error:
        raise StoreError(
            f"the ledger {shown(url)} is damaged, or none of nasgen ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]})."
        ) from error


class Ledger:
    """One run's trials, in the order in which they were proposed. One process writes."""

    def __init__(self, storage: BaseStorage, study_id: int, url: str, kind: str = "dag") -> None:
        self._kind = kind
        self._storage = storage
        self._study_id = study_id
        self._ids = array("q")  # by seq: Optuna's trial id
        self._choices: CategoricalDistribution | None = None  # the operators' names
        self._copy: TemporaryDirectory[str] | None = None  # what is read in the place of the file
        self.url = url

    # ---- opening -----------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        url: str,
        directions: Mapping[str, str],
        operators: Sequence[str],
        study: str = STUDY,
        place: str = "",
    ) -> Ledger:
        """Create the study for objectives `name -> "maximize" | "minimize"`.

        `place` names the run's folder: a study without trials that a killed process has left in a
        ledger elsewhere is made again from the same place only.
        """
        ways = [StudyDirection[d.upper()] for d in directions.values()]
        with quiet(), _reported(url):
            storage = _storage(url)
            try:
                study_id = storage.create_new_study(ways, study)
            except optuna.exceptions.DuplicatedStudyError:
                if not _is_left_over(storage, study, place):
                    raise StoreError(
                        f"the ledger {shown(url)} already holds a study '{study}'; choose an "
                        "output folder of another name."
                    ) from None
                storage.delete_study(storage.get_study_id_from_name(study))
                study_id = storage.create_new_study(ways, study)
            storage.set_study_user_attr(study_id, "operators", list(operators))
            storage.set_study_user_attr(study_id, "place", place)
            storage.set_study_system_attr(
                study_id, "study:metric_names", list(directions)
            )  # what Study.set_metric_names writes: the dashboard shows these names
            storage.set_study_user_attr(study_id, "schema", migrations.FORMAT)
        return cls(storage, study_id, url)

    @classmethod
    def open(cls, url: str, study: str = STUDY, kind: str = "dag") -> Ledger:
        """Open an existing ledger; a damaged or foreign one raises StoreError.

        `kind` is that of the genotypes, which format 1 did not record. What a killed process left
        in a folder where nobody may write is read from a copy: SQLite writes to read such a file.
        """
        path = places.file_of(url)
        if path is not None and not path.is_file():
            raise StoreError(f"the ledger {path} does not exist; is this a nasgen run folder?")
        copy: TemporaryDirectory[str] | None = None
        try:
            storage, study_id = _opened(url, study)
        except StoreError:
            if (copy := places.copied(path)) is None:
                raise
            storage, study_id = _opened(places.sqlite_url(Path(copy.name, places.COPY)), study)
        ledger = cls(storage, study_id, url, kind)
        ledger._copy = copy
        return ledger

    def upgrade(self) -> None:
        """Mark the ledger as one that this version writes; rows stay as they are."""
        with _reported(self.url):
            self._storage.set_study_user_attr(self._study_id, "schema", migrations.FORMAT)

    # ---- reading -----------------------------------------------------------------------------

    def directions(self) -> dict[str, str]:
        """Return objective -> "maximize" | "minimize", as the study was created."""
        with _foreign(self.url):
            found = self._storage.get_study_directions(self._study_id)
            names = self._storage.get_study_system_attrs(self._study_id)["study:metric_names"]
        return {name: way.name.lower() for name, way in zip(names, found, strict=False)}

    def trials(self) -> list[Trial]:
        """Return all trials by seq; StoreError when one is damaged, because none may be missing."""
        trials, faults = self.readable()
        if faults:
            raise StoreError(
                f"{faults[0]}. The run can be read, but not continued; put its ledger back from a "
                "copy, or begin a new run."
            )
        return trials

    def readable(self) -> tuple[list[Trial], list[str]]:
        """Return the trials that can be read, by seq, and a sentence about each that cannot."""
        found: dict[int, Trial] = {}
        faults = []
        with _foreign(self.url):
            for row in records.rows(self._storage, self._study_id):
                if not row.records and not row.fault:
                    continue  # put there by another tool
                try:
                    trial = self._trial(row)
                    if trial.seq in found:
                        raise ValueError(f"it calls itself {trial.seq}, as another does")
                except DAMAGE as error:
                    faults.append(
                        f"trial {row.number} of the ledger {shown(self.url)} is damaged "
                        f"({' '.join(str(error).split())[:200]})"
                    )
                    continue
                found[trial.seq] = trial
                self._know(trial.seq, row.trial_id)
        missing = [seq for seq in range(max(found, default=-1)) if seq not in found]
        if len(missing) > len(faults):
            faults.append(f"trial {missing[0]} of the ledger {shown(self.url)} is missing")
        return [found[seq] for seq in sorted(found)], faults

    def trial(self, seq: int) -> Trial:
        """Return one trial as it was written last."""
        with _foreign(self.url):
            return self._trial(records.row(self._storage, self._ids[seq]))

    def _trial(self, row: Row) -> Trial:
        if row.fault:
            raise ValueError(row.fault)
        fields, told = row.record(ASKED), row.record(TOLD)
        # A result without its state was being written when the process died: still in flight.
        if row.is_finished and told:
            fields |= told
        else:
            fields["state"] = "RUNNING"
        old = not migrations.is_current(fields)
        params = self._storage.get_trial(row.trial_id).params if old else {}
        return _to_trial(migrations.trial(fields, params, self._kind))

    # ---- writing -----------------------------------------------------------------------------

    def ask(self, trial: Trial) -> None:
        """Write a trial that is about to start; what it shows are parameters for Optuna's tools."""
        record = _asked(trial)
        params: dict[str, tuple[Any, BaseDistribution]] = {}
        choices = self._operator_choices()
        if trial.operator in choices.choices:  # else added when the run was resumed
            params["operator"] = trial.operator, choices
        for name, value in trial.shown.items():
            which = _CHANNELS if name == "channels" else _COUNT
            params[name] = min(max(int(value), which.low), which.high), which
        text = self._text(record)
        with _reported(self.url):
            if isinstance(self._storage, Sqlite):
                trial_id = self._storage.add_trial(self._study_id, params, (ASKED, text))
            else:
                template = _Template(
                    number=-1,
                    trial_id=-1,
                    state=TrialState.RUNNING,
                    value=None,
                    values=None,
                    datetime_start=datetime.now(),
                    datetime_complete=None,
                    params={name: value for name, (value, _) in params.items()},
                    distributions={name: which for name, (_, which) in params.items()},
                    user_attrs={ASKED: json.loads(text) if text else record},
                    system_attrs={},
                    intermediate_values={},
                )
                trial_id = self._storage.create_new_trial(self._study_id, template)
        self._know(trial.seq, trial_id)

    def ask_again(self, trial: Trial) -> None:
        """Write the new attempt of a trial that was in flight when the run stopped."""
        record = _asked(trial)
        if text := self._text(record):
            record = json.loads(text)
        with _reported(self.url):
            self._storage.set_trial_user_attr(self._ids[trial.seq], ASKED, record)

    def tell(self, trial: Trial) -> None:
        """Write a result; it outlives this process when this returns.

        When the power fails, a SQLite ledger may lose the results of the last second.
        """
        record = {name: getattr(trial, name) for name in _TOLD}
        if trial.derivation is not None:  # only now is it known what network it is
            record |= {name: getattr(trial, name) for name in _DERIVED}
        values = list(trial.objectives.values()) if trial.state == "COMPLETE" else None
        text, state = self._text(record), _STATES[trial.state]
        with _reported(self.url):
            trial_id = self._ids[trial.seq]
            if isinstance(self._storage, Sqlite):
                finish = self._storage.finish_trial
                finish(trial_id, state, values, (TOLD, text), trial.looks)
            else:
                for epoch, value in trial.looks.items():
                    self._storage.set_trial_intermediate_value(trial_id, epoch, value)
                stored = json.loads(text) if text else record
                self._storage.set_trial_user_attr(trial_id, TOLD, stored)
                self._storage.set_trial_state_values(trial_id, state, values)

    def close(self) -> None:
        """Release the connection."""
        if isinstance(self._storage, Sqlite):
            self._storage.close()
        elif isinstance(self._storage, RDBStorage):
            self._storage.remove_session()
            self._storage.engine.dispose()
        if self._copy is not None:
            self._copy.cleanup()

    def _know(self, seq: int, trial_id: int) -> None:
        if seq >= len(self._ids):
            self._ids.extend([-1] * (seq + 1 - len(self._ids)))
        self._ids[seq] = trial_id

    def _text(self, record: Mapping[str, Any]) -> str:
        # A ledger in memory keeps the objects and needs no text.
        return "" if isinstance(self._storage, InMemoryStorage) else signed(_json(record))

    def _operator_choices(self) -> CategoricalDistribution:
        if self._choices is None:
            with _reported(self.url):
                attrs = self._storage.get_study_user_attrs(self._study_id)
            self._choices = CategoricalDistribution(attrs.get("operators") or ["sample"])
        return self._choices


class _Template(FrozenTrial):
    """What `ask` hands to Optuna, and keeps no hold of: it need not be copied in depth."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Template:
        return self


def _asked(trial: Trial) -> dict[str, Any]:
    record = {name: getattr(trial, name) for name in _ASKED}
    record["fidelity"] = trial.fidelity.to_json()
    return record


def _to_trial(fields: dict[str, Any]) -> Trial:
    fields["fidelity"] = Fidelity.of(fields["fidelity"])
    fields = {k: v for k, v in fields.items() if k in _TYPES}
    for name in ("parents", "tags"):
        fields[name] = tuple(fields.get(name, ()))
    fields["curve"] = tuple(fields.get("curve", ()))
    for name, value in fields.items():
        if not isinstance(value, _TYPES[name]):
            raise TypeError(f"its {name} is {value!r}")
    if fields["state"] not in ("RUNNING", *_STATES):
        raise ValueError(f"its state is {fields['state']!r}")
    return Trial(**fields)


def _json(record: Mapping[str, Any]) -> str:
    try:
        return json.dumps(record, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(f"a trial record is no JSON ({error}): {sorted(record)}.") from None


def _opened(url: str, study: str) -> tuple[BaseStorage, int]:
    """Return the storage and the number of a study in it."""
    with quiet(), _foreign(url):
        storage = _storage(url)
        try:
            study_id = storage.get_study_id_from_name(study)
        except KeyError:
            raise StoreError(f"the ledger {shown(url)} holds no study '{study}'.") from None
        schema = storage.get_study_user_attrs(study_id).get("schema")
    migrations.checked(schema, f"the ledger {shown(url)}")
    return storage, study_id


def _is_left_over(storage: BaseStorage, study: str, place: str) -> bool:
    """Tell whether a study was never used, and made at this place or not to its end."""
    study_id = storage.get_study_id_from_name(study)
    attrs = storage.get_study_user_attrs(study_id)
    is_ours = "schema" not in attrs or attrs.get("place") == place != ""
    return is_ours and storage.get_n_trials(study_id) == 0


def study_name(configured: str | None, run: str) -> str:
    """Return the study's name: a ledger shared by several runs needs one for each."""
    return STUDY if configured is None else f"{STUDY}-{run}"


def _storage(url: str) -> BaseStorage:
    if url == "memory":
        return InMemoryStorage()
    if url.startswith(places.JOURNAL):
        return JournalStorage(JournalFileBackend(url.removeprefix(places.JOURNAL)))
    places.file_of(url)  # raises for what is no URL
    try:
        return Sqlite(url) if url.startswith("sqlite") else RDBStorage(url)
    except ImportError as error:
        raise StoreError(f"the ledger {shown(url)} needs a database driver: {error}.") from None
    except RuntimeError as error:  # another Optuna schema
        raise StoreError(f"the ledger {shown(url)}: {str(error).splitlines()[0]}") from None
    except (KeyError, IndexError, ValueError):  # Optuna fills in what stands in braces
        raise StoreError(
            f"store.ledger: expected a URL in which braces are written as %7B and %7D, got '{url}'."
        ) from None


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
