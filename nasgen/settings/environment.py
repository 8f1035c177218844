"""The table [environment]: which synapses survive where networks are mated."""

from __future__ import annotations

from pydantic import Field

from nasgen.settings.sections import OptionSection


class Environment(OptionSection):
    """Which synapses of mated networks survive (the environmental factor of Shafiee 2016)."""

    name: str = Field(
        "none",
        description="none: the strongest, as many as the parents have on average | literal | "
        "factor | normaliser | rank; other keys are passed to it (`nasgen list environments NAME` "
        "lists them), such as retention_synapses = 0.8",
    )
