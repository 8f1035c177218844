"""What opens when a reader chooses a trial: its figures, drawing, curve and settings.

The page of a long search has hundreds of trials, so this is packed: HTML, compressed, as base64.
The page's script unpacks it when a trial is opened for the first time.
"""

from __future__ import annotations

import base64
import json
import shlex
import zlib
from collections.abc import Iterator, Mapping

from markupsafe import Markup

from nasgen.errors import NasgenError
from nasgen.genotypes import Outline, drawing
from nasgen.genotypes.svg import element
from nasgen.report import tables, training
from nasgen.report.answers import interval
from nasgen.report.numbers import NONE, duration, exact, quantity, words
from nasgen.report.sheet import legend, scrolled
from nasgen.report.view import ReportView
from nasgen.store.trial import Trial

N_OPENED = 1000  # trials of a page
N_DRAWN = 400  # different networks that are drawn: placing the boxes takes time
N_RELATIVES = 24  # parents or children that are named


def packed(view: ReportView) -> str:
    """Return {"trials": {seq: [HTML, network, HTML]}, "networks": [HTML]}, compressed, as base64.

    The drawing of `network`, -1 for none, stands between both parts. Which trials there are is what
    `openable` says.
    """
    networks: dict[str, int] = {}
    drawn: list[str] = []
    trials: dict[str, list[str | int]] = {}
    children, opened = _children(view), openable(view)
    for trial in _first(view, opened):
        if trial.key not in networks and trial.outline:
            networks[trial.key] = len(drawn) if len(drawn) < N_DRAWN else -1
            if len(drawn) < N_DRAWN:
                drawn.append(str(_drawing(trial)))
        head, tail = _head(view, trial), _tail(view, trial, children, opened)
        trials[str(trial.seq)] = [str(head), networks.get(trial.key, -1), str(tail)]
    text = json.dumps({"trials": trials, "networks": drawn}, ensure_ascii=False)
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return base64.b64encode(packer.compress(text.encode()) + packer.flush()).decode()


def openable(view: ReportView) -> frozenset[int]:
    """Return the trials that can be opened: all, or of very many an even choice with the best."""
    return frozenset(trial.seq for trial in tables.thinned(view, N_OPENED, _kept(view)))


def _kept(view: ReportView) -> set[int]:
    """Return the trials that are never left out: what is a result or stands beside one."""
    best = tables.best_trial(view)
    kept = {trial.seq for trial in view.trials if trial.phase == "finish"}
    kept |= {trial.seq for trial in tables.rank(view, view.trials)[: N_OPENED // 4]}
    return kept if best is None else kept | {t.seq for t in tables.ancestors(view, best.seq)}


def _first(view: ReportView, opened: frozenset[int]) -> list[Trial]:
    """Return the trials that are opened, those first whose networks are drawn in any case."""
    kept = _kept(view)
    shown = [trial for trial in view.trials if trial.seq in opened]
    return sorted(shown, key=lambda trial: (trial.seq not in kept, trial.seq))


def _children(view: ReportView) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for trial in view.trials:
        for parent in dict.fromkeys(trial.parents):
            found.setdefault(parent, []).append(trial.seq)
    return found


def _drawing(trial: Trial) -> Markup:
    try:
        outline = Outline.from_json(trial.outline)
        sentence = drawing.describe(outline)
        svg, _ = drawing.draw(outline, f"architecture: {sentence}")
    except NasgenError as error:
        return element("p", f"The network cannot be drawn: {error}", class_="none")
    box = scrolled("drawing of the network", svg, kind="dag")
    return element(
        "div", element("h3", "Architecture"), element("p", sentence, class_="quiet"), box
    )


def _head(view: ReportView, trial: Trial) -> Markup:
    made = "finalist" if trial.phase == "finish" else f"generation {trial.generation}"
    facts = (
        element("div", element("dt", name), element("dd", value, _quiet(within)))
        for name, value, within in _facts(view, trial)
    )
    return element(
        "div",
        element("h2", f"Trial {trial.seq} ", _quiet(f"{trial.source}, {made}"), id="opened-title"),
        *(element("p", text, class_=css) for text, css in _sentences(trial)),
        element("dl", *facts, class_="facts-of"),
    )


def _facts(view: ReportView, trial: Trial) -> Iterator[tuple[str, str, str]]:
    """Yield (words, value, interval) of what was measured."""
    names = (*view.objectives, f"val_{view.metric}", "val_loss", *view.sizes, "latency_ms")
    for name in dict.fromkeys(names):
        if (found := tables.value(trial, name)) is not None:
            yield words(name), quantity(name, found), _within(view, name, found)
    if (test := _tested(view, trial)) is not None:
        name = f"test_{view.metric}"
        yield words(name), quantity(name, test), _within(view, name, test)
    yield "training", duration(trial.train_s), ""


def _within(view: ReportView, name: str, value: float) -> str:
    n_rows = view.n_rows(name)
    within = interval(name, value, n_rows)
    return f"{within}, {exact(n_rows or 0)} {view.unit}" if within else ""


def _tested(view: ReportView, trial: Trial) -> float | None:
    """Return the test result of a trial, None for one that was not tested."""
    for row in (view.best, view.baseline, *view.front):
        if row is not None and row.get("trial") == trial.seq:
            found = row.get(f"test_{view.metric}")
            return found if isinstance(found, int | float) else None
    return None


def _quiet(text: str) -> Markup | None:
    return element("span", text, class_="quiet") if text else None


def _sentences(trial: Trial) -> Iterator[tuple[str, str | None]]:
    """Yield what is to be said of a trial, with its class."""
    if trial.is_baseline:
        yield "A baseline: trained to compare with, and no candidate for any result.", None
    if trial.failure:
        kind = f" ({trial.failure_kind})" if trial.failure_kind else ""
        yield f"It {trial.state.lower()}{kind}: {trial.failure}", "bad"
    elif trial.state != "COMPLETE":
        yield f"State: {trial.state.lower()}.", None
    elif not trial.is_feasible:
        yield "It violates the constraints.", "bad"
    if trial.fallback:
        yield f"{trial.fallback[:1].upper()}{trial.fallback[1:]}.", "quiet"


def _tail(
    view: ReportView, trial: Trial, children: Mapping[int, list[int]], opened: frozenset[int]
) -> Markup:
    parts: list[Markup] = []
    if (chart := training.curve(view, trial)) is not None:
        parts = [
            element("h3", "Training"),
            scrolled("training curve", chart, kind="chart"),
            legend(training.KEY),
        ]
    relatives = [
        element("p", f"{name}: ", *_links(seqs, opened))
        for name, seqs in (("Made of", trial.parents), ("Its children", children.get(trial.seq)))
        if seqs
    ]
    rows = (
        element("div", element("dt", name), element("dd", value))
        for name, value in _settings(trial)
    )
    lines = [["show", view.run, "--trial", str(trial.seq)]]
    if trial.weights_ref:
        lines.append(["export", f"{view.run}:{trial.seq}"])
    commands = "\n".join(shlex.join(["nasgen", *words]) for words in lines)
    return element(
        "div",
        *parts,
        *([element("h3", "Descent"), *relatives] if relatives else []),
        element("h3", "Settings"),
        element("dl", *rows, class_="rows"),
        element(
            "pre",
            element("code", commands),
            tabindex="0",
        ),
    )


def _links(seqs: tuple[int, ...] | list[int], opened: frozenset[int]) -> Iterator[Markup | str]:
    for i, seq in enumerate(seqs[:N_RELATIVES]):
        yield ", " if i else ""
        if seq in opened:
            yield element("button", str(seq), type="button", data_trial=str(seq))
        else:
            yield str(seq)
    if len(seqs) > N_RELATIVES:
        yield f" and {len(seqs) - N_RELATIVES} more"


def _settings(trial: Trial) -> Iterator[tuple[str, str]]:
    """Yield under which settings a trial was trained, beside those that all have in common."""
    cost, metrics = trial.fidelity, trial.metrics
    yield "operator", trial.source
    done = metrics.get("epochs_done")
    asked = NONE if cost.epochs is None else f"{cost.epochs:g}"
    yield "epochs", asked if done is None else f"{done:.4g} of at most {asked}"
    if cost.seconds is not None:
        yield "time limit", duration(cost.seconds)
    if cost.fraction != 1.0:
        yield "share of the rows", quantity("fraction_share", cost.fraction)
    if cost.stretch != (0.0, 1.0):
        begin, end = (quantity("share", place) for place in cost.stretch)
        yield "part of the schedule", f"{begin} to {end}"
    if cost.rung is not None:
        yield "rung", f"{cost.rung + 1} of {cost.rungs}"
    if cost.threads is not None:
        yield "threads", exact(cost.threads)
    if (speed := metrics.get("images_per_s")) is not None:
        yield "rows per second", quantity("images_per_s", speed)
    if (precision := metrics.get("precision")) is not None:
        yield "precision", str(precision)
    yield "random seed", str(trial.seed)
    if trial.attempt > 1:
        yield "attempt", str(trial.attempt)
    yield "key of the network", trial.key
    if trial.started and trial.finished:
        yield "trained", f"{trial.started} to {trial.finished}"
