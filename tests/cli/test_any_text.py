"""Text that is no UTF-8, and consoles that have few characters, cost nobody a result."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import nasgen
from nasgen.cli import app
from nasgen.cli.output import PLAIN
from nasgen.data import pictures
from nasgen.data.base import load
from nasgen.errors import ConfigError, DataError, StoreError
from nasgen.settings.config import assignments, read_toml
from nasgen.settings.text import readable

PLUGIN = """
import nasgen

calls = []

@nasgen.objective("moody", options={"direction": "maximize"})
def moody(measured):
    calls.append(1)
    if len(calls) == 2:
        raise ValueError("bytes \\udce9, half \\ud83d, a dash \\u2013")
    return len(calls)
"""
SETTINGS: dict[str, Any] = {
    "space": {"max_channels": 8, "max_vertices": 4},
    "algorithm": {"name": "random"},
    "training": {"epochs": 0.2},
    "budget": {"trials": 3},
    "finish": {"networks": 0},
    "execution": {"executor": "serial"},
    "predictor": {"name": "none"},
    "objectives": {"names": ["moody"]},
}


def _photos(folder: Path) -> Path:
    """Write images of two classes, one of which has a name in Latin 1."""
    rng = np.random.default_rng(0)
    for name in (b"caf\xe9", b"tea"):
        own = folder / "photos" / os.fsdecode(name)
        own.mkdir(parents=True)
        for i in range(10):
            Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8)).save(own / f"{i}.png")
    return folder / "photos"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    """A search over photos one of whose classes, and a message, hold bytes that are no text."""
    folder = tmp_path_factory.mktemp("text")
    photos = _photos(folder)
    (folder / "moody.py").write_text(PLUGIN)
    out = folder / "run é"
    settings = {
        "data": {"source": f"folder:{photos}"},
        "plugins": {"files": [str(folder / "moody.py")]},
    }
    return nasgen.run({**SETTINGS, **settings}, out=out)


def test_bytes_that_are_no_text_are_shown_as_escapes_and_end_nothing(run: nasgen.Run) -> None:
    assert run.classes == ("caf\\xe9", "tea")
    assert run.summary["trials"]["complete"] == 2
    [failed] = [t for t in nasgen.load(run.path).trials if t.state == "FAILED"]
    assert "a dash –" in str(failed.failure)
    page = run.report_path.read_text(encoding="utf-8")
    assert "bytes \\xe9, half \\ud83d, a dash –" in page
    names = run.network().predict_names(list((run.path.parent / "photos/tea").iterdir()))
    assert set(names) <= {"caf\\xe9", "tea"}


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "latin-1", "utf-8"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["search", "--help"],
        ["list", "mutations"],
        ["show", "RUN"],
        ["status", "RUN"],
        ["report", "RUN"],
        ["show", "RUN", "--trial", "1", "--json"],
        ["bench", "synthetic-dag", "--seeds", "1", "--queries", "3", "--algorithms", "random"],
    ],
    ids=" ".join,
)
def test_every_console_can_show_what_commands_print(
    run: nasgen.Run, arguments: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    with pytest.raises(SystemExit) as ended:
        app([str(run.path) if a == "RUN" else a for a in arguments])
    written = []
    for stream in streams:
        stream.flush()
        written.append(stream.buffer.getvalue().decode(encoding))  # type: ignore[attr-defined]
    assert ended.value.code in (0, None), written
    assert written[0].strip()
    if arguments[0] == "bench":
        assert ("±" if encoding not in ("ascii",) else "+/-") in written[0]
    if "--json" in arguments:
        assert "half \\ud83d, a dash –" in json.loads(written[0])["failure"]


@given(
    st.text(st.characters(codec=None), max_size=20) | st.text(st.sampled_from([*PLAIN, "\udce9"]))
)
def test_readable_text_can_be_written_and_ordinary_text_stays(text: str) -> None:
    shown = readable(text)
    shown.encode()
    assert readable(shown) == shown
    if not any("\ud800" <= c <= "\udfff" for c in text):
        assert shown == text


def test_a_path_that_a_config_cannot_hold_is_refused_before_anything_starts(tmp_path: Path) -> None:
    inner = tmp_path / os.fsdecode(b"\xe9")
    inner.mkdir()
    source = f"folder:{_photos(inner)}"
    settings = {**SETTINGS, "objectives": {}, "data": {"source": source}}
    with pytest.raises(ConfigError, match=r"data.source: .*\\xe9/photos' holds bytes that are no"):
        nasgen.run(settings, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(StoreError, match="path of Unicode text"):
        nasgen.run({**SETTINGS, "objectives": {}}, out=inner / "run")
    told = pictures.Told()
    assert pictures.read(next((inner / "photos/tea").iterdir()), told).shape == (1, 6, 6)


BOM = b"\xef\xbb\xbf"
DEEP = 100_000


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"seed = 1\n", None),
        (BOM + b"seed = 1\r\n", None),
        ("# café\nseed = 1\n".encode("utf-16"), "as UTF-8 text.*save it as UTF-8"),
        ("# café\nseed = 1\n".encode("latin-1"), "as UTF-8 text.*save it as UTF-8"),
        (b"a = " + b"[" * DEEP, "nested too deeply"),
        (b"a = " + b"[" * 300 + b"]" * 300, "nested too deeply"),
        (b"a = " + b"{b = " * DEEP, "nested too deeply"),
        (b"[" + b"a." * 2000 + b"a]\nb = 1", "nested too deeply"),
        (b"a = " + b"9" * 5000, "expected TOML, but"),
        (b"a = 1979-99-99", "expected TOML, but"),
        (b"\0", "expected TOML, but"),
        (b"seed", "expected TOML, but"),
    ],
)  # fmt: skip
def test_configs_of_every_origin_are_read_or_refused_in_a_sentence(
    tmp_path: Path, data: bytes, words: str | None
) -> None:
    path = tmp_path / "search.toml"
    path.write_bytes(data)
    if words is None:
        assert read_toml(path) == {"seed": 1}
    else:
        with pytest.raises(ConfigError, match=words):
            read_toml(path)


def test_settings_of_the_command_line_are_checked_like_those_of_files() -> None:
    with pytest.raises(
        ConfigError, match=r"--set a.b: expected a value, got lists nested too deep"
    ):
        assignments(["a.b=" + "[" * DEEP, "seed=1"])
    assert assignments(["a.b=" + "9" * 5000])["a"]["b"] == "9" * 5000


@pytest.mark.parametrize("text", ["9" * 5000 + "x1x1", "²x1x1", "1x1", "0x1x1", "-1x1x1", "axbxc"])
@pytest.mark.parametrize("scheme", ["npz", "csv"])
def test_shapes_that_are_none_are_a_sentence(tmp_path: Path, scheme: str, text: str) -> None:
    path = tmp_path / "d"
    path.write_text("a,y\n1,0\n2,1\n")
    more = {"npz": f"?shape={text}", "csv": f"?target=y&shape={text}"}[scheme]
    with pytest.raises(DataError, match=r"expected .*CxHxW"):
        load(f"{scheme}:{path}{more}")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[" * DEEP, "nested too deeply"),
        (b'{"a": ' * 500 + b"1" + b"}" * 500, "nested too deeply"),
        (b"9" * 5000, "expected the JSON of a genotype"),
        (BOM + b'{"kind": "nonsense"}', "expected a genotype whose 'kind'"),
        ("{}".encode("utf-16"), "save it as UTF-8"),
        (b'{"kind": ["dag"]}', "expected a genotype whose 'kind'"),
        (b'{"kind": "dag", "vertices": 7}', "expected the JSON of a genotype"),
        (b"NaN", "expected"),
    ],
)  # fmt: skip
def test_genotypes_of_every_origin_are_refused_in_a_sentence(
    tmp_path: Path, data: bytes, words: str
) -> None:
    from nasgen.runs import reading

    path = tmp_path / "network.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=words):
        reading.resolved({"origin": {"network": str(path)}})
