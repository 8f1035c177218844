"""How a candidate is trained during the search."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasgen.settings.sections import Duration, Section, Share

NewParts = Literal["drawn", "variance", "gradmax"]


class Training(Section):
    """How one candidate is trained during the search."""

    epochs: float | None = Field(
        None,
        gt=0,
        le=100_000,
        description="passes over the training rows; default: from 1 to 12, for about 30,000 "
        "rows in total, ten times as many where a time budget ends a trial",
    )
    fraction: float = Field(1.0, gt=0, le=1, description="share of the training rows that is used")
    seconds: Duration | None = Field(
        None,
        description="time limit in which the learning-rate schedule is completed, such as '90s'; "
        "default: none; chosen automatically with a time budget",
    )
    time_limit: Duration | None = Field(
        None, description="a trial that takes longer fails, such as '10m'; default: none"
    )
    optimizer: Literal["sgd", "adamw"] | None = Field(
        None, description="sgd (Nesterov) | adamw; default: adamw for sequences, else sgd"
    )
    lr: float | None = Field(
        None,
        gt=0,
        description="highest learning rate of the schedule; default 0.004 for adamw, 0.1 for sgd",
    )
    weight_decay: float | None = Field(
        None, ge=0, description="default 5e-4 for sgd, 0.05 for adamw"
    )
    batch_size: int = Field(
        64,
        ge=1,
        le=65_536,
        description="rows in a step; reduced on small data sets, so that an epoch has about 32 "
        "steps",
    )
    clip: float | None = Field(
        None,
        ge=0,
        description="largest norm of a step's gradient, which is scaled down to it; 0: any; "
        "default: 1 for sequences, else any",
    )
    warmup: Share = Field(0.2, description="share of the schedule in which the learning rate rises")
    decay: float | None = Field(
        None,
        gt=0,
        le=1,
        description="last share of the schedule, in which the learning rate falls straight to 0; "
        "before it the rate is steady; default: none, it falls along a cosine from the "
        "warm-up on",
    )
    new_parts: NewParts = Field(
        "drawn",
        description="how weights begin that a child does not inherit: drawn, as in a new network | "
        "variance, drawn, then scaled to the spread of the inherited ones of the same tensor, if "
        "it has any | "
        "gradmax, along the directions in which the loss falls fastest (Evci 2022) where nothing "
        "reads them yet, else as variance; what a morphism preserves, all preserve",
    )
    new_rate: float = Field(
        1.0,
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="learning rate of these weights as a multiple of the others'; it comes down to "
        "1 in the first half of the training in which they are new",
    )
    label_smoothing: float = Field(
        0.05, ge=0, lt=1, description="classes: probability mass spread over all of them; 0: none"
    )
    distil: Share = Field(
        0.0,
        description="share of the loss that compares with the answers of the trial's "
        "ancestor, the network that its line began with, instead of the labels; 0: none",
    )
    distil_temperature: float = Field(
        2.0,
        gt=0,
        le=1000,
        allow_inf_nan=False,
        description="what the logits of both are divided by there; the higher, the softer",
    )
    flip: bool | None = Field(
        None,
        description="images: mirror half of them; default: where nearest neighbours among the "
        "training rows answer mirror images about as well as images; where they know too little, "
        "colour images are mirrored",
    )
    crop: int | None = Field(
        None,
        ge=0,
        description="images: random shift by up to this many pixels; default: a sixteenth of the "
        "shorter side, 0 below 16 pixels",
    )
    start_scale: float | None = Field(
        None,
        gt=0,
        le=1,
        description="images: progressive resizing; side of the first training images, as a share "
        "of the full side, which is reached at the end; default 0.5 from 24 pixels on, else 1",
    )
    average: Share | None = Field(
        None,
        description="what a training hands over is the mean of its weights over about this share "
        "of its steps, the last ones; 1: over all of them; 0: the last weights; default: 0.2 where "
        "the learning rate has not gone to 0 at its end, else 0",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="number format of training; auto: bfloat16 on GPUs since Ampere, float16 on "
        "older ones; bfloat16 on processors with AMX or AVX512_BF16 for images of 24 pixels or "
        "more; else float32",
    )
    inherit_weights: bool = Field(
        False,
        description="start children from the weights of their parents instead of from scratch; "
        "lineage always does. With a time budget, random search trains its networks on, too, "
        "unless this is set to false",
    )
    on_bad_parent: Literal["scratch", "drop"] = Field(
        "scratch",
        description="what to do where the weights of a child's parents are gone or do not fit: "
        "train it from scratch | drop: the trial fails. Its record gives the reason",
    )
