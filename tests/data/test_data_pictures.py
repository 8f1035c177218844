"""What a file says beside its pixels: how it is turned, how many pictures it holds, how deep."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from nasgen.data import pictures
from nasgen.data.base import load
from nasgen.errors import DataError
from nasgen.runs import reading, suspicious

# What each value of the EXIF tag says was done to the upright picture (EXIF 2.32, 4.6.4).
STORED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).T,
    8: lambda a: np.rot90(a, -1),
}
UPRIGHT = (np.arange(12 * 8).reshape(12, 8) * 2).astype(np.uint8)


def save(path, array, orientation=1, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = orientation
    Image.fromarray(np.ascontiguousarray(array)).save(path, exif=exif, **options)


def _png16(array):
    """Return the bytes of a PNG with 16 bits a channel (H, W, 3), which Pillow does not write."""

    def chunk(kind, body):
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    height, width, _ = array.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in array)
    header = struct.pack(">2I5B", width, height, 16, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp"])
def test_pictures_are_turned_upright_before_their_sizes_are_compared(tmp_path, suffix):
    options = {"jpg": {"quality": 100}, "webp": {"lossless": True}}.get(suffix, {})
    for name in ("a", "b"):
        for tag, turn in STORED.items():
            save(tmp_path / name / f"{tag}.{suffix}", turn(UPRIGHT), tag, **options)
    data = load(f"folder:{tmp_path}")
    both = np.concatenate([data.x_train, data.x_test]).astype(int)
    assert both.shape[2:] == UPRIGHT.shape
    wrong = np.abs(both - UPRIGHT).max(axis=(1, 2, 3))
    assert wrong.max() <= (6 if suffix == "jpg" else 1)  # webp has no grey: it goes by way of YUV
    [note] = data.notes
    assert note.startswith(f"14 images (first: {tmp_path}/a/2.{suffix}) say by their orientation")


def test_two_sizes_that_only_lie_differently_are_named_after_turning(tmp_path):
    for name in ("a", "b"):
        for i in range(2):
            save(tmp_path / name / f"{i}.png", UPRIGHT)
    save(tmp_path / "b/1.png", UPRIGHT, 6)
    with pytest.raises(DataError, match=r"a/0.png is 8x12 .*b/1.png is 12x8"):
        load(f"folder:{tmp_path}")


@pytest.mark.parametrize("suffix", ["gif", "tiff", "webp", "png"])
def test_of_several_pictures_the_first_is_taken_and_said(tmp_path, suffix):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for i in range(2):
            shown = rng.integers(0, 256, (5, 4, 3), dtype=np.uint8)
            frames = [Image.fromarray(np.full_like(shown, i)), Image.fromarray(shown)]
            path = tmp_path / name / f"{i}.{suffix}"
            path.parent.mkdir(exist_ok=True)
            frames[0].save(path, save_all=True, append_images=frames[1:])
    source = f"folder:{tmp_path}"
    data = load(source)
    values = np.unique(np.concatenate([data.x_train, data.x_test]))
    assert values.tolist() == [0, 1]
    [said] = [t for t in suspicious.cautions(reading.resolved({"data": {"source": source}}))]
    assert f"4 images (first: {tmp_path}/a/0.{suffix}) hold several pictures" in said
    assert "the first is taken" in said


@pytest.mark.parametrize("suffix", ["png", "bmp", "jpg", "tiff", "ppm", "gif"])
def test_a_picture_of_16_pixels_has_8_bits_a_channel(tmp_path, suffix):
    told = pictures.Told()
    for size in ((16, 16), (160, 16), (5, 4)):  # rows of (5, 4) take 16 bytes in a BMP
        Image.new("RGB", size).save(path := tmp_path / f"small.{suffix}")
        assert pictures.read(path, told).dtype == np.uint8
    assert told.sentences() == ()


def test_colour_of_16_bits_is_narrowed_and_said_and_grey_is_refused(tmp_path):
    told = pictures.Told()
    deep = np.arange(20, dtype=np.uint16).reshape(4, 5) * 1000
    path = tmp_path / "deep.png"
    path.write_bytes(_png16(np.stack([deep] * 3, axis=2)))
    read = pictures.read(path, told)
    np.testing.assert_array_equal(read, np.stack([deep // 256] * 3))
    [note] = told.sentences()
    assert "deep.png) have 16 bits a channel" in note
    told = pictures.Told()
    with pytest.raises(DataError, match="more than 8 bits"):
        pictures.read(Image.fromarray(deep), told)
    assert told.sentences() == ()
