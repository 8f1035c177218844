"""What a script or a notebook registers works in it, or a sentence says why workers miss it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen import registry
from nasgen.errors import ConfigError
from nasgen.evaluation.tasks.classification import Classification
from nasgen.layers.conv import Conv
from nasgen.registry import plugins
from nasgen.runs import reading
from nasgen.search_spaces.mlp import Mlp

pytestmark = pytest.mark.usefixtures("registry_restored")
SERIAL = {"execution": {"executor": "serial"}}


def arrays(rest: str) -> tuple[Any, Any]:
    """Sixty small images of three classes."""
    return np.zeros((60, 1, 8, 8), np.uint8) + np.arange(60, dtype=np.uint8)[:, None, None, None], (
        np.arange(60) % 3
    )


def halved(name: Any, weight: Any, support: Any, budget: Any, rng: Any) -> Any:
    """Keep all."""
    return support


def one(measured: Any) -> float:
    """One."""
    return 1.0


class Space(Mlp):
    """As in nasgen, but defined here."""


MEMBERS: dict[str, tuple[str, Any, dict[str, Any], dict[str, Any]]] = {
    "a data set": ("datasets", arrays, {}, {"data": {"source": "mine:rest"}}),
    "an objective": (
        "objectives", one, {"options": {"direction": "minimize"}},
        {"objectives": {"names": ["val_accuracy", "mine"]}},
    ),
    "a constraint without blanks": (
        "objectives", one, {"options": {"direction": "minimize"}},
        {"objectives": {"constraint": ["mine<3"]}},
    ),
    "a layer": ("layers", Conv, {}, {"space": {"layers": ["mine", "conv"]}}),
    "a pruning": ("prunings", halved, {}, {"algorithm": {"prunings": {"mine": 1.0}}}),
    "a task": ("tasks", Classification, {}, {"data": {"task": "mine"}}),
    "a search space": ("search_spaces", Space, {}, {"space": {"name": "mine"}}),
}  # fmt: skip


def in_main(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an object look as if it were defined in the program that runs."""
    monkeypatch.setattr(target, "__module__", plugins.MAIN)


@pytest.mark.parametrize("what", MEMBERS)
def test_cause_and_cure_are_said_before_a_worker_fails(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, target, fields, tables = MEMBERS[what]
    in_main(target, monkeypatch)
    registry.register(group, "mine", target, **fields)
    expected = (
        rf"{group} 'mine' is registered in __main__, a script or a notebook, where worker "
        r"processes do not find it; put it in a file and name that: plugins\.files = \['mine\.py'\]"
    )
    with pytest.raises(ConfigError, match=expected):
        reading.resolved(tables)
    if what != "a task":  # the digits are for another one
        assert reading.resolved({**tables, **SERIAL})


def test_a_dotted_path_into_a_script_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    main = sys.modules[plugins.MAIN]
    monkeypatch.setattr(main, "Mine", Mlp, raising=False)
    monkeypatch.setattr(main, "last", lambda individuals, k, rng: individuals[:k], raising=False)
    with pytest.raises(ConfigError, match="'__main__:Mine' is defined in a script or a notebook"):
        reading.resolved({"space": {"name": "__main__:Mine"}})
    assert reading.resolved({"algorithm": {"selection": "__main__:last"}}), "the driver selects"


def test_a_script_searches_with_what_it_defines(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import nasgen, numpy as np, sys\n\n"
        "@nasgen.dataset('mydigits')\n"
        "def mine(rest):\n"
        "    y = np.arange(60) % 3\n"
        "    return np.tile((y * 60).astype('uint8')[:, None, None, None], (1, 1, 8, 8)), y\n\n"
        "tables = {'data': {'source': 'mydigits'}, 'budget': {'trials': 1},\n"
        "          'finish': {'networks': 0}, 'training': {'epochs': 0.1},\n"
        "          'space': {'max_channels': 8}, 'execution': {'executor': sys.argv[1]}}\n"
        "try:\n"
        "    print([t.state for t in nasgen.run(tables, out=sys.argv[1]).trials])\n"
        "except nasgen.NasgenError as error:\n"
        "    print(error)\n"
    )
    root = str(Path(nasgen.__file__).parents[1])
    for executor, said in (("serial", "['COMPLETE']"), ("processes", "a script or a notebook")):
        done = subprocess.run(
            [sys.executable, script, executor], cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": root}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert said in done.stdout, done.stderr
