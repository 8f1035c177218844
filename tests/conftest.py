"""Fixtures for every room."""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

import hypothesis
import pytest
import typer.testing

from nasgen.registry import plugins
from tests import CORES

# A runner makes the commands of the app anew for each call, which takes longer than many of them.
typer.testing._get_command = functools.cache(typer.testing._get_command)
# On a busy machine an example may wait for its turn longer than it takes.
hypothesis.settings.register_profile(
    "beside others", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("beside others")


def pytest_collection_finish() -> None:
    """What is loaded by now stays to the end, so the garbage collector need not look through it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


@contextmanager
def every_core() -> Iterator[None]:
    """Lend this process all cores: for what chooses among numbers of threads by trying them."""
    if not CORES:
        yield
        return
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


@pytest.fixture
def registry_restored() -> Iterator[None]:
    """Forget afterwards what the test registered and which plug-in files it loaded."""
    sources, digests = deepcopy_of(plugins._sources), dict(plugins._digests)
    yield
    forget()
    plugins._sources.update(sources)
    plugins._digests.update(digests)


def forget() -> None:
    """Make the registry as it is in a new process, which has loaded no plug-in."""
    plugins._sources.clear()
    plugins._digests.clear()
    plugins.version[0] += 1


def deepcopy_of(sources: dict[str, plugins.Members]) -> dict[str, plugins.Members]:
    return {
        source: {group: dict(own) for group, own in members.items()}
        for source, members in sources.items()
    }
