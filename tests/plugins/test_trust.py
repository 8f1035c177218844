"""Reading executes nothing of a run; what runs code runs what is named or unchanged, and says so.

`COMMANDS` lists every command with what it may execute of a stored run; a new command needs a line.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.errors import ConfigError, StoreError
from nasgen.registry import plugins
from nasgen.settings.config import merge, parse
from nasgen.settings.writing import to_toml
from tests.conftest import deepcopy_of, forget

pytestmark = pytest.mark.usefixtures("registry_restored")

NOTHING, NEEDED, ALL, NO_RUN = "nothing", "the plug-ins it needs", "all plug-ins", "takes no run"
# Command -> what it may execute of a run's own plug-ins, and the arguments behind the run's folder.
# "needed" and "all" means: those that are named now, or unchanged and outside of the folder.
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "search": (NO_RUN, ()),  # runs what its config and the command line name
    "resume": (ALL, ("--trials", "+1", "--quiet")),
    "train": (NEEDED, ("--epochs", "0.05")),
    "prune": (NEEDED, ("--retrain", "0", "--quiet")),
    "ensemble": (NEEDED, ()),
    "distill": (NEEDED, ("--epochs", "0.05")),
    "tune": (NEEDED, ("--trials", "1", "--epochs", "0.05", "--quiet")),
    "reproduce": (NO_RUN, ()),
    "study": (NO_RUN, ()),
    "status": (NOTHING, ()),
    "show": (NOTHING, ()),
    "compare": (NOTHING, ()),
    "report": (NOTHING, ()),
    "gc": (NOTHING, ()),
    "bench": (NO_RUN, ()),
    "predictors": (NEEDED, ("--predictors", "ridge", "--repeats", "1", "--labels", "5")),
    "dataset": (NEEDED, ()),
    "export": (NEEDED, ("--format", "python", "--check-on", "20")),
    "predict": (NEEDED, ("digits",)),
    "list": (NO_RUN, ()),  # runs the files that --plugin names, and installed packages
    "new": (NO_RUN, ()),
    "check": (NO_RUN, ()),  # runs the plug-in file or the config that is named
    "doctor": (NO_RUN, ()),
}
READING = [name for name, (what, _) in COMMANDS.items() if what == NOTHING]
RUNNING = [name for name, (what, _) in COMMANDS.items() if what in (NEEDED, ALL)]

OPERATOR = """
import nasgen

@nasgen.mutation("{name}")
def mine(parent, space, rng):
    from nasgen.operators.mutation.relabel import relabel
    return relabel(parent, space, rng)
"""
TRAP = "import pathlib\npathlib.Path({file!r}).write_text('executed')\n"
TINY: dict[str, Any] = {
    "data": {"source": "digits"}, "space": {"max_channels": 8, "max_vertices": 8, "max_depth": 7},
    "algorithm": {"population": 3, "crossover_prob": 0.0, "mutations": {"mine": 1.0}},
    "training": {"epochs": 0.05, "fraction": 0.3}, "finish": {"networks": 0},
    "budget": {"trials": 7}, "predictor": {"name": "none"},
    "execution": {"executor": "serial", "device": "cpu"},
}  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a run and the plug-in that it used beside it."""
    sources = deepcopy_of(plugins._sources)
    home = tmp_path_factory.mktemp("original")
    (home / "ops.py").write_text(OPERATOR.format(name="mine"))
    nasgen.run(TINY, plugins=[home / "ops.py"], out=home / "run")
    yield home
    forget()
    plugins._sources.update(sources)


@pytest.fixture
def trap(tmp_path: Path) -> Callable[[str], str]:
    """Code that leaves a mark when it is executed."""
    return lambda name: TRAP.format(file=str(tmp_path / f"{name}.mark"))


@pytest.fixture
def hostile(
    original: Path, tmp_path: Path, trap: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of the run whose config names code in every way that there is."""
    forget()
    path = tmp_path / "run"
    shutil.copytree(original / "run", path)
    (path / "inside.py").write_text(trap("inside") + OPERATOR.format(name="inside"))
    (tmp_path / "changed.py").write_text(trap("changed") + OPERATOR.format(name="changed"))
    (tmp_path / "trapped_module.py").write_text(
        trap("module") + OPERATOR.format(name="other") + "\ndef last(individuals, k, rng):\n    "
        "return individuals[:k]\n"
    )
    (tmp_path / "trapped_package.py").write_text(trap("installed"))
    facts = tmp_path / "trapped-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: trapped\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[nasgen.plugins]\ntrapped = trapped_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(plugins._flags, "installed", False)
    rewritten(
        path,
        plugins={
            "files": ["inside.py", str(tmp_path / "changed.py")],
            "modules": ["trapped_module"],
        },
        algorithm={"selection": "trapped_module:last", "mutations": {"mine": 1.0}},
        objectives={"names": ["val_accuracy"]},
    )
    return path


def rewritten(run: Path, **tables: Any) -> None:
    """Change the stored config of a run."""
    file = run / "config.toml"
    data = merge(tomllib.loads(file.read_text()), tables)
    if files := data.get("plugins", {}).get("files"):
        data["plugins"]["files"] = [str(run / f) for f in files]
    file.write_text(to_toml(parse(data)))


def marks(folder: Path) -> set[str]:
    return {mark.stem for mark in folder.glob("*.mark")}


def invoke(command: str, run: Path, *more: str) -> Result:
    runs = [str(run)] * (2 if command == "compare" else 1)
    first = ["evaluate"] if command == "predictors" else []
    places = {"dataset": "out.csv", "predict": "out.csv", "export": "exported"}
    out = ["--out", str(run.parent / places[command])] if command in places else []
    return CliRunner().invoke(app, [command, *first, *runs, *COMMANDS[command][1], *out, *more])


def test_every_command_says_what_it_may_execute() -> None:
    assert {c.name for c in app.registered_commands} == set(COMMANDS)


@pytest.mark.parametrize("command", READING)
def test_reading_executes_nothing_and_connects_nowhere(
    command: str, hostile: Path, tmp_path: Path
) -> None:
    done = invoke(command, hostile)
    assert done.exit_code == 0, done.output
    assert marks(tmp_path) == set()
    assert not {"trapped_module", "trapped_package"} & {*sys.modules}
    rewritten(hostile, store={"ledger": f"sqlite:///{tmp_path}/elsewhere.db"})
    (tmp_path / "elsewhere.db").write_bytes((hostile / "ledger.db").read_bytes())
    shown = CliRunner().invoke(app, ["show", str(hostile)])
    assert shown.exit_code == 2
    assert "outside of its folder; to connect to there, name it: --ledger URL" in shown.output


@pytest.mark.parametrize("command", RUNNING)
def test_what_runs_code_runs_nothing_that_is_changed_inside_or_a_dotted_path(
    command: str, hostile: Path, tmp_path: Path
) -> None:
    done = invoke(command, hostile)
    assert marks(tmp_path) <= {"installed"}, done.output  # packages are the user's own
    assert "trapped_module" not in sys.modules
    if COMMANDS[command][0] == ALL:
        assert done.exit_code == 2
        for said in (
            "inside.py of .* lies in the run folder", "changed.py of .* has no recorded digest",
            "trapped_module of .* has no recorded digest", "name it: --plugin",
        ):  # fmt: skip
            assert re.search(said, done.output), said
    else:
        assert done.exit_code == 0, done.output  # mutations and selections make no network
    rewritten(hostile, store={"ledger": f"sqlite:///{tmp_path}/elsewhere.db"})
    assert invoke(command, hostile).exit_code == 2


@pytest.mark.parametrize("command", ["resume", "train", "ensemble", "tune"])
def test_a_dotted_path_that_is_needed_is_named_and_not_called(
    command: str, original: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    shutil.copytree(original / "run", path)
    mark = tmp_path / "shell.mark"
    text = (path / "config.toml").read_text()
    space = f'[space]\nname = "os:system"\ncommand = "touch {mark}"\n'
    before, _, after = text.partition("[space]\n")
    (path / "config.toml").write_text(before + space + "\n[" + after.partition("\n[")[2])
    done = invoke(command, path)
    assert done.exit_code == 2, done.output
    assert "--plugin os" in done.output
    assert "met a bug" not in done.output
    assert not mark.exists()


def test_what_is_unchanged_outside_or_named_runs_and_is_said(
    original: Path, tmp_path: Path, hostile: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(original, home)
    rewritten(home / "run", plugins={"files": [str(original / "ops.py")]})
    done = CliRunner().invoke(app, ["resume", str(home / "run"), "--trials", "+1", "--quiet"])
    assert done.exit_code == 0, done.output
    assert f"{original / 'ops.py'} (unchanged since the run used it)" in done.stderr
    for file in (hostile / "inside.py", tmp_path / "changed.py"):
        file.write_text(file.read_text() + "# looked at\n")
    said: list[str] = []
    named = [hostile / "inside.py", tmp_path / "changed.py", "trapped_module"]
    rewritten(hostile, algorithm={"mutations": {"inside": 1.0, "changed": 1.0, "other": 1.0}})
    run = nasgen.resume(hostile, trials="+1", plugins=named, say=said.append)
    assert {"inside", "changed", "module"} <= marks(tmp_path)
    assert len(said) == 1
    assert said[0].count("(named now)") == 3
    assert len(run.trials) == 8
    sys.modules.pop("trapped_module", None)


def test_a_module_is_known_again_by_its_digest(
    tmp_path: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "module_of_operators.py"
    file.write_text(OPERATOR.format(name="mine"))
    nasgen.run(TINY, plugins=["module_of_operators"], out=tmp_path / "run")
    assert len(nasgen.resume(tmp_path / "run", trials="+1").trials) == 8
    file.write_text(file.read_text() + "# changed\n")
    with pytest.raises(ConfigError, match=r"module module_of_operators of .* has changed since"):
        nasgen.resume(tmp_path / "run", trials="+1")
    more = nasgen.resume(tmp_path / "run", trials="+1", plugins=["module_of_operators"])
    assert len(more.trials) == 9
    sys.modules.pop("module_of_operators", None)


@pytest.mark.parametrize("command", ["search", "check", "tune"])
def test_the_config_in_a_run_folder_is_data_until_it_is_copied_out(
    command: str, hostile: Path, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, [command, str(hostile / "config.toml")])
    assert done.exit_code == 2, done.output
    assert marks(tmp_path) == set()
    for said in ("lies in the run folder", "copy the config out of the run folder"):
        assert said in done.output


def test_a_network_to_begin_with_comes_from_no_foreign_ledger(
    hostile: Path, tmp_path: Path
) -> None:
    rewritten(hostile, store={"ledger": f"sqlite:///{tmp_path}/elsewhere.db"})
    with pytest.raises((ConfigError, StoreError), match="write the trial to a file"):
        nasgen.run(
            merge(TINY, {"origin": {"network": f"{hostile}:0"}, "algorithm": {"mutations": {}}}),
            out=tmp_path / "new",
        )
    assert marks(tmp_path) <= {"installed"}


def test_no_module_can_unpickle_or_evaluate_a_text() -> None:
    readers = {"pickle", "marshal", "shelve", "joblib", "dill", "cloudpickle", "runpy"}
    for path in Path(nasgen.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.partition(".")[0] for alias in node.names}
                names |= {str(getattr(node, "module", "")).partition(".")[0]}
                assert not readers & names, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "torch.load", "yaml.load"), path
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert ast.unparse(node.value) == "False", path


def test_the_promise_stands_on_the_first_screen() -> None:
    root = Path(__file__).parents[2]
    first = (root / "README.md").read_text().splitlines()[:24]
    assert any("no pickle" in line for line in first)
    assert any("(SECURITY.md)" in line for line in first)
    text = (root / "SECURITY.md").read_text()
    for name, (what, _) in COMMANDS.items():
        assert what == NO_RUN or f"`{name}" in text, name
    for heading in ("What is trusted", "What is not trusted", "How to report"):
        assert f"## {heading}\n" in text


def test_a_genotype_from_a_file_imports_nothing(
    hostile: Path, tmp_path: Path, original: Path
) -> None:
    row = nasgen.load(original / "run").trials[0]
    graph = json.loads(json.dumps(dict(row.genotype)))
    inner = [v for v in graph["vertices"] if v["op"] not in ("input", "output")]
    inner[0]["op"] = "trapped_module:last"
    (tmp_path / "network.json").write_text(json.dumps(graph))
    with pytest.raises(ConfigError, match="trapped_module:last"):
        nasgen.run({"origin": {"network": str(tmp_path / "network.json")}}, out=tmp_path / "new")
    quoted = json.dumps(graph).replace('"', '""')
    lines = "".join(f'k{i},0.{i},100,"{quoted}"\n' for i in range(1, 9))
    (tmp_path / "table.csv").write_text(f"key,val_accuracy,n_params,genotype\n{lines}")
    arguments = ("--features", "structural", "--predictors", "ridge", "--labels", "5")
    done = CliRunner().invoke(
        app, ["predictors", "evaluate", str(tmp_path / "table.csv"), *arguments]
    )
    assert done.exit_code == 0, done.output  # a label is all that such features read of a layer
    assert "module" not in marks(tmp_path)
    assert "trapped_module" not in sys.modules


def test_an_operator_in_the_worker_is_known_when_a_run_is_resumed(
    original: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    shutil.copytree(original / "run", path)
    rewritten(path, algorithm={"mutations": {"mine": 1.0}, "prunings": {"random": 1.0}})
    assert len(nasgen.resume(path, trials="+1").trials) == 8


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('task = "classification"', 'task = "trapped_module:T"'),
        ('name = "dag-cnn"', 'name = "trapped-module:T"'),
        ('name = "greedy"', 'name = "trapped_module:1"'),
        ('name = "greedy"', 'name = " trapped_module:T "'),
        ('stopper = "none"', 'stopper = "trapped_module:T"'),
        ('executor = "serial"', 'executor = "trapped_module:T"'),
        ('"mine" = 1.0', '"trapped_module:T" = 1.0'),
    ],
)
@pytest.mark.parametrize("name", ["config.toml", "search.toml"])
def test_no_name_in_a_config_of_a_run_folder_is_imported(
    old: str, new: str, name: str, hostile: Path, original: Path, tmp_path: Path
) -> None:
    shutil.copy(tmp_path / "trapped_module.py", tmp_path / "trapped-module.py")
    text = (original / "run" / "config.toml").read_text()
    assert old in text
    (hostile / name).write_text(text.replace(old, new))
    done = CliRunner().invoke(app, ["check", str(hostile / name)])
    assert done.exit_code == 2, done.output
    assert "copy the config out of the run folder" in done.output
    assert marks(tmp_path) == set()


@pytest.mark.parametrize(
    "line",
    [
        'plugins = "a"', "plugins = 3", "plugins.files = 3", 'plugins.files = ["\\u0000"]',
        "data = 3", "data.source = 3", "store = 5", 'data.source = "csv:\\u0000"',
    ],
)  # fmt: skip
def test_a_stored_config_of_wrong_types_is_a_sentence(
    line: str, original: Path, tmp_path: Path
) -> None:
    shutil.copytree(original / "run", tmp_path / "run")
    (tmp_path / "run" / "config.toml").write_text(f"{line}\n")
    for command in (["status"], ["resume", "--trials", "+1"], ["train"]):
        done = CliRunner().invoke(app, [command[0], str(tmp_path / "run"), *command[1:]])
        assert done.exit_code == 2, done.output
        assert f"{tmp_path}/run/config.toml: " in done.output.replace("\n", "")


@pytest.mark.parametrize(
    "name", [".lock", "log.jsonl", "report.html", "ledger.db", "artifacts", "trained/weights"]
)
def test_no_command_writes_or_deletes_through_a_link_out_of_the_run(
    name: str, original: Path, tmp_path: Path
) -> None:
    path, mine, link = tmp_path / "run", tmp_path / "mine", tmp_path / "run" / name
    shutil.copytree(original / "run", path)
    link.parent.mkdir(exist_ok=True)
    if link.is_dir():
        shutil.rmtree(link)
        mine.mkdir()
        (mine / "work.tmp").write_text("mine")
    else:
        link.unlink(missing_ok=True)
        mine.write_text("mine")
    link.symlink_to(mine)
    for command in ("status", "report", "gc", "resume", "train"):
        done = CliRunner().invoke(app, [command, str(path)])
        assert done.exit_code == 2, done.output
        assert f"is a link to {mine}, outside of the run folder" in done.output
    assert (mine / "work.tmp" if mine.is_dir() else mine).read_text() == "mine"
    (tmp_path / "another").symlink_to(original / "run")
    assert CliRunner().invoke(app, ["show", str(tmp_path / "another")]).exit_code == 0
