"""How bytes and JSON are damaged; every draw comes from the generator that is given."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

Rng = np.random.Generator

# What programs stumble over, as text that may stand anywhere in a file.
TOKENS: Final = (
    b"", b"0", b"-1", b"1e999", b"nan", b"inf", b"-inf", b"1" * 5000, b"9" * 40, b"0x10", b"1_000",
    b"true", b"None", b"null", b'"', b"'", b'"""', b"\\", b"\\u0000", b"\\ud800", b"\x00", b"\xff",
    b"\xef\xbb\xbf", b"\xfe\xff", b"\r", b"\n", b"\n\n", b",", b",,", b";", b"\t", b"[", b"]", b"{",
    b"}", b"[" * 3000, b"{" * 3000, b"(" * 300, b'{"a":' * 3000, b"=", b"= = =", b"#", b"?", b"%41",
    b"&", b"../", b"/dev/zero", b"\xc3\x28", "\u202e".encode(), "\U0001f600".encode(), b"a" * 70000,
)  # fmt: skip


def deep(depth: int, inner: Any = None) -> Any:
    """Return a list within a list within a list."""
    found = inner
    for _ in range(depth):
        found = [found]
    return found


def nasty() -> list[Any]:
    """Return values of every kind that JSON has, the likely and the unlikely."""
    return [
        None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, 10**20, -(10**20), 10**400, 2**63,
        math.nan, math.inf, -math.inf, "", "0", "nan", "None", "x" * 3000, "\x00", "\ud800", "é",
        "../../x", "nasgen.errors:NasgenError", [], [None], [[]], {}, {"": {}}, {"kind": "dag"},
        [0] * 2000, deep(40), deep(150), ["a", 1], {"a": {"b": {"c": []}}}, "1e5", "input",
        "output",
    ]  # fmt: skip


def damaged(data: bytes, rng: Rng, tokens: Sequence[bytes] = TOKENS, head: int = 1 << 62) -> bytes:
    """Return bytes with one to four faults, within the first `head` bytes."""
    changed = bytearray(data)
    for _ in range(_n_faults(rng)):
        end = min(len(changed), head)
        at = int(rng.integers(0, end + 1))
        n = int(min(end - at, 2 ** rng.integers(0, 8)))
        match int(rng.integers(0, 8)):
            case 0 if end:
                changed[min(at, end - 1)] ^= 1 << int(rng.integers(0, 8))
            case 1 if end:
                changed[min(at, end - 1)] = int(rng.integers(0, 256))
            case 2:
                del changed[at : at + n]
            case 3:
                changed[at:at] = changed[at : at + n]
            case 4:
                changed[at:at] = rng.bytes(n)
            case 5:
                changed[at : at + n] = bytes(n)
            case 6 if rng.random() < 0.3:
                del changed[at:]
            case _:
                changed[at : at + (n if rng.random() < 0.5 else 0)] = _one(tokens, rng)
    return bytes(changed)


def changed_json(data: Any, rng: Rng) -> Any:
    """Return a copy of JSON data with one to three values replaced, deleted, renamed or doubled."""
    found = copy.deepcopy(data)
    for _ in range(_n_faults(rng)):
        places = [*_places(found, None, None)]
        holder, key = places[int(rng.integers(0, len(places)))]
        if holder is None:
            if rng.random() < 0.1:
                found = _one(nasty(), rng)
            continue
        match int(rng.integers(0, 6)):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 0:
                holder.pop(key)
            case 1 if isinstance(holder, dict):
                holder[str(_one(nasty(), rng))] = holder.pop(key)
            case 2 if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(holder[key]))
            case 3:  # another value of the same data, which is likelier to be understood
                other, at = places[int(rng.integers(0, len(places)))]
                holder[key] = copy.deepcopy(found if other is None else other[at])
            case _:
                holder[key] = _near(holder[key], rng)
    return found


def _n_faults(rng: Rng) -> int:
    return 1 if rng.random() < 0.6 else int(rng.integers(2, 5))


def _near(value: Any, rng: Rng) -> Any:
    """Return a value that is a little different, or anything."""
    if rng.random() < 0.3:
        if isinstance(value, bool):
            return not value
        if isinstance(value, int | float) and math.isfinite(value):
            return _one(
                [value + 1, value - 1, -value, value * 10**6, float(value), str(value)], rng
            )
        if isinstance(value, str) and value:
            at = int(rng.integers(0, len(value)))
            return value[:at] + chr(int(rng.integers(1, 0x3000))) + value[at + 1 :]
    return _one(nasty(), rng)


def as_bytes(data: Any) -> bytes:
    """Return JSON as bytes; what cannot be encoded is written as surrogates are in the wild."""
    return json.dumps(data).encode("utf-8", "surrogatepass")


def _places(value: Any, holder: Any, key: Any, depth: int = 0) -> list[tuple[Any, Any]]:
    """Return (holder, key) of a value and of all values inside, those of long lists thinned out."""
    found = [(holder, key)]
    if depth > 30:
        return found
    if isinstance(value, Mapping):
        for name in list(value):
            found += _places(value[name], value, name, depth + 1)
    elif isinstance(value, list):
        for i in range(0, len(value), max(1, len(value) // 20)):
            found += _places(value[i], value, i, depth + 1)
    return found


def _one(values: Sequence[Any], rng: Rng) -> Any:
    return values[int(rng.integers(0, len(values)))]
