"""The command line as a user meets it: exit codes, JSON, one-line errors, a quick --help."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nasgen
from nasgen import registry
from nasgen.cli import app
from nasgen.settings.config import read_toml

NASGEN = [sys.executable, "-m", "nasgen"]
TINY = [
    "--data", "digits", "--set", "training.epochs=1", "--set", "finish.epochs=2",
    "--set", "space.max_channels=16", "--set", "algorithm.population=4",
]  # fmt: skip

SERIAL = ("--set", "execution.executor=serial")  # for tests that are not about worker processes


def _process(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command as a user does. A process takes seconds to start, so few tests do."""
    return subprocess.run(
        [*NASGEN, *arguments], capture_output=True, text=True, cwd=cwd, timeout=240
    )


def _nasgen(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in this process; what it does not catch itself is an error here too."""
    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished search of twelve trials, made from the command line."""
    path = tmp_path_factory.mktemp("cli") / "run"
    words = (*TINY, "--trials", "12", "--out", str(path), "--json", "--quiet", *SERIAL)
    done = _nasgen("search", *words)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (path.parent / "summary.json").write_text(done.stdout.splitlines()[-1])
    return path


def _summary(run: Path) -> dict[str, object]:
    data: dict[str, object] = json.loads((run.parent / "summary.json").read_text())
    return data


def test_the_last_line_of_a_search_is_the_promised_json(run: Path) -> None:
    summary = json.loads((run.parent / "summary.json").read_text())
    assert set(summary) == {
        "run", "trials", "plan", "ended_early", "best", "ensemble", "evolution", "wall_s",
        "train_s",
    }  # fmt: skip
    assert summary["plan"]["trials"] == 12
    assert summary["run"] == str(run)
    assert summary["trials"] == {
        "complete": 12,
        "failed": 0,
        "pruned": 0,
        "estimated": 0,
        "filtered": 0,
    }
    best = summary["best"]
    assert set(best) == {
        "trial", "val_accuracy", "test_accuracy", "test_accuracy_one_view", "views", "n_params",
        "flops", "latency_ms",
    }  # fmt: skip
    assert 0.5 < best["test_accuracy"] <= 1
    assert best["latency_ms"] > 0
    members = summary["ensemble"]["members"]
    assert sum(m["weight"] for m in members) == pytest.approx(1, abs=1e-4)
    assert {m["run"] for m in members} == {"run"}
    assert summary["ensemble"]["val_accuracy"] >= best["val_accuracy"]
    assert summary["train_s"] > 0


def test_the_run_folder_holds_what_the_house_promises(run: Path) -> None:
    names = {p.name for p in run.iterdir()}
    assert {"config.toml", "run.json", "ledger.db", "artifacts", "report.html"} <= names
    assert not [n for n in names if n.endswith(".tmp")]


def test_history_is_one_object_a_line(run: Path) -> None:
    lines = _nasgen("show", str(run), "--history", "--json").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [r["seq"] for r in rows] == list(range(12))
    assert set(rows[0]) == {
        "seq", "generation", "key", "operator", "parents", "state", "fidelity", "objectives",
        "attempt", "design",
    }  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"], ["show"], ["show", "--history"], ["show", "--trial", "0"], ["report"],
        ["ensemble"], ["gc"],
    ],
)  # fmt: skip
def test_every_command_answers_in_words_and_in_json(run: Path, arguments: list[str]) -> None:
    command = [arguments[0], str(run), *arguments[1:]]
    words = _nasgen(*command)
    assert words.returncode == 0, words.stderr
    assert words.stdout.strip()
    data = _nasgen(*command, "--json")
    assert data.returncode == 0, data.stderr
    for line in data.stdout.splitlines():
        json.loads(line)


def test_garbage_collection_keeps_what_the_ensemble_needs(run: Path) -> None:
    assert _nasgen("gc", str(run)).returncode == 0
    ensemble = json.loads(_nasgen("ensemble", str(run), "--json").stdout)
    assert ensemble["test_accuracy"] == _summary(run)["ensemble"]["test_accuracy"]  # type: ignore[index]


def test_two_runs_are_compared(run: Path) -> None:
    done = _nasgen("compare", str(run), str(run), "--json")
    data = json.loads(done.stdout)
    assert data["settings"] == {}
    assert data["runs"][0] == data["runs"][1]


def test_a_winner_is_trained_into_a_finished_network(run: Path) -> None:
    done = _nasgen("train", str(run), "--best", "--epochs", "2", "--json", "--with-validation")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["val_accuracy"] is None
    assert 0.5 < record["test_accuracy"] <= 1
    assert Path(record["weights"]).is_file()


def test_a_complete_run_takes_more_trials_and_says_so_when_none_are_asked_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run"
    begin = ["search", *TINY, "--trials", "3", "--out", str(path), "--quiet", *SERIAL]
    assert _nasgen(*begin).returncode == 0
    none = _nasgen("resume", str(path))
    assert none.returncode == 2
    assert "--trials +100" in none.stderr
    before = _nasgen("show", str(path), "--history", "--json").stdout.splitlines()
    more = _nasgen("resume", str(path), "--trials", "+2", "--json", "--quiet")
    assert more.returncode == 0, more.stderr
    assert json.loads(more.stdout)["trials"]["complete"] == 5
    after = _nasgen("show", str(path), "--history", "--json").stdout.splitlines()
    assert after[:3] == before


def test_ctrl_c_ends_cleanly_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run"
    command = [*NASGEN, "search", *TINY, "--trials", "8", "--out", str(path), "--quiet"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        # A job in the background of a shell inherits that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(path.glob("artifacts/*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"nasgen resume {path}" in stderr
    assert "Traceback" not in stderr
    assert json.loads(_nasgen("status", str(path), "--json").stdout)["state"] == "unfinished"
    done = _nasgen("resume", str(path), "--json", "--quiet", "--workers", "1")
    assert json.loads(done.stdout)["trials"]["complete"] == 8


def test_nothing_completed_is_exit_code_3(tmp_path: Path) -> None:
    done = _nasgen(
        "search", *TINY, "--trials", "3", "--out", str(tmp_path / "run"), "--json", "--quiet",
        "--set", "training.time_limit=0.001", *SERIAL,
    )  # fmt: skip
    assert done.returncode == 3
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["trials"]["failed"] == 3
    assert summary["best"] is None
    assert summary["ensemble"] is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["search", "--data", "digitz"], "did you mean 'digits'"),
        (["search", "--data", "mnist:/nowhere"], "/nowhere"),
        (["search", "--algorithm", "genetc", "--space", "dag"], "did you mean 'genetic'"),
        (["search", "--set", "training.epoch=3"], "did you mean 'epochs'"),
        (["search", "--preset", "demmo"], "did you mean 'demo'"),
        (["search", "missing.toml"], "nasgen new"),
        (["search", "--budget", "2s"], "at least 10 s"),
        (["search", "--budget", "10"], "with its unit, got '10'; write '10s' for seconds"),
        (["resume", "nowhere", "--budget", "+10"], "with its unit, got '10'"),
        (["tune", "nowhere", "--budget", "10"], "with its unit, got '10'"),
        (["search", "--preset", "demo", "--trials", "1"], "The preset 'demo' sets it"),
        (["search", "--plugin", "missing.py"], "missing.py does not exist"),
        (["search", "--device", "cuda:99", "--trials", "1", "--quiet"], "cuda"),
        (["search", "--device", "gpu", "--trials", "1"], "gpu"),
        (["search", "--out", "/proc/nothing"], "cannot be written"),
        (["list", "mutation"], "did you mean 'mutations'"),
        (["list", "algorithms", "genetc"], "did you mean 'genetic'"),
        (["list", "presets", "demmo"], "did you mean 'demo'"),
        (["list", "priors", "smal-world"], "did you mean 'small-world'"),
        (["list", "spaces"], "did you mean 'search_spaces'"),
        (["list", "prior"], "did you mean 'priors'"),
        (["list", "pruners"], "did you mean 'stoppers'"),
        (["search", "--set", "predictor.features=nasbench201"], "not those of space.name"),
        (["status", "."], "no nasgen run"),
        (["show", "nowhere"], "no nasgen run"),
        (["ensemble", "nowhere"], "no nasgen run"),
        (["check", "nowhere.py"], "nowhere.py"),
        (["resume", "nowhere", "--budget", "soon"], "duration"),
        (["reproduce", "painter"], "did you mean 'painter2018'"),
        (["reproduce", "painter2018", "--scale", "quik"], "did you mean 'quick'"),
        (["reproduce", "painter2018", "--scale", "quick"], "cifar10:DIR"),
        (
            ["reproduce", "stier2021-pruning", "--scale", "tiny", "--data", "reber:n=40"],
            "--data: expected images",
        ),
        (
            ["reproduce", "stier2021-rnn", "--scale", "tiny", "--data", "digits"],
            "--data: expected sequences",
        ),
        (["search", "--algorithm", "growth", "--set", "algorithm.survivors=99"], "survivors"),
        (["search", "--algorithm", "growth", "--set", "algorithm.selection=worst"], "selection"),
        (["search", "--space", "inception", "--set", "space.width=1"], "space.width"),
        (["search", "--set", "algorithm.morphisms={r2r-weiden=1}"], "morphism 'r2r-weiden'"),
        (["search", "--set", "origin.network=nowhere.json"], "nowhere.json cannot be read"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NASGEN_DATA", raising=False)
    done = _nasgen(*arguments)
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    for line in done.stderr.splitlines():
        assert line.startswith("error: ")


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = _process("--debug", "status", str(tmp_path))
    assert "Traceback" in done.stderr
    assert "StoreError" in done.stderr
    without = _nasgen("status", str(tmp_path))
    assert without.returncode == 2
    assert without.stderr.startswith("error: ")
    assert len(without.stderr.splitlines()) == 1


def test_a_new_config_is_commented_checked_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "search.toml"
    assert _nasgen("new", str(path)).returncode == 0
    assert path.read_text().count("#") > 30
    assert _nasgen("check", str(path)).returncode == 0
    again = _nasgen("new", str(path))
    assert again.returncode == 2
    path.write_text(path.read_text().replace("# crossover_prob = ", "crosover_prob = "))
    broken = _nasgen("check", str(path), "--json")
    assert broken.returncode == 2
    assert "did you mean 'crossover_prob'" in broken.stderr


def test_a_plug_in_may_be_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry_restored: None
) -> None:
    example = Path(__file__).parents[2] / "examples" / "double_channels.py"
    (tmp_path / "module_of_doubles.py").write_text(example.read_text())
    monkeypatch.syspath_prepend(tmp_path)
    own = ("--plugin", "module_of_doubles")
    listed = _nasgen("list", "mutations", *own, "--json")
    assert "double-channels" in [json.loads(line)["name"] for line in listed.stdout.splitlines()]
    path = tmp_path / "run"
    less = ("--set", "finish.networks=0", "--set", "algorithm.population=2", "--trials", "2")
    done = _nasgen("search", *TINY, *SERIAL, *less, *own, "--quiet", "--out", str(path))
    assert done.returncode == 0, done.stderr
    config = read_toml(path / "config.toml")
    assert config["plugins"]["modules"] == ["module_of_doubles"]
    assert config["algorithm"]["mutations"]["double-channels"] == 1.0
    done = _nasgen("search", "--plugin", "no_such_module")
    assert (done.returncode, "there is no module" in done.stderr) == (2, True)


def test_the_example_operator_is_listed_and_takes_part_in_a_search(
    tmp_path: Path, registry_restored: None
) -> None:
    example = Path(__file__).parents[2] / "examples" / "double_channels.py"
    listed = _nasgen("list", "mutations", "--plugin", str(example), "--json").stdout
    assert "double-channels" in [json.loads(line)["name"] for line in listed.splitlines()]
    path = tmp_path / "run"
    done = _nasgen(
        "search", *TINY, "--trials", "10", "--out", str(path), "--quiet", "--plugin", str(example),
        *SERIAL,
        "--set", "space.max_channels=64", "--set", "algorithm.mutations={double-channels=1.0}",
        "--set", "algorithm.crossover_prob=0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    history = _nasgen("show", str(path), "--history", "--json").stdout.splitlines()
    assert "double-channels" in [json.loads(line)["operator"] for line in history]
    assert "double-channels" in (path / "report.html").read_text()


@pytest.mark.parametrize("group", registry.GROUPS)
def test_every_member_is_explained_and_no_option_goes_unmentioned(group: str) -> None:
    for name in registry.names(group):
        told = json.loads(_nasgen("list", group, name, "--json").stdout)
        assert told["summary"]
        assert ("options" in told) == (registry.section(group, name) is not None)
        for option in told.get("options", ()):
            assert f"`{option['name']}`" in told["documentation"], (name, option)
        if group in registry.PARENTS:
            assert told["parents"] == list(registry.get(group, name).arity)
            assert told["genotypes"], name
    shown = _nasgen("list", "algorithms", "genetic").stdout
    assert "Stier 2021" in shown
    assert "remove_worst" in shown


def test_operators_say_what_they_take_where_they_run_and_what_they_accept() -> None:
    told = _nasgen("list", "matings", "mean").stdout
    assert "It takes 1 to 64 parents. It runs in the worker" in " ".join(told.split())
    assert "once for each tensor" in told
    told = " ".join(_nasgen("list", "mutations", "relabel").stdout.split())
    assert "It takes 1 parent. It runs in the driver" in told
    assert "Kinds of genotypes that it accepts: dag." in told


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "mutations"], ["new", "-h"]])
def test_help_and_lists_load_no_torch(arguments: list[str], tmp_path: Path) -> None:
    script = (
        "import sys\nfrom nasgen.cli import app\n"
        f"try:\n    app({arguments!r})\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_version_is_shown_without_a_command() -> None:
    done = _nasgen("--version")
    assert (done.returncode, done.stdout) == (0, f"nasgen {nasgen.__version__}\n")
    assert _nasgen("--debug", "--version").returncode == 0


def test_shells_can_complete_commands() -> None:
    assert "--install-completion" in _nasgen("--help").stdout
    asked = {"_NASGEN_COMPLETE": "complete_bash", "COMP_WORDS": "nasgen se", "COMP_CWORD": "1"}
    done = CliRunner().invoke(app, env=asked, prog_name="nasgen")
    assert done.stdout.split() == ["search"]


def test_debugging_ends_with_the_command_that_asked_for_it(tmp_path: Path) -> None:
    with pytest.raises(nasgen.NasgenError):
        _nasgen("--debug", "status", str(tmp_path))
    assert _nasgen("status", str(tmp_path)).returncode == 2
    assert "NASGEN_DEBUG" not in os.environ


def test_every_command_offers_json_and_help() -> None:
    from typer.main import get_command

    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert {
        "search", "resume", "train", "status", "list", "show", "compare", "check", "new",
        "report", "ensemble", "doctor", "gc", "reproduce", "bench", "predictors", "dataset", "tune",
        "distill", "export", "predict", "prune", "study",
    } == set(commands)  # fmt: skip
    for name, command in commands.items():
        assert command.help, name
        assert any("--json" in p.opts for p in command.params), name


def test_the_doctor_finds_a_working_installation() -> None:
    done = _nasgen("doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    findings = json.loads(done.stdout)
    assert findings["ok"] is True
    assert "validation accuracy" in findings["a tiny training"]


def test_a_preset_leaves_out_options_of_what_another_takes_the_place_of(tmp_path: Path) -> None:
    """`score` of preset synthesis is one of `rank`, which `factor` does not take."""
    short = ["--data", "digits", "--trials", "1", "--quiet", *SERIAL]
    short += ["--set", "training.epochs=0.02"]
    named = ["--set", "environment.name=factor", "--set", "environment.truncation=0.1"]
    out = ["--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, ["search", "--preset", "synthesis", *short, *named, *out])
    assert done.exit_code == 0, done.output
    written = read_toml(tmp_path / "run" / "config.toml")["environment"]
    assert written["name"] == "factor"
    assert "score" not in written
    assert (written["final"], written["truncation"]) == (0.01, 0.1), "what both take stays"
    plugin = tmp_path / "own.py"
    plugin.write_text(
        "from dataclasses import dataclass\n"
        "import nasgen\n"
        "from nasgen.operators.environment.base import Choice, Environment\n\n"
        "@nasgen.environment('own')\n"
        "@dataclass(frozen=True)\n"
        "class Own(Environment):\n"
        '    """Keeps what is strong."""\n'
        "    least: float = 0.1\n"
        "    def choose(self, stock, rngs):\n"
        "        a = stock.strengths\n"
        "        masks = {n: m & (a[n] > self.least) for n, m in stock.support.items()}\n"
        "        return Choice(masks, stock.strengths)\n"
    )
    own = ["--plugin", str(plugin), "--set", "environment.name=own", "--out", str(tmp_path / "own")]
    done = CliRunner().invoke(app, ["search", "--preset", "shafiee2016", *short, *own])
    assert done.exit_code == 0, done.output
    assert read_toml(tmp_path / "own" / "config.toml")["environment"] == {
        "name": "own", "cluster": "kernel", "tags": True, "weights": "mean",
    }  # fmt: skip
    more = ["--set", "environment.retention_clusters=0.5"]
    done = CliRunner().invoke(app, ["search", "--preset", "shafiee2016", *short, *own, *more])
    assert done.exit_code == 2
    said = " ".join(done.output.split())
    assert "'environment.retention_clusters' is no setting" in said
    assert "Options of 'own': cluster, floor, cap, noise, least." in said
    wrong = ["--set", "environment.name=factor", "--set", "environment.score=loss"]
    done = CliRunner().invoke(app, ["search", "--preset", "synthesis", *short, *wrong])
    assert done.exit_code == 2, "what the command itself names is no option of the preset"
    assert "'environment.score' is no setting" in done.output


def test_a_second_ctrl_c_ends_the_process_at_once_and_raises_nothing() -> None:
    """As at a moment when a KeyboardInterrupt would abort: libraries are torn down, say."""

    def ended(code: str) -> Any:
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False,
            # A job in the background of a shell inherits that Ctrl-C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    code = (
        "import signal\n"
        "from nasgen.cli.interrupts import end_at_once, interrupt_once\n"
        "interrupt_once()\n"
        "try:\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', flush=True)\n"
        "try:\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "finally:\n"
        "    print('raised again', flush=True)\n"
    )
    done = ended(code)
    assert (done.returncode, done.stdout, done.stderr) == (130, "interrupted\n", "")
    # Ctrl-C after a command's end, while Python tidies up.
    code = code.replace("interrupt_once()\n", "interrupt_once()\nend_at_once()\n", 1)
    done = ended(code)
    assert (done.returncode, done.stdout) == (130, "")
    # Where Ctrl-C is ignored it stays so.
    code = code.replace("import signal", "import signal; signal.signal(2, signal.SIG_IGN)", 1)
    done = ended(code)
    assert (done.returncode, done.stdout) == (0, "raised again\n")
