"""Whose plug-ins are visible: those of the run that names them, not those of another run.

A member belongs to the source that registered it: a plug-in file, the installed packages, or code
that registers as it runs (`LOOSE`: a script, a notebook, a module that was imported). A `Scope`
holds the files and modules that one run names. While it is active, names mean its members first;
members of another run's files are not there at all. Loose members can be named anywhere, but take
part without being named only where `plugins.modules` names their module or object. In the scope
`CLOSED` there are built-ins alone: those who read what a run recorded import nothing for it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar, cast

from nasgen.errors import (
    FOREIGN,
    ChangedError,
    IncompatibleError,
    NasgenError,
    UnknownNameError,
    suggest,
)
from nasgen.registry import code

T = TypeVar("T")
Members = dict[str, dict[str, Any]]  # group -> name -> entry

ENTRY_POINTS: Final = "nasgen.plugins"  # each names a module whose import registers its members
INSTALLED: Final = "installed"
LOOSE: Final = "loose"
MAIN: Final = "__main__"
# Group -> parameter of a member -> what one that takes it requires; see `fields`.
ASKED: Final = {"selections": {"correct": "predictions", "supports": "support"}}

_sources: dict[str, Members] = {}  # path of a file, INSTALLED or LOOSE -> what it registered
_digests: dict[str, str] = {}  # path of a loaded file -> digest of its text
_imports: dict[str, frozenset[str]] = {}  # path of a loaded file -> the modules that it uses
# (source, origin) of what is being imported; threads load beside each other.
_loading: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("nasgen_loading", default=())
_flags = {"installed": False}
version = [0]  # grows with every change, so that what was looked up before is looked up again


# ---- what is registered --------------------------------------------------------------------------


def add(group: str, name: str, entry: Any) -> None:
    """Keep an entry under the source that is being loaded, else as a loose one."""
    source = _source()
    _sources.setdefault(source, {}).setdefault(group, {})[name] = entry
    version[0] += 1


def remove(group: str, name: str) -> None:
    """Forget a member of every source."""
    for members in _sources.values():
        members.get(group, {}).pop(name, None)
    _active.get().members.get(group, {}).pop(name, None)
    version[0] += 1


def origin(target: Any) -> str:
    """Return where an object that is registered now comes from, as errors and lists say it."""
    loading = _loading.get()
    return loading[-1][1] if loading else str(getattr(target, "__module__", "?"))


def _source() -> str:
    loading = _loading.get()
    return loading[-1][0] if loading else LOOSE


def taken(group: str) -> dict[str, Any]:
    """Return the plug-in members beside which what is registered now needs a name of its own."""
    source = _source()
    return _of(INSTALLED, group) | _of(source, group)


def loose(group: str) -> dict[str, Any]:
    """Return name -> entry of what code registered as it ran."""
    return dict(_of(LOOSE, group))


def installed() -> list[str]:
    """Return the installed packages that registered something, once they have been loaded."""
    members = _sources.get(INSTALLED, {}).values()
    return sorted({entry.origin for own in members for entry in own.values()})


def usual(group: str) -> dict[str, Any]:
    """Return the plug-in members that take part without being named, the run's own last.

    Outside of any run these are all that can be named.
    """
    scope = _active.get()
    if scope is NO_RUN or scope is CLOSED:
        return visible(group)
    load_installed()
    return _of(INSTALLED, group) | _active.get().members.get(group, {})


def visible(group: str) -> dict[str, Any]:
    """Return the plug-in members that can be named; the run's own come before loose ones."""
    if _active.get() is CLOSED:
        return {}
    load_installed()
    return _of(INSTALLED, group) | _of(LOOSE, group) | _active.get().members.get(group, {})


def _of(source: str, group: str) -> dict[str, Any]:
    return _sources.get(source, {}).get(group, {})


# ---- the plug-ins of a run -----------------------------------------------------------------------


class Scope:
    """The plug-ins that a run names: `files`, and `modules` as "package.module[:object]".

    Nothing is imported before `load`. `looked_up` caches what names meant in this scope.
    `importable` are the modules that dotted paths may name, None: all; a stored run may name none
    that its user does not. `missing` are sentences on plug-ins of the run that are not there,
    `digests` what plug-ins must be, by file or module: another code is not executed.
    """

    def __init__(
        self,
        files: Iterable[str | Path] = (),
        modules: Iterable[str] = (),
        importable: Iterable[str] | None = None,
        missing: Iterable[str] = (),
        digests: Mapping[str, str] | None = None,
    ) -> None:
        self.files = tuple(str(Path(file).expanduser().resolve()) for file in files)
        self.modules = tuple(modules)
        self.importable = None if importable is None else frozenset(importable)
        self.members: Members = {}
        self.missing = [*missing]
        self.digests = dict(digests or {})
        self.looked_up: dict[tuple[str, str], Any] = {}
        self.version = -1

    @classmethod
    def of(cls, section: Mapping[str, Sequence[str]]) -> Scope:
        """Return the loaded scope of a [plugins] table."""
        return cls(section.get("files", ()), section.get("modules", ())).load()

    def load(self, problems: list[str] | None = None) -> Scope:
        """Import the plug-ins and return the scope; NasgenError unless `problems` take the errors.

        That one of them is not what its digest says is always raised: it changed in mid-run.
        Two plug-ins of one scope that register the same name are an error.
        """
        loaders: list[tuple[str, Callable[[str], Members]]]
        loaders = [(file, self._of_file) for file in self.files]
        loaders += [(name, self._of_module) for name in self.modules]
        found: Members = {}
        for source, members_of in loaders:
            try:
                _join(found, members_of(source), source)
            except NasgenError as error:
                if problems is None or isinstance(error, ChangedError):
                    raise
                problems.append(str(error))
        self.members = found
        return self

    def _of_file(self, file: str) -> Members:
        return load_file(file, self.digests.get(file))

    def _of_module(self, dotted: str) -> Members:
        module = dotted.partition(":")[0]
        place, expected = code.place_of(module), self.digests.get(module)
        if expected is not None and place is not None:
            code.require(module, code.digest_of(place), expected)
        return _of_module(dotted)

    @property
    def is_stored(self) -> bool:
        """Tell whether these are the plug-ins of a run that is read or resumed."""
        return self.importable is not None

    def permits(self, dotted: str) -> bool:
        """Tell whether a dotted path may be imported."""
        if self.importable is None:
            return True
        return any(f"{dotted.partition(':')[0]}.".startswith(f"{m}.") for m in self.importable)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make names mean what they mean to this run, as long as the context lasts."""
        token = _active.set(self)
        try:
            yield
        finally:
            _active.reset(token)

    def around(self, inner: T) -> T:
        """Return an object whose methods run in this scope, wherever they are called from."""
        return cast(T, _Scoped(self, inner))


class _Scoped:
    """Hands everything on; calls of methods happen inside the scope."""

    def __init__(self, scope: Scope, inner: Any) -> None:
        self._scope, self._inner = scope, inner

    def __getattr__(self, name: str) -> Any:
        with self._scope.active():
            found = getattr(self._inner, name)
        if not callable(found):
            return found

        @wraps(found)
        def inside(*args: Any, **more: Any) -> Any:
            with self._scope.active():
                return found(*args, **more)

        return inside


def _join(found: Members, members: Members, source: str) -> None:
    for group, own in members.items():
        known = found.setdefault(group, {})
        for name, entry in own.items():
            if known.get(name, entry) is not entry:
                raise IncompatibleError(
                    f"{group} '{name}' is registered by {known[name].origin} and by {source}, "
                    "which one run cannot name both; rename one of them."
                )
            known[name] = entry


NO_RUN: Final = Scope()
CLOSED: Final = Scope(
    importable=(), missing=["commands that only read a run load no plug-ins."]
)  # of those who read
_active: ContextVar[Scope] = ContextVar("nasgen_plugins", default=NO_RUN)


def active() -> Scope:
    """Return the scope that names are looked up in now; outside of any run an empty one."""
    return _active.get()


def named(plugins: Iterable[Any]) -> dict[str, list[str]]:
    """Return the [plugins] table for modules, registered objects, dotted paths and files (.py)."""
    table: dict[str, list[str]] = {"files": [], "modules": []}
    for plugin in plugins:
        if isinstance(plugin, str | Path):
            is_file = isinstance(plugin, Path) or plugin.endswith(".py")
            table["files" if is_file else "modules"].append(str(plugin))
        elif isinstance(plugin, ModuleType):
            table["modules"].append(plugin.__name__)
        elif hasattr(plugin, "__module__") and hasattr(plugin, "__qualname__"):
            table["modules"].append(f"{plugin.__module__}:{plugin.__qualname__}")
        else:
            raise IncompatibleError(
                "plugins: expected modules, registered functions or classes, dotted paths or files "
                f"(.py), got {plugin!r}."
            )
    return table


# ---- loading -------------------------------------------------------------------------------------


def load_file(path: str | Path, expected: str | None = None) -> Members:
    """Import a plug-in file, once unless its text has changed, and return what it registered.

    The file is code and runs with the user's rights: only files that the user names are loaded. If
    it fails half-way nothing of it stays registered. With a digest other than `expected` it is not
    executed.
    """
    load_installed()
    path = Path(path).expanduser().resolve()
    source = str(path)
    if not os.path.isfile(path):  # False for names that are too long, where Path raises
        raise NasgenError(f"plug-in file {path} does not exist; check --plugin and [plugins].")
    try:
        text = path.read_bytes()
    except OSError as error:
        raise NasgenError(f"plug-in {path} cannot be read ({error.strerror or error}).") from None
    digest = hashlib.blake2b(text, digest_size=8).hexdigest()
    if expected is not None:
        code.require(source, digest, expected)
    if _digests.get(source) != digest:
        stem = hashlib.blake2b(source.encode(), digest_size=6).hexdigest()
        name = f"nasgen_plugin_{path.stem}_{stem}"
        if path.suffix != ".py":
            raise NasgenError(f"plug-in {path}: expected a Python file (.py), got '{path.suffix}'.")
        loader = code.Read(name, source, text)
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        _sources.pop(source, None)
        _digests.pop(source, None)
        sys.modules[name] = module
        token = _loading.set((*_loading.get(), (source, source)))
        try:
            loader.exec_module(module)
        except FOREIGN as error:  # a script may end with sys.exit(main())
            _sources.pop(source, None)
            sys.modules.pop(name, None)
            if isinstance(error, NasgenError):
                raise
            raise NasgenError(
                f"plug-in {path} could not be loaded: {type(error).__name__}: {error} "
                f"(line {_last_line(error, path)}). Mend the file and try again."
            ) from error
        finally:
            _loading.reset(token)
            version[0] += 1
        _digests[source] = digest
        _imports[source] = _used_by(module)
    return _of_modules(_imports.get(source, frozenset()), _sources.get(source, {}))


def _used_by(module: ModuleType) -> frozenset[str]:
    """Return the modules that a module's names come from, but for nasgen's."""
    names = {
        value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        for value in vars(module).values()
    }
    own = (module.__name__, MAIN, "builtins")
    return frozenset(n for n in names if isinstance(n, str) and n not in own)


def _of_modules(modules: frozenset[str], own: Members) -> Members:
    """Return a file's members with those that the modules it uses registered for another file.

    A module is imported once in a process; what it registers belongs to each file that uses it.
    """
    found: Members = {group: dict(members) for group, members in own.items() if members}
    for source, members in list(_sources.items()):
        if source == INSTALLED:
            continue
        for group, entries in members.items():
            for name, entry in entries.items():
                if home(entry.target) in modules and name not in own.get(group, {}):
                    found.setdefault(group, {})[name] = entry
    return found


def digests_of(files: Iterable[str], modules: Iterable[str]) -> dict[str, str]:
    """Return plug-in -> digest of its code, by which another process knows it again.

    Of a file that this process has loaded: as it was then. Of a dotted path: its module's.
    """
    found = {f: _digests.get(f) or code.digest_of(Path(f)) for f in files if os.path.isfile(f)}
    for dotted in modules:
        module = dotted.partition(":")[0]
        if (place := code.place_of(module)) is not None:
            found[module] = code.digest_of(place)
    return found


def _last_line(error: BaseException, path: Path) -> str:
    trace = error.__traceback__
    line = str(getattr(error, "lineno", None) or "?")
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = str(trace.tb_lineno)
        trace = trace.tb_next
    return line


def load_installed() -> None:
    """Import what installed packages offer as plug-ins, once."""
    if _flags["installed"]:
        return
    _flags["installed"] = True
    for point in metadata.entry_points(group=ENTRY_POINTS):
        where = point.dist.name if point.dist else point.value
        token = _loading.set((*_loading.get(), (INSTALLED, where)))
        try:
            point.load()
        except NasgenError:
            raise
        except FOREIGN as error:
            raise NasgenError(
                f"installed plug-in '{point.name}' ({where}) could not be loaded: "
                f"{type(error).__name__}: {error}. Uninstall or mend it."
            ) from error
        finally:
            _loading.reset(token)


def _of_module(dotted: str) -> Members:
    """Return what a module and its submodules registered, or one object of it."""
    module, _, attribute = dotted.partition(":")
    target = imported(dotted)
    found: Members = {}
    for members in _sources.values():
        for group, own in members.items():
            for name, entry in own.items():
                is_own = f"{home(entry.target)}.".startswith(f"{module}.")
                if entry.target is target if attribute else is_own:
                    found.setdefault(group, {})[name] = entry
    if not found:
        how = (
            f"it can be named by its path where it is used, such as algorithm.name = '{dotted}'"
            if attribute
            else "decorators such as @nasgen.mutation('my-name') do"
        )
        raise IncompatibleError(f"plugins: '{dotted}' registers nothing; {how}.")
    return found


def home(target: Any) -> str:
    """Return the name of the module that a target, or the text that stands for it, lies in."""
    return (
        target.partition(":")[0]
        if isinstance(target, str)
        else str(getattr(target, "__module__", "?"))
    )


def fields(group: str, target: Any) -> dict[str, Any]:
    """Return what the entry of an object says that a dotted path names: its parameters tell.

    One that takes materials is asked once for all that it chooses, which are different then.
    """
    try:
        taken = inspect.signature(target).parameters if group in ASKED else {}
    except (TypeError, ValueError):  # of builtins, which say nothing of their parameters
        return {}
    required = tuple(name for param, name in ASKED.get(group, {}).items() if param in taken)
    return {"requires": required, "options": {"distinct": True}} if required else {}


def path_of(target: Any) -> str | None:
    """Return "module:object" if another process can import an object so, else None."""
    module, name = getattr(target, "__module__", MAIN), getattr(target, "__qualname__", "")
    if module == MAIN or not name.isidentifier():
        return None
    is_there = getattr(sys.modules.get(module), name, None) is target
    return f"{module}:{name}" if is_there and importlib.util.find_spec(module) else None


def imported(dotted: str, what: str = "plugins") -> Any:
    """Return the module "package.module", or what "package.module:object" names in it.

    `what` begins the sentence of the UnknownNameError for a module or an object that is not there.
    """
    module_name, _, attribute = dotted.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UnknownNameError(
            f"{what} '{dotted}': there is no module '{error.name}'; expected package.module"
            f"{':object' if attribute else ''} of something that Python can import here."
        ) from None
    except NasgenError:
        raise
    except FOREIGN as error:
        raise UnknownNameError(
            f"{what} '{dotted}': the module cannot be imported: {type(error).__name__}: {error}."
        ) from error
    for part in attribute.split(".") if attribute else ():
        if not hasattr(found, part):
            valid = [name for name in dir(found) if not name.startswith("_")]
            raise UnknownNameError(
                f"{what} '{dotted}': '{module_name}' has no '{attribute}'{suggest(part, valid)}"
            )
        found = getattr(found, part)
    return found
