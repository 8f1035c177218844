"""What a search space gives by itself: draws and designs, both checked."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from nasgen.engine.operators import Legal, late, legal
from nasgen.engine.proposal import DRAWN
from nasgen.errors import NasgenError, OperatorError
from nasgen.execution.timer import within
from nasgen.genotypes import Genotype
from nasgen.search_spaces.base import Design, Draw

T = TypeVar("T")


def drawn(what: str, draw: Callable[[], Genotype], space: Legal, limit_s: float) -> Genotype:
    """Return a legal genotype that the space's method `what` gives within `limit_s` seconds.

    Raises OperatorError that says what is wrong with a space that does not.
    """
    genotype: Genotype = legal(what, _given(what, draw, limit_s), space)
    return genotype


def sampled(
    draw: Callable[[], Draw], space: Legal, limit_s: float
) -> tuple[Genotype, Mapping[str, Any]]:
    """Return a legal random candidate and its `Proposal.screening`; see `drawn`."""

    def given() -> Draw:
        found = draw()
        if not isinstance(found, Draw):
            raise TypeError(f"expected a nasgen.search_spaces.base.Draw, got {type(found)}")
        json.dumps(found.about, allow_nan=False)
        return found

    found = _given("sample", given, limit_s)
    return legal("sample", found.genotype, space), {DRAWN: found.about} if found.about else {}


def designed(offer: Callable[[], Iterable[Design]], space: Legal, limit_s: float) -> list[Design]:
    """Return the legal designs that a space offers, each network once; see `drawn`."""
    found: dict[str, Design] = {}
    for design in _given("designs", lambda: list(offer()), limit_s):
        if not isinstance(design, Design):
            raise OperatorError(
                "the search space's designs() must give nasgen.search_spaces.base.Design objects, "
                f"got {type(design).__name__}."
            )
        genotype: Genotype = legal("designs", design.genotype, space)
        found.setdefault(genotype.key, design)
    return list(found.values())


def _given(what: str, ask: Callable[[], T], limit_s: float) -> T:
    """Return what a method of the space returns; its errors name the line that raised them."""
    source = f"the search space's {what}()"
    try:
        return within(limit_s, ask, lambda seconds, where: late(source, seconds, where))
    except (NasgenError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit too: it must not end the program
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise OperatorError(
            f"{source} raised {type(error).__name__}: {error} "
            f"({frame.filename}, line {frame.lineno}). Mend it, then resume the run."
        ) from error
