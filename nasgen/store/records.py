"""The records of trials in a study, with their digests, read row by row.

One damaged row must not hide the others, as it does where Optuna reads all trials at once. A study
in a database is read by plain SQL, which also takes a fraction of Optuna's memory; any other kind
through Optuna.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb.models import TrialModel, TrialUserAttributeModel
from optuna.trial import TrialState
from sqlalchemy import Select, String, select, type_coerce
from sqlalchemy.exc import SQLAlchemyError

ASKED: Final = "trial"  # the user attribute of what is written when a trial is asked for
TOLD: Final = "result"  # and of what is written when it has finished
DIGEST: Final = "digest"  # the key in both that tells whether they are as they were written

_TRIALS, _ATTRIBUTES = TrialModel.__table__, TrialUserAttributeModel.__table__


@dataclass(frozen=True)
class Row:
    """A trial of a study. `records` are its user attributes, as JSON text or as they are.

    `fault` says why they could not be read.
    """

    trial_id: int
    number: int
    state: str = ""
    records: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether Optuna counts the trial as finished; ValueError for no state at all."""
        try:
            return TrialState[self.state].is_finished()
        except KeyError:
            raise ValueError(f"its state is {self.state!r}") from None

    def record(self, name: str) -> dict[str, Any]:
        """Return a record, {} for none; ValueError where it is not what was written."""
        found = self.records.get(name)
        if found is None:
            return {}
        data = dict(json.loads(found) if isinstance(found, str) else found)
        written = data.pop(DIGEST, None)  # versions before wrote none
        if written is not None and written != digest(json.dumps(data)):
            raise ValueError("it is not what was written")
        return data


def digest(text: str) -> str:
    """Return the digest of a record's JSON text."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def signed(text: str) -> str:
    """Return a record's JSON text with its digest."""
    return f'{text[:-1]}{", " if text != "{}" else ""}"{DIGEST}": "{digest(text)}"}}'


def rows(storage: BaseStorage, study_id: int) -> Iterator[Row]:
    """Yield the trials of a study in the order in which they were added."""
    if not isinstance(storage, RDBStorage):
        for item in storage.get_all_trials(study_id, deepcopy=False):
            yield Row(item._trial_id, item.number, item.state.name, item.user_attrs)
        return
    last = -1
    with storage.engine.connect() as connection:
        try:
            everything = connection.execution_options(stream_results=True).execute(
                _query().where(_TRIALS.c.study_id == study_id)
            )
            for trial_id, group in groupby(everything, key=lambda found: int(found[0])):
                yield _row(list(group))
                last = trial_id
            return
        except SQLAlchemyError:
            pass  # a part of the file cannot be read: what can, one trial at a time
    with storage.engine.connect() as connection:
        ids = select(_TRIALS.c.trial_id).where(
            _TRIALS.c.study_id == study_id, _TRIALS.c.trial_id > last
        )
        for trial_id in connection.execute(ids.order_by(_TRIALS.c.trial_id)).scalars().all():
            try:
                yield row(storage, trial_id)
            except SQLAlchemyError as error:
                yield Row(trial_id, trial_id - 1, fault=str(error.__cause__ or error))


def row(storage: BaseStorage, trial_id: int) -> Row:
    """Return one trial of a study."""
    if not isinstance(storage, RDBStorage):
        item = storage.get_trial(trial_id)
        return Row(trial_id, item.number, item.state.name, item.user_attrs)
    with storage.engine.connect() as connection:
        query = _query().where(_TRIALS.c.trial_id == trial_id)
        return _row(list(connection.execute(query)))


def _query() -> Select[Any]:
    ours = (_ATTRIBUTES.c.trial_id == _TRIALS.c.trial_id) & _ATTRIBUTES.c.key.in_((ASKED, TOLD))
    return (
        select(
            _TRIALS.c.trial_id,
            _TRIALS.c.number,
            type_coerce(_TRIALS.c.state, String),  # as text: one that is no state raises otherwise
            _ATTRIBUTES.c.key,
            _ATTRIBUTES.c.value_json,
        )
        .select_from(_TRIALS.outerjoin(_ATTRIBUTES, ours))
        .order_by(_TRIALS.c.trial_id)
    )


def _row(found: list[Any]) -> Row:
    trial_id, number, state, *_ = found[0]
    return Row(trial_id, number, state, {key: text for *_, key, text in found if key is not None})
