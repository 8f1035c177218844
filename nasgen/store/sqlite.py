"""Optuna's SQLite storage, written in one short transaction an event.

Optuna's own storage looks up what it writes and commits each attribute by itself, which takes tens
of milliseconds a trial. A ledger has one writer and never overwrites, so plain inserts into the
same tables do. Whatever reads goes through Optuna unchanged.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import event, func, insert, select, text, update
from sqlalchemy.exc import OperationalError

SYNC_EVERY_S = 1.0  # at most this much is lost when the power fails, nothing when the process dies
_TRIALS, _PARAMS = models.TrialModel.__table__, models.TrialParamModel.__table__
_ATTRIBUTES, _VALUES = models.TrialUserAttributeModel.__table__, models.TrialValueModel.__table__
_STEPS = models.TrialIntermediateValueModel.__table__
_NUMBER = (  # one more than the study's last trial; one statement, so no other run comes between
    select(_TRIALS.c.number + 1).order_by(_TRIALS.c.trial_id.desc()).limit(1)
)


class Sqlite(RDBStorage):
    """A `sqlite:///` storage with `add_trial` and `finish_trial`; see `Ledger` for their use.

    From the first of these calls until `close` the file is in SQLite's write-ahead mode, where the
    file system allows that: `ledger.db-wal` and `-shm` then belong to it.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, engine_kwargs={"connect_args": {"timeout": 30}})
        self._is_writing = False
        self._synced = time.monotonic()

    def add_trial(
        self,
        study_id: int,
        params: Mapping[str, tuple[Any, BaseDistribution]],
        attribute: tuple[str, str],
    ) -> int:
        """Write a RUNNING trial with its parameters and one user attribute (key, JSON text).

        Returns Optuna's trial id.
        """
        with self._writing() as connection:
            number = _NUMBER.where(_TRIALS.c.study_id == study_id).scalar_subquery()
            row = connection.execute(
                insert(_TRIALS).values(
                    study_id=study_id,
                    number=func.coalesce(number, 0),
                    state=TrialState.RUNNING,
                    datetime_start=_now(),
                )
            )
            trial_id = int(row.inserted_primary_key[0])
            connection.execute(
                insert(_ATTRIBUTES),
                {"trial_id": trial_id, "key": attribute[0], "value_json": attribute[1]},
            )
            if params:
                connection.execute(
                    insert(_PARAMS),
                    [
                        {
                            "trial_id": trial_id,
                            "param_name": name,
                            "param_value": distribution.to_internal_repr(value),
                            "distribution_json": distribution_to_json(distribution),
                        }
                        for name, (value, distribution) in params.items()
                    ],
                )
        return trial_id

    def finish_trial(
        self,
        trial_id: int,
        state: TrialState,
        values: Sequence[float] | None,
        attribute: tuple[str, str],
        steps: Mapping[int, float] = MappingProxyType({}),
    ) -> None:
        """Write how a trial ended, with one user attribute (key, JSON text), all or nothing.

        `steps` are intermediate values, finite.
        """
        with self._writing() as connection:
            connection.execute(
                insert(_ATTRIBUTES),
                {"trial_id": trial_id, "key": attribute[0], "value_json": attribute[1]},
            )
            if values:
                rows = []
                for i, value in enumerate(values):
                    stored, kind = models.TrialValueModel.value_to_stored_repr(value)
                    row = {"trial_id": trial_id, "objective": i, "value": stored}
                    rows.append({**row, "value_type": kind})
                connection.execute(insert(_VALUES), rows)
            if steps:
                finite = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
                rows = [
                    {"trial_id": trial_id, "step": step, "intermediate_value": value}
                    for step, value in steps.items()
                ]
                connection.execute(
                    insert(_STEPS), [{**row, "intermediate_value_type": finite} for row in rows]
                )
            connection.execute(
                update(_TRIALS)
                .where(_TRIALS.c.trial_id == trial_id)
                .values(state=state, datetime_complete=_now())
            )
        if time.monotonic() - self._synced > SYNC_EVERY_S:
            with self.engine.connect() as connection:
                connection.execute(text("PRAGMA wal_checkpoint(PASSIVE)"))
            self._synced = time.monotonic()

    def close(self) -> None:
        """Release the connections; the ledger is one plain file again unless others read it."""
        self.remove_session()
        if self._is_writing:
            try:
                with self.engine.connect() as connection:
                    connection.execute(text("PRAGMA journal_mode = DELETE"))
            except OperationalError:  # somebody else has it open
                pass
        self.engine.dispose()

    def _writing(self) -> Any:
        """Return the context of a transaction on a connection."""
        if not self._is_writing:
            self._is_writing = True
            self.remove_session()
            self.engine.dispose()
            event.listen(self.engine, "connect", _write_ahead)
        return self.engine.begin()


def _write_ahead(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    (mode,) = cursor.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode == "wal":  # a commit then need not wait for the disk; see SYNC_EVERY_S
        cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)  # as Optuna stores it
