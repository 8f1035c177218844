"""Images (C, H, W): each channel has its mean subtracted and is divided by its deviation.

In training they are shifted and mirrored, see `evaluation.images`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self, final

import numpy as np
from numpy.typing import NDArray

from nasgen.data import checks, mirrored
from nasgen.data.columns import Column, columns_of
from nasgen.data.columns import rows as rows_of
from nasgen.data.scaling import Scaling
from nasgen.data.targets import CLASSIFICATION, REGRESSION
from nasgen.errors import DataError
from nasgen.evaluation.feeds.base import MOST, Array, Feed, Inputs, stored
from nasgen.layers.base import Shape

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from nasgen.data.base import Dataset
    from nasgen.evaluation.images import ImageBatches, Normaliser
    from nasgen.evaluation.recipe import Recipe
    from nasgen.settings.config import Training

PIXELS_AT_ONCE = 64 * 32 * 32  # what networks make of more fits into no cache of a processor
KINDS: Final = ("uint8", "float32", "float64")  # of stored images; the last where they are scaled
FAR: Final = 10.0  # deviations from the training images at which a mean is remarked


@final
@dataclass(frozen=True, eq=False)
class ImageFeed(Feed):
    """`shape` is (C, H, W), `kind` the type of stored images, one of `KINDS`.

    `mean` and `std` are (C,) float32, in the units of what networks read (0..255 for bytes).
    `is_whole` says that all training values are integers, so that new rows may be of any integer
    type. `columns` are those of the table whose rows the images are, if they are such; `scaling` is
    the data set's.
    """

    shape: Shape
    kind: str
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    is_whole: bool = True
    columns: tuple[Column, ...] = ()
    scaling: Scaling | None = None

    @classmethod
    def fit(cls, dataset: Dataset, rows: Array) -> Self:
        images, scaling = dataset.inputs["x"], dataset.scaling
        learnt = images[rows]
        is_whole = images.dtype == np.uint8 or bool((learnt == np.rint(learnt)).all())
        scaled = learnt if scaling is None else scaling(learnt)
        kind = images.dtype.name
        return cls(dataset.shape, kind, *moments(scaled), is_whole, dataset.columns, scaling)

    @classmethod
    def settled(cls, training: Training, dataset: Dataset, rows: Array) -> dict[str, Any]:
        """Return whether images are mirrored, where their nearest neighbours can tell."""
        if training.flip is not None or dataset.task not in (CLASSIFICATION, REGRESSION):
            return {}
        about = dataset.inputs["x"], dataset.targets, rows
        keeps = mirrored.keeps_answers(*about, dataset.task == CLASSIFICATION)
        return {} if keeps is None else {"flip": keeps}

    @classmethod
    def restore(cls, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        shape, kind = tuple(facts["shape"]), facts["kind"]
        plain = len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)
        if not plain or math.prod(shape) > MOST:
            raise ValueError(f"shape: expected three integers above 0, at most {MOST} in product")
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
        mean = stored(arrays, "mean", shape[:1])
        std = stored(arrays, "std", shape[:1], is_positive=True)
        columns, scaling = columns_of(facts.get("columns", ())), None
        if columns and len(columns) != math.prod(shape):
            raise ValueError(f"columns: expected one for each number of {shape}")
        if "scaling_mean" in arrays:
            scaling = Scaling.of(arrays["scaling_mean"], arrays["scaling_deviation"])
            scaling.check("scaling", shape)
        is_whole = bool(facts.get("is_whole", kind == "uint8"))
        return cls(shape, kind, mean, std, is_whole, columns, scaling)

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        facts = {"shape": list(self.shape), "kind": self.kind, "is_whole": self.is_whole}
        facts["columns"] = [[c.name, c.kind] for c in self.columns]
        arrays: dict[str, Array] = {"mean": self.mean, "std": self.std}
        if self.scaling is not None:
            arrays["scaling_mean"] = self.scaling.mean
            arrays["scaling_deviation"] = self.scaling.deviation
        return facts, arrays

    @property
    def input_shape(self) -> Shape:
        return self.shape

    def read(self, raw: Any) -> dict[str, Array]:
        """Return arrays, image files (paths), Pillow images or rows of the table as stored."""
        from nasgen.data import pictures

        if pictures.is_picture(raw):
            raise DataError(
                "expected a list of images, got a single one; for one image write [image]."
            )
        if isinstance(raw, list | tuple) and raw and all(map(pictures.is_picture, raw)):
            return {"x": self._as_stored(pictures.fitting(raw, self.shape, pictures.Told()))}
        first = raw[0] if isinstance(raw, list | tuple) and raw else raw
        if self.columns and (isinstance(first, Mapping) or hasattr(first, "columns")):
            found = rows_of("predict", self.columns, raw)["x"]
            whole = self.kind == "uint8" and bool((found == np.rint(found)).all())
            images = found.astype(np.int64) if whole else found
        else:
            images = checks.as_array("predict", "images", raw)
        return {"x": self._as_stored(self._shaped(images))}

    def _shaped(self, images: Array) -> Array:
        """Return images as (B, C, H, W); DataError says which axes are wrong."""
        channels, height, width = self.shape
        if self.columns and images.shape[1:] == (len(self.columns),):
            return images.reshape(-1, *self.shape)
        if images.ndim == 3 and channels == 1:  # as a data set of grey images may be
            images = images[:, None]
        if images.shape[1:] == self.shape:
            return images
        hint = ""
        if images.shape in (self.shape, self.shape[1:]):
            hint = "; for one image write [image]"
        elif images.ndim == 4 and images.shape[1:] == (height, width, channels):
            hint = "; these have their channels last: use images.transpose(0, 3, 1, 2)"
        elif images.ndim == 4 and images.shape[2:] == (height, width) and channels in (1, 3):
            trained = "grey" if channels == 1 else "RGB"
            hint = f"; training images are {trained}: image files and Pillow images are converted"
        raise DataError(
            f"expected images of shape (B, {', '.join(map(str, self.shape))}), got "
            f"{images.shape}{hint}."
        )

    def _as_stored(self, images: Array) -> Array:
        """Return images in the type of the data set, where they lose nothing by that."""
        kind, wanted = images.dtype.kind, self.kind
        if wanted == "uint8" and kind in "iu":
            if not images.size or (int(images.min()) >= 0 and int(images.max()) <= 255):
                return images.astype(np.uint8, copy=False)
            raise DataError(
                f"expected integers in 0..255, as in the data set, got {images.min()} to "
                f"{images.max()}."
            )
        # Integers may be pixels that somebody forgot to divide by 255, as the data set's were.
        if wanted != "uint8" and (
            kind == "f" or (kind in "iu" and (self.is_whole or self.columns))
        ):
            with np.errstate(over="ignore"):
                images = images.astype(wanted, copy=False)
            checks.finite("predict", "images", images)
            return images
        remedy = (
            "if they are pixels in 0..255 use images.astype('uint8'), if shares of 255 first "
            "multiply by 255"
            if wanted == "uint8"
            else f"if the values are on the data set's scale use images.astype('{wanted}')"
        )
        raise DataError(
            f"expected images of type {wanted}, as in the data set, got {images.dtype}; {remedy}."
        )

    def remarks(self, stored: Inputs) -> list[str]:
        if not len(stored["x"]):
            return []
        means, _ = moments(self.prepared(stored)["x"])
        off = np.abs(means - self.mean) / self.std
        at = int(off.argmax())
        if off[at] <= FAR:
            return []
        return [
            f"images: channel {at} has the mean {means[at]:.4g}, in training it was "
            f"{self.mean[at]:.4g} ± {self.std[at]:.4g}; expected values as the data set has them, "
            "before any scaling."
        ]

    def prepared(self, stored: Inputs) -> dict[str, Array]:
        return {"x": stored["x"] if self.scaling is None else self.scaling(stored["x"])}

    @cached_property
    def normaliser(self) -> Normaliser:
        """Mean and deviation as torch has them, on the CPU."""
        from nasgen.evaluation.images import Normaliser

        return Normaliser.of_channels(self.mean, self.std)

    @cached_property
    def _placed(self) -> dict[torch.device, Normaliser]:
        return {}

    def on(self, device: torch.device) -> Normaliser:
        """Return mean and deviation on a device, moved there once."""
        if device not in self._placed:
            self._placed[device] = self.normaliser.to(device)
        return self._placed[device]

    def batch(self, prepared: dict[str, Tensor]) -> dict[str, Tensor]:
        images = prepared["x"]
        return {"x": self.on(images.device)(images)}

    def batches(
        self,
        prepared: Mapping[str, Tensor],
        targets: Tensor,
        rows: Tensor,
        batch_size: int,
        generator: torch.Generator,
        recipe: Recipe,
    ) -> ImageBatches:
        from nasgen.evaluation.images import ImageBatches

        images = prepared["x"]
        augmentation = (recipe.crop, recipe.flip, recipe.start_scale)
        normalise = self.on(images.device)
        return ImageBatches(images, targets, rows, batch_size, normalise, generator, *augmentation)

    @classmethod
    def views(cls, recipe: Recipe) -> tuple[tuple[int, bool], ...]:
        """Return (shift in pixels, mirrored) of all views but the image as it is.

        As in cifar10-airbench (Jordan 2024): mirrored, where training mirrors, and shifted by a
        pixel both ways, where it shifts.
        """
        shifts = (0, -1, 1) if recipe.crop else (0,)
        mirrors = (False, True) if recipe.flip else (False,)
        return tuple((shift, mirror) for shift in shifts for mirror in mirrors)[1:]

    def viewed(self, batch: dict[str, Tensor], view: tuple[int, bool]) -> dict[str, Tensor]:
        from nasgen.evaluation.images import viewed

        shift, mirror = view
        if abs(shift) > max(self.shape[1:]):  # of a damaged record: memory grows with its square
            raise ValueError(f"expected a shift of at most {max(self.shape[1:])}, got {shift}")
        return batch | {"x": viewed(batch["x"], shift, mirror)}

    @property
    def rows_at_once(self) -> int:
        _, height, width = self.shape
        return min(512, max(16, PIXELS_AT_ONCE // (height * width)))

    def example(self) -> dict[str, Tensor]:
        import torch

        zeros = torch.zeros((1, *self.shape))
        return {"x": zeros.contiguous(memory_format=torch.channels_last)}

    def drawn(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Return independent normal pixels with each channel's mean and deviation."""
        mean, std = (moment[:, None, None] for moment in (self.mean, self.std))
        x: Array = rng.standard_normal((n, *self.shape), dtype=np.float32) * std + mean
        if self.scaling is not None:
            x = x * self.scaling.deviation + self.scaling.mean
        if self.kind == "uint8":
            return {"x": np.clip(np.rint(x), 0, 255).astype(np.uint8)}
        return {"x": (np.rint(x) if self.is_whole else x).astype(self.kind)}

    def standalone(self) -> nn.Module:
        from nasgen.evaluation.standalone import Pixels, ScaledPixels, filled

        channels, moments = self.shape[0], {"mean": self.mean, "deviation": self.std}
        if self.scaling is None:
            return filled(Pixels(channels), **moments)
        own = {"own_mean": self.scaling.mean, "own_deviation": self.scaling.deviation}
        own = {name: np.broadcast_to(array, self.shape).copy() for name, array in own.items()}
        return filled(ScaledPixels(channels, self.shape), **moments, **own)

    def standalone_views(self, views: Sequence[tuple[int, bool]]) -> nn.Module:
        from nasgen.evaluation.standalone import Views

        return Views(tuple((int(shift), bool(mirrored)) for shift, mirrored in views))

    def placed(self, network: nn.Module, device: torch.device) -> nn.Module:
        import torch

        moved: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return moved


def moments(images: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and deviation of each channel of (N, C, H, W) images, (C,) float32.

    The deviation of a constant channel counts as 1: it is only centred.
    """
    n, channels = images.shape[:2]
    total, squares = np.zeros(channels), np.zeros(channels)
    wide = np.dtype(np.uint16 if images.dtype == np.uint8 else np.float64)  # holds 255 ** 2
    for start in range(0, n, 256):  # in pieces: a wide copy of all images would be large
        part = images[start : start + 256].astype(wide)
        total += part.sum((0, 2, 3), dtype=np.float64)
        squares += np.square(part).sum((0, 2, 3), dtype=np.float64)
    count = images.size / channels
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    std[std < 1e-6] = 1.0
    return mean.astype(np.float32), std.astype(np.float32)
