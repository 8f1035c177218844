"""Fixtures for every room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nasgen import registry


@pytest.fixture
def registry_restored() -> Iterator[None]:
    """Forget afterwards what the test registered and which plug-in files it loaded."""
    members = {group: dict(own) for group, own in registry._plugins.items()}
    resolved, files = dict(registry._resolved), dict(registry._loaded_files)
    yield
    for group, own in members.items():
        registry._plugins[group] = own
    for kept, before in ((registry._resolved, resolved), (registry._loaded_files, files)):
        kept.clear()
        kept.update(before)
