"""Images in memory become normalised, augmented batches, whole batches at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

Array = np.ndarray[Any, Any]
Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Normaliser:
    """Subtracts the mean and divides by the standard deviation, per channel.

    `mean` and `std` are (1, C, 1, 1) float32 in the units of the stored values (0..255 for images).
    """

    mean: torch.Tensor
    std: torch.Tensor

    @classmethod
    def of(cls, images: Array) -> Normaliser:
        """Measure (N, C, H, W) images; a constant channel is only centred."""
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
        shaped = [torch.tensor(v, dtype=torch.float32).view(1, -1, 1, 1) for v in (mean, std)]
        return cls(*shaped)

    def to(self, device: torch.device) -> Normaliser:
        """Return the same on another device."""
        return Normaliser(self.mean.to(device), self.std.to(device))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return (B, C, H, W) images as normalised float32 in channels-last memory order."""
        # Normalising before the memory order changes is four times as fast on a CPU.
        values = images.to(torch.float32, copy=True).sub_(self.mean).div_(self.std)
        return values.contiguous(memory_format=torch.channels_last)


def shift_and_flip(
    images: torch.Tensor, dy: torch.Tensor, dx: torch.Tensor, flip: torch.Tensor, crop: int
) -> torch.Tensor:
    """Cut each image out of its zero-padded self, mirrored where `flip` says so.

    `images` is (B, C, H, W); `dy`, `dx` are (B,) integers in [0, 2 * crop], where `crop` leaves the
    image where it is; `flip` is (B,) bool. One gather does both for the whole batch.
    """
    b, c, h, w = images.shape
    if crop:
        images = F.pad(images, (crop, crop, crop, crop))
    columns = torch.arange(w, device=images.device)
    rows = dy[:, None] + torch.arange(h, device=images.device)
    columns = torch.where(flip[:, None], w - 1 - columns, columns) + dx[:, None]
    places = rows[:, :, None] * (w + 2 * crop) + columns[:, None, :]
    index = places.view(b, 1, h * w).expand(b, c, h * w)
    return images.reshape(b, c, -1).gather(2, index).view(b, c, h, w)


def resized(images: torch.Tensor, scale: float) -> torch.Tensor:
    """Return (B, C, H, W) images scaled to `scale` in (0, 1] of each side, in steps of 4 pixels."""
    h, w = images.shape[2:]
    sides = [min(side, max(4, 4 * round(side * scale / 4))) for side in (h, w)]
    if sides == [h, w]:
        return images
    return F.interpolate(images, size=sides, mode="bilinear", align_corners=False)


class TrainingBatches:
    """Shuffled, augmented batches of the rows `rows` of `images`.

    `images` is (N, C, H, W) uint8 or float32, `labels` (N,) int64. All randomness comes from
    `generator`, on the CPU, so that the order is the same on every device. On a CUDA device the
    stored images are kept there and never cross the bus again.
    """

    def __init__(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        rows: torch.Tensor,
        batch_size: int,
        normalise: Normaliser,
        generator: torch.Generator,
        crop: int = 0,
        flip: bool = False,
    ) -> None:
        self.device = images.device
        self.images, self.labels = images, labels
        self.rows = rows
        self.batch_size = min(batch_size, len(rows))
        self.normalise = normalise
        self.generator = generator
        self.crop, self.flip = crop, flip

    @property
    def n_steps(self) -> int:
        """Batches in an epoch. A rest of less than half a batch is left out: batch norm suffers."""
        full, rest = divmod(len(self.rows), self.batch_size)
        return full + (rest >= max(2, self.batch_size / 2))

    def epoch(self) -> Iterator[Batch]:
        """Yield each batch of one epoch: (B, C, H, W) float32 channels last, (B,) int64."""
        n, draw = len(self.rows), self.generator
        # The draws of a whole epoch at once: one transfer to the device instead of one a step.
        order = self.rows[torch.randperm(n, generator=draw)].to(self.device)
        shifts = torch.randint(0, 2 * self.crop + 1, (2, n), generator=draw).to(self.device)
        mirror = torch.rand(n, generator=draw) < (0.5 if self.flip else 0.0)
        mirror = mirror.to(self.device)
        for step in range(self.n_steps):
            part = slice(step * self.batch_size, (step + 1) * self.batch_size)
            picked = order[part]
            images = self.images.index_select(0, picked)
            if self.crop or self.flip:
                dy, dx = shifts[:, part]
                images = shift_and_flip(images, dy, dx, mirror[part], self.crop)
            yield self.normalise(images), self.labels.index_select(0, picked)


def evaluation_batches(
    images: Array, rows: Array | None, normalise: Normaliser, device: torch.device
) -> Iterator[torch.Tensor]:
    """Yield all (or the `rows` of) images in order, normalised and never augmented.

    `images` is (N, C, H, W) in numpy; batches are large, but bounded by pixels.
    """
    n = len(images) if rows is None else len(rows)
    height, width = images.shape[2:]
    size = min(512, max(16, 512 * 32 * 32 // (height * width)))
    for start in range(0, n, size):
        stop = min(start + size, n)
        part = images[start:stop] if rows is None else images[rows[start:stop]]
        batch = torch.from_numpy(np.require(part, requirements=["C", "W"]))
        if device.type == "cuda":
            batch = batch.pin_memory().to(device, non_blocking=True)
        yield normalise(batch)
