"""The headline figures of the README: a few lines of the table, each beside its control."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from line import Line

Pick = tuple[str, str]  # how the text of a line begins and ends


@dataclass(frozen=True)
class Headline:
    """A figure and what it is compared with; a control is text, or text and another line."""

    what: str
    line: Pick
    controls: tuple[str | tuple[str, Pick], ...]


N_SHOWN = 5
TWENTY, TEN = "CIFAR-10, 20 minutes", "CIFAR-10, 10 minutes"
FASHION, DIGITS = "Fashion-MNIST, 10 minutes", "digits, 1 minute"
HOUR = "CIFAR-10 in an hour"
BENCH = "`genetic+rank` minus local search at 50 queries, validation"


def paired(what: str, task: str, part: str = "single") -> Headline:
    """Return the headline of the default search on a task, its controls trained as long."""
    return Headline(
        what,
        (f"{task}, ", f": default search, {part}, test"),
        (
            ("hand-made ResNet-9", (f"{task}, ", ": hand-made ResNet-9, plain loop, single, test")),
            ("random search", (f"{task}, ", f": random search, {part}, test")),
        ),
    )


# Shown are the first ones that are measured.
HEADLINES = (
    paired("CIFAR-10 in 20 minutes on two cores: one network, test accuracy", TWENTY),
    paired("CIFAR-10 in 20 minutes on two cores: ensemble, test accuracy", TWENTY, "ensemble"),
    paired("CIFAR-10 in 10 minutes on two cores: one network, test accuracy", TEN),
    paired("Fashion-MNIST in 10 minutes on two cores: one network, test accuracy", FASHION),
    paired("Digits in a minute on two cores: one network, test accuracy", DIGITS),
    Headline(
        f"{HOUR} on two cores (one seed, older code): ensemble, test accuracy",
        (f"{HOUR}, seeds", "ensemble, test"),
        (
            ("random search", (f"{HOUR}, random search", "ensemble, test")),
            ("a known network, trained all the hour", (f"{HOUR}, ResNet-9", "best network, test")),
        ),
    ),
    Headline(
        "NAS-Bench-201 after 50 evaluations: predictor on features made for it, validation "
        "accuracy",
        ("nasbench201, ", BENCH),
        ("local search with the same seeds",),
    ),
    Headline(
        "Order of unseen networks from 100 labels and features made for NAS-Bench-201, "
        "Kendall's tau",
        ("nasbench201, 100 labels", "Kendall tau, predictor `ensemble`"),
        ("in brackets",),
    ),
    Headline(
        "Children with inherited weights and half of the epochs on CIFAR-10, validation accuracy",
        ("cifar10: children", "weights inherited, points"),
        ("the same children from scratch with all epochs",),
    ),
    Headline(
        "Growing a network on CIFAR-10: grown network minus the same architecture from scratch, "
        "test accuracy (**missed**: at least 0 was expected)",
        ("cifar10, seed 0: grown network", "test"),
        ("from scratch, with more training operations",),
    ),
)


def found(lines: Iterable[Line], pick: Pick) -> str | None:
    """Return what the first line of this beginning and end says, and whether of one seed."""
    first, last = pick
    line = next((n for n in lines if n.what.startswith(first) and n.what.endswith(last)), None)
    if line is None:
        return None
    return line.measured + (" (one seed)" if ", 1 seed: " in line.what else "")


def measured(lines: Iterable[Line]) -> list[tuple[Headline, str, str]]:
    """Return the first headlines of which all is measured, with figure and controls as text."""
    known, shown = list(lines), []
    for headline in HEADLINES:
        figure = found(known, headline.line)
        controls = [
            c if isinstance(c, str) else f"{c[0]}: {value}"
            for c in headline.controls
            if isinstance(c, str) or (value := found(known, c[1])) is not None
        ]
        if figure is not None and len(controls) == len(headline.controls):
            shown.append((headline, figure, "; ".join(controls)))
    return shown[:N_SHOWN]


def table(lines: Iterable[Line]) -> str:
    """Return the README's table."""
    text = ["| what | measured | control |", "|---|---|---|"]
    text += (f"| {h.what} | {figure} | {controls} |" for h, figure, controls in measured(lines))
    return "\n".join(text)
