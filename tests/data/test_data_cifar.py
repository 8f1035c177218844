import numpy as np
import pytest

from nasgen.data.base import load
from nasgen.errors import DataError


def test_batches_are_joined_in_order_with_channels_first(write_cifar, tmp_path):
    write_cifar(tmp_path)
    data = load(f"cifar10:{tmp_path}")
    assert data.x_train.shape == (50, 3, 32, 32)
    assert data.x_test.shape == (10, 3, 32, 32)
    third = np.fromfile(tmp_path / "data_batch_3.bin", np.uint8).reshape(10, 3073)[4]
    assert data.y_train[24] == third[0]
    assert data.x_train[24, 2, 5, 7] == third[1 + 2 * 1024 + 5 * 32 + 7]
    assert data.classes == tuple("0123456789")


def test_class_names_come_from_the_meta_file(write_cifar, tmp_path):
    write_cifar(tmp_path)
    meta = tmp_path / "batches.meta.txt"
    meta.write_text("\n".join(f"kind {c}" for c in "abcdefghij") + "\n\n")
    assert load(f"cifar10:{tmp_path}").classes[1] == "kind b"
    meta.write_text("a\nb\n")
    with pytest.raises(DataError, match=r"batches.meta.txt: expected 10 class names.*got 2"):
        load(f"cifar10:{tmp_path}")


def test_a_missing_batch_is_named(write_cifar, tmp_path):
    write_cifar(tmp_path / "cifar-10-batches-bin")
    with pytest.raises(DataError, match=r"Did you mean 'cifar10:.*cifar-10-batches-bin'"):
        load(f"cifar10:{tmp_path}")
    (tmp_path / "cifar-10-batches-bin" / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match=r"lacks data_batch_4.bin; expected"):
        load(f"cifar10:{tmp_path}/cifar-10-batches-bin")


def test_pickled_batches_are_refused_and_never_opened(write_cifar, tmp_path):
    for i in range(1, 6):
        (tmp_path / f"data_batch_{i}").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match=r"pickled.*data_batch_1.*cifar-10-binary.tar.gz"):
        load(f"cifar10:{tmp_path}")


@pytest.mark.parametrize("size", [0, 3072, 3073 * 2 + 5])
def test_a_size_that_is_no_multiple_of_a_row_is_truncated(write_cifar, tmp_path, size):
    write_cifar(tmp_path)
    (tmp_path / "data_batch_2.bin").write_bytes(bytes(size))
    with pytest.raises(DataError, match=rf"data_batch_2.bin: truncated.*3073 bytes, got {size} "):
        load(f"cifar10:{tmp_path}")


def test_a_label_above_nine_is_located(write_cifar, tmp_path):
    write_cifar(tmp_path)
    path = tmp_path / "test_batch.bin"
    rows = np.fromfile(path, np.uint8)
    rows[3073 * 6] = 10
    rows.tofile(path)
    with pytest.raises(DataError, match=r"test_batch.bin: row 6 \(byte 18438\) has the label 10"):
        load(f"cifar10:{tmp_path}")


@pytest.mark.data
def test_the_real_files_have_their_published_shape(real):
    data = load(f"cifar10:{real('cifar-10-batches-bin')}")
    assert data.x_train.shape == (50000, 3, 32, 32)
    assert np.bincount(data.y_train).tolist() == [5000] * 10
    assert np.bincount(data.y_test).tolist() == [1000] * 10
    assert data.classes[:2] == ("airplane", "automobile")
    mean = data.x_train.mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(mean, [0.4914, 0.4822, 0.4465], atol=2e-4)
    assert len(data.digest) == 32
