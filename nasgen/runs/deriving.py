"""What a derivation is told besides its parents: shares, and the environment of [environment]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasgen import registry
from nasgen.errors import FOREIGN, ConfigError, NasgenError
from nasgen.settings import options
from nasgen.settings.config import TABLES, SearchConfig
from nasgen.settings.environment import Environment


def settings(config: SearchConfig, group: str, name: str) -> dict[str, Any]:
    """Return the settings of derivations by an operator, JSON."""
    given = config.algorithm.operators.get(name, {})
    found: dict[str, Any] = {"options": dict(given)} if given else {}
    if group == "prunings":
        protect, recurrent = config.algorithm.protect, config.algorithm.recurrent
        found |= {} if protect == "none" else {"protect": protect}
        found |= {} if recurrent == "all" else {"recurrent": recurrent}
        found |= {"classifier": True} if config.algorithm.classifier else {}
        return found | {"retention": config.algorithm.retention}
    if group != "matings":
        return found
    section = config.environment
    if environment(section) is not None:
        found["environment"] = {"name": section.name, **section.options}
    # What is usual is left out, so that it is no part of a derivation's identity.
    usual = {"tags": True, "weights": "mean"}
    return {**found, **{k: v for k in usual if (v := getattr(section, k)) != usual[k]}}


def options_of(config: SearchConfig, group: str, name: str) -> dict[str, Any]:
    """Return the options of an operator as it takes them; raises ConfigError."""
    given = config.algorithm.operators.get(name, {})
    where = f"algorithm.operators.{name}"
    if registry.section(group, name) is None:
        if given:
            raise ConfigError(f"{where}: {group.removesuffix('s')} '{name}' has no options.")
        return {}
    return options.read(registry.resolve(group, name), given, where, name)


def operators(config: SearchConfig) -> None:
    """Raise ConfigError for options of operators that do not take them, or are not used."""
    problems: list[str] = []
    which = config.algorithm.recurrent
    for name in config.algorithm.prunings:
        whole = config.algorithm.operators.get(name, {}).get("granularity", "weight")
        if whole == "filter" and which in ("i2h", "h2h"):
            problems.append(
                f"algorithm.recurrent = '{which}': expected a pruning of the granularity 'weight' "
                f"or 'kernel', got '{name}' with 'filter': a hidden unit leaves through both "
                "matrices; take 'both' or 'all'."
            )
        if whole != "weight" and config.algorithm.classifier:
            problems.append(
                "algorithm.classifier: expected prunings of the granularity 'weight', since what "
                f"leads to an output cannot leave as a whole, got '{name}' with '{whole}'."
            )
    for name in config.algorithm.operators:
        groups = [g for g in TABLES if name in getattr(config.algorithm, g)]
        known = [g for g in groups if registry.known(g, name)]
        if not groups:
            problems.append(
                f"algorithm.operators.{name}: expected an operator that a table of [algorithm] "
                f"names, such as [algorithm.mutations] {name} = 1.0; name it there, or leave its "
                "options out."
            )
        for group in known:
            try:
                own = options_of(config, group, name)
            except ConfigError as error:
                problems += error.problems
                continue
            try:
                registry.function(group, name, own)
            except ConfigError as error:  # the member's own, which knows no sections
                problems += [_placed(name, own, problem) for problem in error.problems]
    section = config.algorithm
    able = [name for name in section.mutations if _is_composable(name)]
    share = section.options.get("mutation_prob", 0)
    if isinstance(share, int | float) and share > 0 and not able:
        given = f"got {', '.join(section.mutations)}" if section.mutations else "none is named"
        problems.append(
            f"algorithm.mutation_prob = {share:g}: expected a mutation of mated networks in "
            f"[algorithm.mutations], such as regrow = 1.0; {given}."
        )
    if problems:
        raise ConfigError(problems)


def _placed(name: str, given: Mapping[str, Any], problem: str) -> str:
    """Return an operator's sentence about its options with their place in the config."""
    option, colon, rest = problem.partition(":")
    section = f"algorithm.operators.{name}"
    if option == name:
        return f"{section}{colon}{rest}"
    return f"{section}.{problem}" if option in given else problem


def _is_composable(name: str) -> bool:
    """Tell whether a mutation can be applied to a mated child before it is trained."""
    if not registry.known("mutations", name):
        return False
    entry = registry.get("mutations", name)
    return entry.runs_in == "worker" and not set(entry.requires) - {*registry.POSITIONAL}


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
    given = options.read(target, section.options, "environment", section.name)
    try:
        return target(**given)
    except NasgenError:
        raise
    except FOREIGN as error:  # a plug-in's
        raise ConfigError(
            f"environment '{section.name}' cannot be made with the options {given}: "
            f"{type(error).__name__}: {error}."
        ) from error
