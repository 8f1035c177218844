"""Writes a config as TOML, with what every setting means where that is wanted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from nasgen.errors import ConfigError
from nasgen.settings.config import SearchConfig
from nasgen.settings.text import readable

HEAD = "# nasgen search configuration. '# seed = 0' shows a default: drop its # to set another."


def to_toml(config: SearchConfig, comments: bool = False) -> str:
    """Write a config as TOML; with `comments`, every setting explained.

    Then defaults are comments: what is written out counts as set, where an algorithm may have a
    default of its own.

    Raises ConfigError for names of files that are no UTF-8, which TOML cannot hold.
    """
    if problems := list(_unwritable(config.model_dump(), "")):
        raise ConfigError(problems)
    lines = [HEAD] if comments else []
    lines += _table_lines(config, SearchConfig, comments)
    for name, field in SearchConfig.model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            lines.append("")
            if comments:
                lines.append(f"# {(type(value).__doc__ or '').strip().splitlines()[0]}")
            lines.append(f"[{name}]")
            lines += _table_lines(value, field.annotation, comments)
            for key, inner in type(value).model_fields.items():
                table = getattr(value, key)
                if not isinstance(table, Mapping) or not (table or comments):
                    continue
                lines.append("")
                if comments:
                    lines.append(f"# {inner.description}")
                lines.append(f"{'' if table else '# '}[{name}.{key}]")
                lines += [f"{_toml(k)} = {_toml(v)}" for k, v in table.items()]
    return "\n".join(lines) + "\n"


def _unwritable(value: Any, where: str) -> Iterator[str]:
    """Yield a sentence about each setting that holds bytes which are no text."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _unwritable(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _unwritable(inner, where)
    elif isinstance(value, str) and readable(value) != value:
        yield (
            f"{where}: '{readable(value)}' holds bytes that are no UTF-8 text, which a config "
            "cannot hold; rename the file or folder."
        )


def _table_lines(value: BaseModel, model: Any, comments: bool) -> list[str]:
    lines = []
    for key, field in model.model_fields.items():
        item = getattr(value, key)
        if isinstance(item, BaseModel | Mapping):  # a table of its own, behind the single settings
            continue
        if comments and field.description:
            lines.append(f"# {field.description}")
        if item is not None and (not comments or key in value.model_fields_set):
            lines.append(f"{key} = {_toml(item)}")
        elif comments:
            lines.append(f"# {key} =" + ("" if item is None else f" {_toml(item)}"))
    extra = value.model_extra or {}
    lines += [f"{_toml_key(k)} = {_toml(v)}" for k, v in extra.items() if v is not None]
    return lines


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml_key(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    return repr(value)
