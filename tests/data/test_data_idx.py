import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from nasgen.data import idx
from nasgen.data.base import load
from nasgen.errors import DataError

Y, Y_TEST = [3, 1, 1, 3, 2], [2, 3]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("test", ["t10k", "test"])
def test_four_files_are_read_whatever_their_spelling(write_idx, tmp_path, zipped, dot, test):
    write_idx(tmp_path / "toy", Y, Y_TEST, test=test, dot=dot, zipped=zipped)
    data = load(f"mnist:{tmp_path / 'toy'}")
    assert data.name == "mnist:toy"
    assert data.x_train.shape == (5, 1, 4, 3)
    assert data.x_train.dtype == np.uint8
    expected = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(data.x_train[:, 0], expected)


def test_labels_that_start_at_one_are_mapped_and_keep_their_names(write_idx, tmp_path):
    write_idx(tmp_path, Y, Y_TEST)
    data = load(f"mnist:{tmp_path}")
    assert data.classes == ("1", "2", "3")
    assert data.y_train.tolist() == [2, 0, 0, 2, 1]
    assert data.y_test.tolist() == [1, 2]


def test_a_gzip_file_without_the_suffix_is_told_by_its_content(write_idx, tmp_path):
    write_idx(tmp_path, Y, Y_TEST)
    for path in tmp_path.iterdir():
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert load(f"mnist:{tmp_path}").y_test.tolist() == [1, 2]


def test_one_of_several_sets_is_chosen_by_its_prefix(write_idx, tmp_path):
    write_idx(tmp_path, Y, Y_TEST, prefix="emnist-letters-", test="test")
    assert load(f"mnist:{tmp_path}").n_classes == 3  # a single set needs no choice
    write_idx(tmp_path, [0, 1], [1], prefix="emnist-digits-", test="test")
    assert load(f"mnist:{tmp_path}/emnist-letters").n_classes == 3
    assert load(f"mnist:{tmp_path}/emnist-digits").n_classes == 2
    with pytest.raises(DataError, match=r"several sets \(emnist-digits, emnist-letters\)"):
        load(f"mnist:{tmp_path}")


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (IMAGES, lambda b: b[:-1], ["truncated", "5 x 4 x 3"]),
        (IMAGES, lambda b: gzip.compress(b[:-1]), ["truncated at byte 75, expected 76"]),
        (IMAGES, lambda b: gzip.compress(b)[:-12], ["damaged, truncated"]),
        (IMAGES, lambda b: gzip.compress(b)[:-8] + bytes(8), ["cannot be read", "CRC"]),
        (IMAGES, lambda b: b[:9], ["truncated at byte 9", "16 bytes"]),
        (IMAGES, lambda b: b"", ["truncated at byte 0"]),
        (IMAGES, lambda b: b + b"x", ["goes on after byte 76"]),
        (IMAGES, lambda b: b"\0\0\x0d" + b[3:], ["magic number 0x00000803", "got 0x00000d03"]),
        (LABELS, lambda b: b"\0\0\x08\x03" + b[4:], ["magic", "got 0x00000803"]),
        (LABELS, lambda b: b[:7] + b"\x04" + b[8:-1], ["5 images", "4 labels"]),
        ("t10k-labels-idx1-ubyte", lambda b: b[:-1] + b"\x07", ["label 7 at index 1", "no train"]),
    ],
)
def test_a_damaged_file_is_named_with_the_place(write_idx, tmp_path, name, change, words):
    write_idx(tmp_path, Y, Y_TEST)
    path = tmp_path / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        load(f"mnist:{tmp_path}")
    for word in [name, *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_header_that_announces_too_much_costs_no_memory(tmp_path, zipped):
    header = struct.pack(">4I", 0x0803, 2**32 - 1, 2**16, 2**16)
    path = tmp_path / IMAGES
    path.write_bytes(gzip.compress(header) if zipped else header)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="more than the file can hold"):
            idx.read(path, 3)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_read_no_further_than_its_header_says(tmp_path):
    path = tmp_path / IMAGES
    path.write_bytes(gzip.compress(struct.pack(">4I", 0x0803, 1, 2, 2) + bytes(200 * 2**20), 1))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="goes on after byte 20"):
            idx.read(path, 3)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


def test_missing_files_and_folders_are_answered_with_what_is_there(write_idx, tmp_path):
    write_idx(tmp_path / "fashion", Y, Y_TEST)
    with pytest.raises(DataError) as caught:
        load(f"mnist:{tmp_path}/fashin")
    assert f"nearest existing folder is {tmp_path}" in str(caught.value)
    assert "did you mean 'fashion'?" in str(caught.value)
    with pytest.raises(DataError, match=f"nearest existing folder is {tmp_path}, .*'no'"):
        load(f"mnist:{tmp_path}/no/such/folder")
    (tmp_path / "fashion" / LABELS).unlink()
    with pytest.raises(DataError, match=r"no file for train-labels; .*It holds t10k-images"):
        load(f"mnist:{tmp_path}/fashion")
    with pytest.raises(DataError, match="got nothing after the colon"):
        load("mnist")
    with pytest.raises(DataError, match="is a file, expected a folder"):
        load(f"mnist:{tmp_path}/fashion/{IMAGES}")


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_files_have_their_published_shape(real, name):
    data = load(f"mnist:{real(name)}")
    assert data.x_train.shape == (60000, 1, 28, 28)
    assert data.x_test.shape == (10000, 1, 28, 28)
    train, test = np.bincount(data.y_train), np.bincount(data.y_test)
    if name == "mnist":
        assert train.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert test.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
        assert data.x_train.mean() / 255 == pytest.approx(0.1307, abs=1e-4)
    else:
        assert train.tolist() == [6000] * 10
        assert test.tolist() == [1000] * 10
        assert data.x_train.mean() / 255 == pytest.approx(0.2860, abs=1e-4)
