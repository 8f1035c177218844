"""What a run keeps of its data may have been changed: one sentence says what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasgen.data.base import make
from nasgen.data.scaling import Scaling
from nasgen.errors import StoreError
from nasgen.evaluation.transform import ARRAYS, FACTS, Transform

Y = np.arange(40) % 2


def _saved(folder: Path, form: str) -> Transform:
    rng = np.random.default_rng(0)
    given: dict[str, tuple[Any, Any]] = {
        "image": (rng.normal(size=(40, 1, 3, 4)), Y),
        "table": ({"a": rng.normal(size=40), "b": ["x", "y", "x", "z"] * 10}, rng.normal(size=40)),
        "sequence": ([rng.normal(size=(2 + n, 2)) for n in Y], Y),
        "tokens": ([rng.integers(0, 5, 3 + n) for n in Y], Y),
    }
    x, y = given[form]
    scaling = Scaling.of(1.0, 2.0) if form == "image" else None
    data = make("d", x, y, scaling=scaling)
    found = Transform.fit(data, np.arange(len(data.targets)))
    found.save(folder)
    return found


FAULTS: dict[str, list[tuple[str, Any]]] = {
    "image": [
        ("feed_state.shape", [1, 3]), ("feed_state.shape", [1, 3, -4]), ("feed_state.shape", ""),
        ("feed_state.shape", [1, 10**4000, 4]), ("feed_state.shape", [2, 3, 4]),
        ("feed_state.shape", [True, 3, 4]), ("feed_state.kind", "object"),
        ("feed_state.columns", [["a", "number"]]), ("feed_state.columns", 7), ("feed_state", None),
        ("feed_state", []), ("task_state.n_classes", 0), ("task_state.n_classes", "2"),
        ("task_state.n_classes", 10**30), ("classes", None), ("form", 7), ("task", {"a": 1}),
    ],
    "table": [
        ("feed_state.columns", [["a", "number"]]), ("feed_state.columns", [["a", "picture"]]),
        ("feed_state.columns", [["a"]]), ("feed_state.codes", []), ("feed_state.codes", [[], []]),
        ("feed_state.codes", [["x"] * 10_000]), ("feed_state.codes", 3),
        ("task_state.mean", []), ("task_state.mean", ["a"]), ("task_state.scale", [0.0]),
        ("task_state.mean", [1.0, 2.0]), ("task_state.scale", [float("nan")]),
    ],
    "sequence": [
        ("feed_state.n_tokens", -1), ("feed_state.longest", 0), ("feed_state.longest", 1.5),
        ("feed_state.longest", 10**20), ("feed_state.n_tokens", 3),
    ],
    "tokens": [("feed_state.n_tokens", 0.5), ("feed_state.n_tokens", 10**12)],
}  # fmt: skip


@pytest.mark.parametrize("form", FAULTS)
def test_changed_facts_are_named_with_their_file(tmp_path: Path, form: str) -> None:
    saved = _saved(tmp_path, form)
    whole = (tmp_path / FACTS).read_text()
    again = Transform.load(tmp_path)
    assert again is not None
    assert again.feed.state()[0] == saved.feed.state()[0]
    for place, value in FAULTS[form]:
        facts = json.loads(whole)
        inner = facts
        *path, last = place.split(".")
        for key in path:
            inner = inner[key]
        inner[last] = value
        (tmp_path / FACTS).write_text(json.dumps(facts))
        with pytest.raises(StoreError, match=r"transform.json cannot be read: .*made anew"):
            Transform.load(tmp_path)


@pytest.mark.parametrize("form", FAULTS)
def test_changed_arrays_are_named_with_their_file(tmp_path: Path, form: str) -> None:
    _saved(tmp_path, form)
    with np.load(tmp_path / ARRAYS) as stored:
        whole = dict(stored)
    changes: dict[str, Any] = {
        "gone": lambda a: None,
        "shape": lambda a: np.zeros((9, 9)),
        "texts": lambda a: np.full(a.shape, "x"),
        "infinite": lambda a: np.full(a.shape, np.inf),
    }
    for name, array in whole.items():
        for what, change in changes.items():
            if (name == "feed.gaps" and what == "infinite") or (not array.size and what != "gone"):
                continue
            changed = {**whole, name: change(array)}
            np.savez(tmp_path / ARRAYS, **{k: v for k, v in changed.items() if v is not None})
            if what == "gone" and name == "feed.scaling_mean":
                continue  # a run without a scaling
            with pytest.raises(StoreError, match=r"transform.json cannot be read: .*made anew"):
                Transform.load(tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 100_000, b"[1]", b'"text"', b"\xff\xfe", b"9" * 5000, b"null"]
)
def test_facts_that_are_no_json_object_are_named(tmp_path: Path, data: bytes) -> None:
    _saved(tmp_path, "image")
    (tmp_path / FACTS).write_bytes(data)
    with pytest.raises(StoreError, match=r"transform.json"):
        Transform.load(tmp_path)
