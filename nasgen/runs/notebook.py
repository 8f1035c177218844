"""Shows a search while it runs where `nasgen.run` is called in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from nasgen.loop.search import Listener


def is_one() -> bool:
    """Tell whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")  # imported by every kernel
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


@contextmanager
def shown(listeners: tuple[Listener, ...]) -> Iterator[tuple[Listener, ...]]:
    """Give the listeners of a search: those that are named, in a notebook else the live view."""
    if listeners or not is_one():
        yield listeners
        return
    from nasgen.runs.progress import NotebookView  # loads rich

    with NotebookView() as view:
        yield (view,)
