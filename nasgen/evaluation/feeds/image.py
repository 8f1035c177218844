"""Images (C, H, W): each channel has its mean subtracted and is divided by its deviation.

In training they are shifted and mirrored, see `evaluation.images`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
from numpy.typing import NDArray

from nasgen.errors import DataError
from nasgen.evaluation.feeds.base import Array, Feed
from nasgen.layers.base import Shape

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from nasgen.data.base import Dataset
    from nasgen.evaluation.images import ImageBatches, Normaliser
    from nasgen.evaluation.recipe import Recipe

PIXELS_AT_ONCE = 512 * 32 * 32


@final
class ImageFeed(Feed):
    """`mean` and `std` are (C,) float32, in the units of the stored values (0..255 for bytes)."""

    def __init__(
        self, shape: Shape, kind: str, mean: NDArray[np.float32], std: NDArray[np.float32]
    ) -> None:
        self.shape, self.kind, self.mean, self.std = tuple(shape), kind, mean, std

    @classmethod
    def fit(cls, dataset: Dataset, rows: Array) -> Self:
        images = dataset.inputs["x"]
        return cls(dataset.shape, images.dtype.name, *moments(images[rows]))

    @classmethod
    def restore(cls, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        return cls(tuple(facts["shape"]), facts["kind"], arrays["mean"], arrays["std"])

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        facts = {"shape": list(self.shape), "kind": self.kind}
        return facts, {"mean": self.mean, "std": self.std}

    @property
    def input_shape(self) -> Shape:
        return self.shape

    def read(self, raw: Any) -> dict[str, Array]:
        images = np.asarray(raw)
        if images.ndim == 3 and self.shape[0] == 1:  # as a data set of grey images may be
            images = images[:, None]
        if images.ndim != 4 or images.shape[1:] != self.shape:
            raise DataError(
                f"expected images of shape (B, {', '.join(map(str, self.shape))}), got "
                f"{images.shape}."
            )
        images = self._as_stored(images)
        if images.dtype.name != self.kind:
            raise DataError(
                f"expected images of type {self.kind}, as in the data set, got {images.dtype}."
            )
        return {"x": images}

    def _as_stored(self, images: Array) -> Array:
        """Return images of a wider type as the data set keeps them, where they lose nothing."""
        kinds = (self.kind, images.dtype.kind)
        if kinds[0] == "float32" and kinds[1] == "f":
            return images.astype(np.float32, copy=False)
        if kinds[0] == "uint8" and kinds[1] in "iu" and images.size:
            is_byte = int(images.min()) >= 0 and int(images.max()) <= 255
            return images.astype(np.uint8, copy=False) if is_byte else images
        return images

    @cached_property
    def normaliser(self) -> Normaliser:
        """Mean and deviation as torch has them, on the CPU."""
        from nasgen.evaluation.images import Normaliser

        return Normaliser.of_channels(self.mean, self.std)

    def on(self, device: torch.device) -> Normaliser:
        """Return mean and deviation on a device, moved there once."""
        if not hasattr(self, "_placed") or self._placed[0] != device:
            self._placed: tuple[torch.device, Normaliser] = (device, self.normaliser.to(device))
        return self._placed[1]

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

    @property
    def rows_at_once(self) -> int:
        _, height, width = self.shape
        return min(512, max(16, PIXELS_AT_ONCE // (height * width)))

    def example(self) -> dict[str, Tensor]:
        import torch

        zeros = torch.zeros((1, *self.shape))
        return {"x": zeros.contiguous(memory_format=torch.channels_last)}

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
