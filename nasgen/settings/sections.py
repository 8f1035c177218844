"""What the tables of a config are made of: their bases, and settings of a common kind."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(value: Any) -> Any:
    """Read a duration: text with a unit, such as "90s", "10m", "1.5h", "2d"; or numbers in seconds.

    Text without a unit is refused: `--budget 10` may mean ten minutes.
    """
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", value)
        if match is None:
            raise ValueError(f"expected a duration such as '90s', '10m' or '1.5h', got '{value}'")
        if not match[2]:
            raise ValueError(
                f"expected a duration with its unit, got '{value}'; write '{match[1]}s' for "
                f"seconds, '{match[1]}m' for minutes or '{match[1]}h' for hours"
            )
        return float(match[1]) * _UNITS[match[2]]
    return value


def listed(value: Any) -> Any:
    """Read a list of names; one name may stand without the list."""
    return (value,) if isinstance(value, str) else value


Duration = Annotated[float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Weights = dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]


class Section(BaseModel):
    """A table of the config file; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OptionSection(BaseModel):
    """A table that names a registered member; its other keys are passed to that member."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def options(self) -> dict[str, Any]:
        """The keys that belong to the named member."""
        return dict(self.model_extra or {})
