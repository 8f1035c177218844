"""Runs on arrays, tables and sequences: what is stored, what new rows are treated like."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.bench import labels
from nasgen.cli import app
from nasgen.data.base import make
from nasgen.errors import ConfigError, DataError, StoreError
from nasgen.evaluation.feeds.image import ImageFeed
from nasgen.evaluation.feeds.sequence import SequenceFeed
from nasgen.runs import reading, suspicious

SMALL: dict[str, Any] = {
    "algorithm": {"population": 4},
    "budget": {"trials": 4},
    "training": {"epochs": 2.0},
    "finish": {"networks": 0},
    "execution": {"executor": "serial"},
    "predictor": {"name": "none"},
}


def _csv(path: Path, target: str = "value") -> Path:
    """Write a table with texts, gaps and a target that follows from them."""
    rng = np.random.default_rng(0)
    lines = ["size,town,empty,value,kind"]
    for i in range(90):
        town = ("Ulm", "Kiel", "")[i % 3]
        size = "" if i % 7 == 0 else f"{rng.normal():.4f}"
        lines.append(f"{size},{town},,{(i % 3) * 10 + 0.25:.2f},{'ab'[i % 3 == 0]}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_is_learnt_and_new_rows_are_read_as_training_rows_were(tmp_path: Path) -> None:
    table = _csv(tmp_path / "t.csv")
    run = nasgen.run(
        {**SMALL, "data": {"source": f"csv:{table}?target=value"}, "training": {"epochs": 20.0}},
        out=tmp_path / "run",
    )
    assert (run.config.space.name, run.config.objectives.names) == ("mlp", ("val_rmse",))
    assert run.config.data.task == "regression"
    assert {*run.summary["best"]} >= {"val_rmse", "test_rmse"}
    labels.write(labels.of_run(run, "structural"), tmp_path / "networks.csv")
    found = labels.of_file(tmp_path / "networks.csv")  # more is better
    assert found.y.tolist() == [-float(row["val_rmse"]) for row in found.rows]
    data = run.record["data"]
    assert (data["form"], data["task"], data["classes"]) == ("table", "regression", [])
    table.unlink()  # what the run keeps is enough
    network = nasgen.load(tmp_path / "run").network()
    rows = [
        {"size": None, "town": town, "empty": None, "kind": kind}
        for town, kind in (("Ulm", "b"), ("Kiel", "a"), ("", "a"))
    ]
    by_name = network.predict(rows)
    assert by_name.argsort().tolist() == [0, 1, 2]
    by_place = network.predict([["", "Ulm", "", "b"], ["", "Kiel", "", "a"], ["?", "NA", "", "a"]])
    np.testing.assert_array_equal(by_name, by_place)
    with pytest.warns(UserWarning, match="column 'town': 'Bonn' did not occur in training"):
        assert np.isfinite(network.predict([{**rows[0], "town": "Bonn"}])).all()
    for bad, words in (
        ([{"size": 1}], "'town', 'empty', 'kind' are missing"),
        ([{**rows[0], "size": "big"}], "column 'size' is 'big', expected a number"),
        ([[1, 2]], r"expected rows of 4 columns .* shape \(1, 2\)"),
        (3.0, "expected rows, as a 2-D array"),
    ):
        with pytest.raises(DataError, match=words):
            network.predict(bad)


def test_classes_of_a_table_keep_their_names(tmp_path: Path) -> None:
    table = _csv(tmp_path / "t.csv")
    run = nasgen.run(
        {**SMALL, "data": {"source": f"csv:{table}?target=kind"}}, out=tmp_path / "run"
    )
    assert run.classes == ("a", "b")
    assert {*run.summary["best"]} >= {"val_accuracy", "test_accuracy"}
    assert "rows of 4 columns, 2 classes" in run.report_path.read_text()


def test_arrays_given_in_python_stay_with_the_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 5))
    run = nasgen.run(SMALL, data=(x, x[:, 0] > 0), out=tmp_path / "run")
    assert run.classes == ("False", "True")
    assert f'source = "array:{run.dataset.digest}"' in (tmp_path / "run/config.toml").read_text()
    shutil.move(tmp_path / "run", tmp_path / "moved")
    again = nasgen.resume(tmp_path / "moved", trials="+1")
    assert again.summary["trials"]["complete"] == 5
    assert again.network().predict(x[:7]).shape == (7,)
    (tmp_path / "moved" / f"{run.dataset.digest}.npz").unlink()
    with pytest.raises(DataError, match="does not exist"):
        nasgen.resume(tmp_path / "moved", trials="+1")
    assert nasgen.load(tmp_path / "moved").network().predict(x[:7]).shape == (7,)
    kept = tmp_path / "moved" / "transform.npz"
    for damaged in (b"", kept.read_bytes()[:100]):
        kept.write_bytes(damaged)
        with pytest.raises(
            StoreError, match=r"is no intact .npz file.* Delete transform.json, and both"
        ):
            nasgen.load(tmp_path / "moved").network().predict(x[:7])


def test_sequences_of_unequal_length_are_read_from_a_file_and_from_a_list(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    items = [rng.normal(size=(int(n), 2)) for n in rng.integers(1, 9, 60)]
    y = np.array([item[:, 0].mean() for item in items])
    lengths = np.array([len(item) for item in items])
    padded = np.full((60, 8, 2), np.nan)
    for row, item in zip(padded, items, strict=True):
        row[: len(item)] = item
    np.savez(tmp_path / "s.npz", x=padded, lengths=lengths, y=y)
    from_file = nasgen.run(
        {**SMALL, "data": {"source": f"npz:{tmp_path / 's.npz'}"}}, out=tmp_path / "a"
    )
    from_list = nasgen.run(SMALL, data=(items, y), out=tmp_path / "b")
    histories = [[t.objectives for t in run.trials] for run in (from_file, from_list)]
    assert histories[0] == histories[1]
    assert from_file.record["data"]["form"] == "sequence"
    alone = from_file.network().predict([items[3]])
    together = from_file.network().predict(items[:9])  # a longer batch: more padding
    np.testing.assert_allclose(alone[0], together[3], rtol=1e-5)


def test_a_search_space_of_images_refuses_a_table_and_an_objective_another_task(
    tmp_path: Path,
) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    with pytest.raises(ConfigError, match=r"'dag-cnn' reads images .* leave space.name out"):
        nasgen.run({**SMALL, "space": {"name": "dag-cnn"}}, data=(x, x[:, 0]), out=tmp_path / "r")
    assert not (tmp_path / "r").exists()
    objective = {"objectives": {"names": ["val_accuracy"]}}
    with pytest.raises(ConfigError, match=r"task 'regression' does not measure.*val_rmse, val_mae"):
        nasgen.run({**SMALL, **objective}, data=(x, x[:, 0]), out=tmp_path / "r")
    with pytest.raises(ConfigError, match=r"objectives.constraint: 'val_r2' reads val_r2"):
        reading.resolved({"objectives": {"constraint": "val_r2 > 0.5"}})
    with pytest.raises(DataError, match=r"expected a nasgen.Dataset, .x, y. or .* got tuple of 3"):
        nasgen.run(SMALL, data=(x, x, x), out=tmp_path / "r")


def test_many_integer_classes_get_a_caution(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i % 25}\n" for i in range(100))
    (tmp_path / "t.csv").write_text("a,y\n" + rows)
    source = f"csv:{tmp_path / 't.csv'}?target=y"
    [text] = suspicious.cautions(reading.resolved({"data": {"source": source}}))
    assert "25 different integers" in text
    assert "data.task = 'regression'" in text
    asked = {"data": {"source": source, "task": "regression"}}
    assert suspicious.cautions(reading.resolved(asked)) == []


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("constant", "a,y\n" + "1,2.5\n2,2.5\n" * 9, "2.5 in every row"),
        ("gaps", "a,y\n" + "1,2.5\n2,nan\n" * 9, "line 3, column 'y' is 'nan'"),
        ("mixed", "a,y\n" + "1,2.5\n2,3.5\n" * 9 + "two,1.5\n", "line 20, column 'a' is 'two'"),
    ],
)
def test_bad_tables_are_one_sentence_and_exit_2(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    table = tmp_path / f"{name}.csv"
    table.write_text(text)
    given = ["--data", f"csv:{table}?target=y", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, ["search", *given, "--set", "data.task=regression"])
    assert result.exit_code == 2
    assert words in result.stderr.replace("\n", " ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ([0, 3, 2], "sequence 0 has the length 0, expected 1 to 4"),
        ([1, 9, 2], "sequence 1 has the length 9"),
        ([1.0, 2.0, 2.0], "lengths must hold integers"),
    ],
)
def test_bad_sequences_are_named(lengths: list[Any], words: str) -> None:
    x, y = np.ones((30, 4), dtype=np.int64), np.arange(30) % 2
    given = {"x": x, "lengths": np.array(lengths * 10)}
    with pytest.raises(DataError, match=words):
        nasgen.run(SMALL, data=(given, y))


def test_data_that_cannot_be_read_are_told_in_their_own_words(tmp_path: Path) -> None:
    x, y = np.ones((30, 2, 9), dtype=np.float32), np.linspace(0, 1, 30)
    np.savez(tmp_path / "turned.npz", x=x, lengths=np.full(30, 9), y=y)
    y[3] = np.nan
    np.savez(tmp_path / "nan.npz", x=x, lengths=np.full(30, 2), y=y)
    words = {"turned": r"length 9, expected 1 to 2; .*read as \(N, T, F\)", "nan": r"y\[3\] is nan"}
    for name, said in words.items():
        with pytest.raises(DataError, match=said):
            nasgen.run({**SMALL, "data": {"source": f"npz:{tmp_path / name}.npz"}})


def test_lists_of_rows_are_told_by_their_lengths_and_cells() -> None:
    y = [0, 1] * 10
    assert make("d", [[1, 2, 3], [4, 5]] * 10, y).form == "sequence"
    mixed = make("d", [["a", 1.0, None], ["b", 2.5, "x"]] * 10, y)
    assert (mixed.form, [c.kind for c in mixed.columns]) == ("table", ["text", "number", "text"])
    assert make("d", [[1.5, 2.0], [0.0, 1.0]] * 10, y).form == "table"


def test_new_rows_are_read_as_the_data_set_reads_them() -> None:
    pictures = np.arange(20 * 16).reshape(20, 4, 4) % 256  # int64, without an axis of channels
    for x in (pictures, pictures / 256):
        data = make("d", x, np.arange(20) % 2)
        feed = ImageFeed.fit(data, np.arange(len(data.targets)))
        read = feed.read(x[:3])["x"]
        assert (read.shape, read.dtype) == ((3, 1, 4, 4), data.inputs["x"].dtype)
    with pytest.raises(DataError, match="of type float32"):
        feed.read(pictures[:3])
    tokens = make("d", [[1, 2, 3], [4, 5]] * 10, np.arange(20) % 2)
    reader = SequenceFeed.fit(tokens, np.arange(len(tokens.targets)))
    with pytest.raises(DataError, match=r"one of single values; for one sequence write \[x\]"):
        reader.read([1, 2, 3])
    with pytest.raises(DataError, match="sequence 1 has the length 0"):
        reader.read([[1, 2], []])


def test_few_whole_values_get_a_caution() -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    whole, scaled = (make("d", x, y * size) for size in (1.0, 0.5))
    [text] = suspicious.cautions(reading.resolved({}, dataset=whole))
    assert "2 different whole numbers, read as values" in text
    assert suspicious.cautions(reading.resolved({}, dataset=scaled)) == []


def test_ragged_object_arrays_are_refused_in_files(tmp_path: Path) -> None:
    ragged = np.empty(4, dtype=object)
    ragged[:] = [np.ones(i + 1) for i in range(4)]
    lengths, y = np.arange(1, 5), np.array([0, 1, 0, 1])
    np.savez(tmp_path / "s.npz", x=ragged, lengths=lengths, y=y, allow_pickle=True)
    with pytest.raises(DataError, match="x holds Python objects, which are pickled"):
        nasgen.run({**SMALL, "data": {"source": f"npz:{tmp_path / 's.npz'}"}})


@pytest.mark.parametrize("kind", ["table", "tokens", "vectors"])
def test_zero_cost_scores_judge_networks_of_every_form(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 7, 80)
    x: Any = {
        "table": rng.normal(size=(80, 4)),
        "tokens": [rng.integers(0, 5, n) for n in lengths],
        "vectors": [rng.normal(size=(n, 3)) for n in lengths],
    }[kind]
    names = ["jacob_cov", "naswot", "synflow", "grad_norm", "flops"]
    screened = {"name": "forest", "features": "+".join(names), "warmup": 4}
    settings = {**SMALL, "predictor": screened, "budget": {"trials": 9}}
    run = nasgen.run(settings, data=(x, rng.normal(size=80)), out=tmp_path / "run")
    assert run.summary["trials"]["complete"] == 9
    assert run.summary["trials"]["filtered"] > 0


def test_too_few_rows_to_train_on_are_told_before_anything_starts(tmp_path: Path) -> None:
    rows, values = np.eye(3, 2), np.array([0.5, 1.5, 2.5])
    with pytest.raises(DataError, match="expected at least 2 rows to train on, got 1"):
        nasgen.run({"budget": {"trials": 3}}, data=(rows, values), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
