"""Prints the lowest version of each package that pyproject.toml allows, as constraints for pip.

`make lowest` installs these versions and runs a part of the tests with them. Only what nasgen
declares itself is pinned; torch stays at the version of constraints.txt, since its oldest wheels
do not know today's interpreters.

    python benchmarks/lowest.py > lowest.txt && pip install -c lowest.txt -e '.[dev]'
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
AS_PINNED = ("torch",)


def lowest() -> dict[str, str]:
    """Return package -> lowest version that a declared bound allows, of dependencies and extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        declared += extra
    found: dict[str, str] = {}
    for line in declared:
        match = re.match(r"([A-Za-z0-9_-]+)\s*>=\s*([0-9.]+)", line)
        if match is None:
            raise SystemExit(f"pyproject.toml: expected NAME>=VERSION, got '{line}'.")
        found[match[1]] = match[2]
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    )
    return found | {name: pinned[name] for name in AS_PINNED}


if __name__ == "__main__":
    print("\n".join(f"{name}=={version}" for name, version in lowest().items()))
