"""A small table of chains whose scores follow from their widths, in memory and as a bench file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nasgen
from nasgen.genotypes import Dag, Draft

SPACE = {
    "name": "mlp", "layers": ["dense"], "widths": [4, 8], "max_channels": 8, "max_depth": 3,
    "max_vertices": 3,
}  # fmt: skip
N_EPOCHS = 9


def chain(*widths: int) -> Dag:
    draft = Draft()
    here = draft.input
    for width in widths:
        here = draft.add("dense", [here], channels=width)
    draft.connect(here, draft.output)
    return draft.freeze()


NETWORKS = [chain(*widths) for n in (1, 2, 3) for widths in product((4, 8), repeat=n)]  # 14


def final(dag: Dag) -> float:
    return 50.0 + sum(3.0 * (i + 1) * (v.channels == 8) for i, v in enumerate(dag.inner))


def curve(dag: Dag) -> list[float]:
    """Return a curve that rises to the final score; all networks keep their order."""
    return [final(dag) * epoch / N_EPOCHS for epoch in range(1, N_EPOCHS + 1)]


def rows(**more: Any) -> list[dict[str, Any]]:
    return [{"genotype": d, "val": curve(d), "test": final(d) - 1, **more} for d in NETWORKS]


def table(given: Any = None, space: Mapping[str, Any] | str = SPACE, **more: Any) -> Any:
    return nasgen.RowTable(space, rows() if given is None else given, {"val": "test"}, **more)


FILE = """
import json
import nasgen

@nasgen.bench("own")
def own():
    with open({data!r}) as file:
        data = json.load(file)
    return nasgen.RowTable(data["space"], data["rows"], data["signals"])
"""


def written(
    folder: Path,
    given: list[dict[str, Any]],
    space: Any = None,
    signals: Mapping[str, str] = MappingProxyType({"val": "test"}),
) -> Path:
    """Write a bench file and its data; return the file."""
    plain = [
        {k: v.bare_json() if isinstance(v, Dag) else v for k, v in row.items()} for row in given
    ]
    data = {"space": space or SPACE, "rows": plain, "signals": dict(signals)}
    (folder / "data.json").write_text(json.dumps(data))
    file = folder / "own.py"
    file.write_text(FILE.format(data=str(folder / "data.json")))
    return file
