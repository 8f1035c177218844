"""benchmarks/trainings.py: rows are collected once, survive a kill, and become the table."""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasgen import genotypes
from nasgen.errors import DataError
from nasgen.predictors import trainings
from nasgen.predictors.features.network import NETWORK, of_network
from nasgen.predictors.pace import Pace
from nasgen.store.rows import Rows


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the script, which trains on digits alone, and as little as it can."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    module = importlib.import_module("trainings")
    monkeypatch.setattr(module, "schedule", lambda: ["digits"])
    monkeypatch.setattr(module, "LEVELS", ((0.01, 1.0),))
    monkeypatch.setattr(module, "MACS", (3e5, 6e5))
    monkeypatch.setattr(module, "UNIT", 100)
    return module


def asked(folder: Path, until: int) -> Namespace:
    return Namespace(
        data=folder, out=folder / "rows.jsonl", table=folder / "table.jsonl.gz", until=until,
        seconds=float("inf"),
    )  # fmt: skip


def test_rows_are_collected_once_and_become_a_table(script: Any, tmp_path: Path) -> None:
    given = asked(tmp_path, 2)
    script.collect(script.missing(given), given)
    old, new = map(json.loads, given.out.read_text().splitlines())
    assert old.pop("recipe") == new["recipe"]  # rows of before did not name it
    given.out.write_text(f"{json.dumps(old)}\n{json.dumps(new)}\n")
    first = given.out.read_bytes()
    with given.out.open("ab") as file:
        file.write(b'{"number": 2, "vers')  # a kill in the middle of a row
    given.until = 3
    assert script.missing(given) == [2]
    script.pack(given)
    Rows(given.out, script.KEYS).append({"number": 2})  # in the place of the half
    assert given.out.read_bytes() == first + b'{"number": 2}\n'
    given.out.unlink()  # the table alone knows them too
    assert script.missing(given) == [2]

    table = trainings.read(given.table)
    assert table.known == ("digits",)
    assert np.unique(table.networks).tolist() == [0, 1]
    images = np.exp(table.X[:3, -1])
    assert images == pytest.approx([100, 200, 400])
    head, (row, other) = trainings.lines(given.table)
    recipe = script.recipe_of(script.image_set("digits", tmp_path)).digest()
    assert [head["made"][r["made"]].get("recipe") for r in (row, other)] == [None, recipe]
    work = script.work(0, tmp_path)  # the same again from its number
    assert (row["set"], row["origin"]) == (work.data, work.origin)
    assert genotypes.read(row["genotype"]).key == work.dag.key
    assert table.accuracy.min() >= 0.05
    assert (np.diff(table.seconds.reshape(2, 3)) > 0).all()
    assert sys.float_info.min / 2 > 0  # what comes next in this process has denormal numbers


@pytest.mark.parametrize("text", [b"no table", gzip.compress(b'{"format": 0}\n')])
def test_a_table_that_cannot_be_read_counts_for_none(
    text: bytes, script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one of another version does, so that a new one can be made in its place."""
    given = asked(tmp_path, 1)
    given.table.write_bytes(text)
    assert script.missing(given) == [0]
    assert "counts for none" in capsys.readouterr().err
    script.collect([0], given)
    script.pack(given)
    assert len(trainings.read(given.table).X) == 3


def test_a_table_of_a_later_version_is_not_lost(script: Any, tmp_path: Path) -> None:
    given = asked(tmp_path, 1)
    given.table.write_bytes(gzip.compress(b'{"format": 99, "version": 1}\n'))
    with pytest.raises(DataError, match="A newer nasgen made it"):
        script.missing(given)


def test_networks_cost_what_was_drawn_and_all_origins_occur(script: Any) -> None:
    found = [script.network(np.random.default_rng(i)) for i in range(40)]
    place = NETWORK.index("log_macs")
    costs = [
        float(np.exp(of_network(script.SPACE.blueprint(dag, (3, 32, 32), 10))[place]))
        for origin, dag in found
        if origin == "sample"
    ]
    assert np.median(costs) == pytest.approx(4.5e5, rel=0.5)
    assert {"sample", "mutated", "design"} == {origin.split()[0] for origin, _ in found}


def test_the_average_lies_on_the_last_steps(script: Any) -> None:
    """Of weights that grow by 1 a step it is behind the last one by a tenth of the steps."""
    import torch

    net = torch.nn.Linear(1, 1, bias=False)
    average = script.Averaged(net)
    n = 400
    for step in range(1, n + 1):
        with torch.no_grad():
            net.weight.fill_(float(step))
        average.take()
    behind = n - next(average.network.parameters()).item()
    assert behind == pytest.approx(n / (script.TAIL + 2), rel=0.1)


def test_every_image_set_names_where_it_comes_from(script: Any) -> None:
    sets = importlib.import_module("image_sets")
    grey = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 1, 28, 28)

    def known(name: str) -> tuple[Any, Any]:
        asked_for.append(name)
        images = np.repeat(grey, 3, axis=1) if name == sets.CIFAR else grey
        return images, np.array([0, 2])

    for name, source in sets.SOURCES.items():
        asked_for: list[str] = []
        images, labels = source.make(known)
        assert set(asked_for) == set(source.parents), name
        assert images.dtype == np.uint8
        assert len(images) == len(labels)
    assert sorted(sets.schedule()).count("cifar10") == sets.SOURCES["cifar10"].share


def test_the_table_that_comes_with_nasgen_is_read_as_it_is(script: Any) -> None:
    """Its features are those of today, so no search has to compute them, and its pace is known."""
    head, rows = trainings.lines(trainings.SHIPPED)
    assert head["features"] == list(NETWORK)
    assert trainings.SHIPPED.stat().st_size <= script.MOST_BYTES
    assert len({row["number"] for row in rows}) == len(rows)
    sets = importlib.import_module("image_sets")
    table = trainings.read()
    assert table.known == tuple(sorted(sets.FOLDERS))
    assert set(table.names) == set(sets.SOURCES)
    for name, parents in zip(table.names, table.parents, strict=True):
        assert parents == sets.SOURCES[name].parents
    log_macs, log_values, n_steps = table.X[:, 1], table.X[:, 2], table.X[:, 3]
    image_s = [
        Pace.usual().image_s(float(np.exp(m)), float(np.exp(v)), float(n))
        for m, v, n in zip(log_macs, log_values, n_steps, strict=True)
    ]
    told = np.log(table.seconds) - table.X[:, -1] - np.log(image_s)
    assert np.median(np.abs(told - np.median(told))) < 0.2


def test_early_ranks_are_compared_with_those_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    early_ranks = importlib.import_module("early_ranks")

    def row(images: int, *accuracies: float, **more: Any) -> dict[str, Any]:
        points = [[images << k, a, 1 - a, 0.1] for k, a in enumerate(accuracies)]
        return {"set": "a", "diverged": False, "points": points} | more

    rows = [
        row(2000, 0.5, 0.6, 0.70),
        row(1000, 0.4, 0.55, 0.72),  # is shown fewer images, and wins late
        row(1000, 0.3, 0.5, 0.65),
        row(4000, 0.9, 0.9, 0.9, set="b"),  # nothing to compare it with
        row(9000, 0.9, 0.9, 0.1),  # too many images
        row(1000, 0.1, 0.2, 0.3, diverged=True),
    ]
    found = early_ranks.summary(rows, 2)
    assert (found["pairs"], found["close_pairs"]) == (3, 1)
    assert found["tau"] == pytest.approx({"accuracy": 1 / 3, "loss": 1 / 3, "close": -1}, abs=1e-3)
    assert (found["larger_overtakes"], found["n_overtaken"]) == (1.0, 1)
    assert early_ranks.summary(rows, 0)["tau"]["accuracy"] == 1
    assert early_ranks.summary(trainings.lines(trainings.SHIPPED)[1], 1)["pairs"] > 500
