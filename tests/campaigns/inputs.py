"""The campaign `inputs`: batches of damaged inputs, each in a process that may be lost.

A batch is one part and `SIZE` numbered inputs; `run` reads them here, `supervised` in a process of
its own, which is killed and begun again behind an input that it does not come back from.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from tests.campaigns import guard
from tests.campaigns.parts import generator, made, members
from tests.campaigns.rows import ROOT

SIZE: Final = 200  # inputs of a batch
BATCHES: Final = {"csv": 5, "npz": 5, "image folder": 4, "config": 5, "run folder": 5, "ledger": 5}
USUAL_BATCHES: Final = 3
LOST_S: Final = 3 * guard.LIMIT_S  # an input that not even a signal ends
MEMORY: Final = 6 << 30  # bytes of address space: what goes beyond must not harm the machine
N_TEXTS: Final = 5  # findings that a row quotes


def batches(scale: float = 1.0) -> Iterator[tuple[str, int]]:
    """Give (part, batch) of the whole campaign; `scale` makes it longer."""
    for name in members():
        for batch in range(max(1, round(scale * BATCHES.get(name, USUAL_BATCHES)))):
            yield name, batch


def run(name: str, batch: int, numbers: Iterable[int], folder: Path) -> Iterator[dict[str, Any]]:
    """Read inputs in this process; give {"number", "verdict", "text"} before and after each."""
    guard.debugging()
    with made(name, folder) as part:
        for number in numbers:
            yield {"number": number, "verdict": None}
            act = part.draw(generator(name, batch, number))
            found = guard.attempt(act)
            yield {"number": number, "verdict": found.verdict, "text": found.text}


def supervised(name: str, batch: int, size: int = SIZE) -> dict[str, Any]:
    """Read a batch in processes of its own; return its counts, and texts of what went wrong."""
    began, counts, texts, first = time.monotonic(), Counter[str](), [], 0
    while first < size:
        for row in _process(name, batch, first, size):
            first = row["number"] + 1
            counts[row["verdict"]] += 1
            if row["verdict"] not in (guard.ACCEPTED, guard.REFUSED):
                texts.append(f"{row['number']}: {row['verdict']}: {row['text']}")
    kinds = (guard.ACCEPTED, guard.REFUSED, guard.ESCAPED, guard.HUNG, guard.OVER, "died")
    found: dict[str, Any] = {"inputs": size, **{kind: counts[kind] for kind in kinds}}
    if texts:
        found["texts"] = texts[:N_TEXTS]
    return found | {"seconds": round(time.monotonic() - began, 1)}


def _process(name: str, batch: int, first: int, size: int) -> Iterator[dict[str, Any]]:
    """Give the outcomes that a process comes to; where it is lost, that of the lost input too."""
    command = [
        sys.executable,
        "-m",
        "tests.campaigns.inputs",
        name,
        str(batch),
        str(first),
        str(size),
    ]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT, env=env
        ) as process,
    ):
        assert process.stdout is not None
        last: dict[str, Any] = {"number": first - 1, "verdict": "none"}
        while (line := _line(process)) is not None and line:
            last = json.loads(line)
            if last["verdict"] is not None:
                yield last
        is_silent = line is None
        process.kill()
        process.wait()
        errors.seek(0)
        text = errors.read()[-600:]
        if last["verdict"] is None:
            verdict = guard.HUNG if is_silent else "died"
            yield {**last, "verdict": verdict, "text": f"exit code {process.returncode}; {text}"}
        elif last["number"] < size - 1:
            raise RuntimeError(f"{name}, batch {batch}, stopped behind {last['number']}: {text}")


def _line(process: subprocess.Popen[str]) -> str | None:
    """Return the next line of a process, "" at its end, None when it is silent for too long."""
    import selectors

    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        # The first line comes when the part is made, which may take a training.
        if not selector.select(LOST_S + 90):
            return None
    return process.stdout.readline()


def main(arguments: list[str]) -> None:
    """Read a batch from one number to another; outcomes are JSON lines."""
    name, batch, first, end = arguments[0], *map(int, arguments[1:4])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        os.chdir(folder)  # what a damaged setting names lies there
        for row in run(name, batch, range(first, end), Path(folder)):
            out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
