"""What is wrong with a plug-in is said with file, line, expected and got, and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nasgen
from nasgen import registry
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Individual, fitness_class
from nasgen.engine.operators import Operator, Operators
from nasgen.errors import ConfigError, IncompatibleError, NasgenError, OperatorError
from nasgen.registry.plugins import Scope
from nasgen.runs import reading
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.testing import check_file

Write = Callable[[str], Path]
Search = Callable[..., nasgen.Run]
pytestmark = pytest.mark.usefixtures("registry_restored")

HEAD = "import nasgen\n\n@nasgen.mutation('mine')\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def file(text: str) -> Path:
        path = tmp_path / "my_ops.py"
        path.write_text(text)
        return path

    return file


def registered() -> dict[str, tuple[str, ...]]:
    return {group: registry.names(group) for group in registry.GROUPS}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NasgenError, match=r"nothing\.py does not exist; check --plugin"):
        check_file(tmp_path / "nothing.py")


def test_a_file_that_is_no_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "ops.txt").write_text("hello")
    with pytest.raises(NasgenError, match=r"expected a Python file \(\.py\), got '\.txt'"):
        check_file(tmp_path / "ops.txt")


def test_a_syntax_error_is_told_with_its_line(write: Write) -> None:
    file = write("import nasgen\n\n\ndef broken(:\n    pass\n")
    with pytest.raises(NasgenError, match=r"my_ops\.py could not be loaded: SyntaxError.*line 4"):
        check_file(file)


def test_an_error_while_loading_is_told_with_its_line(write: Write) -> None:
    with pytest.raises(NasgenError, match=r"ZeroDivisionError: .* \(line 2\)"):
        check_file(write("import nasgen\n1 / 0\n"))


def test_a_wrong_signature_is_told_with_got_and_expected(write: Write) -> None:
    before = registered()
    with pytest.raises(
        IncompatibleError,
        match=r"mutations 'mine': expected a function of \(parent, space, rng\), got \(parent\)",
    ):
        check_file(write(HEAD + "def mine(parent):\n    return parent\n"))
    assert registered() == before


def test_a_name_that_is_taken_is_refused_with_its_owner(write: Write) -> None:
    text = HEAD.replace("mine", "relabel") + "def mine(parent, space, rng):\n    return parent\n"
    with pytest.raises(
        IncompatibleError, match=r"'relabel' is already registered by built-in; .*my_ops\.py must"
    ):
        check_file(write(text))


def test_a_file_that_registers_nothing_is_told_how_to(write: Write) -> None:
    with pytest.raises(IncompatibleError, match="registers none; put a decorator"):
        check_file(write("x = 1\n"))


def test_a_file_that_fails_half_way_leaves_nothing_registered(write: Write) -> None:
    before = registered()
    file = write(
        HEAD + "def mine(parent, space, rng):\n    return parent\n\n"
        "@nasgen.objective('late')\ndef late(measured):\n    return 0.0\n\n"
        "raise RuntimeError('half-way')\n"
    )
    with pytest.raises(NasgenError, match=r"RuntimeError: half-way \(line 11\)"):
        check_file(file)
    assert registered() == before
    file.write_text(file.read_text().replace("raise RuntimeError('half-way')\n", ""))
    assert {f.name for f in check_file(file, n=2)} == {"mine", "late"}


def test_a_script_that_exits_while_it_is_loaded_does_not_end_the_program(write: Write) -> None:
    before = registered()
    text = HEAD + "def mine(parent, space, rng):\n    return parent\n\nraise SystemExit(0)\n"
    with pytest.raises(NasgenError, match=r"SystemExit: 0 \(line 7\)"):
        check_file(write(text))
    assert registered() == before


ILLEGAL = HEAD + (
    "def mine(parent, space, rng):\n"
    "    draft = parent.edit()\n"
    "    draft.add('skip', [draft.input])\n"
    "    return draft.freeze()\n"
)
CRASHING = HEAD + "def mine(parent, space, rng):\n    return 1 / len(parent.edges[:0])\n"


def test_an_operator_that_raises_is_reported_with_file_and_line(write: Write) -> None:
    file = write(CRASHING)
    (finding,) = check_file(file, n=3)
    assert not finding.ok
    assert "ZeroDivisionError" in finding.message
    assert f"line 5 of {file}" in finding.message


def test_an_operator_that_raises_ends_a_search_with_file_and_line(
    write: Write, search: Search
) -> None:
    file = write(CRASHING)
    with pytest.raises(OperatorError) as error:
        search(
            plugins={"files": [str(file)]},
            algorithm={"mutations": {"mine": 1.0}},
            space={"max_channels": 8},
            training={"fraction": 0.1},
        )
    assert "operator 'mine' raised ZeroDivisionError" in str(error.value)
    assert f"{file}, line 5" in str(error.value)


def test_an_operator_with_an_illegal_child_is_reported(write: Write) -> None:
    (finding,) = check_file(write(ILLEGAL), n=3)
    assert not finding.ok
    assert "illegal child" in finding.message
    assert "no path from input to output" in finding.message


def test_an_operator_with_an_illegal_child_ends_breeding(write: Write) -> None:
    space = DagCnn()
    with Scope([write(ILLEGAL)]).load().active():
        mine = Operators((Operator("mine", registry.resolve("mutations", "mine")),))
    rng = np.random.default_rng(0)
    parent = Individual(0, space.sample(rng).mint(0, 0), fitness_class(("maximize",))())
    with pytest.raises(OperatorError, match="operator 'mine' returned an illegal child: vertex"):
        Breeder(space, mine, lambda proposal: True).child([parent], generation=1)


def test_an_objective_that_raises_fails_its_trials_by_name(write: Write, search: Search) -> None:
    file = write(
        "import nasgen\n\n@nasgen.objective('mine', options={'direction': 'minimize'})\n"
        "def mine(measured):\n    return measured.metrics['no such metric']\n"
    )
    run = search(
        plugins={"files": [str(file)]},
        objectives={"names": ["val_accuracy", "mine"]},
        space={"max_channels": 8},
        training={"fraction": 0.1},
        budget={"trials": 1},
    )
    assert [t.state for t in run.trials] == ["FAILED"]
    assert "objective 'mine' failed with KeyError" in str(run.trials[0].failure)


def test_all_bad_plugins_of_a_config_are_told_at_once(write: Write, tmp_path: Path) -> None:
    bad = write("def broken(:\n")
    with pytest.raises(ConfigError) as error:
        nasgen.run({"plugins": {"files": [str(bad), str(tmp_path / "no.py")]}}, out=tmp_path / "r")
    assert len(error.value.problems) == 2
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("path", ["nasgen.errors:NasgenError", "os:getcwd", "math:pi"])
@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("data", "task"),
        ("space", "name"),
        ("algorithm", "name"),
        ("execution", "executor"),
        ("stopping", "stopper"),
        ("predictor", "name"),
    ],
)
def test_a_dotted_path_to_another_thing_is_told(section: str, key: str, path: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a (subclass of nasgen|function)") as error:
        reading.resolved({section: {key: path}})
    assert path in str(error.value)


@pytest.mark.parametrize("group", ["mutations", "crossovers"])
def test_a_dotted_path_to_no_operator_is_told(group: str) -> None:
    with pytest.raises(ConfigError, match="expected a function"):
        reading.resolved({"algorithm": {group: {"nasgen.errors:NasgenError": 1.0}}})
