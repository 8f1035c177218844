"""Optuna says nothing while nasgen uses it, and is as loud as before afterwards.

Levels of loggers belong to the process: whoever imports nasgen may use Optuna too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LOGGERS: Final = ("optuna", "alembic")  # Optuna sets the level of the second for good


@contextmanager
def quiet() -> Iterator[None]:
    """Let Optuna report errors only inside the block; its loggers' levels are put back after it."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.level for logger in loggers]
    loggers[0].setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
