"""Strings of the Reber grammar and of the embedded one, half of them grammatical, half of them not.

After the data of Stier 2021, section 4.2: 25,000 strings of 11 to 53 symbols, three quarters to
train. Whether a string is plain Reber three neighbouring symbols tell, so it is a task for a short
memory; in an embedded string the second symbol decides about the last but one, whatever stands
between. What rules of two and three symbols reach is said in a note (`ngrams`).
"""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from nasgen import seeding
from nasgen.data import grammar, ngrams
from nasgen.data.base import Dataset, make
from nasgen.data.grammar import Strings
from nasgen.errors import DataError, suggest

CLASSES: Final = ("ungrammatical", "grammatical")
SHORTEST, LONGEST = 11, 53  # symbols
N_STRINGS: Final = 25_000
MOST: Final = 1_000_000
TRAIN_SHARE: Final = 0.75
LEAST: Final = 8  # strings: each class has rows to train on, to validate and to test
FOREIGN_SHARE: Final = 0.55  # of the negatives: they have letters that the grammar has not
FOREIGN: Final = np.frombuffer(
    "".join(c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in grammar.SYMBOLS).encode(), np.uint8
)
# Of the near misses, those that differ from grammatical strings in no two neighbours: a rule of two
# symbols is right in 93.7 % of the reference's test strings, and such are all that it takes.
HIDDEN_SHARE: Final = 2 * (1 - 0.9368) / (1 - FOREIGN_SHARE)
N_TRIES: Final = 40  # to find a symbol that makes a near miss so
REPLACED_PROB: Final = 0.25  # that a symbol of such a string is a foreign letter
OWN: Final = np.frombuffer(grammar.SYMBOLS.encode(), np.uint8)
Negatives = Literal["reference", "near"]


def load(rest: str) -> Dataset:
    """Return plain Reber strings; `rest` is "", or options such as "n=2000&seed=3&negatives=near".

    `n` strings, 8 to 1,000,000 (25,000); `seed` >= 0 (0); `negatives`: "reference", 55 % with
    letters that the grammar has not and 45 % near misses, or "near", near misses alone. Those are
    one symbol away from the grammar; in "reference" 28 % of them have no two neighbours that
    grammatical strings have not. Raises DataError for anything else.
    """
    n, seed, negatives = _options("reber", rest, ("n", "seed", "negatives"))
    return dataset("reber", n, seed, negatives)


def load_embedded(rest: str) -> Dataset:
    """Return embedded Reber strings; `rest` is "", or options such as "n=2000&seed=3".

    Those that are not grammatical differ from a grammatical one in the last symbol but one.
    """
    n, seed, _ = _options("reber-embedded", rest, ("n", "seed"))
    return dataset("reber-embedded", n, seed)


def dataset(name: str, n: int, seed: int, negatives: Negatives = "reference") -> Dataset:
    """Return `n` different strings, every second grammatical, as tokens of 128 ASCII codes."""
    embedded = name == "reber-embedded"
    rng = seeding.generator(seed, name)
    good = grammar.drawn(n // 2, SHORTEST, LONGEST, rng, embedded)
    if embedded:
        bad = _swapped(grammar.drawn(n - n // 2, SHORTEST, LONGEST, rng, embedded))
    else:
        is_near = negatives == "near"
        foreign, hidden = (0.0, None) if is_near else (FOREIGN_SHARE, HIDDEN_SHARE)
        bad = _spoilt(grammar.drawn(n - n // 2, SHORTEST, LONGEST, rng), foreign, hidden, rng)
    strings = Strings(
        np.concatenate([bad.codes, good.codes]), np.concatenate([bad.lengths, good.lengths])
    )
    labels = np.repeat([0, 1], [len(bad), len(good)])
    order = rng.permutation(n)
    train, test = _parts(labels[order])
    parts = [
        {"x": strings.codes[order][rows].astype(np.int64), "lengths": strings.lengths[order][rows]}
        for rows in (train, test)
    ]
    y_train, y_test = labels[order][train], labels[order][test]
    rules = " and ".join(
        f"{100 * ngrams.accuracy(parts[0], y_train, parts[1], y_test, k):.1f} % ({word})"
        for k, word in ((2, "two symbols"), (3, "three"))
    )
    note = (
        f"a rule that turns down what has neighbours unseen in grammatical strings is right in "
        f"{rules} of the test strings; a network has learnt more than neighbours only above that."
    )
    return make(
        name, parts[0], y_train, parts[1], y_test, CLASSES,
        form="sequence", vocabulary=tuple(map(chr, range(grammar.N_CODES))), notes=(note,),
    )  # fmt: skip


def _parts(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of the training and of the test part, both with the same share of classes."""
    test = np.zeros(len(labels), np.bool_)
    for label in (0, 1):
        rows = np.flatnonzero(labels == label)
        test[rows[: len(rows) - int(TRAIN_SHARE * len(rows))]] = True
    return np.flatnonzero(~test), np.flatnonzero(test)


def _swapped(strings: Strings) -> Strings:
    """Return embedded strings with the other symbol at the last place but one."""
    codes, rows = strings.codes.copy(), np.arange(len(strings))
    first, second = (ord(symbol) for symbol in grammar.FRAMES)
    at = strings.lengths - 2
    codes[rows, at] = first + second - codes[rows, at]
    return Strings(codes, strings.lengths)


def _spoilt(
    strings: Strings, foreign_share: float, hidden_share: float | None, rng: np.random.Generator
) -> Strings:
    """Return strings of the same lengths, between B and E, none of them grammatical or twice.

    `hidden_share` of the near misses have the neighbours of grammatical strings; None: as it comes.
    """
    codes, lengths = strings.codes.copy(), strings.lengths
    n_foreign = round(foreign_share * len(strings))
    rows = rng.permutation(len(strings))
    _with_foreign(codes, lengths, rows[:n_foreign], rng)
    seen: set[bytes] = {codes[i].tobytes() for i in rows[:n_foreign]}
    waiting = rows[n_foreign:]
    hidden = rng.random(len(strings)) < (hidden_share or 0.0)
    n_tries = 0
    while waiting.size:
        codes[waiting] = strings.codes[waiting]
        _near(codes, lengths, waiting, rng)
        now = Strings(codes[waiting], lengths[waiting])
        right = ~grammar.accepted(now)
        if hidden_share is not None and n_tries < N_TRIES:  # not every string can be spoilt so
            right &= grammar.has_known_neighbours(now) == hidden[waiting]
        again = []
        for i, is_right in zip(waiting.tolist(), right.tolist(), strict=True):
            text = codes[i].tobytes()
            if not is_right or text in seen:
                again.append(i)
            else:
                seen.add(text)
        waiting = np.array(again, dtype=np.int64)
        n_tries += 1
    return Strings(codes, lengths)


def _with_foreign(
    codes: NDArray[np.uint8],
    lengths: NDArray[np.int64],
    rows: NDArray[np.int64],
    rng: np.random.Generator,
) -> None:
    """Replace some symbols of each row by letters that the grammar has not, in place."""
    inside = np.arange(1, codes.shape[1]) < lengths[rows, None] - 1
    gone = inside & (rng.random(inside.shape) < REPLACED_PROB)
    gone[np.arange(len(rows)), _inner(lengths[rows], rng) - 1] = True  # one at least
    letters = FOREIGN[rng.integers(len(FOREIGN), size=inside.shape)]
    codes[rows, 1:] = np.where(gone, letters, codes[rows, 1:])


def _near(
    codes: NDArray[np.uint8],
    lengths: NDArray[np.int64],
    rows: NDArray[np.int64],
    rng: np.random.Generator,
) -> None:
    """Replace one symbol of each row, neither the first nor the last, by another of the grammar."""
    at = _inner(lengths[rows], rng)
    place = np.argmax(codes[rows, at][:, None] == OWN, axis=1)
    codes[rows, at] = OWN[(place + rng.integers(1, len(OWN), size=len(rows))) % len(OWN)]


def _inner(lengths: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    return np.asarray(rng.integers(1, lengths - 1), np.int64)


def _options(name: str, rest: str, known: tuple[str, ...]) -> tuple[int, int, Negatives]:
    pairs = parse_qsl(rest, keep_blank_values=True)
    given = dict(pairs)
    example = f"'{name}:n=2000&seed=1'"
    if rest and "=" not in rest:
        raise DataError(f"{name}: expected options such as {example}, got '{rest}'.")
    if len(given) < len(pairs):
        twice = next(option for i, (option, _) in enumerate(pairs) if option in dict(pairs[:i]))
        raise DataError(f"{name}: option '{twice}' is given twice; write '{twice}=...' once.")
    for option in given:
        if option not in known:
            raise DataError(
                f"{name}: unknown option '{option}'{suggest(option, known)} Options: "
                f"{', '.join(known)}; such as {example}."
            )
    n = _whole(name, "n", given.get("n", str(N_STRINGS)), LEAST, MOST)
    seed = _whole(name, "seed", given.get("seed", "0"), 0, 2**63 - 1)
    negatives = given.get("negatives", "reference")
    if negatives not in ("reference", "near"):
        raise DataError(f"{name}: negatives: expected reference or near, got '{negatives}'.")
    return n, seed, "near" if negatives == "near" else "reference"


def _whole(name: str, option: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise DataError(
            f"{name}: {option}: expected an integer from {least} to {most}, got '{text}'."
        )
    return int(text)
