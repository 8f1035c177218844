"""What ensembles, exports and budgets cost is read beside its goals, and written into documents."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("claims")


def chosen(seconds: float, peak_gib: float) -> list[Any]:
    took = {name: {"seconds": seconds, "cpu_s": 1.0, "members": 3} for name in ("greedy", "stack")}
    size = {"members": 200, "rows": 10_000, "classes": 100, "best_accuracy": 0.6}
    return [{**size, **took, "peak_gib": peak_gib}]


def exported(ratio: float) -> list[Any]:
    about = {"threads": 1, "ratio": {"1": ratio, "256": ratio}}
    ensemble = about | {"figure": "exported", "network": "dense", "units": [["Joined", 5]]}
    ms = {"onnxruntime_ms": {"1": 0.3, "256": 9.0}}
    return [ensemble, about | {"figure": "runtime", "network": "cifar10-10m", **ms}]


def kept(wall_s: float, over: float) -> list[Any]:
    about = {"data": "digits", "budget": "2m", "case": "late", "seed": 0}
    return [about | {"wall_s": wall_s, "over": over}]


@pytest.mark.parametrize(
    ("name", "found", "reached", "said"),
    [
        ("budget-kept", kept(115, -0.0417), True, ["115.0 s (-4.2 %)"]),
        ("budget-kept", kept(127.2, 0.06), False, ["127.2 s (+6.0 %)"]),
        ("selection", chosen(4.9, 1.83), True, ["4.90 s", "4.90 s", "1.96 GB"]),
        ("selection", chosen(5.1, 1.87), False, ["5.10 s", "5.10 s", "2.01 GB"]),
        ("exported", exported(0.99), True, 2 * ["0.99 × (joined)"]),
        ("exported", exported(1.01), False, 2 * ["1.01 × (joined)"]),
    ],
)
def test_costs_stand_beside_their_goals(
    claims: Any, name: str, found: list[Any], reached: bool, said: list[str]
) -> None:
    lines = list(claims.TOOLS[name].lines(found))
    goals = [line for line in lines if line.goal]
    assert {line.reached for line in goals} == {reached}
    assert [line.measured for line in goals] == said


def test_onnx_runtime_stands_there_without_a_goal(claims: Any) -> None:
    lines = [line for line in claims.TOOLS["exported"].lines(exported(0.5)) if not line.goal]
    assert [line.measured for line in lines] == ["0.50 × (0.3 ms)", "0.50 × (9 ms)"]
    assert "best network of cifar10-10m: time for 1 row at once, 1 thread" in lines[0].what


def test_the_selection_that_is_timed_is_read(
    claims: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ensembles = importlib.import_module("ensembles")
    given = type("Given", (), {"members": 4, "rows": 50, "classes": 3, "rounds": 3,
                               "methods": ["greedy"]})()  # fmt: skip
    ensembles.selection(given)
    lines = list(claims.TOOLS["selection"].lines(claims.values(capsys.readouterr().out)))
    assert [line.goal for line in lines] == ["< 5 s", "< 2 GB"]
    assert "4 networks, 50 rows, 3 classes" in lines[0].what


def test_steps_with_narrow_maps_have_a_line_a_batch_size(claims: Any) -> None:
    row = {"network": "resnet9", "widen": 1.5, "threads": 2, "batch": 64}
    rows = [row | {"side": 16, "ratio": 0.8}, row | {"side": 32, "ratio": 0.954}]
    lines = list(claims.TOOLS["narrow_maps"].lines([*rows, rows[0] | {"batch": 128}]))
    assert [line.measured for line in lines] == [
        "0.80 × at 16 pixels, 0.95 × at 32 pixels", "0.80 × at 16 pixels",
    ]  # fmt: skip
    assert not any(line.goal for line in lines)


def test_exported_ensembles_have_a_line_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    table = importlib.import_module("exports").table
    rows = exported(0.5)
    rows.append(rows[0] | {"threads": 2, "ratio": {"1": 1.03}})  # one was not measured
    assert table(rows).splitlines() == [
        "| networks | computed | 1 row, 1 thread | 256 rows, 1 thread | 1 row, 2 threads |",
        "|---|---|---|---|---|",
        "| dense | joined | 0.50 | 0.50 | **1.03** |",
        "",
        "ONNX Runtime beside torch, best network of cifar10-10m: time for 1 row at once, 1 thread: "
        "0.50 × (0.3 ms).",
        "ONNX Runtime beside torch, best network of cifar10-10m: time for 256 rows at once, 1 "
        "thread: 0.50 × (9 ms).",
    ]
    assert table([]) == "Nothing was measured yet."
