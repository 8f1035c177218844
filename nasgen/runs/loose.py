"""Members that code registered as it ran, in a script or a notebook: where workers find them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from nasgen import registry
from nasgen.data.base import Dataset
from nasgen.errors import NasgenError
from nasgen.registry import plugins
from nasgen.runs.resolved import Resolved
from nasgen.settings import constraints
from nasgen.settings.config import TABLES, SearchConfig

# Sections whose members the driver alone uses; of [algorithm] all but operators.
DRIVER: Final = ("algorithm", "predictor", "ensemble", "execution")


def named_in(config: SearchConfig, form: str = "", kind: str = "") -> list[tuple[str, Any]]:
    """Return (group, entry) of the loose members that a config names.

    With them the feed of the data's `form` and the `kind` of the space's genotypes.
    """
    loose = [(g, name, entry) for g in registry.GROUPS for name, entry in plugins.loose(g).items()]
    words = {form, kind, *_words(config.model_dump())} if loose else set()
    return [(group, entry) for group, name, entry in loose if name in words]


def with_modules(config: SearchConfig, dataset: object) -> SearchConfig:
    """Return the config with the modules written out whose members it names.

    They registered when they were imported; workers and a later process import them by these.
    """
    known = config.plugins.modules
    form = dataset.form if isinstance(dataset, Dataset) else ""
    paths = (plugins.path_of(entry.target) for _, entry in named_in(config, form))
    more = [path for path in paths if path and path.partition(":")[0] not in known]
    section = config.plugins.model_copy(update={"modules": tuple(dict.fromkeys([*known, *more]))})
    return config.model_copy(update={"plugins": section})


def problems(run: Resolved) -> Iterator[str]:
    """Yield a sentence for each member that worker processes need and cannot find."""
    if run.config.execution.executor == "serial":
        return
    remedy = (
        "put it in a file and name that: plugins.files = ['mine.py'] (or take "
        "execution.executor = 'serial')."
    )
    for group, entry in named_in(run.config, _form(run), _kind(run)):
        in_driver = group in registry.IN_DRIVER or entry.runs_in == "driver"
        if not in_driver and plugins.path_of(entry.target) is None:
            yield (
                f"{group} '{entry.name}' is registered in {entry.origin}, a script or a notebook, "
                f"where worker processes do not find it; {remedy}"
            )
    tables = run.config.model_dump()
    shared = {name: table for name, table in tables.items() if name not in DRIVER}
    operators = [
        name
        for group in TABLES
        for name in tables["algorithm"][group]
        if registry.known(group, name) and registry.get(group, name).runs_in == "worker"
    ]
    for word in dict.fromkeys(_words([shared, operators])):
        if word.startswith(f"{plugins.MAIN}:"):
            yield (
                f"'{word}' is defined in a script or a notebook, where worker processes do not "
                f"find it; {remedy}"
            )


def _form(run: Resolved) -> str:
    """Return the form of the data, which are read for it only where a feed is loose."""
    try:
        return run.dataset.form if plugins.loose("feeds") else ""
    except NasgenError:  # told elsewhere
        return ""


def _kind(run: Resolved) -> str:
    try:
        return str(getattr(run.space_type.genotype, "kind", ""))
    except (NasgenError, AttributeError):
        return ""


def _words(value: Any) -> Iterator[str]:
    """Yield all texts of tables, and the names in those that hold several."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "constraint":
                yield from (c.name for c in map(_constraint, inner) if c is not None)
            yield from _words([key, inner])
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _words(inner)
    elif isinstance(value, str):
        yield from (value, value.partition(":")[0], *value.split("+"), *value.split())


def _constraint(text: str) -> constraints.Constraint | None:
    try:
        return constraints.read(text)
    except NasgenError:  # told elsewhere
        return None
