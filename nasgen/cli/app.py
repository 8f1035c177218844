"""What all commands share: the app, errors as one line and an exit code, tables, JSON.

Libraries are imported inside the commands, so that `nasgen --help` is quick and loads no torch.
Exit codes: 0 done, 1 a bug in nasgen, 2 the user's mistake, 3 nothing completed, 130 interrupted.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from nasgen.cli.interrupts import EXIT_INTERRUPTED, end_at_once, interrupt_once
from nasgen.cli.output import apart, complete, exits_are_said, to_nowhere, write_anywhere

if TYPE_CHECKING:
    from rich.console import Console


class _App(typer.Typer):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        write_anywhere()
        interrupt_once()
        try:
            return super().__call__(*args, **kwargs)
        finally:
            end_at_once()


app = _App(
    name="nasgen",
    help="Evolve neural networks: search, train, combine the best into an ensemble, report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

F = TypeVar("F", bound=Callable[..., Any])
SHORT_CELL, LONGEST_WORD = 10, 40  # letters: a number with its unit; what may be broken
SPACING = 2  # letters between columns
MOST_THREADS = 1024  # as execution.threads_per_trial has it
EXIT_BUG, EXIT_USER, EXIT_NOTHING = 1, 2, 3

_debug: ContextVar[bool] = ContextVar("debug", default=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]
RunPath = Annotated[
    Path, typer.Argument(metavar="RUN[:TRIAL]", help="Folder of the run, or one trial of it.")
]
Trials = Annotated[
    str | None, typer.Option(help="More networks to train: +100; a plain number is a new total.")
]
Threads = Annotated[
    str | None,
    typer.Option(
        "--threads",
        metavar="N|auto",
        help="CPU threads that compute; auto (default): as many as are fastest, which is tried "
        "out. Another number changes results in their last digits.",
    ),
]
# What is named again for a stored run: its folder is data, which neither runs code nor connects.
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="FILE|MODULE",
        help="Plug-in of the run that has changed or moved, or lies in the run folder: it is run "
        "only if it is named. A file takes the place of the run's file of that name. May be "
        "repeated.",
    ),
]
DataNow = Annotated[
    str | None,
    typer.Option("--data", help="Where the run's data set lies now, such as npz:moved/data.npz."),
]
LedgerNow = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        metavar="URL",
        help="Ledger of a run whose config names one outside of the run folder (store.ledger).",
    ),
]


def said(text: str) -> None:
    """Print a remark beside the output, such as which plug-ins of a stored run are run."""
    print(text, file=sys.stderr)


def command(function: F) -> F:
    """Register a command whose errors become one line and an exit code."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        from nasgen.errors import NasgenError
        from nasgen.runs.commands import executing

        try:
            with warnings.catch_warnings(), executing(sys.argv[1:]):
                warnings.showwarning = _warn
                json_ = apart() if kwargs.get("json_") else nullcontext()
                with exits_are_said(EXIT_USER), complete(), json_:
                    function(*args, **kwargs)
        except (NasgenError, typer.Exit, typer.BadParameter) as error:
            if not isinstance(error, NasgenError) or debugging():
                raise
            for line in str(error).splitlines():
                print(f"error: {line}", file=sys.stderr)
            raise typer.Exit(EXIT_USER) from None
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:  # the reader of our output went away, as `| head` does
            to_nowhere(sys.stdout)
            raise typer.Exit(0) from None
        except Exception as error:
            if debugging():
                raise
            print(
                f"error: this is a bug in nasgen ({type(error).__name__}: {error}). "
                "Run again with `nasgen --debug ...` for the traceback and report it.",
                file=sys.stderr,
            )
            raise typer.Exit(EXIT_BUG) from None
        except BaseException as error:  # such as sys.exit(0) in a plug-in
            if debugging():
                raise
            place = traceback.extract_tb(error.__traceback__)[-1]
            print(
                f"error: {type(error).__name__}({error}) was raised in {place.filename}, line "
                f"{place.lineno}. A plug-in must raise an error that says what is wrong.",
                file=sys.stderr,
            )
            raise typer.Exit(EXIT_USER) from None

    app.command(name=function.__name__.strip("_"))(guarded)
    return function


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning as one line, like an error."""
    print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)


def _version(is_wanted: bool) -> None:
    if is_wanted:
        from nasgen import __version__

        print(f"nasgen {__version__}")
        raise typer.Exit


@contextmanager
def _tracebacks() -> Iterator[None]:
    token = _debug.set(True)
    try:
        yield
    finally:
        _debug.reset(token)


@app.callback()
def main(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Evolve neural networks: search, train, combine the best into an ensemble, report."""
    if debug:
        context.with_resource(_tracebacks())  # until the command ends: no setting of the process


def seconds_of(option: str, text: str | None) -> float | None:
    """Return the seconds of an option such as --budget 10m; ConfigError for anything else."""
    from nasgen.errors import ConfigError
    from nasgen.settings.sections import seconds

    try:
        return None if text is None else float(seconds(text.removeprefix("+")))
    except ValueError as error:
        raise ConfigError(f"{option}: {error}.") from None


def one_trial(run: Any, trial: int | None) -> int | None:
    """Return the trial of --trial or RUN:TRIAL, None for neither; ConfigError where they differ."""
    from nasgen.errors import ConfigError

    if None not in (trial, run.named) and trial != run.named:
        raise ConfigError(
            f"--trial {trial}: {run.path}:{run.named} names another trial; leave one of them out."
        )
    return run.named if trial is None else trial


def threads_of(text: str | None) -> int | None:
    """Return the number of --threads, None for auto; ConfigError for anything else."""
    from nasgen.errors import ConfigError

    if text in (None, "auto"):
        return None
    if not (text.isdecimal() and 1 <= int(text) <= MOST_THREADS):
        raise ConfigError(
            f"--threads: expected auto or a number from 1 to {MOST_THREADS}, got '{text}'."
        )
    return int(text)


def debugging() -> bool:
    """Tell whether tracebacks are wanted: by `nasgen --debug`, or by NASGEN_DEBUG=1."""
    return _debug.get() or os.environ.get("NASGEN_DEBUG", "") not in ("", "0")


def console_of(stderr: bool = False) -> Console:
    """Return a Rich console on standard output or error."""
    from rich.console import Console

    return Console(stderr=stderr)


def within(mean: float, half: float | None, digits: int) -> str:
    """Return "1.23 ± 0.45"; a single value has no interval: "1.23 ± –"."""
    return f"{mean:.{digits}f} ± {'–' if half is None else format(half, f'.{digits}f')}"


def table_of(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under column names; no word and no number is broken, the first column nowhere.

    Where the words do not fit side by side, the lines are longer than the terminal is wide.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title) if title else None,
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    texts = [[str(cell) for cell in row] for row in rows]
    console, by_column = console_of(), list(zip(columns, *texts, strict=True))
    least = [max(map(_least_width if i else len, cells)) for i, cells in enumerate(by_column)]
    widths = [max(map(len, cells)) for cells in by_column]
    while sum(widths) + SPACING * len(widths) > console.width and widths != least:
        widest = max(range(len(widths)), key=lambda i: (widths[i] > least[i], widths[i]))
        widths[widest] -= 1
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, overflow="fold", width=width)
    for row in texts:
        table.add_row(*map(Text, row))
    console.width = max(console.width, sum(widths) + SPACING * len(widths))
    console.print(table, crop=False)


def _least_width(cell: str) -> int:
    """Return how many letters of a cell must stand on one line."""
    parts = [cell] if len(cell) <= SHORT_CELL else cell.split()
    return min(max(map(len, parts), default=0), LONGEST_WORD)
