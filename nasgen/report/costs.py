"""What a search cost, and the network beside which its result is to be seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup

from nasgen.evaluation.interval import paired
from nasgen.genotypes.svg import element
from nasgen.report import tables, training
from nasgen.report.answers import with_interval
from nasgen.report.numbers import (
    GAP,
    NONE,
    change,
    count,
    duration,
    exact,
    number,
    quantity,
    three,
    words,
)
from nasgen.report.sheet import Table, scrolled, table
from nasgen.report.view import ReportView
from nasgen.store.trial import Trial, training_flops


def section(view: ReportView) -> list[Markup]:
    """Return the table of costs, then what is said of the baseline."""
    trained = [t for t in view.trials if t.state != "ESTIMATED"]
    parts = {
        "search": [t for t in trained if t.phase == "search"],
        "finalists": [t for t in trained if t.phase == "finish" and not t.is_baseline],
        "baseline": [t for t in trained if t.is_baseline],
    }
    rows = [_row(view, name, found) for name, found in parts.items() if found]
    if len(rows) > 1:
        rows.append(_row(view, "all together", trained))
    columns = ["", "trainings", "training time", "training FLOPs"]
    text = (
        f"Wall time {duration(view.wall_s)}, with the choice of the ensemble, "
        f"{'tests ' if view.has_test else ''}and report. "
        "A training costs three times the FLOPs of the network for each row that it is shown: once "
        "forward, twice backward. Failed trainings have no FLOPs here."
    )
    drawn = [element("p", text), scrolled("cost, scrollable", *table(Table("", columns, rows)))]
    return drawn + (_baseline(view, view.baseline) if view.baseline else [])


def flops(view: ReportView, trials: Iterable[Trial]) -> float | None:
    """Return the training FLOPs of trials, None where the rows of a training are not known."""
    if view.n_train is None:
        return None
    return sum(training_flops(t.metrics, t.fidelity, view.n_train) for t in trials)


def _row(view: ReportView, name: str, trials: list[Trial]) -> list[str]:
    n_failed = sum(t.state == "FAILED" for t in trials)
    failed = f" ({exact(n_failed)} failed)" if n_failed else ""
    found = flops(view, trials)
    seconds = sum(t.train_s for t in trials)
    operations = NONE if found is None else count(found)
    return [name, f"{exact(len(trials))}{failed}", duration(seconds), operations]


def _baseline(view: ReportView, row: Mapping[str, Any]) -> list[Markup]:
    best, trial = tables.best_trial(view), view.by_seq.get(row["trial"])
    if best is None or trial is None:
        return []
    heading = element("h3", "Beside a random network")
    if trial is best:
        text = "The best network is one that the search drew at random: evolution has found none "
        return [heading, element("p", text + "that is better.")]
    names = [f"{part}_{view.metric}" for part in ("val", *(["test"] * view.has_test))]
    rows = []
    for label, one, of in (("best", view.best or {}, best), ("baseline", row, trial)):
        rows.append(
            [
                f"{label}, trial {of.seq}",
                *(with_interval(n, number(one.get(n)), view.n_rows(n)) for n in names),
                quantity("n_params", of.metrics.get("n_params")),
                *_trained(view, of),
            ]
        )
    columns = ["", *map(words, names), "parameters", "epochs", "training time"]
    drawn = scrolled("best network and baseline, scrollable", *table(Table("", columns, rows)))
    return [heading, element("p", _who(trial)), drawn, *_difference(view, row)]


def _who(trial: Trial) -> str:
    if trial.is_baseline:
        what = (
            "the first network that the search drew at random"
            if trial.parents
            else ("a network drawn at random, since the search drew none")
        )
        return (
            f"The baseline is {what}, trained from scratch like a finalist, as finish.baseline "
            "asks. It was no candidate for any result."
        )
    if trial.phase == "finish":
        return (
            "The baseline is the first network among the finalists that the search drew at random. "
            "Being a finalist it is a good one of the random networks, not just any."
        )
    return "The baseline is the first network that the search drew at random, trained as the best."


def _trained(view: ReportView, trial: Trial) -> tuple[str, str]:
    """Return epochs and seconds of a network, with those of the trials that it went on from."""
    parts = [part for _, part in training.stretches(view, trial)]
    epochs = sum(number(part.metrics.get("epochs_done")) or 0.0 for part in parts)
    return three(epochs), duration(sum(part.train_s for part in parts))


def _difference(view: ReportView, row: Mapping[str, Any]) -> list[Markup]:
    """Return a sentence about test rows that only one of both answers well."""
    won, lost = row.get("won"), row.get("lost")
    if not isinstance(won, int) or not isinstance(lost, int) or not view.n_test:
        return []
    low, high = paired(won, lost, view.n_test)
    gain = change("rate", (won - lost) / view.n_test)
    bounds = f"{change('rate', low)} to {change('rate', high)}"
    text = (
        f"Of {exact(view.n_test)} test {view.unit} the best network alone answers {exact(won)} "
        f"rightly, the baseline alone {exact(lost)}: a difference of {gain}, 95{GAP}% interval "
        f"{bounds}."
    )
    return [element("p", text)]
