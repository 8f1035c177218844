"""One trick a file: a class `Trick` that overrides steps of `trainer.fixed.Fixed`.

A setting of the recipe is a trick without a file, such as "lr=0.2" or "batch_size=128".
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path

from nasgen.evaluation.recipe import Recipe
from nasgen.settings.config import Training
from trainer.fixed import Fixed

NAMES = tuple(sorted(f.stem for f in Path(__file__).parent.glob("*.py") if f.stem != "__init__"))
SETTINGS = tuple(f.name for f in fields(Recipe) if f.name in Training.model_fields)


def named(text: str) -> type[Fixed]:
    """Return the trick of "name" or "name=value"; raises ValueError."""
    name, equals, value = text.partition("=")
    if name in SETTINGS and equals:
        return _setting(name, _read(name, value))
    if name not in NAMES:
        raise ValueError(
            f"'{text}' is no trick; there are {', '.join(NAMES)}, and settings such as lr=0.2"
        )
    trick: type[Fixed] = import_module(f"trainer.tricks.{name}").Trick
    if not equals:
        return trick
    if not trick.option:
        raise ValueError(f"'{name}' takes no value, got '{value}'")
    return type(name, (trick,), {trick.option: _read(name, value)})


def _read(name: str, value: str) -> object:
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError(f"'{name}': expected a number, true or false, got '{value}'") from None


def _setting(name: str, value: object) -> type[Fixed]:
    class Setting(Fixed):
        def make_recipe(self) -> Recipe:
            return replace(super().make_recipe(), **{name: value})  # type: ignore[arg-type]

    return Setting
