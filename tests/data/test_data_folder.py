import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from nasgen.data.base import load
from nasgen.errors import DataError


def save(path, value=0, size=(5, 4), mode="L", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    color = value if mode in ("L", "I;16", "F", "1", "P") else (value,) * len(mode)
    Image.new(mode, size, color).save(path, **options)


@pytest.fixture
def flat(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        for i in range(5):
            save(tmp_path / name / f"{i}.png", 100 * label + i)
    return tmp_path


def test_a_folder_of_classes_gets_its_own_test_set(flat):
    (flat / ".hidden").mkdir()
    (flat / "cat" / ".DS_Store").touch()
    (flat / "cat" / "Thumbs.db").touch()
    data = load(f"folder:{flat}")
    assert data.classes == ("cat", "dog")
    assert data.x_train.shape == (8, 1, 4, 5)
    assert data.x_test.shape == (2, 1, 4, 5)
    assert (data.x_train[:, 0, 0, 0] // 100 == data.y_train).all()


def test_train_and_test_folders_are_kept_apart(tmp_path):
    save(tmp_path / "train/a/1.PNG", 1)
    save(tmp_path / "train/b/1.jpeg", 2)
    save(tmp_path / "test/b/1.bmp", 3)
    data = load(f"folder:{tmp_path}")
    assert data.x_train[:, 0, 0, 0].tolist() == [1, 2]
    assert data.x_test[:, 0, 0, 0].tolist() == [3]
    assert data.y_test.tolist() == [1]


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train", "bus"):
        for i in range(3):
            save(tmp_path / name / f"{i}.png")
    assert load(f"folder:{tmp_path}").classes == ("bus", "train")


def test_one_coloured_image_makes_all_of_them_rgb(flat):
    Image.new("RGB", (5, 4), (9, 8, 7)).save(flat / "cat/0.png")
    data = load(f"folder:{flat}")
    assert data.shape == (3, 4, 5)
    both = np.concatenate([data.x_train, data.x_test])
    assert (both[:, :, 0, 0] == [9, 8, 7]).all(axis=1).sum() == 1


@pytest.mark.parametrize(
    ("mode", "shape"), [("1", (1, 4, 5)), ("LA", (1, 4, 5)), ("RGBA", (3, 4, 5)), ("P", (3, 4, 5))]
)
def test_alpha_is_dropped_and_palettes_are_colour(tmp_path, mode, shape):
    for name in ("a", "b"):
        for i in range(2):
            save(tmp_path / name / f"{i}.png", mode=mode)
    assert load(f"folder:{tmp_path}").shape == shape


def test_transparent_palettes_are_read_without_a_warning(flat):
    Image.new("P", (5, 4), 0).save(flat / "cat/0.png", transparency=b"\x00\x80")
    assert load(f"folder:{flat}").shape == (3, 4, 5)


def test_two_sizes_are_named_with_their_files(flat):
    save(flat / "dog/2.png", size=(6, 4))
    with pytest.raises(DataError, match=r"cat/0.png is 5x4 .*dog/2.png is 6x4"):
        load(f"folder:{flat}")


def png_of(width, height):
    def chunk(kind, body):
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb_is_refused(flat, side):
    (flat / "cat/0.png").write_bytes(png_of(side, side))
    with pytest.raises(DataError, match=r"cat/0.png: too large"):
        load(f"folder:{flat}")


@pytest.mark.parametrize("keep", [0, 10, 40, -30])
def test_an_unreadable_image_is_named(flat, keep):
    path = flat / "dog/4.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (4, 5), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"dog/4.png"):
        load(f"folder:{flat}")


def test_a_truncated_jpeg_is_named(tmp_path):
    for name in ("a", "b"):
        for i in range(2):
            save(tmp_path / name / f"{i}.jpg", size=(64, 64))
    path = tmp_path / "b/1.jpg"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"b/1.jpg: unreadable image: (?i:truncated)"):
        load(f"folder:{tmp_path}")


def test_a_postscript_file_in_disguise_is_not_run(flat):
    (flat / "cat/0.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 4\n%%EndComments\n"
    )
    with pytest.raises(DataError, match=r"cat/0.png: no image"):
        load(f"folder:{flat}")


def test_deep_images_are_refused_rather_than_clipped(flat):
    Image.fromarray(np.full((4, 5), 4000, dtype=np.uint16)).save(flat / "cat/0.png")
    with pytest.raises(DataError, match="more than 8 bits"):
        load(f"folder:{flat}")


def test_other_files_and_folders_are_named(flat):
    (flat / "cat/notes.txt").touch()
    with pytest.raises(DataError, match=r"cat/notes.txt is not an image file"):
        load(f"folder:{flat}")
    (flat / "cat/notes.txt").unlink()
    (flat / "readme.md").touch()
    with pytest.raises(DataError, match=r"readme.md lies beside the class folders"):
        load(f"folder:{flat}")


def test_empty_folders_and_classes_are_named(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        load(f"folder:{tmp_path}")
    for name in ("a", "b"):
        for i in range(2):
            save(tmp_path / name / f"{i}.png")
    (tmp_path / "c").mkdir()
    with pytest.raises(DataError, match=r"no training image in y for class 'c'"):
        load(f"folder:{tmp_path}")


def test_faults_of_train_and_test_folders_are_named(tmp_path):
    save(tmp_path / "test/a/1.png")
    with pytest.raises(DataError, match="test/ but no train/"):
        load(f"folder:{tmp_path}")
    save(tmp_path / "train/a/1.png")
    save(tmp_path / "train/b/1.png")
    save(tmp_path / "test/c/1.png")
    with pytest.raises(DataError, match=r"class 'c' of .*test has no training images"):
        load(f"folder:{tmp_path}")
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError, match="holds 'val' beside 'train'"):
        load(f"folder:{tmp_path}")
