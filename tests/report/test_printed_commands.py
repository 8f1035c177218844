"""What nasgen prints can be pasted: every command and snippet of a report and of the terminal."""

from __future__ import annotations

import ast
import html
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.errors import typed

ROOT = Path(__file__).parents[2]
TINY = [
    "--set", "training.epochs=0.1", "--set", "finish.networks=0", "--set", "predictor.name=none",
    "--set", "execution.executor=serial", "--set", "algorithm.population=2",
    "--set", "algorithm.tournament=2", "--quiet",
]  # fmt: skip


def _nasgen(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, (words, done.output, done.exception)
    return done.output


def _table(path: Path) -> str:
    rng = np.random.default_rng(0)
    lines = [
        f"{rng.normal():.2f},{'ab'[i % 2]},{rng.normal():.2f},{'yes' if i % 2 else 'no'}"
        for i in range(80)
    ]
    path.write_text("\n".join(["width,kind,height,good", *lines]))
    return f"csv:{path}?target=good"


def _images(path: Path) -> str:
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = rng.integers(0, 99, (80, 1, 6, 6)) + 99 * y[:, None, None, None]
    np.savez(f"{path}.npz", x=x.astype(np.uint8), y=y)
    return f"npz:{path}.npz"


def _sequences(path: Path) -> str:
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = rng.normal(size=(80, 9, 2)).astype(np.float32) + y[:, None, None]
    np.savez(f"{path}.npz", x=x, y=y, lengths=rng.integers(3, 10, 80))
    return f"npz:{path}.npz"


@pytest.fixture(scope="module", params=[_images, _table, _sequences])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in a folder with a blank in its name, named by a relative path when it was made."""
    home = tmp_path_factory.mktemp("printed")
    source: str = request.param(home / "rows")
    before = Path.cwd()
    os.chdir(home)
    try:
        _nasgen("search", "--data", source, "--trials", "2", "--out", "my run", *TINY)
    finally:
        os.chdir(before)
    return home / "my run"


def _blocks(page: str) -> list[str]:
    return [
        html.unescape(block) for block in re.findall(r"<pre[^>]*><code>(.*?)</code>", page, re.S)
    ]


def _lines(block: str) -> Iterator[list[str]]:
    for line in block.splitlines():
        if line.startswith("nasgen "):
            yield shlex.split(line)[1:]


def test_the_snippets_and_commands_of_a_report_work_from_any_folder(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (run / "report.html").read_text()
    blocks = _blocks(page)
    (snippet,) = (b for b in blocks if b.startswith("import nasgen"))
    exec(compile(snippet, "report.html", "exec"), {})
    assert len(capsys.readouterr().out.strip().splitlines()) >= 1
    commands = [words for block in blocks for words in _lines(block)]
    assert [words[0] for words in commands] == ["show", "resume", "train"]
    for words in commands:
        _nasgen(*_short(words))


def _short(words: list[str]) -> list[str]:
    """The same command, with less to train."""
    less = {"resume": ["--quiet"], "train": ["--epochs", "0.1"]}
    return [*("+1" if w == "+20" else w for w in words), *less.get(words[0], [])]


def test_page_and_terminal_say_the_same_of_a_run(run: Path) -> None:
    terminal = " ".join(_nasgen("status", str(run)).split())
    page = html.unescape((run / "report.html").read_text()).replace("\u202f", " ")
    wall = re.search(r"<dt>wall time</dt><dd>([^<]*)</dd>", page)
    assert wall is not None
    assert f"; {wall[1]}" in terminal
    for number in re.findall(r"<dd>([\d.]+ %)</dd>", page.split("</header>")[0]):
        assert number in terminal
    assert "complete" in terminal
    assert "continue with" not in terminal


def test_an_unfinished_run_is_told_to_go_on(run: Path) -> None:
    opened = nasgen.load(run)
    record = opened.record
    opened.folder.write_json("run.json", {**record, "summary": None})
    try:
        opened.report()
        page = (run / "report.html").read_text()
        hints = [w for block in _blocks(page) for w in _lines(block) if w[0] == "resume"]
        assert hints == [["resume", str(run.resolve())]]
        said = re.findall(r"`nasgen (.*?)`", _nasgen("status", str(run)))
        assert [shlex.split(words) for words in said] == [["resume", str(run)]]
        _nasgen("resume", str(run), "--quiet")
    finally:
        opened.folder.write_json("run.json", record)
        opened.report()


def test_words_of_a_command_are_quoted_where_a_shell_needs_that() -> None:
    assert typed("resume", Path("my run")) == "`nasgen resume 'my run'`"
    assert typed("train", "a", "--trial", 3) == "`nasgen train a --trial 3`"


def _texts(source: str) -> Iterator[str]:
    """Yield the texts of a module, with X where a value goes, {path} where that is a path."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else _value(part)
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _value(part: ast.expr) -> str:
    return "{path}" if "path" in ast.unparse(part) and "typed(" not in ast.unparse(part) else "X"


def test_commands_in_messages_exist_with_their_options_and_quote_their_values() -> None:
    known = get_command(app).commands  # type: ignore[attr-defined]
    n = 0
    for path in sorted((ROOT / "nasgen").rglob("*.py")):
        tree = path.read_text()
        for text in _texts(tree):
            for line in re.findall(r"`nasgen ([a-z][^`]*)`", " ".join(text.split())):
                command, *words = shlex.split(line.replace("...", ""))
                n += 1
                assert command in known, (path.name, line)
                options = {o for p in known[command].params for o in p.opts} | {"--help"}
                used = {w.partition("=")[0] for w in words if w.startswith("--")}
                assert used <= options, (path.name, line)
                assert "{path}" not in line, (path.name, "quote it: nasgen.errors.typed")
    assert n > 20
