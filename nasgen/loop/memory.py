"""What a long search keeps in memory, and how seldom Python looks through it."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import replace

from nasgen.store.trial import Trial


def forget_refs(
    trials: MutableMapping[int, Trial], in_flight: Collection[int], refs: Collection[str]
) -> None:
    """Take from finished trials the references whose artifacts were deleted.

    So nobody deletes them again, and they take no memory.
    """
    for seq, trial in trials.items():
        if seq not in in_flight and any(ref in refs for ref in trial.refs.values()):
            left = {name: ref for name, ref in trial.refs.items() if ref not in refs}
            trials[seq] = replace(trial, refs=left).slim()


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let Python look for garbage cycles rarely inside.

    A search only adds to its trials, which hold no cycles, so that each look at all of them, and at
    all that the libraries made, finds next to nothing: about a tenth of the time of a search that
    trains nothing.
    """
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
