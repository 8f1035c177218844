"""What of a stored run may be executed, and where its ledger may lie.

A run folder is data: it may come from elsewhere, and its config may name anything. Those who only
read import nothing for it. Those who must run code run plug-ins that are named now, and those that
are as they were when the run recorded their digests and lie outside of the run folder. A ledger
outside of the folder is connected to where it is named now.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from nasgen import registry
from nasgen.data.base import Dataset
from nasgen.data.files import ELSEWHERE
from nasgen.errors import ConfigError, DataError, StoreError
from nasgen.registry import code, plugins
from nasgen.runs.paths import absolute_plugins, absolute_source
from nasgen.runs.resolved import Resolved
from nasgen.settings.config import SearchConfig, parse
from nasgen.store import places
from nasgen.store.folder import RunFolder

Tables = dict[str, Any]

# Texts that name no member of the registry, though they may hold a colon.
NO_NAMES: Final = frozenset({"data.source", "store.ledger", "origin.network", "execution.device"})


@dataclass(frozen=True)
class Named:
    """What a user names now for a stored run; `say` hears which of its plug-ins are executed.

    `plugins` are files, each in the place of the run's file of that name, or modules; `data` is the
    source where the run's data lie now, `ledger` the URL of a ledger outside of the run folder.
    """

    plugins: Sequence[Any] = ()
    data: str | None = None
    ledger: str | None = None
    say: Callable[[str], None] = logging.getLogger("nasgen.plugins").info


@dataclass(frozen=True)
class Verdict:
    """Which plug-ins of a run may be executed, and why: plug-in -> reason.

    `refused` has a sentence for each that may not, `importable` the modules that are named now,
    `digests` what those that are not named must be.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    importable: frozenset[str] = frozenset()
    digests: Mapping[str, str] = field(default_factory=dict)

    def complete(self) -> Verdict:
        """Return this; ConfigError says all that is refused, if anything is."""
        if self.refused:
            raise ConfigError(self.refused)
        return self


class Stored:
    """A stored run with what its user names now. Raises StoreError and ConfigError.

    `tables` are the settings (default: the stored ones). The run came in the folder `home`, from
    which no code is run unasked: its own folder, unless it is part of something else.
    """

    def __init__(
        self,
        path: str | Path,
        named: Named | None = None,
        tables: Mapping[str, Any] | None = None,
        home: Path | None = None,
    ) -> None:
        self.folder = RunFolder.open(path)
        self.home = home or self.folder.path
        self.named = named or Named()
        self.tables = self.folder.config_tables() if tables is None else dict(tables)
        given = plugins.named(self.named.plugins)
        self._modules = tuple(given["modules"])
        self._files = [str(Path(file).expanduser().resolve()) for file in given["files"]]
        self.tables = with_files(self.tables, self._files, self.folder.path)
        if self.named.data is not None:
            with plugins.CLOSED.active():
                source = absolute_source(self.named.data)
            self.tables["data"] = {**self.tables.get("data", {}), "source": source}
        if self.named.ledger is not None and self.foreign_ledger is not None:
            url = places.absolute(self.named.ledger)
            self.tables["store"] = {**self.tables.get("store", {}), "ledger": url}

    @property
    def config(self) -> SearchConfig:
        """The settings with what is named now; no name of them is looked up."""
        return absolute_plugins(parse(self.tables, str(self.folder.config_path)))

    # ---- the ledger --------------------------------------------------------------------------

    @property
    def foreign_ledger(self) -> str | None:
        """The URL of a ledger outside of the run folder, None where it lies inside."""
        return self.folder.foreign_ledger(self.tables)

    def check_ledger(self) -> None:
        """Raise StoreError for a ledger outside of the run folder that is not named now."""
        if self.named.ledger is None:
            self.folder.check_ledger(self.tables)

    # ---- plug-ins ----------------------------------------------------------------------------

    def verdict(self) -> Verdict:
        """Return which plug-ins of the run may be executed."""
        config, known = self.config, self.folder.record().get("plugins", {})
        found: dict[str, dict[str, str]] = {"files": {}, "modules": {}}
        refused = []
        for file in config.plugins.files:
            is_named = file in self._files
            why = "" if is_named else self._against(file, Path(file), known.get(file))
            if why:
                refused.append(f"the plug-in file {file} of {self.folder.path} {why}")
            else:
                found["files"][file] = _reason(is_named)
        permitting = plugins.Scope(importable=self._modules_named)
        for dotted in config.plugins.modules:
            module = dotted.partition(":")[0]
            is_named = permitting.permits(module)
            place = None if is_named else code.place_of(module)
            why = "" if is_named else self._against(module, place, known.get(module))
            if why:
                refused.append(f"the plug-in module {module} of {self.folder.path} {why}")
            else:
                found["modules"][dotted] = _reason(is_named)
        unchanged = {*found["files"], *(m.partition(":")[0] for m in found["modules"])} - {
            *self._files,
            *self._modules_named,
        }
        return Verdict(
            found["files"],
            found["modules"],
            tuple(dict.fromkeys(refused)),
            self._modules_named,
            {name: known[name] for name in unchanged if name in known},
        )

    @property
    def _modules_named(self) -> frozenset[str]:
        return frozenset(name.partition(":")[0] for name in self._modules)

    def _against(self, name: str, place: Path | None, digest: str | None) -> str:
        """Return why code that is not named now must not be executed, "" if nothing is against."""
        remedy = f"if you trust it, name it: --plugin {name}."
        if place is None or not place.exists():
            if name in self.config.plugins.files:
                return "does not exist any more; name the file that takes its place: --plugin FILE."
            return f"is not found on Python's path; {remedy}"
        if place.resolve().is_relative_to(self.home.resolve()):
            return f"lies in the run folder, from which no code is run unasked; {remedy}"
        if digest is None:
            return f"has no recorded digest that could show that it is unchanged; {remedy}"
        if code.digest_of(place) != digest:
            return f"has changed since the run used it; {remedy}"
        return ""

    def say(self, verdict: Verdict) -> None:
        """Say which plug-ins are executed, if any are."""
        parts = [f"{name} ({why})" for name, why in {**verdict.files, **verdict.modules}.items()]
        parts += [f"{name} (installed)" for name in plugins.installed()]
        if parts:
            self.named.say(f"plug-ins of {self.folder.path} that are run: {', '.join(parts)}")

    def resolved(self) -> Resolved:
        """Return the settings with the plug-ins that may be executed, loaded.

        Those that are gone, broken or refused are passed over: what needs them says so.
        """
        verdict, config = self.verdict(), self.config
        files, modules, digests = tuple(verdict.files), tuple(verdict.modules), verdict.digests
        scope = plugins.Scope(files, modules, verdict.importable, verdict.refused, digests)
        self.say(verdict)
        scope.load(scope.missing)
        section = config.plugins.model_copy(update={"files": files, "modules": modules})
        made = Resolved(config.model_copy(update={"plugins": section}), scope)
        if self.named.data is not None:
            self.dataset_of(made)
        return made

    def dataset_of(self, resolved: Resolved) -> Dataset:
        """Return the data set; DataError unless it is the one that the run was made on."""
        path, source = self.folder.path, self.tables.get("data", {}).get("source", "")
        is_named = self.named.data is not None
        try:
            dataset = resolved.dataset
        except DataError as error:
            if is_named or ELSEWHERE in str(error):
                raise
            raise DataError(f"{error} {ELSEWHERE}") from None
        then = self.folder.record()["data"]["digest"]
        if dataset.digest != then:
            raise DataError(
                f"--data {source}: expected the data that {path} was made on, with the digest "
                f"{then}, got {dataset.digest}; name the same data."
                if is_named
                else f"the data of {path} have changed: {source} now has the digest "
                f"{dataset.digest}, the run was made on {then}. {ELSEWHERE}"
            )
        return dataset


def check_config(path: Path, tables: Mapping[str, Any], plugin_files: Sequence[Any] = ()) -> None:
    """Raise ConfigError for a config in a run folder that would run code or connect elsewhere.

    A config that somebody names is theirs, its plug-ins too; one that lies in a run folder is data,
    whatever its name is.
    """
    if not (path.parent / "run.json").is_file():
        return
    parse(tables, str(path))
    stored = Stored(path.parent, Named(plugin_files), tables)
    problems = [*stored.verdict().refused]
    try:
        stored.folder.check_ledger(tables, "copy the config out of the run folder, and name that")
    except StoreError as error:
        problems.append(str(error))
    if dotted := sorted(_dotted(tables)):
        problems.append(
            f"{path} lies in the folder of a run and names {', '.join(dotted)}; to import what "
            "dotted paths name, copy the config out of the run folder, and name that."
        )
    if problems:
        raise ConfigError(problems)


def _dotted(value: Any, place: str = "") -> set[str]:
    """Return the texts of a config that may be dotted paths and name nothing of nasgen's own.

    Whatever has a colon counts: the registry imports what stands before it.
    """
    if isinstance(value, str):
        is_name = ":" in value and place not in NO_NAMES and not _is_own(value)
        return {value} if is_name else set()
    if isinstance(value, Mapping):
        parts = [(v, f"{place}.{k}".removeprefix(".")) for k, v in value.items() if k != "plugins"]
        parts += [(key, "") for key in value]
    else:
        parts = [(v, place) for v in value] if isinstance(value, list | tuple) else []
    return {dotted for part, where in parts for dotted in _dotted(part, where)}


def _is_own(dotted: str) -> bool:
    return any(e.target == dotted for g in registry.GROUPS for e in registry.built_in(g).values())


def with_files(tables: Tables, given: Sequence[str], run: Path) -> Tables:
    """Return a run's tables with plug-in files replaced by those of the same name.

    Where one of the run's files is gone, a file of another name may replace it, and so may a single
    file a single one. Raises ConfigError for a file that replaces nothing. A run that has no files
    gets those: a script or a notebook may have registered what they register now.
    """
    section = tables.get("plugins", {})
    files = [str(file) for file in section.get("files", [])]
    if not files:
        return {**tables, "plugins": {**section, "files": [*given]}} if given else dict(tables)
    problems = []
    by_name = {Path(path).name: path for path in given}
    names = {Path(file).name for file in files}
    gone = [
        i
        for i, file in enumerate(files)
        if not Path(file).is_file() and Path(file).name not in by_name
    ]
    others = [path for path in given if Path(path).name not in names]
    for path in given:
        same = [i for i, file in enumerate(files) if file == path]
        places = same or [i for i, file in enumerate(files) if Path(file).name == Path(path).name]
        if not places and len(files) == len(given) == 1:
            places = [0]
        if not places and len(gone) == len(others) == 1:
            places = gone
        for i in places:
            files[i] = path
        if not places:
            has = ", ".join(Path(file).name for file in files)
            problems.append(
                f"--plugin {path} takes the place of no plug-in file of {run}, which has {has}."
            )
    if problems:
        raise ConfigError(problems)
    return {**tables, "plugins": {**section, "files": files}} if given else dict(tables)


def _reason(is_named: bool) -> str:
    return "named now" if is_named else "unchanged since the run used it"
