"""Fixtures for every room."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from nasgen.registry import plugins


def pytest_collection_finish() -> None:
    """What is loaded by now stays to the end, so the garbage collector need not look through it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


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
