"""Opens what nasgen has written: a run, one trial of it, an ensemble, an export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from nasgen.errors import ConfigError, StoreError
from nasgen.runs import ensembled, session
from nasgen.runs.paths import run_and_trial
from nasgen.runs.results import Run
from nasgen.store.folder import BEGINNING, ENSEMBLE, EXPORT, OTHERS, instead, kind

RUN: Final = ("run.json", "config.toml")
FILES: Final = {"ensemble": ENSEMBLE, "export": EXPORT}


def load(
    path: str | Path,
    plugins: Sequence[Any] = (),
    data: str | None = None,
    ledger: str | None = None,
    say: Callable[[str], None] | None = None,
    threads: int | None = None,
) -> Any:
    """Open a run folder, RUN:TRIAL, the folder of an ensemble or of an export, and return it.

    A run is a `nasgen.Run`: see `nasgen.runs.session.load` for the other arguments. The folder of
    an ensemble is a `nasgen.runs.ensembled.Ensembled`, which has it as `ensemble`; an export is a
    `nasgen.export.reading.Exported`. Both answer by `predict` and `predict_proba`. An export takes
    `plugins` alone, files and modules whose layers it needs. Raises StoreError for anything else.
    """
    check(path, *FILES)
    if is_export(path):
        return exported(path, plugins)
    if ensembled.is_one(path):
        return ensembled.Ensembled(path, session.named_of(plugins, data, ledger, say), threads)
    return session.load(path, plugins, data, ledger, say, threads)


def check(path: str | Path, *others: str) -> None:
    """Raise StoreError for a path that is no run, nor one of `others`: "ensemble", "export"."""
    if not isinstance(path, str | Path):
        raise ConfigError(f"expected the path of a folder, got {type(path).__name__}.")
    folder, trial = run_and_trial(path)
    if trial and (other := kind(folder)):
        raise ConfigError(
            f"{path}: {folder} is {other}, which has no trials; name the folder alone, or "
            "RUN:TRIAL of a run that its networks come from."
        )
    if any(
        (folder / name).exists() for name in (*RUN, BEGINNING, *(FILES[other] for other in others))
    ):
        return
    names = ["run", *others]
    kinds = ", ".join(names[:-1]) + f" or {names[-1]}"
    files = ", ".join(f"{FILES.get(name, RUN[0])} ({name})" for name in names)
    raise StoreError(
        f"{path} is no nasgen {kinds}: expected a folder with {files}{instead(folder)}."
    )


def is_export(path: str | Path) -> bool:
    """Tell whether a folder is an export."""
    return kind(Path(path)) == OTHERS[EXPORT]


def exported(path: str | Path, plugins: Sequence[Any] = ()) -> Any:
    """Return an export; the plug-ins that are named now are loaded, no others (loads torch)."""
    from nasgen.export import reading

    return reading.opened(path, plugins)


def answering(found: Any) -> Any:
    """Return what answers: of RUN:TRIAL the network, of RUN its ensemble, an export itself."""
    if not isinstance(found, Run):
        return getattr(found, "ensemble", found)
    if found.named is not None:
        return found.network()
    try:
        return found.ensemble
    except StoreError as error:
        kept = found.networks()
        if not kept:
            raise
        best = f"{found.path}:{kept[0].trial.seq}"
        raise StoreError(
            f"{error} To use a single network, name it: {best} is the best whose weights are there."
        ) from None
