"""What a shift uncovers is filled with the mirrored edge of the image, not with zeros."""

from __future__ import annotations

import torch
from torch import Tensor

from nasgen.evaluation.images import ImageBatches
from nasgen.evaluation.recipe import Recipe
from trainer.fixed import Fixed


def reflected(images: Tensor, dy: Tensor, dx: Tensor, flip: Tensor, crop: int) -> Tensor:
    """Return what `nasgen.evaluation.images.shift_and_flip` does, with reflecting padding."""
    b, c, h, w = images.shape
    columns = torch.arange(w, device=images.device)
    columns = torch.where(flip[:, None], w - 1 - columns, columns) + dx[:, None] - crop
    rows = dy[:, None] - crop + torch.arange(h, device=images.device)
    rows, columns = ((n - 1) - ((n - 1) - at.abs()).abs() for n, at in ((h, rows), (w, columns)))
    index = (rows[:, :, None] * w + columns[:, None, :]).view(b, 1, h * w).expand(b, c, h * w)
    return images.reshape(b, c, -1).gather(2, index).view(b, c, h, w)


class Trick(Fixed):
    @classmethod
    def fits(cls, recipe: Recipe) -> bool:
        return recipe.crop > 0 and super().fits(recipe)

    def make_batches(self) -> ImageBatches:
        made = super().make_batches()

        def cut(images: Tensor, dy: Tensor, dx: Tensor, mirror: Tensor) -> Tensor:
            return reflected(images, dy, dx, mirror, made.crop)

        made.cut = cut  # type: ignore[method-assign]
        return made
