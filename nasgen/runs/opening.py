"""Opens what networks come from: runs and folders of ensembles, with what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nasgen.errors import ConfigError
from nasgen.runs.combining import Source, run_of
from nasgen.runs.ensembled import Ensembled, is_one
from nasgen.runs.loading import check
from nasgen.runs.results import Run
from nasgen.runs.session import load, named_of
from nasgen.settings.config import SearchConfig, parse
from nasgen.settings.ensemble import Ensemble
from nasgen.settings.prediction import Views


@dataclass(frozen=True)
class Asked:
    """What is asked of an ensemble beside the settings of its first run.

    `settings` are keys of [ensemble], `tables` a config as `--set` gives it, which has that table
    alone; `views` is [prediction] views.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Any] = field(default_factory=dict)
    views: Views | None = None

    def section(self, config: SearchConfig) -> Ensemble:
        """Return the settings of an ensemble; options of another method are dropped."""
        if wrong := [name for name in self.tables if name != "ensemble"]:
            raise ConfigError(
                f"--set: expected settings of the ensemble, such as ensemble.bags=10, got "
                f"{', '.join(wrong)}."
            )
        given = {**self.settings, **self.tables.get("ensemble", {})}
        base = config.ensemble.model_dump()
        if given.get("name", base["name"]) != base["name"]:
            base = {key: base[key] for key in Ensemble.model_fields}
        return parse({"ensemble": base | given}, "ensemble").ensemble


def opened(
    paths: Sequence[str | Path], asked: Asked, threads: int | None = None, **named: Any
) -> tuple[list[Source], Ensemble]:
    """Open runs and folders of ensembles; return them, and the settings of what is asked for.

    These are those of the first one with what is asked beside. `named` is as `load` takes it:
    plugins, data, ledger and say. Raises NasgenError.
    """
    found: list[Source] = []
    names = named_of(**named)
    for path in paths:
        check(path, "ensemble")
        if is_one(path):
            found.append(Ensembled(path, names, threads, asked.views))
        else:
            found.append(load(path, **named, threads=threads))
    section = asked.section(run_of(found[0]).config)
    return [s.answering(section, asked.views) if isinstance(s, Run) else s for s in found], section
