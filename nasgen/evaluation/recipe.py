"""How a candidate is trained: the config's settings with every default resolved."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Final, Literal

from nasgen.layers.base import Shape
from nasgen.settings.config import Training
from nasgen.settings.training import NewParts

ADAMW_LR, SGD_LR = 0.004, 0.1
ADAMW_DECAY, SGD_DECAY = 0.05, 5e-4
MIN_BATCH = 16
MIN_STEPS = 32  # an epoch of a small data set has about this many steps, or too few updates happen
MIN_SIDE_TO_SHRINK = 24  # pixels; smaller images are trained on at full size throughout
START_SCALE = 0.5
AVERAGE = 0.2  # share of the steps over which weights are averaged before the schedule is over
MIN_SIDE_TO_CROP = 16  # pixels; in an 8x8 digit a shift by one pixel costs more than it teaches
SEQUENCE_CLIP = 1.0  # one long sequence can make a gradient that undoes an epoch (Pascanu 2013)
USUAL: Final = {
    "clip": 0.0, "decay": None, "new_parts": "drawn", "new_rate": 1.0, "tokens": "narrow",
}  # fmt: skip
REVISION = 6  # raise it when training changes in a way that these settings do not show


def n_batches(n_rows: int, batch_size: int) -> int:
    """Return the batches of an epoch. A rest of less than half of one is left out: norms suffer."""
    full, rest = divmod(n_rows, batch_size)
    return full + (rest >= max(2, batch_size / 2))


@dataclass(frozen=True)
class Recipe:
    """Everything about training that is the same for all trials of a run, fidelity excluded.

    `lr` is the peak of the schedule, `warmup` the share of it in which the rate rises, `decay` the
    one in which it falls (None: along a cosine, all behind the warm-up),
    `crop` the largest shift in pixels, `flip` whether half of the images are mirrored,
    `start_scale` the side of the first training images as a share of the full one, `precision` what
    `mixed_precision` is asked for, `average` the share of the steps over which weights are averaged
    (None: as `average_at` says), `clip` the largest norm of a gradient (0: any). `new_parts` and
    `new_rate` say how weights that a child does not inherit begin and learn. `tokens` is how an
    embedding begins: "unit", with a deviation of 1, see `SequenceFeed.begin`; "narrow" as before.
    """

    optimizer: str
    lr: float
    weight_decay: float
    batch_size: int
    warmup: float
    label_smoothing: float
    flip: bool
    crop: int
    start_scale: float = 1.0
    precision: str = "auto"
    average: float | None = None
    clip: float = 0.0
    decay: float | None = None
    new_parts: NewParts = "drawn"
    new_rate: float = 1.0
    tokens: Literal["narrow", "unit"] = "narrow"

    @classmethod
    def of(cls, training: Training, shape: Shape) -> Recipe:
        """Resolve the defaults of `training` for rows of this shape; only images are augmented."""
        is_sequence = len(shape) == 2  # recurrent networks are what reads these step by step
        optimizer = training.optimizer or ("adamw" if is_sequence else "sgd")
        adamw = optimizer == "adamw"
        lr = training.lr if training.lr is not None else (ADAMW_LR if adamw else SGD_LR)
        decay = training.weight_decay
        if decay is None:
            decay = ADAMW_DECAY if adamw else SGD_DECAY
        is_image = len(shape) == 3
        side = min(shape[1:]) if is_image else 0
        crop = side // 16 if side >= MIN_SIDE_TO_CROP else 0
        scale = START_SCALE if side >= MIN_SIDE_TO_SHRINK else 1.0
        return cls(
            optimizer=optimizer,
            lr=lr,
            weight_decay=decay,
            batch_size=training.batch_size,
            warmup=training.warmup,
            label_smoothing=training.label_smoothing,
            flip=training.flip if training.flip is not None else is_image and shape[0] == 3,
            crop=training.crop if training.crop is not None else crop,
            start_scale=scale if training.start_scale is None else training.start_scale,
            precision=training.precision,
            average=training.average,
            clip=training.clip if training.clip is not None else SEQUENCE_CLIP * is_sequence,
            decay=training.decay,
            new_parts=training.new_parts,
            new_rate=training.new_rate,
            tokens="unit" if is_sequence else "narrow",
        )

    def batch_for(self, n_rows: int) -> int:
        """Return the batch size for a training set of `n_rows`: smaller when it is small."""
        return max(1, min(self.batch_size, max(MIN_BATCH, n_rows // MIN_STEPS), n_rows))

    def average_at(self, end: float) -> float:
        """Return the share of the steps to average over in a training up to the progress `end`.

        By default none at the end of the schedule: there the learning rate has gone to 0.
        """
        return self.average if self.average is not None else AVERAGE if end < 1 else 0.0

    def digest(self) -> str:
        """Return a text that differs whenever the settings differ; part of a trial's identity."""
        settings = asdict(self)
        for name, usual in USUAL.items():  # as trainings were before there was such a setting
            if settings[name] == usual:
                del settings[name]
        text = json.dumps({"revision": REVISION, **settings}, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
