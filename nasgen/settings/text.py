"""Text that can be written: UTF-8 has no place for bytes that are no text, nor for half characters.

Names of files may hold bytes that are no UTF-8, which Python keeps as lone surrogates; messages of
plug-ins may hold them too. What is recorded or printed shows them as escapes instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from nasgen.errors import ConfigError

MAX_DEPTH: Final = 100  # of tables in tables; a config needs 3, a genotype about 6


def readable(text: str) -> str:
    r"""Return a text that UTF-8 can hold; bytes that are no text become escapes such as \xe9."""
    try:
        text.encode()
    except UnicodeEncodeError:
        # "surrogateescape" stands for bytes; what is left are halves of characters.
        escaped = "".join(
            f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else c for c in text
        )
        return escaped.encode(errors="backslashreplace").decode()
    return text


def parsed(path: Path, parse: Callable[[str], Any], what: str) -> Any:
    """Return what a UTF-8 file holds, with or without a byte order mark, as `parse` reads it.

    Raises OSError where it cannot be read, and ConfigError where it is no UTF-8, not `what` (such
    as "TOML"), or nested beyond all use.
    """
    data = path.read_bytes()
    try:
        return checked(parse(data.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: expected {what} as UTF-8 text, but {error.reason} at byte {error.start}; "
            "save it as UTF-8."
        ) from None
    except (ValueError, RecursionError) as error:  # what tomllib and json raise
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise ConfigError(f"{path}: expected {what}, but {str(reason).rstrip('.')}.") from None


def checked(value: Any) -> Any:
    """Return parsed JSON or TOML; RecursionError where it is nested deeper than anything needs."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        parts = (v.values() if isinstance(v, dict) else v for v in level)
        level = [v for part in parts for v in part if isinstance(v, dict | list)]
        if not level:
            return value
    raise RecursionError


def has_nul(value: Any) -> bool:
    """Tell whether a text in parsed JSON or TOML holds NUL, which no path and no URL may hold."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(map(has_nul, value)) or any(map(has_nul, value.values()))
    return isinstance(value, list | tuple) and any(map(has_nul, value))


def masked(text: str) -> str:
    """Return the text with user names and passwords of URLs replaced by ***."""
    text = re.sub(r"://[^\s\"']*@", "://***@", text)
    return re.sub(r"(?i)\b(password|passwd|pwd|token|secret)=[^&\s\"']+", r"\1=***", text)
