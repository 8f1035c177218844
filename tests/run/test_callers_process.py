"""Whoever imports nasgen keeps the settings of the own process."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nasgen.store.quiet import quiet


def test_importing_and_running_nasgen_changes_no_setting_of_the_process(tmp_path: Path) -> None:
    script = Path(__file__).with_name("callers_process.py")
    done = subprocess.run(
        [sys.executable, script, str(tmp_path / "run")], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(script.parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {}
    assert "A new study created" not in done.stderr  # Optuna is at INFO, but not about our studies


def test_optuna_is_as_loud_as_before_after_an_error_too() -> None:
    loggers = [logging.getLogger(name) for name in ("optuna", "alembic")]
    before = [logger.level for logger in loggers]
    try:
        for level in (logging.NOTSET, logging.DEBUG, logging.CRITICAL):
            for logger in loggers:
                logger.setLevel(level)
            with pytest.raises(RuntimeError):
                _fail_quietly(loggers)
            assert [logger.level for logger in loggers] == [level, level]
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _fail_quietly(loggers: list[logging.Logger]) -> None:
    with quiet():
        assert loggers[0].getEffectiveLevel() >= logging.ERROR
        loggers[1].setLevel(logging.WARNING)  # as Optuna does
        raise RuntimeError
