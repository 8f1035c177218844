"""What the last line of `nasgen reproduce PAPER --json` promises, for every paper."""

from __future__ import annotations

import json
from typing import Any

KEYS = {"paper", "scale", "machine", "seconds", "rows", "targets"}
NUMBER = (int, float)


def assert_summary(summary: dict[str, Any], paper: str, scale: str) -> None:
    """Check keys, types and that it is plain JSON without NaN."""
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert set(summary) == KEYS
    assert (summary["paper"], summary["scale"]) == (paper, scale)
    assert set(summary["machine"]) == {"processor", "cores"}
    assert summary["seconds"] > 0
    assert summary["rows"]
    for row in summary["rows"]:
        assert set(row) == {"arm", "setting", "metric", "paper", "ours", "ci95"}
        assert all(isinstance(row[key], str) for key in ("arm", "setting", "metric"))
        assert all(row[key] is None or type(row[key]) in NUMBER for key in ("paper", "ci95"))
        assert row["ours"] is None or type(row["ours"]) in (*NUMBER, str)
        assert row["ci95"] is None or row["ours"] is not None
    assert any(type(row["ours"]) in NUMBER for row in summary["rows"])
    assert summary["targets"]
    for target in summary["targets"]:
        assert set(target) == {"name", "wanted", "got", "met"}
        assert all(isinstance(target[key], str) for key in ("name", "wanted", "got"))
        assert target["met"] in (True, False, None)
