"""Reads image files from DIR/CLASS, or from DIR/train/CLASS and DIR/test/CLASS.

Images stay as they are: one size, grey if all are grey, RGB otherwise. Hidden files are ignored. It
decodes every file on each load; prefer `npz:FILE` for a large set that is loaded often.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from nasgen.data import files
from nasgen.data.base import Dataset, make
from nasgen.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # none runs a program
LITTER = ("thumbs.db", "desktop.ini")  # written by file browsers
GREY = ("1", "L", "LA", "La")
DEEP = ("I", "F")  # more than 8 bits a pixel, which converting would clip
EXPECTED = "a folder of images for each class, or train/ and test/ with one for each class"

Images = list[tuple[Path, int]]  # file, label


def load(rest: str) -> Dataset:
    """Return the data set in the folder `rest`; classes are the folder names in ascending order.

    Raises DataError for an unreadable or oversized image, two image sizes, an empty class, a test
    class without training images and anything else in the folders that is no image.
    """
    path = files.folder("folder", rest, EXPECTED)
    train, test = _parts(path)
    classes = [p.name for p in _folders(train)]
    listed = [_listed(train, classes)]
    if test is not None:
        listed.append(_listed(test, classes))
    if not any(listed):
        raise DataError(
            f"folder: {train} holds no images; expected {EXPECTED}. "
            f"It holds {files.listing(train)}."
        )
    width, height, channels = _format([file for images in listed for file, _ in images])
    arrays: list[Any] = []
    for images in listed:
        arrays.append(_pixels(images, (channels, height, width)))
        arrays.append(np.array([label for _, label in images], dtype=np.int64))
    x, y, x_test, y_test = (*arrays, None, None)[:4]
    return make(f"folder:{path.resolve().name}", x, y, x_test, y_test, classes)


def _visible(path: Path) -> list[Path]:
    with files.reading(path):
        return sorted(
            p for p in path.iterdir() if p.name[0] != "." and p.name.lower() not in LITTER
        )


def _folders(path: Path) -> list[Path]:
    entries = _visible(path)
    for entry in entries:
        if not entry.is_dir():
            raise DataError(
                f"folder: {entry} lies beside the class folders; expected {EXPECTED}. Move it away."
            )
    return entries


def _parts(path: Path) -> tuple[Path, Path | None]:
    """Return the folders of training and test classes; without train/test it is the folder."""
    split = {
        p.name: p
        for p in _visible(path)
        if p.name in ("train", "test") and p.is_dir() and any(q.is_dir() for q in _visible(p))
    }
    if not split:
        return path, None
    if "train" not in split:
        raise DataError(f"folder: {path} holds test/ but no train/ with class folders; add it.")
    other = [p.name for p in _visible(path) if p.is_dir() and p.name not in split]
    if other:
        raise DataError(
            f"folder: {path} holds '{other[0]}' beside 'train'; expected train and test only. "
            f"Rename it to test or move it away (validation images are drawn from train)."
        )
    return split["train"], split.get("test")


def _listed(path: Path, classes: list[str]) -> Images:
    images: Images = []
    for folder in _folders(path):
        if folder.name not in classes:
            raise DataError(
                f"folder: class '{folder.name}' of {path} has no training images; the training "
                f"classes are {', '.join(classes[:8])}. Rename the folder or add images."
            )
        label = classes.index(folder.name)
        for file in _visible(folder):
            if file.suffix.lower() not in SUFFIXES or not file.is_file():
                raise DataError(
                    f"folder: {file} is not an image file (expected {', '.join(SUFFIXES)}); "
                    f"convert it or move it away."
                )
            images.append((file, label))
    return images


def _open(path: Path) -> Image.Image:
    """Open an image; what Pillow only warns of as a decompression bomb is an error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(path, formats=FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: too large to be decoded: {error} Scale it down.") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: no image that Pillow can read; mend or remove it.") from None
    except Exception as error:  # a damaged header makes Pillow's readers raise anything
        raise DataError(f"{path}: unreadable image: {error}; mend or remove it.") from None


def _format(paths: list[Path]) -> tuple[int, int, int]:
    """Return (width, height, channels) from the headers of all images."""
    sizes: list[tuple[int, int]] = []
    grey = True
    for path in paths:
        with _open(path) as image:
            size, mode = image.size, image.mode
        if mode[0] in DEEP:
            raise DataError(
                f"{path}: has more than 8 bits a channel (mode {mode}); convert it to 8 bits, or "
                f"give the values as floats through npz."
            )
        sizes.append(size)
        if size != sizes[0]:
            raise DataError(
                f"images must all have one size: {paths[0]} is {sizes[0][0]}x{sizes[0][1]} (width "
                f"x height), {path} is {size[0]}x{size[1]}; scale or crop them first."
            )
        grey = grey and mode in GREY
    return *sizes[0], 1 if grey else 3


def _pixels(images: Images, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    try:
        x = np.empty((len(images), *shape), dtype=np.uint8)
    except MemoryError:
        raise DataError(f"folder: {len(images)} images of {shape} do not fit in memory.") from None
    for i, (path, _) in enumerate(images):
        with _open(path) as image:
            try:
                # A palette's transparency needs RGBA between; alpha itself is dropped.
                whole = image.convert("RGBA") if "transparency" in image.info else image
                pixels = np.asarray(whole.convert("L" if shape[0] == 1 else "RGB"))
                x[i] = pixels if shape[0] == 1 else pixels.transpose(2, 0, 1)
            except Exception as error:  # a damaged file makes Pillow's decoders raise anything
                raise DataError(f"{path}: unreadable image: {error}; mend or remove it.") from None
    return x
