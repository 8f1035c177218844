"""The rows of docs/results/campaigns.jsonl, one a batch: a campaign goes on where it stopped."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasgen.store.folder import machine
from nasgen.store.ledger import utc_now

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results" / "campaigns.jsonl"
IDENTITY = ("campaign", "part", "batch", "code")
# Counts of a row by campaign: what was tried, and what must be 0.
TRIED = {"kills": "kills", "inputs": "inputs", "writes": "failures"}
FAULTS = ("differ", "stuck", "left_over", "escaped", "hung", "over_memory", "died")


def code() -> str:
    """Return the hash of the package as it is checked out, "unknown" outside of a checkout.

    A batch counts for the code that it was run on; commits that change documents alone keep it.
    """
    command = ["git", "rev-parse", "--short=12", "HEAD:nasgen"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return done.stdout.strip() or "unknown"


@dataclass(frozen=True)
class Rows:
    """The rows of a file; none is kept where `path` is None."""

    path: Path | None = RESULTS

    def read(self) -> list[dict[str, Any]]:
        """Return all rows."""
        if self.path is None or not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

    def current(self) -> list[dict[str, Any]]:
        """Return the rows that count: the last one of each batch, on whichever code it was run."""
        last = {(row["campaign"], row["part"], row["batch"]): row for row in self.read()}
        return list(last.values())

    def has(self, campaign: str, part: str, batch: int) -> bool:
        """Tell whether a batch was run on this code."""
        wanted = (campaign, part, batch, code())
        return any(tuple(row.get(name) for name in IDENTITY) == wanted for row in self.read())

    def add(self, campaign: str, part: str, batch: int, found: Mapping[str, Any]) -> None:
        """Append the row of a batch."""
        about = dict(zip(IDENTITY, (campaign, part, batch, code()), strict=True))
        own = machine()
        about |= {"measured": utc_now(), "processor": own["processor"], "cores": own["cores"]}
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**about, **found}) + "\n")


def n_faults(row: Mapping[str, Any]) -> int:
    """Return how many faults a row counts."""
    return sum(int(row.get(name, 0)) for name in FAULTS)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a table in Markdown: counts by campaign and part."""
    if not rows:
        return ["no batch was run."]
    sums: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        found = sums.setdefault((row["campaign"], row["part"]), Counter())
        found["tried"] += int(row[TRIED[row["campaign"]]])
        found["faults"] += n_faults(row)
        for name in ("accepted", "refused"):
            found[name] += int(row.get(name, 0))
    lines = ["| campaign | part | tried | accepted | refused | faults |"]
    lines += ["|---|---|---:|---:|---:|---:|"]
    total: dict[str, Counter[str]] = {}
    for (campaign, part), found in sums.items():
        total.setdefault(campaign, Counter()).update(found)
        lines.append(_line(campaign, part, found))
    lines += [_line(f"**{campaign}**", "**all**", found) for campaign, found in total.items()]
    return lines


def _line(campaign: str, part: str, found: Mapping[str, int]) -> str:
    shown = [found[name] or "–" for name in ("accepted", "refused")]
    cells = [campaign, part, f"{found['tried']:,}", *(f"{s}" for s in shown), found["faults"]]
    return f"| {' | '.join(map(str, cells))} |"
