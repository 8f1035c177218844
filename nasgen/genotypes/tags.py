"""Gene tags: identifiers given once and never reused.

A tag is a positive 62-bit integer: 20 bits of the run (from its root seed), 22 bits of the trial,
20 bits of a local index. Inside a run tags can never collide; two runs collide with probability
2**-20. Channels are stored as ranges `(start, count)` of consecutive tags.

An operator knows neither run nor trial, so it writes *provisional* tags, which are negative. The
engine turns them into final ones with `Dag.mint` when the child is accepted.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence

from nasgen.errors import IllegalGenotypeError

Range = tuple[int, int]  # (first tag, how many), tags are consecutive
Ranges = tuple[Range, ...]

N_LOCAL_BITS, N_TRIAL_BITS, N_RUN_BITS = 20, 22, 20
PROVISIONAL = -(1 << 62)  # provisional tag of local index i is PROVISIONAL + i
DERIVED = 1 << 62  # the bit that derived tags have


def is_provisional(tag: int) -> bool:
    """Tell whether a tag still waits to be minted."""
    return tag < 0


def mint(tag: int, root_seed: int, trial: int) -> int:
    """Return the final tag of a provisional one; final tags are returned as they are."""
    if tag >= 0:
        return tag
    local = tag - PROVISIONAL
    if not 0 <= local < 1 << N_LOCAL_BITS:
        raise IllegalGenotypeError(
            f"a trial may create {1 << N_LOCAL_BITS} gene tags at most, got the index {local}; "
            "operators take new tags from the genotype that they edit."
        )
    run = zlib.crc32(str(root_seed).encode()) & ((1 << N_RUN_BITS) - 1)
    return (run << (N_TRIAL_BITS + N_LOCAL_BITS)) | (trial << N_LOCAL_BITS) | local


def derived(*parts: object) -> int:
    """Return the tag of something the decoder adds: a hash of (source, target, role).

    Derived tags have bit 62 set, which minted ones never reach, so the two kinds cannot meet.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 | DERIVED


def derived_range(n: int, *parts: object) -> Ranges:
    """Return derived tags for `n` channels of something, as one range."""
    return ((derived(*parts, "channels") >> N_LOCAL_BITS << N_LOCAL_BITS, n),)


def beside(ranges: Iterable[Range], *parts: object) -> Ranges:
    """Return derived tags for channels that are added to others, one to one; ranges stay ranges.

    They follow from the tags of the others, so that what is left of both still belongs together.
    """
    turned = derived(*parts, "beside") >> N_LOCAL_BITS << N_LOCAL_BITS  # what numbers a range stays
    return tuple((((start ^ turned) & (DERIVED - 1)) | DERIVED, n) for start, n in ranges)


def count(ranges: Iterable[Range]) -> int:
    """Return how many tags the ranges hold."""
    return sum(n for _, n in ranges)


def take(ranges: Iterable[Range], n: int) -> Ranges:
    """Return the first `n` tags of the ranges, as ranges."""
    kept: list[Range] = []
    for start, size in ranges:
        if n <= 0:
            break
        kept.append((start, min(size, n)))
        n -= size
    return tuple(kept)


def chosen(ranges: Iterable[Range], wanted: Sequence[bool]) -> Ranges:
    """Return the tags at the places where `wanted` is True, in order, as ranges."""
    kept: list[Range] = []
    for tag, is_wanted in zip(expand(ranges), wanted, strict=True):
        if is_wanted and kept and sum(kept[-1]) == tag:
            kept[-1] = (kept[-1][0], kept[-1][1] + 1)
        elif is_wanted:
            kept.append((tag, 1))
    return tuple(kept)


def union(first: Iterable[Range], second: Iterable[Range]) -> Ranges:
    """Return the tags of the first ranges, then those that only the second hold, as ranges."""
    kept = list(first)
    held = set(expand(kept))
    for start, size in second:
        free = [start + i for i in range(size) if start + i not in held]
        while free:
            n = next((i for i, tag in enumerate(free) if tag != free[0] + i), len(free))
            kept.append((free[0], n))
            free = free[n:]
    return tuple(kept)


def expand(ranges: Iterable[Range]) -> list[int]:
    """Return every tag of the ranges, in order."""
    return [start + i for start, size in ranges for i in range(size)]
