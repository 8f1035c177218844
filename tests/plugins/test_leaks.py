"""Plug-ins of one run take no part in another of the same process; any run is read without them."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nasgen
from nasgen import registry
from nasgen.cli import app
from nasgen.registry import plugins
from nasgen.registry.plugins import Scope
from nasgen.runs import reading
from tests.conftest import deepcopy_of, forget

pytestmark = pytest.mark.usefixtures("registry_restored")

OPERATORS = """
import nasgen
from nasgen.operators.mutation.relabel import relabel

@nasgen.mutation("{name}-mutation")
def mutate(parent, space, rng):
    return relabel(parent, space, rng)

@nasgen.crossover("{name}-crossover")
def cross(first, second, space, rng):
    return relabel(first, space, rng)
"""
TINY: dict[str, Any] = {
    "space": {"max_channels": 8, "max_vertices": 8, "max_depth": 7},
    "algorithm": {"population": 3, "crossover_prob": 0.4},
    "training": {"epochs": 0.05, "fraction": 0.3}, "finish": {"networks": 0},
    "budget": {"trials": 8}, "predictor": {"name": "none"},
    "execution": {"executor": "serial", "device": "cpu"},
}  # fmt: skip
FIRST = ("sample", "design", "seed", "continue", "finish")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Runs of one process with empty tables: one of a.py, one of b.py, one of a.py again."""
    sources, home = deepcopy_of(plugins._sources), tmp_path_factory.mktemp("runs")
    for name in "ab":
        (home / f"{name}.py").write_text(OPERATORS.format(name=name))
    for out, name in (("first", "a"), ("second", "b"), ("third", "a")):
        nasgen.run(TINY, plugins=[home / f"{name}.py"], out=home / out)
    nasgen.run(TINY, out=home / "none")
    yield home
    forget()
    plugins._sources.update(sources)


def operators_of(run: nasgen.Run) -> set[str]:
    """Return all operators that a run's config and trials name."""
    section = run.config.algorithm
    return {*section.mutations, *section.crossovers, *(t.operator for t in run.trials)}


def test_an_empty_table_means_what_this_run_names(runs: Path) -> None:
    built_in = {*registry.built_in("mutations"), *registry.built_in("crossovers"), *FIRST}
    for out, name in (("first", "a"), ("second", "b"), ("third", "a"), ("none", "")):
        own = {f"{name}-mutation", f"{name}-crossover"} if name else set()
        found = operators_of(nasgen.load(runs / out))
        assert own <= found
        assert found <= built_in | own
    histories = [
        [t.history_row() for t in nasgen.load(runs / out).trials] for out in ("first", "third")
    ]
    assert histories[0] == histories[1], "what was between changed nothing"


@pytest.mark.parametrize("out", ["first", "second", "none"])
def test_each_run_is_read_without_its_operators_and_resumed_with_them(
    out: str, runs: Path, tmp_path: Path
) -> None:
    forget()
    shutil.copytree(runs / out, tmp_path / "run")
    hidden = [(runs / f"{name}.py", runs / f"{name}.hidden") for name in "ab"]
    for file, away in hidden:
        file.rename(away)
    try:
        for command in ("status", "show", "report", "gc"):
            done = CliRunner().invoke(app, [command, str(tmp_path / "run")])
            assert done.exit_code == 0, done.output
        assert nasgen.load(tmp_path / "run").network().validation.shape[0] > 0
    finally:
        for file, away in hidden:
            away.rename(file)
    assert len(nasgen.resume(tmp_path / "run", trials="+2").trials) == 10


def test_a_module_that_two_files_use_belongs_to_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "shared_operators.py").write_text(OPERATORS.format(name="shared"))
    (tmp_path / "one.py").write_text("import shared_operators\n")
    (tmp_path / "two.py").write_text("from shared_operators import mutate\n")
    (tmp_path / "neither.py").write_text(OPERATORS.format(name="own"))
    try:
        for order in (("one", "two"), ("two", "one")):
            forget()
            sys.modules.pop("shared_operators", None)
            for name in (*order, "neither"):
                made = reading.resolved({"plugins": {"files": [str(tmp_path / f"{name}.py")]}})
                has = "shared-mutation" in made.config.algorithm.mutations
                assert has == (name != "neither"), (order, name)
        both = {"plugins": {"files": [str(tmp_path / "one.py"), str(tmp_path / "two.py")]}}
        assert "shared-mutation" in reading.resolved(both).config.algorithm.mutations
    finally:
        sys.modules.pop("shared_operators", None)


def test_threads_load_their_plugins_beside_each_other(tmp_path: Path) -> None:
    barrier = threading.Barrier(2)
    waits = "import nasgen\nnasgen.barrier.wait(10)\n"
    found: dict[str, set[str]] = {}

    def load(name: str) -> None:
        file = tmp_path / f"{name}.py"
        file.write_text(waits + OPERATORS.format(name=name) + "nasgen.barrier.wait(10)\n")
        with Scope([file]).load().active():
            found[name] = {*registry.usual("mutations")} - {*registry.built_in("mutations")}

    nasgen.barrier = barrier  # type: ignore[attr-defined]
    threads = [threading.Thread(target=load, args=(name,)) for name in "xy"]
    try:
        run_all(threads)
    finally:
        del nasgen.barrier  # type: ignore[attr-defined]
    assert found == {"x": {"x-mutation"}, "y": {"y-mutation"}}


def run_all(threads: list[threading.Thread]) -> None:
    each: list[Callable[[], None]] = [t.start for t in threads] + [t.join for t in threads]
    for step in each:
        step()
