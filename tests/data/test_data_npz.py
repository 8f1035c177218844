import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy

from nasgen.data.base import load
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


def test_folders_and_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match="is a folder, expected a file"):
        load(f"npz:{tmp_path}")
    with pytest.raises(DataError, match=r"does not exist; .*has no 'a.npz'"):
        load(f"npz:{tmp_path}/a.npz")
