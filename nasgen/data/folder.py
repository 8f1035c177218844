"""Reads image files from DIR/CLASS, or from DIR/train/CLASS and DIR/test/CLASS.

Images are turned upright and stay as they are: one size, grey if all are grey, RGB otherwise (see
`nasgen.data.pictures`). Hidden files are ignored. It decodes every file on each load; prefer
`npz:FILE` for a large set that is loaded often.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nasgen.data import files, pictures
from nasgen.data.base import Dataset, make
from nasgen.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
LITTER = ("thumbs.db", "desktop.ini")  # written by file browsers
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
    told, n = pictures.Told(), len(listed[0])
    x = pictures.stacked([file for images in listed for file, _ in images], told)
    y = np.array([label for images in listed for _, label in images], dtype=np.int64)
    x_test, y_test = (x[n:], y[n:]) if test is not None else (None, None)
    name, notes = f"folder:{path.resolve().name}", told.sentences()
    return make(name, x[:n], y[:n], x_test, y_test, classes, notes=notes)


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
