"""Where things lie: RUN:TRIAL as people write it, and the paths in a config made absolute.

A stored config is read from another folder, so its paths cannot be relative.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nasgen import registry
from nasgen.data import arrays, files
from nasgen.errors import ConfigError
from nasgen.settings.config import SearchConfig
from nasgen.store import places


def run_and_trial(text: str | Path) -> tuple[Path, str]:
    """Return the folder of a run and what follows the colon behind it: "runs/a:7", "runs/a".

    A path that exists is meant as it is, colons and all.
    """
    whole = Path(text).expanduser()
    before, colon, after = str(text).rpartition(":")
    folder = Path(before).expanduser()
    if not colon or whole.exists() or not (after.isdecimal() or (folder / "run.json").is_file()):
        return whole, ""
    return folder, after


def trial_number(path: Path, text: str) -> int | None:
    """Return the number that follows the colon, None where nothing does; else ConfigError."""
    if not text:
        return None
    if not (text.isdecimal() and text.isascii() and len(text) < 10):
        raise ConfigError(
            f"{path}:{text}: expected a trial's number behind the colon, got '{text}'."
        )
    return int(text)


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
    if not entry.options.get("path", True):
        return source
    path, options = files.parted(rest)
    return f"{scheme}:{Path(path).expanduser().resolve()}{'?' if options else ''}{options}"
