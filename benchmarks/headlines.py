"""The headline figures of the README: a few lines of the table, each beside its control."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from claims import Line

Pick = tuple[str, str]  # how the text of a line begins and ends


@dataclass(frozen=True)
class Headline:
    """A figure and what it is compared with; a control is text, or text and another line."""

    what: str
    line: Pick
    controls: tuple[str | tuple[str, Pick], ...]


HOUR = "CIFAR-10 in an hour"
BENCH = "`genetic+rank` minus local search at 50 queries, validation"
HEADLINES = (
    Headline(
        f"{HOUR} on two cores: ensemble, test accuracy",
        (f"{HOUR}, seeds", "ensemble, test"),
        (
            ("random search", (f"{HOUR}, random search", "ensemble, test")),
            ("a known network, trained all the hour", (f"{HOUR}, ResNet-9", "best network, test")),
        ),
    ),
    Headline(
        "NAS-Bench-201 after 50 evaluations: search with a predictor, validation accuracy",
        ("nasbench201, ", BENCH),
        ("local search with the same seeds",),
    ),
    Headline(
        "Order of unseen networks from 100 labels on NAS-Bench-201, Kendall's tau",
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
    """Return what was measured in the first line of this beginning and end."""
    first, last = pick
    return next(
        (n.measured for n in lines if n.what.startswith(first) and n.what.endswith(last)), None
    )


def table(lines: Iterable[Line]) -> str:
    """Return the README's table; a headline of which something was not measured is left out."""
    known, text = list(lines), ["| what | measured | control |", "|---|---|---|"]
    for headline in HEADLINES:
        measured = found(known, headline.line)
        controls = [
            c if isinstance(c, str) else f"{c[0]}: {value}"
            for c in headline.controls
            if isinstance(c, str) or (value := found(known, c[1])) is not None
        ]
        if measured is not None and len(controls) == len(headline.controls):
            text.append(f"| {headline.what} | {measured} | {'; '.join(controls)} |")
    return "\n".join(text)
