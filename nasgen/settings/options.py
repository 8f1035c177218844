"""Options that a config gives a registered member are read by the types of its constructor."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nasgen import registry
from nasgen.errors import ConfigError, suggest
from nasgen.settings.config import FORMER, keys


def read(target: Any, given: Mapping[str, Any], where: str, name: str) -> dict[str, Any]:
    """Return the options of a member `name`; `where` is the section of the config that names it.

    Raises ConfigError with a sentence for each option that it does not take or cannot read.
    """
    hints = typing.get_type_hints(target)
    if not is_dataclass(target):  # whose constructor is that of its fields, read where they stand
        hints = typing.get_type_hints(target.__init__) | hints
    valid = list(registry.options_of(target))
    problems, found = [], {}
    for key, value in given.items():
        if key not in valid:
            nearest = FORMER.get(f"{where}.{key}", key)
            problems.append(
                f"'{where}.{key}' is no setting{suggest(nearest, [*valid, *keys(where)])} "
                f"Options of '{name}': {', '.join(valid) or 'none'}."
            )
            continue
        try:
            found[key] = TypeAdapter(hints.get(key, Any)).validate_python(value)
        except ValidationError as error:
            message = str(error.errors()[0]["msg"])
            problems.append(f"{where}.{key}: {message[:1].lower()}{message[1:]}, got {value!r}.")
    if problems:
        raise ConfigError(problems)
    return found
