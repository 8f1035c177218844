"""How the command line reads: tables at the width of a terminal, sentences of help."""

from __future__ import annotations

import re

import pytest
from rich.text import Text
from typer.main import get_command

from nasgen import registry
from nasgen.cli import app
from nasgen.cli.app import LONGEST_WORD, table_of
from nasgen.settings.config import SearchConfig

# Words of the code, or of persons, where a plain one says it better.
UNPLAIN = r"\b(told|asked for|whom|whoever|rightly|hardly|legs?|judged?|audited|fallen|looks)\b"

COLUMNS = ["trial", "generation", "operator", "parents", "state", "val_accuracy", "n_params"]
ROWS = [
    [12, 3, "insert-subgraph", "1 2", "failed: the loss became nan", "84.12 %", "19.8 k"],
    [3, 0, "r2r-widen-all", "", "complete", "-", "108 k"],
]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_tables_break_no_word_and_no_number(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    table_of("", COLUMNS, ROWS)
    text = capsys.readouterr().out
    whole = {*COLUMNS, "84.12 %", "19.8 k", "108 k", *["failed:", "the", "loss", "became", "nan"]}
    for part in (*whole, "insert-subgraph", "r2r-widen-all"):
        assert part in text
    if width >= 80:
        assert max(len(line.rstrip()) for line in text.splitlines()) <= width


def test_a_word_that_no_terminal_holds_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table_of("title", ["name", "path"], [["a", "x" * 300]])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.count("x") for line in lines) == 300
    assert LONGEST_WORD < 80


def _sentences() -> dict[str, str]:
    found = {}
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        found[name] = command.help or ""
        for parameter in command.params:
            found[f"{name} {parameter.name}"] = getattr(parameter, "help", None) or ""
    for group in registry.GROUPS:
        for entry in registry.described(group):
            found[f"{group} {entry.name}"] = entry.summary
    for section, field in SearchConfig.model_fields.items():
        found[section] = field.description or ""
        for key, own in getattr(field.annotation, "model_fields", {}).items():
            found[f"{section}.{key}"] = own.description or ""
    return found


def test_help_is_written_in_plain_words() -> None:
    found = _sentences()
    assert len(found) > 150
    strange = {name: text for name, text in found.items() if re.search(UNPLAIN, text)}
    assert strange == {}


def test_every_option_of_every_command_is_explained() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    bare = {
        (name, parameter.name)
        for name, command in commands.items()
        for parameter in command.params
        if not getattr(parameter, "help", None)
    }
    assert bare <= {("predictors", "action")}, bare  # its metavar is the one word it takes


def test_no_word_of_a_help_is_taken_for_markup() -> None:
    """Typer reads [word] as a style: a section of the settings must be written \\[word]."""
    swallowed = {}
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        texts = {name: command.help} | {f"{name} {p.name}": p.help for p in command.params}
        swallowed |= {
            where: text
            for where, text in texts.items()
            if text and Text.from_markup(text).plain != text.replace("\\[", "[")
        }
    assert swallowed == {}
