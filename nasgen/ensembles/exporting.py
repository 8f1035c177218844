"""Exports trained networks: checks what is asked for, and hands them to `nasgen.export`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nasgen.errors import ConfigError

if TYPE_CHECKING:
    from nasgen.ensembles.trained import TrainedNetwork
    from nasgen.export.folder import Written
    from nasgen.export.reading import Exported

CHECKED: Final = 256  # rows on which an export is compared with the original
VIEWS: Final = ("run", "1")


def export(
    members: Sequence[TrainedNetwork],
    shares: Sequence[float],
    out: str | Path,
    known: Mapping[str, Any],
    formats: str = "all",
    check_on: int = CHECKED,
    views: str = "run",
    mixed: str = "probabilities",
    temperature: float = 1.0,
    about: Mapping[str, Any] | None = None,
) -> Written:
    """Write the folder `out` with networks that answer together, and return what came of it.

    `formats` are "all" or some of python, onnx and torch, with commas between. Each is compared
    with the original on the first `check_on` test rows, or on random ones where the data set cannot
    be read: `Written.remark` says so. `views` "run" averages over the views of the run as `predict`
    does, "1" answers each row as it is. What is `known` of the networks goes to model.json, and
    `about` beside it or in its place. Raises ConfigError, DataError where neither the data set is
    there nor its feed draws rows, StoreError where the folder is, EvaluationError where no format
    can be written.
    """
    from nasgen.export import gathering  # loads torch

    if not isinstance(check_on, int) or check_on < 1:
        raise ConfigError(f"check_on (--check-on): expected at least 1 row, got {check_on!r}.")
    if views not in VIEWS:
        raise ConfigError(f"views (--views): expected one of {', '.join(VIEWS)}, got {views!r}.")
    asked = gathering.Asked(
        Path(out), formats, check_on, views == "run", mixed, temperature,
        {**known, **(about or {})},
    )  # fmt: skip
    found: Written = members[0].inference.call(gathering.export, members, shares, asked)
    return found


def known(members: Sequence[TrainedNetwork]) -> dict[str, Any]:
    """Return what runs know of networks together: the lineage of each; data and search if equal."""
    each = [member.known() for member in members]
    rows = [row for of in each for row in of.get("lineage", ())]
    lineage = {(row.get("run"), row.get("trial")): row for row in rows}
    found: dict[str, Any] = {"lineage": list(lineage.values())}
    for key in ("data", "search"):
        values = [of.get(key) for of in each]
        if values and values[0] is not None and all(value == values[0] for value in values):
            found[key] = values[0]
    return found


def held(
    members: Sequence[TrainedNetwork],
    shares: Sequence[float],
    scope: Any,
    mixed: str = "probabilities",
    temperature: float = 1.0,
) -> Exported:
    """Return networks that answer together as an export in memory, which needs no run folder.

    It can be pickled. `scope` has the plug-ins of their run.
    """
    from nasgen.export import gathering  # loads torch

    return members[0].inference.call(gathering.held, members, shares, mixed, temperature, scope)


def default_name(run: str, trial: int | None) -> str:
    """Return the name of an export, and of its folder where none is given."""
    name = re.sub(r"[^\w.-]", "-", run)
    return f"{name}-ensemble" if trial is None else f"{name}-trial{trial}"
