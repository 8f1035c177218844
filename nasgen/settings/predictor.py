"""The settings of what screens candidates before they are trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from nasgen.settings.sections import Section, Share, listed


class Predictor(Section):
    """A predictor that screens candidates before they are trained."""

    name: str = Field(
        "auto",
        description="auto: the algorithm's own, with one objective | none | see `nasgen list "
        "predictors`",
    )
    features: str | None = Field(
        None,
        description="what it reads; see `nasgen list features`; + joins several, and zero-cost "
        "scores, as in 'structural+synflow'; default: those of the search space, else structural",
    )
    score: str = Field(
        "jacob_cov",
        description="score that the predictor 'zero-cost' uses; see `nasgen list scores`; az_nas "
        "and vkdnw_agg add up the log ranks of several among the candidates",
    )
    oversample: float = Field(
        2.0,
        ge=1,
        le=1000,
        description="candidates for each training; default: 2, with the predictor 'transfer' 30",
    )
    warmup: int = Field(
        16,
        ge=2,
        description="trained networks before it may reject any; does not count for 'transfer'",
    )
    unscreened: Share = Field(
        0.2,
        description="share of the candidates that is trained without screening, on which the "
        "predictor is evaluated; it grows while the predictor is no better than chance or network "
        "size",
    )
    acquisition: Literal["mean", "ucb", "ei", "thompson"] = Field(
        "mean", description="how candidates are ranked by prediction: mean | ucb | ei | thompson"
    )
    mode: Literal["filter", "substitute"] = Field(
        "filter",
        description="filter: choose which candidates are trained | substitute: give a share of the "
        "candidates a predicted fitness instead of a training",
    )
    estimated: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="share of the candidates that is predicted in the mode 'substitute'",
    )
    promotes: bool = Field(
        False,
        description="with algorithm.rungs, it also says who climbs to the next rung, from their "
        "accuracy on this one and what it reads; only where that orders those who climbed before "
        "better than the accuracy alone does",
    )
    table: str | None = Field(
        None,
        description="file of trainings on other image sets that 'transfer' learns from; default: "
        "the one that comes with nasgen",
    )
    without: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        (),
        description="image sets that are left out of that table, with all that is derived from "
        "them, such as ['cifar10']",
    )
