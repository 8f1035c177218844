"""Paths in a config made absolute, because a stored config is read from another folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nasgen import registry
from nasgen.data import arrays, files
from nasgen.settings.config import SearchConfig
from nasgen.store import places


def absolute_plugins(config: SearchConfig) -> SearchConfig:
    """Return the config with absolute plug-in files; no name is looked up."""
    found = tuple(str(Path(f).expanduser().resolve()) for f in config.plugins.files)
    section = config.plugins.model_copy(update={"files": found})
    return config.model_copy(update={"plugins": section})


def absolute(config: SearchConfig) -> SearchConfig:
    """Return the config with the paths of data set, ledger and table of trainings made absolute.

    Raises StoreError for a ledger's URL that is none.
    """
    written: dict[str, dict[str, Any]] = {"data": {"source": absolute_source(config.data.source)}}
    if config.store.ledger is not None:
        written["store"] = {"ledger": places.absolute(config.store.ledger)}
    if config.predictor.table is not None:
        table = Path(config.predictor.table).expanduser().resolve()
        written["predictor"] = {"table": str(table)}
    sections = {k: getattr(config, k).model_copy(update=v) for k, v in written.items()}
    return config.model_copy(update=sections)


def absolute_source(source: str) -> str:
    """Return a data source with its path made absolute; a plug-in's text is its own business."""
    if arrays.is_bare(source):
        return source
    scheme, _, rest = source.partition(":")
    entry = registry.entries("datasets").get(scheme)
    if not rest or entry is None or entry.origin != "built-in":
        return source
    path, options = files.parted(rest)
    return f"{scheme}:{Path(path).expanduser().resolve()}{'?' if options else ''}{options}"
