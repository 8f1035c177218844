"""The code of plug-ins: where it lies, by what it is known again, and how just that is executed."""

from __future__ import annotations

import hashlib
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType

from nasgen.errors import ChangedError


class Read(SourceFileLoader):
    """Executes a text that was read already, and neither reads nor writes bytecode.

    So what runs is what has the digest: `__pycache__` may hold anything.
    """

    def __init__(self, name: str, path: str, text: bytes) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self._text, self.path)


def digest_of(path: Path) -> str:
    """Return 16 hex digits of a file's content, or of all Python files in a package's folder."""
    hasher = hashlib.blake2b(digest_size=8)
    for file in sorted(path.rglob("*.py")) if path.is_dir() else (path,):
        if path.is_dir():
            hasher.update(f"{file.relative_to(path)}\0".encode("utf-8", "surrogateescape"))
        hasher.update(file.read_bytes())
    return hasher.hexdigest()


def require(name: str, digest: str, expected: str) -> None:
    """Raise ChangedError for code that is no longer what it was when the run loaded it."""
    if digest != expected:
        raise ChangedError(
            f"plug-in {name} has changed while the run used it; to use it as it is now, "
            f"name it when you resume the run: --plugin {name}."
        )


def place_of(module: str) -> Path | None:
    """Return the file of a module, the folder of a package; None where Python's path has none.

    Nothing is imported for it, not even the packages around it.
    """
    name, where, spec = "", None, None
    for part in module.split("."):
        name = f"{name}.{part}".removeprefix(".")
        spec = PathFinder.find_spec(name, where)
        if spec is None:
            return None
        where = spec.submodule_search_locations
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    path = Path(spec.origin).resolve()
    return path.parent if spec.submodule_search_locations is not None else path
