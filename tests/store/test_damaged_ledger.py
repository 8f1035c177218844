"""Flipped bits of a ledger cost single trials, which are named, or the ledger, by a sentence."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from nasgen.errors import StoreError
from nasgen.store.ledger import Ledger
from nasgen.store.records import digest, signed
from nasgen.store.trial import Trial
from tests.played import Played, resolved_of

N_FLIPS = 60


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Trial]]:
    """A ledger file of a search, and its trials."""
    path = tmp_path_factory.mktemp("damaged") / "ledger.db"
    ledger = Ledger.create(f"sqlite:///{path}", {"val_accuracy": "maximize"}, ["sample", "finish"])
    trials = Played(resolved_of(), 12, 1, ledger=ledger, behaviour={"4": "fail"}).run()
    ledger.close()
    return path.read_bytes(), trials


def _flips(data: bytes) -> Iterator[tuple[int, int]]:
    """Places in the whole file, and as many in what trials wrote."""
    rng = random.Random(0)
    used = [i for i in range(len(data)) if data[i]]
    start = data.index(b'{"seq"')
    written = [i for i in range(start, len(data)) if data[i]]
    for places in (used, written):
        yield from ((rng.choice(places), rng.randrange(8)) for _ in range(N_FLIPS // 2))


def test_no_flipped_bit_is_silent_or_a_bug(
    whole: tuple[bytes, list[Trial]], tmp_path: Path
) -> None:
    data, trials = whole
    named = 0
    for number, (place, bit) in enumerate(_flips(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << bit
        path = tmp_path / f"{number}.db"
        path.write_bytes(damaged)
        try:
            ledger = Ledger.open(f"sqlite:///{path}")
            found, faults = ledger.readable()
            ledger.close()
        except StoreError:
            continue
        finally:
            path.unlink()
        assert all(trial in trials for trial in found), (place, bit)  # nothing is silently wrong
        if len(found) < len(trials):
            assert faults, (place, bit)
            assert len(found) >= len(trials) - 2, faults
            named += 1
    assert named > N_FLIPS / 6


def test_the_others_are_read_where_a_page_of_the_file_is_lost(
    whole: tuple[bytes, list[Trial]], tmp_path: Path
) -> None:
    data, trials = whole
    place = data.rindex(b'{"seq"') // 4096 * 4096
    path = tmp_path / "ledger.db"
    path.write_bytes(data[:place] + bytes(4096) + data[place + 4096 :])
    ledger = Ledger.open(f"sqlite:///{path}")
    found, faults = ledger.readable()
    assert 0 < len(found) < len(trials)
    assert all(trial in trials for trial in found)
    assert faults
    with pytest.raises(StoreError, match="The run can be read, but not continued"):
        ledger.trials()
    ledger.close()


def test_a_record_without_a_digest_is_read_and_one_with_a_wrong_digest_is_not() -> None:
    text = '{"a": [1, 2.5, null, "\\u00e9"]}'
    assert signed(text) == text[:-1] + f', "digest": "{digest(text)}"}}'
    assert signed("{}") == f'{{"digest": "{digest("{}")}"}}'
