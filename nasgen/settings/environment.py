"""The table [environment]: which synapses survive where networks are mated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasgen.settings.sections import OptionSection


class Environment(OptionSection):
    """Which synapses of mated networks survive (the environmental factor of Shafiee 2016)."""

    name: str = Field(
        "none",
        description="none: the strongest, as many as the parents have on average | literal | "
        "factor | normaliser | rank | random; other keys are passed to it (`nasgen list "
        "environments NAME` lists them), such as retention_synapses = 0.8",
    )
    tags: bool = Field(
        True,
        description="parents meet by gene tag; false: by place, the longer list of channels cut to "
        "the shorter, which shows what the tags are worth",
    )
    weights: Literal["mean", "fittest", "reinit"] = Field(
        "mean",
        description="what a synapse of a mated network begins with: the mean over the parents that "
        "have it, the weight of the fittest of them, or reinit: a new one, only the support stays",
    )
