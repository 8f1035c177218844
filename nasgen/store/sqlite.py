"""Optuna's SQLite storage, written in one short transaction an event.

Optuna's own storage looks up what it writes and commits each attribute by itself, which takes tens
of milliseconds a trial. A ledger has one writer and never overwrites, so plain inserts into the
same tables do. Whatever reads goes through Optuna unchanged.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialIntermediateValueModel, TrialValueModel
from optuna.trial import TrialState
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError

from nasgen.store import places

SYNC_EVERY_S = 1.0  # at most this much is lost when the power fails, nothing when the process dies

# As text, because SQLAlchemy takes longer to put such statements together than SQLite to run them.
# The number is one more than the study's last: one statement, so no other run comes between.
_ADD_TRIAL = """
INSERT INTO trials (study_id, number, state, datetime_start) VALUES (?, coalesce(
    (SELECT number + 1 FROM trials WHERE study_id = ? ORDER BY trial_id DESC LIMIT 1), 0
), ?, ?)"""
_ADD_ATTRIBUTE = "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, ?, ?)"
_ADD_PARAM = """
INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
VALUES (?, ?, ?, ?)"""
_ADD_VALUE = """
INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, ?, ?, ?)"""
_ADD_STEP = """
INSERT INTO trial_intermediate_values
(trial_id, step, intermediate_value, intermediate_value_type) VALUES (?, ?, ?, ?)"""
_END_TRIAL = "UPDATE trials SET state = ?, datetime_complete = ? WHERE trial_id = ?"
_FINITE = TrialIntermediateValueModel.TrialIntermediateValueType.FINITE.name

# A new ledger is a copy of the first one that this process has made, before its study: thirteen
# tables, each of them synced, and a look at all of Optuna's migrations take longer than a training.
_blank: list[bytes] = []
_tables: set[str] = set()  # versions of the tables that Optuna has called its own
_as_json = lru_cache(maxsize=64)(distribution_to_json)  # a run has a handful of distributions


class Sqlite(RDBStorage):
    """A `sqlite:///` storage with `add_trial` and `finish_trial`; see `Ledger` for their use.

    From the first of these calls until `close` the file is in SQLite's write-ahead mode, where the
    file system allows that: `ledger.db-wal` and `-shm` then belong to it.
    """

    def __init__(self, url: str) -> None:
        path = places.file_of(url)
        is_new = path is not None and not os.path.exists(path)  # False for names that cannot be
        if path is not None and is_new and _blank:
            _copied(_blank[0], path)
        super().__init__(
            url, engine_kwargs={"connect_args": {"timeout": 30}}, skip_compatibility_check=True
        )
        self._check_tables()
        if path is not None and is_new and not _blank:
            self.remove_session()
            _blank.append(path.read_bytes())
        self._is_writing = False
        self._synced = time.monotonic()

    def _check_tables(self) -> None:
        """Raise RuntimeError unless the tables are those of this Optuna.

        Optuna reads all its migrations to know which that is, for every file anew: once will do.
        """
        manager = self._version_manager
        if manager.get_current_version() not in _tables:
            manager.check_table_schema_compatibility()
            _tables.add(manager.get_current_version())

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
            added = connection.exec_driver_sql(
                _ADD_TRIAL, (study_id, study_id, TrialState.RUNNING.name, _now())
            )
            trial_id = int(added.lastrowid)
            connection.exec_driver_sql(_ADD_ATTRIBUTE, (trial_id, *attribute))
            if params:
                rows = [
                    (trial_id, name, which.to_internal_repr(value), _as_json(which))
                    for name, (value, which) in params.items()
                ]
                connection.exec_driver_sql(_ADD_PARAM, rows)
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
            connection.exec_driver_sql(_ADD_ATTRIBUTE, (trial_id, *attribute))
            if values:
                stored = [TrialValueModel.value_to_stored_repr(value) for value in values]
                connection.exec_driver_sql(
                    _ADD_VALUE,
                    [(trial_id, i, value, kind.name) for i, (value, kind) in enumerate(stored)],
                )
            if steps:
                connection.exec_driver_sql(
                    _ADD_STEP, [(trial_id, step, value, _FINITE) for step, value in steps.items()]
                )
            connection.exec_driver_sql(_END_TRIAL, (state.name, _now(), trial_id))
        if time.monotonic() - self._synced > SYNC_EVERY_S:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
            self._synced = time.monotonic()

    def close(self) -> None:
        """Release the connections; the ledger is one plain file again unless others read it."""
        self.remove_session()
        if self._is_writing:
            try:
                with self.engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
            except OperationalError:  # somebody else has it open
                pass
        self.engine.dispose()

    def _writing(self) -> AbstractContextManager[Connection]:
        """Return the context of a transaction on a connection."""
        if not self._is_writing:
            self._is_writing = True
            self.remove_session()
            self.engine.dispose()
            event.listen(self.engine, "connect", _write_ahead)
        return self.engine.begin()


def _copied(blank: bytes, path: Path) -> None:
    try:
        path.write_bytes(blank)
    except OSError:  # SQLite says why nothing can be written there
        with suppress(OSError):
            path.unlink()


def _write_ahead(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    (mode,) = cursor.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode == "wal":  # a commit then need not wait for the disk; see SYNC_EVERY_S
        cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")  # as Optuna's are
