"""What a plug-in registers belongs to the run that names it; dotted paths name anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen import registry
from nasgen.errors import ConfigError, IncompatibleError, NasgenError, UnknownNameError
from nasgen.registry import plugins
from nasgen.registry.plugins import Scope
from nasgen.runs import reading, suspicious
from nasgen.search_spaces.dag_cnn import DagCnn

Search = Callable[..., nasgen.Run]
SERIAL = {"execution": {"executor": "serial"}}
pytestmark = pytest.mark.usefixtures("registry_restored")

MUTATION = """
import nasgen

@nasgen.mutation("mine")
def mine(parent, space, rng):
    "{what}"
    convs = [v for v in parent.inner if v.op == "conv"]
    if not convs:
        raise nasgen.NotApplicable("no_place")
    return parent.change(convs[0].tag, channels={channels})
"""


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two files that register a mutation of the same name."""
    for name, channels in (("one", 4), ("other", 6)):
        text = MUTATION.format(what=f"To {channels} channels.", channels=channels)
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path / "one.py", tmp_path / "other.py"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that Python can import, with a decorated mutation and a bare selection."""
    text = MUTATION.format(what="In a module.", channels=5) + (
        "\n\ndef last(individuals, k, rng):\n    'The youngest.'\n"
        "    return sorted(individuals, key=lambda i: -i.seq)[:k]\n"
    )
    (tmp_path / "mine_in_a_module.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "mine_in_a_module"
    sys.modules.pop("mine_in_a_module", None)


def channels_of(scope: Scope) -> int:
    """Return to how many channels the mutation "mine" of a scope changes a network."""
    draft = nasgen.Draft()
    draft.connect(draft.add("conv", [draft.input], channels=8, kernel=3), draft.output)
    parent = draft.freeze().mint(0, 0)
    with scope.active():
        child = registry.resolve("mutations", "mine")(parent, DagCnn(), np.random.default_rng(0))
    return int(child.inner[0].channels)


def test_two_runs_in_one_process_have_a_member_each_under_the_same_name(
    search: Search, two: tuple[Path, Path], tmp_path: Path
) -> None:
    configs = [reading.resolved({"plugins": {"files": [str(file)]}}) for file in two]
    assert [channels_of(c.scope) for c in configs] == [4, 6]
    assert [channels_of(c.scope) for c in reversed(configs)] == [6, 4], "in any order"
    for config in configs:
        assert "mine" in config.config.algorithm.mutations, "an empty table means this run's too"
    found = []
    for file in two:
        run = nasgen.run(
            {
                "plugins": {"files": [str(file)]},
                "algorithm": {"mutations": {"mine": 1.0}, "population": 3, "crossover_prob": 0},
                "budget": {"trials": 5}, "finish": {"networks": 0}, **SERIAL,
                "training": {"epochs": 0.1, "fraction": 0.1}, "space": {"max_channels": 8},
            },
            out=tmp_path / file.stem,
        )  # fmt: skip
        children = [t for t in run.trials if t.operator == "mine"]
        assert children
        graphs = [nasgen.Dag.from_json(t.genotype) for t in children]
        found.append({v.get("channels", 0) for graph in graphs for v in graph.inner})
    assert 4 in found[0]
    assert 6 in found[1]


def test_what_another_run_loaded_takes_no_part(two: tuple[Path, Path]) -> None:
    reading.resolved({"plugins": {"files": [str(two[0])]}})
    assert "mine" not in reading.resolved({}).config.algorithm.mutations
    assert "mine" not in registry.names("mutations")
    with pytest.raises(ConfigError, match="mutation 'mine' is not registered"):
        reading.resolved({"algorithm": {"mutations": {"mine": 1.0}}})


def test_one_run_cannot_name_two_members_of_one_name(two: tuple[Path, Path]) -> None:
    expected = r"mutations 'mine' is registered by .*one\.py and by .*other\.py.*rename one"
    with pytest.raises(ConfigError, match=expected):
        reading.resolved({"plugins": {"files": [str(file) for file in two]}})


def test_a_file_whose_text_changed_is_read_again(two: tuple[Path, Path]) -> None:
    file = two[0]
    assert channels_of(Scope([file]).load()) == 4
    file.write_text(file.read_text().replace("channels=4", "channels=7"))
    assert channels_of(Scope([file]).load()) == 7


def test_loose_members_are_used_where_they_are_named_and_only_there() -> None:
    @nasgen.mutation("loosely")
    def loosely(parent: Any, space: Any, rng: Any) -> Any:
        """Of a script."""
        return parent

    usual = reading.resolved({})
    assert "loosely" not in usual.config.algorithm.mutations
    named = reading.resolved({"algorithm": {"mutations": {"loosely": 1.0}}, **SERIAL})
    (operator,) = named.operators.pool(several=False, n_parents=1).values()
    assert (operator.name, operator.function, operator.share) == ("loosely", loosely, 1.0)
    assert any("to resume the run later" in text for text in suspicious.cautions(named))


def test_workers_find_what_a_script_registers_or_a_sentence_says_how() -> None:
    registry.register(
        "objectives", "lonely", lambda measured: 1.0, options={"direction": "minimize"}
    )
    tables = {"objectives": {"names": ["val_accuracy", "lonely"]}}
    expected = r"objectives 'lonely' is registered in .*worker processes do not.*plugins\.files"
    with pytest.raises(ConfigError, match=expected):
        reading.resolved(tables)
    assert reading.resolved({**tables, **SERIAL})


def test_modules_and_objects_are_named_from_python(package: str, tmp_path: Path) -> None:
    module = __import__(package)
    for given in (module, module.mine, package, f"{package}:mine", tmp_path / f"{package}.py"):
        table = plugins.named([given])
        assert channels_of(Scope.of(table)) == 5
        assert "mine" in reading.resolved({"plugins": table}).config.algorithm.mutations
    with pytest.raises(IncompatibleError, match="expected modules, registered functions"):
        plugins.named([3])
    with pytest.raises(IncompatibleError, match=r"'mine_in_a_module:last' registers nothing; it"):
        Scope(modules=[f"{package}:last"]).load()
    with pytest.raises(IncompatibleError, match="'json' registers nothing; decorators such as"):
        Scope(modules=["json"]).load()


def test_a_module_reaches_the_workers_and_a_later_process(
    search: Search, package: str, tmp_path: Path
) -> None:
    file = tmp_path / f"{package}.py"
    file.write_text(
        file.read_text() + "\n@nasgen.objective('half', options={'direction': 'maximize'})\n"
        "def half(measured):\n    'A half.'\n    return 0.5\n"
    )
    run = nasgen.run(
        {
            "objectives": {"names": ["val_accuracy", "half"]},
            "budget": {"trials": 2}, "finish": {"networks": 0},
            "algorithm": {"name": "nsga2", "population": 4},
            "training": {"epochs": 0.1, "fraction": 0.1}, "space": {"max_channels": 8},
            "execution": {"executor": "processes", "workers": 1},
        },
        plugins=[__import__(package)],
        out=tmp_path / "run",
    )  # fmt: skip
    assert [t.objectives["half"] for t in run.trials] == [0.5, 0.5]
    code = f"import nasgen; print(nasgen.load({str(run.path)!r}).best.seq)"
    root = str(Path(nasgen.__file__).parents[1])
    path = os.pathsep.join([root, str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_dotted_path_names_a_member_that_has_no_decorator(package: str) -> None:
    path = f"{package}:last"
    resolved = reading.resolved({"algorithm": {"name": "genetic", "selection": path}})
    select = resolved.algorithm(lambda proposal: True).toolbox.select
    older, younger = SimpleNamespace(seq=0), SimpleNamespace(seq=1)
    assert select([older, younger], 1, np.random.default_rng(0)) == [younger]
    named = reading.resolved(
        {
            "algorithm": {
                "name": "nasgen.engine.algorithms.aging:Aging", "tournament": 3,
                "mutations": {f"{package}:mine": 2.0},
            }
        }
    )  # fmt: skip
    assert type(named.algorithm(lambda proposal: True)).__name__ == "Aging"
    assert [*named.operators.pool(several=False, n_parents=1)] == [f"{package}:mine"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere.at_all:Thing", "algorithm 'nowhere.at_all:Thing': there is no module 'nowhere'"),
        (
            "nasgen.engine.algorithms.aging:Agin",
            "'nasgen.engine.algorithms.aging' has no 'Agin'; did you mean 'Aging'",
        ),
    ],
)
def test_a_path_that_leads_nowhere_is_one_sentence(path: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        reading.resolved({"algorithm": {"name": path}})
    assert len(caught.value.problems) == 1
    assert said in str(caught.value)
    with pytest.raises(UnknownNameError):
        registry.get("algorithms", path)


def test_a_name_holds_no_colon() -> None:
    with pytest.raises(NasgenError, match="a name holds no colon"):
        registry.register("mutations", "a:b", lambda parent, space, rng: parent)
