"""The campaign `kills`: searches that are killed at random moments, resumed and compared.

A batch is one algorithm and one seed: an undisturbed search, then the same one in chains of
processes that are killed, each continued by the next. All moments and kinds come from the seed, but
what a process is doing at a moment depends on the machine.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import nasgen
from tests.campaigns.rows import ROOT

KINDS: Final = ("SIGKILL", "SIGTERM", "SIGINT", "double Ctrl-C", "worker", "group")
KILLS: Final = 13  # of a batch: each kind twice and one three times
N_BATCHES: Final = 1  # of an algorithm
EXIT_S: Final = 30.0  # within which a process must end after a signal
GONE_S: Final = 10.0  # within which nothing that it started may be left
LONGEST_S: Final = 300.0  # a search on a busy machine
BREEDS: Final = ("algorithm.crossover_prob=0.5",)
TWO: Final = 'objectives.names=["val_accuracy", "n_params"]'
# Workers of every other run, and settings. The other runs have one worker, which changes nothing;
# `aging` is asynchronous, so that it would.
ALGORITHMS: Final[dict[str, tuple[int, tuple[str, ...]]]] = {
    "random": (2, ()),
    "genetic": (2, BREEDS),
    "aging": (1, BREEDS),
    "local": (2, ()),
    "nsga2": (2, (*BREEDS, TWO)),
    "nsga3": (2, (*BREEDS, TWO)),
    "growth": (2, ("algorithm.survivors=2",)),
    "fixed": (2, ()),
}
SMALL: Final = (
    "algorithm.population=4", "training.epochs=0.3", "training.fraction=0.3", "finish.networks=1",
    "finish.epochs=0.5", "predictor.warmup=4", "space.max_channels=32", "ensemble.candidates=3",
)  # fmt: skip
INTERRUPTED: Final = 130


@dataclass
class Chain:
    """One run in a folder, and the processes that work on it."""

    algorithm: str
    seed: int
    run: Path
    trials: int = 8
    workers: int = 1
    counts: Counter[str] = field(default_factory=Counter)
    texts: list[str] = field(default_factory=list)

    def command(self) -> list[str]:
        """Return what continues the run, or begins it where it is none yet."""
        nasgen_ = [sys.executable, "-m", "nasgen"]
        if (self.run / "run.json").exists() and not (self.run / ".beginning").exists():
            return [*nasgen_, "resume", str(self.run), "--quiet"]
        most, own = ALGORITHMS[self.algorithm]
        workers = min(self.workers, most)
        return [
            *nasgen_, "search", "--data", "digits", "--algorithm", self.algorithm, "--quiet",
            "--trials", str(self.trials), "--seed", str(self.seed), "--workers", str(workers),
            "--device", "cpu", "--out", str(self.run),
            *(part for setting in (*SMALL, *own) for part in ("--set", setting)),
        ]  # fmt: skip

    def start(self) -> subprocess.Popen[str]:
        """Start a process that works on the run, in a group of its own, as from a shell."""
        return subprocess.Popen(
            self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            cwd=self.run.parent, env=os.environ | {"PYTHONPATH": str(ROOT)}, process_group=0,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
        )  # fmt: skip

    def finish(self) -> float:
        """Work on the run until it is complete, undisturbed; return the seconds that it took."""
        began = time.monotonic()
        if not self.is_complete():
            process = self.start()
            errors = self.wait(process, LONGEST_S)
            if process.returncode != 0:
                self.fault("stuck", f"exit code {process.returncode} undisturbed: {errors[-300:]}")
        return time.monotonic() - began

    def wait(self, process: subprocess.Popen[str], seconds: float) -> str:
        """Wait for a process; return what it printed as errors."""
        try:
            return process.communicate(timeout=seconds)[1]
        except subprocess.TimeoutExpired:
            self.fault("stuck", f"still there {seconds:.0f} s later: {' '.join(process.args)}")  # type: ignore[arg-type]
            process.kill()
            return process.communicate()[1]

    def is_complete(self) -> bool:
        """Tell whether the run is done, with its report."""
        if not (self.run / "run.json").exists() or (self.run / ".beginning").exists():
            return False
        return json.loads((self.run / "run.json").read_text())["summary"] is not None

    def fault(self, kind: str, text: str) -> None:
        """Count a fault, and keep its first texts."""
        self.counts[kind] += 1
        self.texts.append(f"{kind}: {text}")

    def n_events(self) -> int:
        """Return how many lines the run's log has."""
        try:
            return (self.run / "log.jsonl").read_bytes().count(b"\n")
        except OSError:
            return 0

    def found(self) -> dict[str, Any]:
        """Return all that must not depend on kills: trials, best network, ensemble."""
        run = nasgen.load(self.run)
        rows = []
        for trial in run.trials:
            row = trial.history_row()
            del row["attempt"]
            rows.append({**row, "plan": dict(trial.plan), "seed": trial.seed})
        best, ensemble = run.summary["best"], run.summary["ensemble"]
        measured = {k: v for k, v in (best or {}).items() if not k.endswith("_ms")}
        has_report = "report" if (self.run / "report.html").exists() else "no report"
        return {
            "history": json.loads(json.dumps(rows)), "best": measured, "report": has_report,
            "ensemble": {**(ensemble or {}), "latency_ms": None},
        }  # fmt: skip


def killed(chain: Chain, kind: str, moments: random.Random, lasts_s: float) -> bool:
    """Start a process, kill it (or a worker) at a moment; tell whether there was time for it."""
    before, began = chain.n_events(), time.monotonic()
    process = chain.start()
    if kind != "worker" and moments.random() < 0.35:  # at any time, imports and ending included
        until, n = moments.uniform(0, lasts_s), 0
    else:
        until, n = LONGEST_S, moments.randint(1, chain.trials)
    delay = moments.uniform(0, 0.15)
    while process.poll() is None and time.monotonic() - began < until:
        if n and chain.n_events() >= before + n:
            time.sleep(delay)
            break
        time.sleep(0.005)
    family = [*_descendants(process.pid)]
    is_alive = process.poll() is None and (kind != "worker" or bool(family))
    if is_alive:
        _strike(process, kind, family, moments)
    errors = chain.wait(process, LONGEST_S if kind == "worker" else EXIT_S)
    _judge(chain, kind, process.returncode, errors, is_alive)
    _bury(chain, family)
    return is_alive


def _strike(
    process: subprocess.Popen[str], kind: str, family: Sequence[int], moments: random.Random
) -> None:
    with suppress(ProcessLookupError):
        if kind == "worker":
            os.kill(moments.choice(sorted(family)), signal.SIGKILL)
        elif kind == "group":
            for pid in (process.pid, *family):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        elif kind == "double Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(moments.uniform(0, 0.3))
            os.killpg(process.pid, signal.SIGINT)
        else:
            os.kill(process.pid, getattr(signal, kind))


def _judge(chain: Chain, kind: str, code: int, errors: str, is_alive: bool) -> None:
    """See that a process ended as it should, and said nothing that no user should read."""
    about = f"{kind}, exit code {code}: {errors.strip()[-400:]}"
    if "this is a bug" in errors:
        chain.fault("escaped", about)
    right = {0}  # it may have been done already
    if is_alive:
        right |= {"SIGKILL": {-9}, "group": {-9}, "SIGTERM": {-15}}.get(kind, set())
        if kind in ("SIGINT", "double Ctrl-C"):
            # While Python itself starts or ends it is the latter, as for any program.
            right |= {INTERRUPTED, -signal.SIGINT} | ({1} if "Traceback" in errors else set())
        if kind == "worker":
            right |= {2}  # one that is starting cannot be replaced, which is said
    if code not in right:
        chain.fault("stuck", about)
    elif "Traceback" in errors:
        chain.counts["tracebacks"] += 1


def _bury(chain: Chain, family: Sequence[int]) -> None:
    """See that all that a process started ends soon."""
    until = time.monotonic() + GONE_S
    left = [pid for pid in family if _is_there(pid)]
    while left and time.monotonic() < until:
        time.sleep(0.02)
        left = [pid for pid in left if _is_there(pid)]
    for pid in left:
        chain.fault("left_over", f"process {pid} outlived its run by {GONE_S:.0f} s")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> Iterator[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from _descendants(child)


def _is_there(pid: int) -> bool:
    """Tell whether a process runs; a zombie that its new parent has not buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def batch(
    algorithm: str, number: int, kinds: Sequence[str] | None = None, trials: int = 8
) -> dict[str, Any]:
    """Run a batch and return its counts; `kinds` are those of its kills, in order."""
    began, moments = time.monotonic(), random.Random(f"{algorithm} {number}")
    if kinds is None:
        kinds = moments.sample([KINDS[i % len(KINDS)] for i in range(KILLS)], KILLS)
    counts, texts, by_kind, n_runs = Counter[str](), [], Counter[str](), 0
    with tempfile.TemporaryDirectory(prefix="campaign-kills-") as folder:
        plain = Chain(algorithm, number, Path(folder) / "plain", trials)
        lasts_s = plain.finish()
        expected = plain.found()
        waiting = list(kinds)
        while waiting:
            # The same name for every chain, because a run's name is part of what it records.
            n_runs += 1
            path = Path(folder) / f"{n_runs}" / "plain"
            chain = Chain(algorithm, number, path, trials, workers=1 + n_runs % 2)
            chain.run.parent.mkdir()
            while waiting and not chain.is_complete():
                if killed(chain, waiting[0], moments, lasts_s):
                    by_kind[waiting.pop(0)] += 1
            chain.finish()
            _compare(chain, expected)
            counts += chain.counts
            texts += chain.texts
    found: dict[str, Any] = {"kills": sum(by_kind.values()), "runs": n_runs, **by_kind}
    found |= {name: counts[name] for name in ("differ", "stuck", "left_over", "escaped")}
    found |= {"tracebacks": counts["tracebacks"], "trials": len(expected["history"])}
    if texts:
        found["texts"] = texts[:5]
    return found | {"seconds": round(time.monotonic() - began, 1)}


def _compare(chain: Chain, expected: dict[str, Any]) -> None:
    try:
        found = chain.found()
    except nasgen.errors.NasgenError as error:
        chain.fault("stuck", str(error))
        return
    for name, value in expected.items():
        if found[name] != value:
            chain.fault("differ", f"{name}: {_first_difference(found[name], value)}")
            return


def _first_difference(found: Any, expected: Any) -> str:
    if isinstance(expected, list):
        n = sum(1 for _ in _same_head(found, expected))
        parts = [rows[n] if n < len(rows) else f"only {n} rows" for rows in (found, expected)]
        return f"row {n}: {str(parts[0])[:300]} instead of {str(parts[1])[:300]}"
    return f"{str(found)[:300]} instead of {str(expected)[:300]}"


def _same_head(found: list[Any], expected: list[Any]) -> Iterator[None]:
    for one, other in zip(found, expected, strict=False):
        if one != other:
            return
        yield None
