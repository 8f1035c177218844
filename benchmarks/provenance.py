"""Where a figure comes from: the machine, the commit, and when."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from nasgen.store.folder import machine
from nasgen.store.ledger import utc_now

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"


def modules() -> str:
    """Return the PYTHONPATH of a process that measures: this checkout, then what was given."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def commit() -> str:
    """Return the short hash of the checkout, "unknown" outside of one."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    return done.stdout.strip() or "unknown"


def short(source: str) -> str:
    """Return a data source without the folders above its own: they differ between machines."""
    kind, colon, where = source.partition(":")
    return f"{kind}{colon}{Path(where).name}"


def recipe(source: str) -> str:
    """Return the digest of how nasgen trains on a data set by default.

    Rows that were measured with another one are not comparable.
    """
    from nasgen.data.base import load
    from nasgen.evaluation.recipe import Recipe
    from nasgen.settings.config import Training

    return Recipe.of(Training(), load(source).shape).digest()


def stamp() -> dict[str, Any]:
    """Return {"commit", "measured", "machine"}, to be laid beside what was measured."""
    found = machine()
    return {
        "commit": commit(),
        "measured": utc_now(),
        "machine": {key: found[key] for key in ("processor", "cores")},
    }
