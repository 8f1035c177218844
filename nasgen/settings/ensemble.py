"""The settings of how networks are combined."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasgen.settings.sections import OptionSection


class Ensemble(OptionSection):
    """How the final networks are combined."""

    name: str = Field(
        "greedy",
        description="the method, see `nasgen list ensembles`; other keys are passed to it "
        "(`nasgen list ensembles NAME` lists them), such as bags = 10",
    )
    rounds: int = Field(
        25, ge=1, le=10_000, description="members to select, one each round, repetitions allowed"
    )
    candidates: int = Field(20, ge=1, description="number of best networks to select from")
    select: Literal["accuracy", "nll"] = Field(
        "accuracy",
        description="what the selection improves on validation rows: accuracy (where the task has "
        "no classes: its own metric, such as RMSE) | nll (the loss, for classes the negative "
        "log-likelihood); the other one decides between equals",
    )
    mean_of: Literal["probabilities", "logits"] = Field(
        "probabilities",
        description="what the shares weigh: probabilities (values, where there are no classes) | "
        "logits: the geometric mean of the probabilities, of which a member that is sure decides "
        "more",
    )
    size: int | None = Field(None, ge=1, description="largest number of different members")
    max_params: int | None = Field(
        None, ge=1, description="largest number of parameters of all members together"
    )
    max_latency_ms: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="most milliseconds for one row, members one after another on one thread",
    )
