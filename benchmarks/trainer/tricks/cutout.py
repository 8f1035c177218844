"""A square of each image, 8 pixels wide, is blanked (DeVries and Taylor 2017, "Cutout").

The square may reach over the edge, so that every pixel is blanked about equally often.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from nasgen.evaluation.batches import Inputs
from nasgen.evaluation.images import ImageBatches
from trainer.fixed import Fixed


def cut_out(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return (B, C, H, W) images with 0, the mean colour, in a square of `size` pixels each."""
    height, width = images.shape[2:]

    def inside(side: int) -> Tensor:
        start = torch.randint(1 - size, side, (len(images), 1), generator=generator)
        at = torch.arange(side)
        return (at >= start) & (at < start + size)

    blank = inside(height)[:, None, :, None] & inside(width)[:, None, None, :]
    return images.masked_fill(blank, 0.0)


class Trick(Fixed):
    option: ClassVar[str] = "size"
    size: ClassVar[int] = 8

    def make_batches(self) -> ImageBatches:
        made, size = super().make_batches(), self.size
        seen, draw = made.seen, torch.Generator().manual_seed(made.seed)

        def blanked(inputs: Inputs, progress: float) -> Inputs:
            return seen(inputs | {"x": cut_out(inputs["x"], size, draw)}, progress)

        made.seen = blanked  # type: ignore[method-assign]
        return made
