"""The documents keep their promises: what they show runs, what they name exists."""

from __future__ import annotations

import ast
import itertools
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from nasgen import papers, registry
from nasgen.cli import app, checking

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = [
    *(
        ROOT / f"{name}.md"
        for name in ("README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG", "SECURITY")
    ),
    *sorted((ROOT / "docs").rglob("*.md")),
]
N_README_WORDS = 1000
WALKED = "From a folder of images"  # the section of the README that is run from end to end

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def _commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command: lines of console blocks, and code in the text."""
    lines = [
        line.removeprefix("$ ")
        for block in _blocks(text, "console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    for line in lines:
        if line.startswith(("nasgen ", "python ", "make ")):
            words = shlex.split(line.partition(" #")[0].replace("...", ""))
            yield words


def test_the_readme_stays_short() -> None:
    assert len(README.read_text().split()) <= N_README_WORDS


@each_document
def test_links_lead_to_files_that_exist(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (document.parent / target.partition("#")[0]).exists(), target


@each_document
def test_commands_exist_with_their_options(document: Path) -> None:
    known = get_command(app).commands  # type: ignore[attr-defined]
    makefile = (ROOT / "Makefile").read_text()
    for program, *words in _commands(document.read_text()):
        if program == "make":
            assert re.search(rf"^{words[0]}:", makefile, re.M), words
        elif program == "python" and words and words[0].endswith(".py"):
            assert (ROOT / words[0]).exists() or words[0].endswith("/example.py"), words
        elif program == "nasgen" and words and re.fullmatch(r"[a-z]+", words[0]):
            assert words[0] in known, words
            options = {o for p in known[words[0]].params for o in (*p.opts, *p.secondary_opts)}
            used = {w.partition("=")[0] for w in words[1:] if w.startswith("--")}
            assert used - {"--help"} <= options, words


@each_document
def test_members_that_commands_name_are_registered(document: Path) -> None:
    others = checking.OTHERS  # which `nasgen list` knows besides
    for program, *words in _commands(document.read_text()):
        if program != "nasgen" or not words:
            continue
        given = dict(itertools.pairwise(words))
        if words[0] == "list" and len(words) > 1 and words[1].islower():
            assert words[1] in (*registry.GROUPS, *others), words
            if len(words) > 2 and words[2].islower() and words[1] not in others:
                assert words[2] in registry.names(words[1]), words
        if "--preset" in given:
            assert given["--preset"] in papers.presets(), words
        if "--algorithm" in given and words[0] == "search":
            assert given["--algorithm"] in registry.names("algorithms"), words


@pytest.fixture
def one_core() -> Iterator[None]:
    """Leave the test one core: threads of small networks wait long for each other beside others."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


def test_the_walk_of_the_readme_leads_from_images_to_a_network_in_use(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    one_core: None,
) -> None:
    """Commands and Python of the section in order, as a reader would type them."""
    text = README.read_text()
    section = text[text.index(f"## {WALKED}") :].split("\n## ")[0]
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    n_run = 0
    for language, block in re.findall(r"```(console|python)\n(.*?)```", section, re.S):
        if language == "python":
            exec(compile(block, "README.md", "exec"), names)
            continue
        for program, *words in _commands(f"```console\n{block}```"):
            n_run += 1
            if program == "python" and words[0].endswith("/example.py"):  # of an export
                done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
                assert done.stdout.startswith("row 0: "), done.stderr
                continue
            if program == "python":
                monkeypatch.setattr(sys, "argv", words)
                runpy.run_path(words[0], run_name="__main__")
                continue
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 0, (words, done.output)
    assert n_run >= 9
    used, *_ = capsys.readouterr().out.splitlines()
    name, accuracy = used.split()
    assert name in ("circle", "square", "triangle")
    assert float(accuracy) > 0.5  # a third is chance
    assert (tmp_path / "runs" / "shapes" / "report.html").exists()


def test_the_operator_of_the_readme_is_the_one_of_the_examples(registry_restored: None) -> None:
    (operator,) = (b for b in _blocks(README.read_text(), "python") if "@nasgen.mutation" in b)
    exec(compile(operator, "README.md", "exec"), {})
    assert "double-channels" in registry.names("mutations")
    example = (ROOT / "examples" / "double_channels.py").read_text()
    assert _function(operator) == _function(example)


def _function(source: str) -> str:
    """Return the code of the one function, without its docstring, decorators and comments."""
    (function,) = (n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef))
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:]
    function.decorator_list = []
    return ast.unparse(function)
