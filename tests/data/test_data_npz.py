import io
import struct
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from numpy.lib import format as npy

from nasgen.data import arrays as arrays_room
from nasgen.data.base import load
from nasgen.data.split import split
from nasgen.errors import DataError

X = np.arange(8 * 3 * 2, dtype=np.uint8).reshape(8, 1, 3, 2)
Y = np.array([0, 1] * 4)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "toy.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_with_and_without_a_test_set_are_read(file, save):
    save(file, x_train=X, y_train=Y, x_test=X[:2], y_test=Y[:2])
    data = load(f"npz:{file}")
    assert (data.name, len(data.x_train), len(data.x_test)) == ("npz:toy.npz", 8, 2)
    for keys in (("x", "y"), ("x_train", "y_train")):
        save(file, **dict(zip(keys, (X, Y), strict=True)))
        data = load(f"npz:{file}")
        assert (len(data.x_train), len(data.x_test)) == (6, 2)


def test_fortran_order_and_other_keys_do_not_matter(file):
    np.savez(file, x=np.asfortranarray(X), y=Y, comment=np.array("by hand"))
    data = load(f"npz:{file}")
    assert sorted(np.concatenate([data.x_train, data.x_test])[:, 0, 0, 0]) == list(range(0, 48, 6))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"X": X, "y": Y}, ["x_train, y_train, x_test, y_test", "it holds X, y"]),
        ({"x_trian": X, "y_train": Y}, ["did you mean 'x_train'?"]),
        ({"x": X}, ["it holds x"]),
        ({"x_train": X, "y_train": Y, "x_test": X}, ["exactly these keys"]),
        ({"x_train": X, "y_train": Y, "x": X, "y": Y}, ["exactly these keys"]),
        ({"x": X, "y": Y * np.nan}, ["y[0] is nan"]),
        ({"x": X, "y": Y + 1j}, ["y must hold numbers", "complex128"]),
        ({"x": np.zeros((8, 9, 9, 3)), "y": Y}, ["channels last", "transpose(0, 3, 1, 2)"]),
        (
            {"x": np.where(X == 5, np.nan, X), "y": Y},
            ["image 0, channel 0, row 2, column 1 is nan"],
        ),
    ],
)
def test_faults_are_named(file, arrays, words):
    np.savez(file, **arrays)
    with pytest.raises(DataError) as caught:
        load(f"npz:{file}")
    for word in words:
        assert word in str(caught.value)


def test_arrays_of_objects_are_refused_without_being_unpickled(file):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    np.savez(file, x=np.array([Bomb()] * 8, dtype=object), y=Y)
    with pytest.raises(DataError, match="x holds Python objects, which are pickled"):
        load(f"npz:{file}")


def hostile(file, header, body=b"", compression=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, header)
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("x.npy", stream.getvalue() + body)
        labels = io.BytesIO()
        np.save(labels, Y)
        archive.writestr("y.npy", labels.getvalue())


@pytest.mark.parametrize("shape", [(2**40, 2**20, 4), (8, 1, 3, 3), (-1, 3, 2)])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_header_that_announces_too_much_costs_no_memory(file, shape, compression):
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    hostile(file, header, X.tobytes(), compression)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"x announces the shape .*more than the file can hold"):
            load(f"npz:{file}")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_packing_that_numpy_does_not_write_is_refused(file):
    header = {"descr": "|u1", "fortran_order": False, "shape": X.shape}
    hostile(file, header, X.tobytes(), zipfile.ZIP_LZMA)
    with pytest.raises(DataError, match="packed or encrypted"):
        load(f"npz:{file}")


@pytest.mark.parametrize("keep", [0, 50, 300, -30])
def test_a_truncated_file_is_named(file, keep):
    np.savez(file, x=X, y=Y)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"toy.npz: is no intact .npz file"):
        load(f"npz:{file}")


def test_damaged_contents_are_named(file):
    np.savez(file, x=X, y=Y)
    data = bytearray(file.read_bytes())
    at = data.index(X.tobytes())
    data[at : at + 4] = b"\xff" * 4
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"toy.npz"):
        load(f"npz:{file}")


def test_a_member_that_is_no_array_is_named(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", b"hello")
        archive.writestr("y.npy", b"hello")
    with pytest.raises(DataError, match="x is no numpy array"):
        load(f"npz:{file}")


def of_headers(file, **headers):
    """Write an .npz whose members have these texts as headers, and no data."""
    with zipfile.ZipFile(file, "w") as archive:
        for key, text in headers.items():
            header = text.encode("latin-1")
            size = struct.pack("<I", len(header))
            archive.writestr(f"{key}.npy", b"\x93NUMPY\x02\x00" + size + header)


def header(shape, descr="'|u1'"):
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n"


HEADERS = {
    "brackets": "(" * 300,
    "deep": "[" * 9000 + "]" * 9000,
    "True": header("(True, 4, 4)"),
    "beyond 64 bits": header("(10000000000000000000000000, 1)"),
    "product beyond": header("(9223372036854775807, 9223372036854775807, 9223372036854775807)"),
    "5,000 digits": header(f"({'9' * 5000},)"),
    "many large": header(f"({'9' * 4000}, {'9' * 4000})"),
    "negative": header("(-1, 4)"),
    "float": header("(1.5,)"),
    "no dtype": header("(8, 2)", "'|Q9'"),
    "nested dtype": header("(8, 2)", "[('a', [('b', '|u1')])]"),
    "huge dtype": header("(1,)", "'|S99999999999'"),
    "objects": header("(8, 2)", "'|O'"),
    "call": "__import__('os').abort()",
    "python 2": "{'descr': '|u1', 'fortran_order': False, 'shape': (8L, 9L)}\n",
    "no key": "{'descr': '|u1'}",
    "null": "\0" * 40,
    "empty": "",
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("scheme", ["npz", "array"])
def test_headers_of_somebody_else_are_a_sentence_and_cost_no_memory(file, name, scheme):
    of_headers(file, x=HEADERS[name], y=HEADERS[name])
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"toy.npz: "):
            load(f"{scheme}:{file}")
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("has_test", [False, True])
@pytest.mark.parametrize("form", ["images", "table", "sequences"])
def test_validation_rows_of_the_file_validate(file, form, has_test):
    rng = np.random.default_rng(0)
    y = np.array([3, 8] * 10)
    parts = {"train": 20, "val": 6} | ({"test": 4} if has_test else {})
    arrays = {}
    for part, n in parts.items():
        key = "x" if part == "train" and form == "images" and not has_test else f"x_{part}"
        shape = {"images": (n, 4, 4), "table": (n, 3), "sequences": (n, 5 + n % 3, 2)}[form]
        arrays[key] = rng.normal(size=shape) if form != "images" else rng.integers(0, 256, shape)
        arrays[key.replace("x", "y", 1)] = y[:n]
        if form == "sequences":
            arrays[key.replace("x", "lengths", 1)] = rng.integers(1, shape[1], n)
    np.savez(file, **arrays)
    data = load(f"npz:{file}")
    n_train = 20 if has_test else 16
    assert data.classes == ("3", "8")
    assert len(data.targets) == n_train + 6
    halves = [split(data, share, seed) for share, seed in ((0.1, 0), (0.7, 5))]
    for half in halves:
        np.testing.assert_array_equal(half.validation, np.arange(n_train, n_train + 6))
        np.testing.assert_array_equal(half.train, np.arange(n_train))
    own = data.inputs["x"][halves[0].validation]
    given = arrays["x_val"].reshape(6, *own.shape[1:]) if form != "sequences" else arrays["x_val"]
    width = given.shape[1]
    np.testing.assert_allclose(own[:, :width], given, rtol=1e-6)
    assert len(split(data, 0.1, 0, fraction=0.5).train) == n_train // 2
    assert "6 " in data.notes[-1]
    assert "x_val validate" in data.notes[-1]
    without = replace(data, validation=None)
    other = replace(data, validation=np.arange(6))
    assert len({data.digest, without.digest, other.digest}) == 3
    arrays_room.save(data, file.parent)
    kept = load(f"array:{file.parent / data.digest}.npz")
    assert kept.digest == data.digest
    np.testing.assert_array_equal(kept.validation, data.validation)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": X, "y": Y, "x_val": X}, "exactly these keys"),
        ({"x": X, "y": Y, "x_valid": X, "y_valid": Y}, "'x_valid' is none .*mean 'x_val'?"),
        ({"x_train": X, "y_train": Y, "x_dev": X}, "'x_dev' is none of the arrays that are read"),
        ({"x": X, "y": Y, "x_val": X[:, :, :2], "y_val": Y}, "train and val images must be alike"),
        ({"x": X, "y": Y, "x_val": X[:2], "y_val": Y[:2] + 5}, "y_val.0. is '5', which no train"),
        ({"x": X, "y": Y, "x_val": X[:2], "y_val": Y}, "x_val holds 2 images, y_val 8 labels"),
        ({"x": np.zeros((8, 0)), "y": Y}, "x has no columns; at least one is needed"),
        ({"x": np.zeros((8, 0, 3)), "y": Y}, "must be at least 1"),
    ],
)
def test_faults_of_parts_are_named(file, arrays, words):
    np.savez(file, **arrays)
    with pytest.raises(DataError, match=words):
        load(f"npz:{file}")


def test_arrays_of_three_axes_are_images_and_that_is_said(file):
    np.savez(file, x=np.random.default_rng(0).normal(size=(20, 9, 3)), y=[0, 1] * 10)
    [note] = load(f"npz:{file}").notes
    assert "x is read as 20 grey images of 9 rows and 3 columns" in note
    assert "if these are sequences of vectors, give their lengths too" in note
    np.savez(file, x=np.zeros((20, 9, 3), dtype=np.uint8), y=[0, 1] * 10)
    assert load(f"npz:{file}").notes == ()


def test_folders_and_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match="is a folder, expected a file"):
        load(f"npz:{tmp_path}")
    with pytest.raises(DataError, match=r"does not exist; .*has no 'a.npz'"):
        load(f"npz:{tmp_path}/a.npz")


def test_texts_are_sequences_and_the_message_says_how_to_give_them(tmp_path):
    np.savez(tmp_path / "texts.npz", x=np.array(["abc", "bd"] * 20), y=np.arange(40) % 2)
    with pytest.raises(DataError, match=r"got str96\. Texts are sequences: give x as numbers"):
        load(f"npz:{tmp_path / 'texts.npz'}")
