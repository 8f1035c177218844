"""Image files and Pillow images as arrays: upright, grey or RGB, 8 bits a channel.

A file may say more than its pixels do. The orientation (EXIF, XMP, TIFF) is applied before sizes
are compared; of animations and files of several pages the first picture is taken; transparency and
colour profiles are left aside. `Told` gathers what a user should know of that.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from nasgen.data import files
from nasgen.errors import DataError

FORMATS: Final = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # none runs a program
GREY: Final = ("1", "L", "LA", "La")
DEEP: Final = ("I", "F")  # more than 8 bits a pixel, which converting would clip
ORIENTATION: Final = 0x0112  # the tag of EXIF; 1 is upright
CHANNELS: Final = (1, 3)  # of an array that a picture can become
SAID: Final = {
    "turned": "say by their orientation tag how they are to be turned, and are",
    "frames": "hold several pictures (animation or pages), of which the first is taken",
    "narrowed": "have 16 bits a channel, of which the upper 8 are taken",
}

Picture = str | Path | Image.Image
Pixels = NDArray[np.uint8]


class Told:
    """Which pictures were read otherwise than their pixels lie in the file, and how."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, what: str, name: str) -> None:
        """Remember a picture under a key of `SAID`."""
        self._found.setdefault(what, []).append(name)

    def sentences(self) -> tuple[str, ...]:
        """Return a sentence for each kind of thing that was met."""
        return tuple(
            f"{len(names)} image{'s' if names[1:] else ''} (first: {names[0]}) {SAID[what]}."
            for what, names in sorted(self._found.items())
        )


def is_picture(value: Any) -> bool:
    """Tell whether a value is a Pillow image or the path of a file."""
    return isinstance(value, str | Path | Image.Image)


def read(source: Picture, told: Told) -> Pixels:
    """Return a picture as (1, H, W) if it is grey, else as (3, H, W); DataError names the file."""
    if isinstance(source, Image.Image):
        return _upright(source, "image", told)
    # A file, not its path: Pillow maps a path into memory, and garbles TIFF lying on its side.
    with files.reading(Path(source)), Path(source).open("rb") as file:
        return _upright(_open(file, str(source)), str(source), told)


def stacked(sources: Sequence[Picture], told: Told) -> Pixels:
    """Return pictures of one size as (N, C, H, W): grey if all are grey, else RGB."""
    if not sources:
        return np.empty((0, 1, 0, 0), dtype=np.uint8)
    first = read(sources[0], told)
    x = _empty(len(sources), first.shape)
    x[0] = first
    for i, source in enumerate(sources[1:], 1):
        pixels = read(source, told)
        if pixels.shape[1:] != x.shape[2:]:
            raise DataError(
                f"images must all have one size: {_name(sources[0])} is {_size(first)} (width x "
                f"height), {_name(source)} is {_size(pixels)}; scale or crop them first."
            )
        if len(pixels) > x.shape[1]:  # the first one in colour
            wide = _empty(len(x), pixels.shape)
            wide[:i] = x[:i]
            x = wide
        x[i] = pixels
    return x


def fitting(sources: Sequence[Picture], shape: tuple[int, ...], told: Told) -> Pixels:
    """Return pictures as (N, *shape), turned to grey or RGB as the shape says.

    Raises DataError for pictures of another size, and for a shape that is no picture's.
    """
    channels, height, width = shape
    if channels not in CHANNELS:
        raise DataError(
            f"expected arrays (B, {channels}, {height}, {width}), got image files, which have 1 or "
            "3 channels."
        )
    x = _empty(len(sources), shape)
    for i, source in enumerate(sources):
        pixels = read(source, told)
        if pixels.shape[1:] != (height, width):
            raise DataError(
                f"expected images of {width}x{height} (width x height), as in training, but "
                f"{_name(source)} is {_size(pixels)}; scale or crop it."
            )
        if channels == 1 and len(pixels) == 3:
            grey = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).convert("L")
            pixels = np.asarray(grey)[None]
        x[i] = pixels
    return x


def png(image: NDArray[Any], low: float = 0.0, high: float = 255.0) -> bytes:
    """Return an array (C, H, W) as a PNG file: `low` is black, `high` is white.

    One channel is grey, three are RGB; of others their mean is shown.
    """
    shown = image if len(image) in CHANNELS else image.mean(axis=0, keepdims=True)
    scaled = (shown.astype(np.float64) - low) * (255.0 / max(high - low, 1e-12))
    pixels = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(file, "PNG")
    return file.getvalue()


def _open(file: IO[bytes], path: str) -> Image.Image:
    """Open an image; what Pillow only warns of as a decompression bomb is an error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(file, formats=FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: too large to be decoded: {error} Scale it down.") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: no image that Pillow can read; mend or remove it.") from None
    except Exception as error:  # a damaged header makes Pillow's readers raise anything
        raise DataError(f"{path}: unreadable image: {error}; mend or remove it.") from None


def _upright(image: Image.Image, name: str, told: Told) -> Pixels:
    if image.mode[0] in DEEP:
        raise DataError(
            f"{name}: has more than 8 bits a channel (mode {image.mode}); convert it to 8 bits, or "
            "give the values as arrays, through npz for a data set."
        )
    try:
        # What the decoder is given, such as "RGB;16B"; the rest of a tile is places and sizes.
        if any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())):
            told.add("narrowed", name)
        if getattr(image, "n_frames", 1) > 1:
            told.add("frames", name)
        if image.getexif().get(ORIENTATION, 1) not in (0, 1):
            told.add("turned", name)
        image.load()
        # Pillow turns TIFF as it loads, and takes the tag away.
        is_turned = ORIENTATION not in getattr(image, "tag_v2", (ORIENTATION,))
        turned = image if is_turned else ImageOps.exif_transpose(image)
        # A palette's transparency needs RGBA between; alpha itself is dropped.
        whole = turned.convert("RGBA") if "transparency" in turned.info else turned
        if image.mode in GREY:
            return np.asarray(whole.convert("L"))[None]
        return np.asarray(whole.convert("RGB")).transpose(2, 0, 1)
    except Exception as error:  # a damaged file makes Pillow's decoders raise anything
        raise DataError(f"{name}: unreadable image: {error}; mend or remove it.") from None


def _empty(n: int, shape: tuple[int, ...]) -> Pixels:
    try:
        return np.empty((n, *shape), dtype=np.uint8)
    except MemoryError:
        raise DataError(f"{n} images of {shape} do not fit in memory.") from None


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[2]}x{pixels.shape[1]}"


def _name(source: Picture) -> str:
    return "an image" if isinstance(source, Image.Image) else str(source)
