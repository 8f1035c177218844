"""What the driver keeps of finished trials: little, and the ledger has the rest."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nasgen.loop.memory import forget_refs
from nasgen.store.ledger import Ledger
from tests.played import Played, resolved_of

DIRECTIONS = {"val_accuracy": "maximize"}
FIRST, LAST = 60, 180
MAX_BYTES = 5000  # of about 15,000 with the genotypes; caches of a fixed size still fill here


def test_a_finished_trial_costs_the_driver_few_bytes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = Ledger.create(url, DIRECTIONS, ["sample", "finish"])
    played = Played(resolved_of(), LAST, 0, ledger=ledger)
    sizes: list[int] = []

    def listen(event: str, data: Mapping[str, Any]) -> None:
        if event == "told" and played.search.n_told in (FIRST, LAST):
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])

    played.search.listeners = (listen,)
    tracemalloc.start(1)
    try:
        played.run()
    finally:
        tracemalloc.stop()
    assert len(sizes) == 2
    assert (sizes[1] - sizes[0]) / (LAST - FIRST) < MAX_BYTES
    ledger.close()


def test_a_slim_trial_ranks_as_the_whole_one_which_the_ledger_has(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = Ledger.create(url, DIRECTIONS, ["sample", "finish"])
    played = Played(resolved_of(), 30, 2, ledger=ledger)
    trials = played.run()
    search = played.search
    assert [search.whole(t.seq) for t in trials] == trials
    assert not any(t.genotype for t in search.trials.values())
    assert [t.seq for t in search.ranked()] == [t.seq for t in search.ranked(30)]
    for trial in trials:
        kept = search.trials[trial.seq]
        for name in ("seq", "state", "key", "identity", "parents", "objectives", "refs", "told"):
            assert getattr(kept, name) == getattr(trial, name)
        assert kept.looks == trial.looks
    forget_refs(search.trials, (), {trials[3].refs["weights"]})
    assert search.trials[3].refs == {}
    assert replace(search.trials[3], refs=trials[3].refs) == trials[3].slim()
    ledger.close()


def test_a_resumed_search_keeps_no_more_than_an_undisturbed_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = Ledger.create(url, DIRECTIONS, ["sample", "finish"])
    stopped = Played(resolved_of(), 30, 2, ledger=ledger)
    stopped.stopped_at(20)
    again = Played(resolved_of(), 30, 2, ledger=ledger)
    stored = ledger.trials()
    again.search.run(stored, 0)
    assert stored == []
    assert not again.search.stored
    assert not any(t.genotype for t in again.search.trials.values())
    ledger.close()
