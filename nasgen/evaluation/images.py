"""Images become normalised, augmented batches, whole batches at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from nasgen.evaluation.batches import Batch, Batches, Inputs, Run
from nasgen.evaluation.feeds.image import moments
from nasgen.evaluation.schedule import image_scale

Array = np.ndarray[Any, Any]


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
        return cls.of_channels(*moments(images))

    @classmethod
    def of_channels(cls, mean: Array, std: Array) -> Normaliser:
        """Return the normaliser of (C,) means and deviations."""
        return cls(*(torch.tensor(v, dtype=torch.float32).view(1, -1, 1, 1) for v in (mean, std)))

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


def viewed(images: torch.Tensor, shift: int, mirror: bool) -> torch.Tensor:
    """Return (B, C, H, W) images moved down and right by `shift` pixels, and mirrored if asked.

    A negative shift moves them up and left. What is moved out is lost; the edge is repeated where
    something is missing.
    """
    if shift:
        n, (height, width) = abs(shift), images.shape[2:]
        start = n - shift
        images = F.pad(images, (n, n, n, n), mode="replicate")
        images = images[:, :, start : start + height, start : start + width]
    images = images.flip(3) if mirror else images
    return images.contiguous(memory_format=torch.channels_last)


def resized(images: torch.Tensor, scale: float) -> torch.Tensor:
    """Return (B, C, H, W) images scaled to `scale` in (0, 1] of each side, in steps of 4 pixels."""
    h, w = images.shape[2:]
    sides = [min(side, max(4, 4 * round(side * scale / 4))) for side in (h, w)]
    if sides == [h, w]:
        return images
    return F.interpolate(images, size=sides, mode="bilinear", align_corners=False)


class ImageBatches(Batches):
    """Shuffled, augmented, at first smaller batches of the rows `rows` of `images`.

    `images` is (N, C, H, W) uint8 or float32. On a CUDA device the stored images are kept there and
    never cross the bus again. `start_scale` is the side of the first images as a share of the full
    one, for networks that run on smaller ones.
    """

    def __init__(
        self,
        images: torch.Tensor,
        targets: torch.Tensor,
        rows: torch.Tensor,
        batch_size: int,
        normalise: Normaliser,
        generator: torch.Generator,
        crop: int = 0,
        flip: bool = False,
        start_scale: float = 1.0,
    ) -> None:
        def batch(prepared: Inputs) -> Inputs:
            return {"x": normalise(prepared["x"])}

        super().__init__(batch, {"x": images}, targets, rows, batch_size, generator)
        self.images, self.normalise = images, normalise
        self.crop, self.flip, self.start_scale = crop, flip, start_scale
        self.side = min(images.shape[2:])

    def begin(self, run: Run) -> None:
        """Find out whether a network takes the smallest images: a plug-in layer may fix its input.

        It trains at full size throughout where it does not.
        """
        example = self.normalise(self.images[:2])
        small = resized(example, image_scale(0.0, self.start_scale))
        if small.shape == example.shape:
            return
        try:
            run({"x": small})
        except RuntimeError:
            self.start_scale = 1.0

    def scale(self, progress: float) -> float:
        return image_scale(progress, self.start_scale)

    def seen(self, inputs: Inputs, progress: float) -> Inputs:
        return inputs | {"x": resized(inputs["x"], self.scale(progress))}

    def mirrored(self, order: torch.Tensor) -> torch.Tensor:
        """Draw which images of an epoch are mirrored, (n,) bool; `order` (n,) are their rows."""
        drawn = torch.rand(len(order), generator=self.generator) < (0.5 if self.flip else 0.0)
        return drawn.to(self.device)

    def cut(
        self, images: torch.Tensor, dy: torch.Tensor, dx: torch.Tensor, mirror: torch.Tensor
    ) -> torch.Tensor:
        """Return a batch of stored images, shifted and mirrored; see `shift_and_flip`."""
        return shift_and_flip(images, dy, dx, mirror, self.crop)

    def epoch(self) -> Iterator[Batch]:
        """Yield the batches of one epoch, from `first` on: images (B, C, H, W) float32, targets."""
        n, draw = len(self.rows), self.generator
        # The draws of a whole epoch at once: one transfer to the device instead of one a step.
        order = self.rows[torch.randperm(n, generator=draw)].to(self.device)
        shifts = torch.randint(0, 2 * self.crop + 1, (2, n), generator=draw).to(self.device)
        mirror = self.mirrored(order)
        for step in range(self.first, self.n_steps):
            part = slice(step * self.batch_size, (step + 1) * self.batch_size)
            picked = order[part]
            images = self.images.index_select(0, picked)
            if self.crop or self.flip:
                dy, dx = shifts[:, part]
                images = self.cut(images, dy, dx, mirror[part])
            found = self.seen({"x": self.normalise(images)}, self.progress)
            yield found, self.targets.index_select(0, picked)
