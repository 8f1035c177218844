"""The image sets of the table of trainings: four known ones, and what can be derived from them.

A derived set has other sizes, colours, classes or numbers of rows, so that a predictor learns what
these change. `parents` names the known sets that an image set comes from: whoever leaves one of
them out of the table leaves out everything derived from it. Test images are never read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nasgen import seeding
from nasgen.data.base import load

Array = NDArray[Any]
SEED: Final = 20  # of the drawings and of the split: the same for everybody
N_VALIDATION: Final = 2000  # images; a fifth of a smaller set
MOST_ROWS: Final = 45_000  # to train on
SIDE: Final = 32  # pixels of a scene
MNIST, FASHION, CIFAR, DIGITS = "mnist", "fashion-mnist", "cifar10", "digits"
ANIMALS: Final = (2, 3, 4, 5, 6, 7)  # classes of CIFAR-10
FOLDERS: Final = {
    MNIST: "mnist:{}/mnist", FASHION: "mnist:{}/fashion-mnist",
    CIFAR: "cifar10:{}/cifar-10-batches-bin", DIGITS: "digits",
}  # fmt: skip


@dataclass(frozen=True)
class ImageSet:
    """Rows to train on and to validate on: (N, C, H, W) uint8 and labels (N,) from 0 on."""

    x: Array
    y: Array
    x_val: Array
    y_val: Array

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        _, c, h, w = self.x.shape
        return c, h, w

    @property
    def n_classes(self) -> int:
        """Number of labels."""
        return int(self.y.max()) + 1


@dataclass(frozen=True)
class Source:
    """How an image set is made: of which known sets, from `known(name)` -> (images, labels).

    `share` is how often it is drawn, `n_rows` to how many training rows it is cut.
    """

    parents: tuple[str, ...]
    make: Callable[[Callable[[str], tuple[Array, Array]]], tuple[Array, Array]]
    share: int = 1
    n_rows: int = MOST_ROWS


def halved(x: Array) -> Array:
    """Return images of half the side, each pixel the mean of four."""
    n, c, h, w = x.shape
    small = x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5), dtype=np.float32)
    return np.rint(small).astype(np.uint8)


def grey(x: Array) -> Array:
    """Return colour images (N, 3, H, W) as grey ones (N, 1, H, W), weighted as the eye does."""
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    parts = [np.tensordot(weights, x[i : i + 2000], (0, 1)) for i in range(0, len(x), 2000)]
    return np.rint(np.concatenate(parts))[:, None].astype(np.uint8)


def only(x: Array, y: Array, classes: Sequence[int]) -> tuple[Array, Array]:
    """Return the images of some classes, labelled from 0 on."""
    kept = np.isin(y, classes)
    return x[kept], np.searchsorted(np.sort(classes), y[kept])


def scenes(items: Array, labels: Array, backs: Array, n: int, seed: int) -> tuple[Array, Array]:
    """Return up to `n` colour images (n, 3, 32, 32): a tinted item somewhere before a background.

    Size, place and colours are drawn; the background are two tinted `backs`, shifted around the
    border. `items` and `backs` are (N, 1, 28, 28).
    """
    rng = seeding.generator(seed, "scenes")
    picked = rng.permutation(len(items))[:n]
    found = np.empty((len(picked), 3, SIDE, SIDE), dtype=np.uint8)
    for row, item in enumerate(picked):
        scene = np.zeros((3, SIDE, SIDE), dtype=np.float32)
        for _ in range(2):
            back = np.pad(backs[rng.integers(len(backs)), 0], (SIDE - backs.shape[-1]) // 2)
            back = np.roll(back, tuple(rng.integers(SIDE, size=2)), (0, 1))
            scene += 0.5 * rng.uniform(0.0, 1.0, (3, 1, 1)).astype(np.float32) * back
        side = int(rng.integers(18, 29))
        places = np.arange(side) * items.shape[-1] // side
        front = items[item, 0][np.ix_(places, places)].astype(np.float32)
        top, left = rng.integers(SIDE - side + 1, size=2)
        cover = np.minimum(1.0, front / 40.0)
        window = scene[:, top : top + side, left : left + side]
        tinted = rng.uniform(0.3, 1.0, (3, 1, 1)).astype(np.float32) * front
        window[:] = window * (1 - cover) + tinted * cover
        found[row] = np.rint(np.clip(scene, 0, 255))
    return found, labels[picked]


def _plain(name: str) -> Callable[..., tuple[Array, Array]]:
    return lambda known: known(name)


def _halved(name: str) -> Callable[..., tuple[Array, Array]]:
    return lambda known: (halved(known(name)[0]), known(name)[1])


def _scenes(items: str, backs: str) -> Callable[..., tuple[Array, Array]]:
    return lambda known: scenes(*known(items), known(backs)[0], 24_000, SEED)


SOURCES: Final[dict[str, Source]] = {
    "cifar10": Source((CIFAR,), _plain(CIFAR), 3),
    "cifar10-16": Source((CIFAR,), _halved(CIFAR), 3),
    "cifar10-grey-16": Source(
        (CIFAR,), lambda known: (halved(grey(known(CIFAR)[0])), known(CIFAR)[1])
    ),
    "cifar10-animals-16": Source(
        (CIFAR,), lambda known: only(halved(known(CIFAR)[0]), known(CIFAR)[1], ANIMALS)
    ),
    "cifar10-16-5k": Source((CIFAR,), _halved(CIFAR), 1, 5000),
    "fashion": Source((FASHION,), _plain(FASHION), 3),
    "fashion-14": Source((FASHION,), _halved(FASHION), 2),
    "fashion-3k": Source((FASHION,), _plain(FASHION), 1, 3000),
    "fashion-tops": Source((FASHION,), lambda known: only(*known(FASHION), (0, 2, 3, 4, 6))),
    "scenes-fashion": Source((FASHION, MNIST), _scenes(FASHION, MNIST), 3),
    "scenes-digits": Source((MNIST, FASHION), _scenes(MNIST, FASHION)),
    "mnist": Source((MNIST,), _plain(MNIST), 1),
    "mnist-14": Source((MNIST,), _halved(MNIST), 2),
    "mnist-14-2k": Source((MNIST,), _halved(MNIST), 1, 2000),
    "digits": Source((DIGITS,), _plain(DIGITS), 1),
}


def schedule() -> list[str]:
    """Return the names, each as often as its share, spread so that any stretch has a mixture."""
    places = [
        ((k + 0.5) / source.share, name)
        for name, source in SOURCES.items()
        for k in range(source.share)
    ]
    return [name for _, name in sorted(places)]


@cache
def known(name: str, folder: Path) -> tuple[Array, Array]:
    """Return the training images and labels of a known set in the folder of all data."""
    found = load(FOLDERS[name].format(folder))
    return found.x_train, found.y_train


@cache
def image_set(name: str, folder: Path) -> ImageSet:
    """Return an image set, split into rows to train on and to validate on."""
    source = SOURCES[name]
    x, y = source.make(lambda parent: known(parent, folder))
    order = seeding.generator(SEED, f"rows/{name}").permutation(len(y))
    n_val = min(N_VALIDATION, len(y) // 5)
    val, train = order[:n_val], order[n_val : n_val + source.n_rows]
    return ImageSet(
        np.ascontiguousarray(x[train]), y[train].astype(np.int64),
        np.ascontiguousarray(x[val]), y[val].astype(np.int64),
    )  # fmt: skip
