"""What a loader does to rows is done to those that come later: the network answers as in its test.

A run's data file is deleted first; what the run keeps is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import nasgen
from nasgen.data.base import Dataset, make
from nasgen.data.scaling import Scaling
from nasgen.errors import DataError, IncompatibleError
from nasgen.evaluation.feeds.image import ImageFeed

SETTINGS: dict[str, Any] = {
    "algorithm": {"name": "random"},
    "budget": {"trials": 1},
    "space": {"max_channels": 16, "max_vertices": 4},
    "training": {"epochs": 0.5},
    "finish": {"networks": 0},
    "execution": {"executor": "serial"},
    "predictor": {"name": "none"},
}
N, LABELS = 60, np.arange(60) % 3


@dataclass
class Case:
    """A network after its data were deleted, its test rows as users have them, its answers."""

    network: Any
    rows: dict[str, Any]
    wanted: Any
    labels: Any


def _pixels(channels: int = 1, most: int = 256) -> Any:
    rng = np.random.default_rng(0)
    return rng.integers(0, most, (N, channels, 6, 5)) // 4 + LABELS[:, None, None, None] * most // 4


def _answers(run: nasgen.Run) -> tuple[Any, Any]:
    network = run.network()
    return network, network.test


def _table(folder: Path) -> Case:
    rng = np.random.default_rng(1)
    units = np.array([2000.0, 0.004, -7.0, 1e9])
    cells = units * (1 + 0.01 * rng.normal(size=(N, 4)) + 0.05 * LABELS[:, None])
    path = folder / "t.csv"
    lines = [
        ",".join([*map(repr, row.tolist()), f"c{y}"]) for row, y in zip(cells, LABELS, strict=True)
    ]
    path.write_text("a,b,c,d,kind\n" + "\n".join(lines) + "\n")
    source = f"csv:{path}?target=kind&shape=1x1x4"
    run = nasgen.run(
        {**SETTINGS, "data": {"source": source}, "training": {"epochs": 30.0}}, out=folder / "run"
    )
    raw = run.dataset.x_test.reshape(-1, 4)
    network, wanted = _answers(run)
    assert network.test_accuracy == 1.0
    names = "abcd"
    rows = {
        "array": raw,
        "images": raw.reshape(-1, 1, 1, 4),
        "list": raw.tolist(),
        "columns": {n: raw[:, i] for i, n in enumerate(names)},
        "mappings": [
            dict(zip(reversed(names), reversed(row), strict=True)) for row in raw.tolist()
        ],
    }
    path.unlink()
    return Case(
        nasgen.load(run.path).network(), rows, wanted, [f"c{y}" for y in run.dataset.y_test]
    )


def _folder(channels: int) -> Callable[[Path], Case]:
    def made(folder: Path) -> Case:
        pixels = _pixels(channels).astype(np.uint8)
        files = []
        for i, (image, y) in enumerate(zip(pixels, LABELS, strict=True)):
            exif = Image.Exif()
            exif[0x0112] = 6 if i % 2 else 1
            part = "test" if i >= 45 else "train"
            path = folder / "data" / part / "xyz"[y] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            upright = image[0] if channels == 1 else image.transpose(1, 2, 0)
            Image.fromarray(np.rot90(upright) if i % 2 else upright).save(path, exif=exif)
            files += [path] if part == "test" else []
        files.sort()
        run = nasgen.run(
            {**SETTINGS, "data": {"source": f"folder:{folder / 'data'}"}}, out=folder / "run"
        )
        pictures = [Image.open(path) for path in files]
        coloured = [Image.fromarray(np.asarray(p.convert("RGB"))) for p in pictures]
        network, wanted = _answers(run)
        rows = {"paths": files, "texts": [str(f) for f in files], "Pillow": pictures}
        rows["arrays"] = run.dataset.x_test
        if channels == 1:  # what training saw as grey is turned to grey
            rows["in colour"] = [
                c.transpose(Image.Transpose.ROTATE_270) if int(f.stem) % 2 else c
                for c, f in zip(coloured, files, strict=True)
            ]
        return Case(network, rows, wanted, [f.parent.name for f in files])

    return made


def _npz(most: int, kind: str) -> Callable[[Path], Case]:
    def made(folder: Path) -> Case:
        x, y = _pixels(1, most).astype(kind), np.array([3, 7, 12])[LABELS]
        np.savez(folder / "d.npz", x_train=x[:45], y_train=y[:45], x_test=x[45:], y_test=y[45:])
        source = f"npz:{folder / 'd.npz'}"
        run = nasgen.run({**SETTINGS, "data": {"source": source}}, out=folder / "run")
        network, wanted = _answers(run)
        raw = x[45:]
        rows = {
            "as they are": raw,
            "list": raw.tolist(),
            "int64": raw.astype(np.int64),
            "big-endian": raw.astype(">i4"),
            "tensor": torch.from_numpy(raw.astype(np.int32)),
            "grey without channels": raw[:, 0],
            "read-only": np.broadcast_to(raw[:, None, 0], raw.shape),
            "not contiguous": np.asfortranarray(raw),
        }
        (folder / "d.npz").unlink()
        return Case(network, rows, wanted, [str(v) for v in y[45:]])

    return made


PLUGIN = """
import numpy as np
import nasgen
from nasgen.data.base import make
from nasgen.data.scaling import Scaling

@nasgen.dataset("scaled", summary="pixels as networks of others have them")
def scaled(rest):
    with np.load(rest) as file:
        x, y = file["pixels"], file["kinds"]
    return make("scaled", x[:45], y[:45], x[45:], y[45:], scaling=Scaling.of(127.5, 127.5))
"""


def _plugin(folder: Path) -> Case:
    x = _pixels().astype(np.uint8)
    np.savez(folder / "p.npz", pixels=x, kinds=np.array(["x", "y", "z"])[LABELS])
    (folder / "scaled_data.py").write_text(PLUGIN)
    settings = {
        **SETTINGS,
        "data": {"source": f"scaled:{folder / 'p.npz'}"},
        "plugins": {"files": [str(folder / "scaled_data.py")]},
    }
    network, wanted = _answers(nasgen.run(settings, out=folder / "run"))
    feed = network.inference.feed
    assert feed.input_shape == (1, 6, 5)
    scaled = (x[:45].astype(float) - 127.5) / 127.5
    assert feed.mean[0] == pytest.approx(scaled.mean(), abs=0.05)  # of the training part alone
    rows = {"raw": x[45:], "list": x[45:].tolist()}
    return Case(network, rows, wanted, ["xyz"[y] for y in LABELS[45:]])


def _given(folder: Path) -> Case:
    x = _pixels().astype(np.float64) * 1e6 + 1e12  # float32 would leave 16 of a million
    scaling = Scaling.of(1e12, 1e8)
    data = make("d", x[:45], LABELS[:45], x[45:], LABELS[45:], ["x", "y", "z"], scaling=scaling)
    network, wanted = _answers(nasgen.run(SETTINGS, data=data, out=folder / "run"))
    again = nasgen.resume(folder / "run", trials="+1")
    assert again.summary["trials"]["complete"] == 2
    return Case(network, {"raw": x[45:]}, wanted, ["xyz"[y] for y in LABELS[45:]])


CASES: dict[str, Callable[[Path], Case]] = {
    "a table as images": _table,
    "grey files": _folder(1),
    "files in colour": _folder(3),
    "bytes": _npz(200, "uint8"),
    "16 bits": _npz(50_000, "uint16"),
    "a plug-in's scaling": _plugin,
    "arrays with a scaling": _given,
}


@pytest.mark.parametrize("kind", CASES)
def test_new_rows_in_every_shape_get_the_answers_of_the_test(kind: str, tmp_path: Path) -> None:
    case = CASES[kind](tmp_path)
    for what, rows in case.rows.items():
        found = case.network.predict_proba(rows)
        np.testing.assert_allclose(found, case.wanted, rtol=1e-5, atol=1e-6, err_msg=what)
    classes = case.network.classes
    assert sorted(set(case.labels)) == sorted(classes)
    rows = next(iter(case.rows.values()))
    decided = case.wanted.argmax(axis=1)
    assert case.network.predict(rows).tolist() == decided.tolist()
    assert case.network.predict_names(rows) == [classes[i] for i in decided]
    right = np.mean(
        [a == b for a, b in zip(case.network.predict_names(rows), case.labels, strict=True)]
    )
    assert right == pytest.approx(case.network.test_accuracy)


def _dataset(form: str, channels: int = 1) -> Dataset:
    y = np.arange(40) % 2
    rng = np.random.default_rng(0)
    x: Any = {
        "bytes": rng.integers(0, 256, (40, channels, 4, 6)),
        "floats": rng.normal(0.5, 0.2, (40, channels, 4, 6)),
        "table": {"a": rng.normal(size=40), "town": ["Ulm", "Kiel"] * 20},
        "tokens": [rng.integers(0, 9, n) for n in rng.integers(1, 7, 40)],
    }[form]
    return make("d", x, y)


@pytest.mark.parametrize(
    ("form", "channels", "rows", "words"),
    [
        ("bytes", 1, np.zeros((4, 6), np.uint8), r"got \(4, 6\); for one image write \[image\]"),
        ("bytes", 3, np.zeros((3, 4, 6), np.uint8), r"for one image write \[image\]"),
        ("bytes", 3, np.zeros((2, 4, 6, 3), np.uint8), r"channels last: use .*transpose"),
        ("bytes", 1, np.zeros((2, 3, 4, 6), np.uint8), "training images are grey"),
        ("bytes", 1, np.zeros((2, 1, 4, 5), np.uint8), r"expected images of shape \(B, 1, 4, 6\)"),
        ("bytes", 1, np.zeros((2, 1, 4, 6)), r"type uint8.*float64; .*astype\('uint8'\)"),
        ("bytes", 1, np.full((2, 1, 4, 6), 256), "expected integers in 0..255, .*got 256 to 256"),
        ("bytes", 1, np.full((2, 1, 4, 6), -1), "expected integers in 0..255"),
        ("bytes", 1, np.zeros((2, 1, 4, 6), bool), "of type uint8, as in the data set, got bool"),
        ("bytes", 1, [["a"] * 3] * 3, "got"),
        ("bytes", 1, [[[1, 2], [3]]], "is no regular array"),
        ("bytes", 1, "photo.png", r"got a single one; for one image write \[image\]"),
        ("bytes", 1, ["missing.png"], "missing.png: cannot be read"),
        ("bytes", 1, None, "holds Python objects"),
        ("bytes", 1, 7, "got"),
        ("bytes", 1, torch.zeros((2, 1, 4, 6)).to_sparse(), "is no plain array"),
        ("floats", 1, np.zeros((2, 1, 4, 6), np.uint8), r"type float32.* use .*astype\('float32'"),
        ("floats", 1, np.full((2, 1, 4, 6), np.nan), "image 0, channel 0, row 0, column 0 is nan"),
        ("table", 1, {"a": 1.0, "town": "Ulm"}, r"column 'a' holds a single value.*write \[row\]"),
        ("table", 1, {"a": [1.0], "town": "Ulm"}, r"column 'town' holds a single value"),
        ("table", 1, [1.0, "Ulm"], r"expected rows, .*write \[row\]"),
        ("table", 1, ["ab", "cd"], r"expected rows, .*write \[row\]"),
        ("table", 1, np.array([1.0, 2.0]), r"got an array of shape \(2,\); for one row"),
        ("table", 1, [{"a": 1.0, "town": "Ulm"}, None], "expected rows"),
        ("tokens", 1, [1, 2, 3], r"for one sequence write \[x\]"),
        ("tokens", 1, 5, "expected a list of sequences"),
        ("tokens", 1, [[1.5, 2.0]], "expected"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_a_sentence_with_a_remedy(
    form: str, channels: int, rows: Any, words: str
) -> None:
    from nasgen.evaluation.feeds.base import named

    data = _dataset(form, channels)
    feed = named(data.form).fit(data, np.arange(len(data.targets)))
    with pytest.raises(DataError, match=words):
        feed.read(rows)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, nasgen.Run]:
    folder = tmp_path_factory.mktemp("rows")
    settings = {key: value for key, value in SETTINGS.items() if key != "space"}
    forms = ("bytes", "table", "tokens")
    return {f: nasgen.run(settings, data=_dataset(f), out=folder / f) for f in forms}


@pytest.mark.parametrize("form", ["bytes", "table", "tokens"])
def test_no_rows_get_no_answers(runs: dict[str, nasgen.Run], form: str) -> None:
    network = runs[form].network()
    x = runs[form].dataset.x_test
    for nothing in ([], x[:0], torch.zeros((0, 3)), {"a": [], "town": []}):
        found = network.predict_proba(nothing)
        assert (found.shape, found.dtype) == ((0, 2), np.float32)
        assert network.predict(nothing).shape == (0,)
        assert network.predict_names(nothing) == []


def test_tensors_are_read_wherever_they_come_from(runs: dict[str, nasgen.Run]) -> None:
    tokens = [[1, 2, 3], [4]]
    network = runs["tokens"].network()
    wanted = network.predict_proba(tokens)
    found = network.predict_proba([torch.tensor(t) for t in tokens])
    np.testing.assert_array_equal(found, wanted)
    padded = {"x": torch.tensor([[1, 2, 3], [4, 0, 0]]), "lengths": torch.tensor([3, 1])}
    np.testing.assert_allclose(network.predict_proba(padded), wanted, rtol=1e-6)
    x, y = torch.randn((20, 3), requires_grad=True), torch.arange(20) % 2
    data = make("d", x, y)
    assert (data.form, data.classes) == ("table", ("0", "1"))
    assert make("d", x.bfloat16().reshape(20, 1, 3), y).shape == (1, 1, 3)


def test_images_on_another_scale_are_remarked() -> None:
    data = _dataset("floats")
    feed = ImageFeed.fit(data, np.arange(len(data.targets)))
    assert feed.remarks(feed.read(data.x_test)) == []
    assert feed.remarks(feed.read(data.x_test[:0])) == []
    [said] = feed.remarks(feed.read(data.x_test * 255))
    assert "has the mean" in said
    assert "expected values as the data set has them" in said


def test_what_is_said_of_the_data_stays_with_the_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = {part: rng.normal(size=(n, 3)) for part, n in (("train", 30), ("val", 9))}
    labels = {part: np.array(["cat", "owl"])[np.arange(len(x)) % 2] for part, x in rows.items()}
    arrays = {f"x_{p}": x for p, x in rows.items()} | {f"y_{p}": y for p, y in labels.items()}
    np.savez(tmp_path / "d.npz", **arrays)
    settings = {key: value for key, value in SETTINGS.items() if key != "space"}
    source = f"npz:{tmp_path / 'd.npz'}"
    run = nasgen.run({**settings, "data": {"source": source}}, out=tmp_path / "run")
    assert run.record["data"]["notes"] == list(run.dataset.notes)
    assert "9 rows of x_val validate; data.validation" in run.report_path.read_text()
    network = run.network()
    answers = network.predict_proba(rows["val"])
    np.testing.assert_allclose(network.validation, answers, rtol=1e-5, atol=1e-6)
    right = np.mean(
        [a == b for a, b in zip(network.predict_names(rows["val"]), labels["val"], strict=True)]
    )
    assert run.summary["best"]["val_accuracy"] == pytest.approx(right)


def test_what_has_no_classes_has_no_names(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    settings = {key: value for key, value in SETTINGS.items() if key != "space"}
    run = nasgen.run(settings, data=(x, x[:, 0]), out=tmp_path / "run")
    assert run.network().classes == ()
    with pytest.raises(IncompatibleError, match="expected a task with one class a row"):
        run.network().predict_names(x[:2])


@pytest.mark.parametrize(
    ("scaling", "words"),
    [
        ((0.0, 0.0), "deviations that are not 0"),
        ((np.nan, 1.0), "finite means"),
        ((np.zeros(7), 1.0), "whose mean and deviation fit rows"),
        ((0.0, 1e-300), "column 0 is"),
    ],
)
def test_scalings_that_cannot_be_are_refused(scaling: Any, words: str) -> None:
    x = _pixels() + 1.0
    with pytest.raises(DataError, match=words):
        make("d", x, LABELS, scaling=Scaling.of(*scaling))
    with pytest.raises(DataError, match="`scaling` is for images"):
        make("d", x.reshape(N, -1), LABELS, scaling=Scaling.of(0, 1))
