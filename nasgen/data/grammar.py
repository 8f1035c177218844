"""The Reber grammar (Reber 1967) and the embedded one: strings drawn by exact counts, and checked.

A string is B, a walk through six states, E. At every state but the last there are two ways on, so a
natural walk, which takes each with probability 1/2, gives all strings of one length alike. Hence
what it would give once repeats are thrown away can be drawn without walking: as many strings of
each length as it finds in the mean, each set of them as likely as any other. Walking itself runs
out of new strings: 2,000,000 walks give 12,323 different ones of 11 symbols and more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nasgen.errors import DataError

Ints = NDArray[np.int64]
START, END = "B", "E"
# State -> the ways on: (symbol, next state). State 0 is the end.
WAYS: Final[Mapping[int, tuple[tuple[str, int], ...]]] = {
    1: (("T", 2), ("P", 3)),
    2: (("S", 2), ("X", 4)),
    3: (("T", 3), ("V", 5)),
    4: (("X", 3), ("S", 6)),
    5: (("P", 4), ("V", 6)),
    6: ((END, 0),),
}
SYMBOLS: Final = "BTPSXVE"
FRAMES: Final = "TP"  # what an embedded string has around its inner one, twice the same
N_CODES: Final = 128  # ASCII


@dataclass(frozen=True)
class Strings:
    """Strings of one length each row: `codes` (n, longest) ASCII, 0 behind the end; `lengths`."""

    codes: NDArray[np.uint8]
    lengths: Ints

    def __len__(self) -> int:
        return len(self.lengths)

    def texts(self) -> list[str]:
        """Return them as texts."""
        rows = zip(self.codes, self.lengths.tolist(), strict=True)
        return [bytes(row[:n]).decode("ascii") for row, n in rows]

    @classmethod
    def of(cls, texts: list[str]) -> Strings:
        """Return texts as rows; DataError for an empty one and for symbols that are not ASCII."""
        for i, text in enumerate(texts):
            if not text or not text.isascii():
                found = "an empty one" if not text else f"'{text}'"
                raise DataError(
                    f"string {i}: expected one or more ASCII characters, got {found}; drop it."
                )
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        codes = np.zeros((len(texts), int(lengths.max(initial=1))), dtype=np.uint8)
        for row, text in zip(codes, texts, strict=True):
            row[: len(text)] = np.frombuffer(text.encode("ascii"), np.uint8)
        return cls(codes, lengths)


@lru_cache(8)
def counts(longest: int) -> Ints:
    """Return (longest + 1, 7): how many ways lead from each state to the end in so many symbols."""
    found: Ints = np.zeros((longest + 1, 1 + len(WAYS)), dtype=np.int64)
    found[0, 0] = 1
    for n in range(1, longest + 1):
        for state, ways in WAYS.items():
            found[n, state] = sum(int(found[n - 1, to]) for _, to in ways)
    return found


def n_strings(length: int, embedded: bool = False) -> int:
    """Return how many grammatical strings of this many symbols there are."""
    inner = length - 4 if embedded else length
    ways = int(counts(max(inner, 1))[inner - 1, 1]) if inner > 0 else 0
    return len(FRAMES) * ways if embedded else ways


def accepts(text: str, embedded: bool = False) -> bool:
    """Tell whether a string is grammatical; DataError for an empty one."""
    return bool(accepted(Strings.of([text]), embedded)[0])


def accepted(strings: Strings, embedded: bool = False) -> NDArray[np.bool_]:
    """Return which strings are grammatical."""
    codes, lengths, good = strings.codes, strings.lengths, np.ones(len(strings), np.bool_)
    rows = np.arange(len(strings))
    if embedded:
        good &= lengths >= 6
        last = np.maximum(lengths - 1, 0)
        frame = codes[:, 1] if codes.shape[1] > 1 else np.zeros(len(strings), np.uint8)
        good &= (codes[:, 0] == ord(START)) & (codes[rows, last] == ord(END))
        good &= np.isin(frame, [ord(symbol) for symbol in FRAMES])
        good &= codes[rows, np.maximum(last - 1, 0)] == frame
        codes, lengths = codes[:, 2:], np.maximum(lengths - 4, 0)
        if not codes.shape[1]:
            return np.zeros(len(strings), np.bool_)
    state = np.where((codes[:, 0] == ord(START)) & (lengths > 1), 1, DEAD)
    for step in range(1, codes.shape[1]):
        inside = step < lengths
        state = np.where(inside, NEXT[state, codes[:, step]], state)
    return np.asarray(good & (state == 0), np.bool_)


DEAD: Final = 7  # the state of what has left the grammar; so has what goes on behind the end


def _table() -> NDArray[np.int64]:
    table = np.full((DEAD + 1, 256), DEAD, dtype=np.int64)
    for state, ways in WAYS.items():
        for symbol, to in ways:
            table[state, ord(symbol)] = to
    return table


NEXT: Final = _table()


def has_known_neighbours(strings: Strings) -> NDArray[np.bool_]:
    """Return which strings have no two neighbours that plain grammatical ones never have.

    What it takes and `accepted` turns down, a memory of two symbols cannot tell.
    """
    inside = np.arange(1, strings.codes.shape[1]) < strings.lengths[:, None]
    known = NEIGHBOURS[strings.codes[:, :-1], strings.codes[:, 1:]]
    return np.asarray((known | ~inside).all(axis=1), np.bool_)


def _neighbours() -> NDArray[np.bool_]:
    known = np.zeros((256, 256), np.bool_)
    into = [(START, 1), *(way for ways in WAYS.values() for way in ways)]
    for symbol, state in into:
        for following, _ in WAYS.get(state, ()):
            known[ord(symbol), ord(following)] = True
    return known


NEIGHBOURS: Final = _neighbours()


def lengths_of(n: int, shortest: int, longest: int, embedded: bool = False) -> dict[int, int]:
    """Return length -> how many of `n` different strings a natural walk gives of it, in the mean.

    A walk gives a string of L symbols with probability 2^-(L - 2) (embedded: 2^-(L - 5)), and after
    M walks a string has been met with probability 1 - exp(-M p); M is such that `n` are expected.
    Raises DataError where there are fewer than `n`.
    """
    every = np.arange(shortest, longest + 1)
    there = np.array([float(n_strings(int(length), embedded)) for length in every])
    if n > there.sum():
        raise DataError(
            f"expected at most {int(there.sum())} different strings of {shortest} to {longest} "
            f"symbols, which is all there are, got {n}; ask for fewer."
        )
    chance = 2.0 ** -(every - (5 if embedded else 2))

    def met(walks: float) -> NDArray[np.float64]:
        return np.asarray(there * -np.expm1(-walks * chance))

    low, high = 0.0, 1.0
    while met(high).sum() < n and high < 2.0**100:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if met(middle).sum() < n else (low, middle)
    wanted = np.minimum(met(high), there)
    whole = np.floor(wanted).astype(np.int64)
    rest = np.where(whole < there, wanted - whole, -1.0)  # a length that is used up gets no more
    for at in np.argsort(-rest, kind="stable")[: n - int(whole.sum())]:
        whole[at] += 1
    return {int(length): int(k) for length, k in zip(every, whole, strict=True) if k}


def drawn(
    n: int, shortest: int, longest: int, rng: np.random.Generator, embedded: bool = False
) -> Strings:
    """Draw `n` different grammatical strings with the lengths of `lengths_of`, in random order.

    Raises DataError for fewer than one, and for more than there are.
    """
    if not isinstance(n, int | np.integer) or n < 1:
        raise DataError(f"expected one string or more, got {n!r}.")
    parts, lengths = [], []
    for length, k in lengths_of(n, shortest, longest, embedded).items():
        ranks = rng.choice(n_strings(length, embedded), size=k, replace=False)
        parts.append(np.pad(_unranked(ranks, length, embedded), ((0, 0), (0, longest - length))))
        lengths.append(np.full(k, length, dtype=np.int64))
    order = rng.permutation(n)
    return Strings(np.concatenate(parts)[order], np.concatenate(lengths)[order])


def _unranked(ranks: Ints, length: int, embedded: bool) -> NDArray[np.uint8]:
    """Return the strings of one length that stand at these places among all of them."""
    codes = np.zeros((len(ranks), length), dtype=np.uint8)
    left, first = ranks.astype(np.int64), 0
    if embedded:
        inner = n_strings(length - 4)
        frame = np.array([ord(symbol) for symbol in FRAMES], dtype=np.uint8)[left // inner]
        left %= inner
        codes[:, 0], codes[:, 1], codes[:, -2], codes[:, -1] = ord(START), frame, frame, ord(END)
        first, length = 2, length - 4
    codes[:, first] = ord(START)
    table, state = counts(length), np.ones(len(ranks), dtype=np.int64)
    for step in range(1, length):
        behind = table[length - 1 - step]
        taken = behind[TARGETS[state, 0]]
        second = left >= taken
        left = np.where(second, left - taken, left)
        codes[:, first + step] = LETTERS[state, second.astype(np.int64)]
        state = TARGETS[state, second.astype(np.int64)]
    return codes


def _choices() -> tuple[Ints, NDArray[np.uint8]]:
    """Return (state, way) -> the next state, and the symbol; a way that is none leads nowhere."""
    targets: Ints = np.full((1 + len(WAYS), 2), 0, dtype=np.int64)
    letters = np.zeros((1 + len(WAYS), 2), dtype=np.uint8)
    for state, ways in WAYS.items():
        for i in range(2):
            symbol, to = ways[min(i, len(ways) - 1)]
            targets[state, i], letters[state, i] = to, ord(symbol)
    return targets, letters


TARGETS, LETTERS = _choices()
