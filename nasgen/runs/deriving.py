"""What a derivation is told besides its parents: shares, and the environment of [environment]."""

from __future__ import annotations

from typing import Any

from nasgen import registry
from nasgen.errors import FOREIGN, ConfigError, NasgenError
from nasgen.settings import options
from nasgen.settings.config import SearchConfig
from nasgen.settings.environment import Environment


def settings(config: SearchConfig, group: str) -> dict[str, Any]:
    """Return the settings of derivations by operators of a group, JSON."""
    if group == "prunings":
        return {"retention": config.algorithm.retention}
    if group != "matings":
        return {}
    section, found = config.environment, dict[str, Any]()
    if environment(section) is not None:
        found["environment"] = {"name": section.name, **section.options}
    # What is usual is left out, so that it is no part of a derivation's identity.
    usual = {"tags": True, "weights": "mean"}
    return {**found, **{k: v for k in usual if (v := getattr(section, k)) != usual[k]}}


def draws(config: SearchConfig, entry: registry.Entry, group: str) -> bool:
    """Tell whether two derivations by an operator differ where their parents do not."""
    made = environment(config.environment) if group == "matings" else None
    return bool(entry.options.get("draws", True)) or bool(made is not None and made.draws)


def environment(section: Environment) -> Any:
    """Return the environment that [environment] names, None for "none"; raises ConfigError."""
    if section.name == "none":
        if section.options:
            raise ConfigError(
                f"'environment.{name}' is an option of an environment; name one, such as "
                "environment.name = 'factor'."
                for name in section.options
            )
        return None
    target = registry.resolve("environments", section.name)
    given = options.read(target, section.options, "environment")
    try:
        return target(**given)
    except NasgenError:
        raise
    except FOREIGN as error:  # a plug-in's
        raise ConfigError(
            f"environment '{section.name}' cannot be made with the options {given}: "
            f"{type(error).__name__}: {error}."
        ) from error
