"""The network of [origin]: a named one, that of a file, or a trial of another run, with weights.

It gets gene tags of its own, since those that another run gave may be given again here. Steps keep
their order and names, so that its weights fit as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nasgen import genotypes
from nasgen.errors import (
    ConfigError,
    IllegalGenotypeError,
    NasgenError,
    StoreError,
    suggest,
    typed,
)
from nasgen.genotypes import Genotype, graphs
from nasgen.runs.paths import run_and_trial
from nasgen.search_spaces import networks
from nasgen.search_spaces.base import SearchSpace
from nasgen.settings import text
from nasgen.store.artifacts import Artifacts
from nasgen.store.folder import RunFolder
from nasgen.store.ledger import Ledger, study_name
from nasgen.store.trial import Trial

FILE: Final = "origin.json"  # a run's own copy
PARTS: Final = ("weights", "support")  # of a trained network
JSON: Final = "the JSON of a genotype or of a trial (`nasgen show RUN --trial N --json`)"
FORMS: Final = (
    "a name (`nasgen list networks`), a JSON file, a graph (.graphml, .edgelist), RUN or RUN:TRIAL"
)


@dataclass(frozen=True)
class Origin:
    """A network with provisional tags, and the references of what it starts with.

    `refs` ("weights", and the "support" of a sparse network, if anything) lie in `artifacts`.
    `note` says why there are no weights where some could be expected.
    """

    genotype: Genotype
    refs: Mapping[str, str]
    artifacts: Artifacts | None = None
    note: str = ""

    def keep(self, folder: RunFolder) -> None:
        """Copy it into a run folder, which must not depend on what lies elsewhere."""
        if self.artifacts is not None:
            for ref in self.refs.values():
                folder.artifacts.save(self.artifacts.load(ref))
        data = {"genotype": self.genotype.to_json(), "refs": dict(self.refs), "note": self.note}
        folder.write_json(FILE, data)


def read(
    network: str, space: SearchSpace, space_name: str, where: str = "origin.network"
) -> Origin:
    """Return the network that [origin] network names, or what else is named in sentences `where`.

    Raises ConfigError when it cannot be read or is not legal in the search space.
    """
    here = f"{where}: {network}"
    path, trial = run_and_trial(network)
    if network in networks.names():
        data: Any = networks.read(network)
        rows = networks.for_rows(data)
        if rows is not None and space_name == rows["space"]["name"]:
            data = rows
    elif (path / "run.json").is_file():
        return _of_run(here, path, trial, space, space_name)
    elif path.suffix in (graphs.GRAPHML, graphs.EDGES):
        return Origin(_of_graph(here, path, space, space_name), {})
    else:
        data = _of_file(here, network)
    refs = data.get("refs", {}) if isinstance(data, dict) else {}
    # A run's own copy: a trial's references, as `nasgen show` prints them, lie elsewhere.
    is_own = bool(refs) and path.name == FILE and (path.parent / "run.json").is_file()
    return Origin(
        _legal(here, data, space, space_name),
        refs if is_own else {},
        RunFolder.open(path.parent).artifacts if is_own else None,
        str(data.get("note", "")),
    )


def space_of(network: str | None, form: str = "image") -> dict[str, Any]:
    """Return name and options of the space in which a network is legal, {} where nothing says it.

    Those of a named network are what it needs beyond the defaults, for data of a form.
    """
    if network is None:
        return {}
    if network in networks.names():
        data = networks.read(network)
        rows = networks.for_rows(data) if form == "table" else None
        return dict((data if rows is None else rows).get("space", {}))
    try:
        path, _ = run_and_trial(network)
        is_run = (path / "run.json").is_file()
        found = dict(RunFolder.open(path).config_tables().get("space", {})) if is_run else {}
    except (NasgenError, OSError, TypeError, ValueError):  # which `read` reports
        return {}
    # A dotted path would be imported, which nobody has allowed.
    return {} if ":" in str(found.get("name", "")) else found


def is_bare_graph(network: str | None) -> bool:
    """Tell whether a network is a file with a graph whose vertices do not say what they are."""
    if network is None or Path(network).suffix not in (graphs.GRAPHML, graphs.EDGES):
        return False
    try:
        return not graphs.has_layers(graphs.read_file(Path(network).expanduser()))
    except (IllegalGenotypeError, OSError):  # which `read` reports
        return True


def _of_graph(here: str, path: Path, space: SearchSpace, space_name: str) -> Genotype:
    """Return the network that a search space makes of the graph in a file, or that the graph is."""
    try:
        graph = graphs.read_file(path)
    except OSError as error:
        raise ConfigError(f"{here} cannot be read ({error.strerror or error}).") from None
    except IllegalGenotypeError as error:  # which names the file
        raise ConfigError(f"{here.removesuffix(str(path))}{error}") from None
    try:
        made = graphs.from_networkx if graphs.has_layers(graph) else space.wired
        return space.adopt(made(graph))
    except IllegalGenotypeError as error:
        raise ConfigError(f"{here}: in the space '{space_name}': {error}") from None


def _of_file(here: str, network: str) -> Any:
    file = Path(network).expanduser()
    if not file.exists() and file.suffix != ".json" and file.name == network:
        raise ConfigError(
            f"{here} is no network{suggest(network, networks.names())} Expected {FORMS}."
        )
    if file.is_dir():
        raise ConfigError(f"{here} is a folder without a run in it; expected {FORMS}.")
    try:
        return text.parsed(file, json.loads, JSON)
    except OSError as error:
        raise ConfigError(
            f"{here} cannot be read ({error.strerror or error}); expected {FORMS}."
        ) from None


def _of_run(here: str, path: Path, which: str, space: SearchSpace, space_name: str) -> Origin:
    """Return a trial of a run, the best one unless one is named; its plug-ins are not loaded.

    Raises ConfigError for files that are damaged; those that are missing are a note.
    """
    folder = RunFolder.open(path)
    trial = _trial(here, folder, which)
    genotype = _legal(here, {"genotype": dict(trial.genotype)}, space, space_name)
    if lost := _lost(folder, trial):
        return Origin(genotype, {}, folder.artifacts, f"{here}: {lost}")
    refs = {name: trial.refs[name] for name in PARTS if name in trial.refs}
    for name, ref in refs.items():
        try:
            folder.artifacts.load(ref)
        except StoreError as error:
            raise ConfigError(
                f"{here}: the {name} of trial {trial.seq} cannot be read: {error} Put the file "
                "back from a copy, or name another trial."
            ) from None
    return Origin(genotype, refs, folder.artifacts)


def _lost(folder: RunFolder, trial: Trial) -> str:
    """Return what of a trial is not there, what follows and what to do; "" where all is there.

    The weights of a sparse network are worth little without its support, so none are taken then.
    """
    there = {name for name in PARTS if folder.artifacts.exists(trial.refs.get(name))}
    wanted = {"weights", *(name for name in PARTS if name in trial.refs)}
    if not (lost := [name for name in PARTS if name in wanted - there]):
        return ""
    what = " and the ".join(lost)
    files = [str(folder.artifacts.path(trial.refs[n])) for n in lost if n in trial.refs]
    be = "is" if lost == ["support"] else "are"
    why = f"{be} not kept"
    if files:
        gone = " and ".join(files)
        why = f"{be} missing ({gone} {'is' if len(files) == 1 else 'are'} gone)"
    n = trial.metrics.get("n_synapses")
    instead = f" instead of {n:,}" if isinstance(n, int) else ""
    dense = f" with all synapses of its layers{instead}" if "support" in wanted else ""
    back = "put back from a copy what is gone, or " if files else ""
    return (
        f"the {what} of trial {trial.seq} {why}, so the network is trained from scratch"
        f"{dense}; {back}name a trial whose weights are kept (store.keep_weights = 'all' "
        "keeps those of all)."
    )


def _trial(here: str, folder: RunFolder, which: str) -> Trial:
    record = folder.record()
    best = ((record["summary"] or {}).get("best") or {}).get("trial")
    if not which and best is None:
        raise ConfigError(
            f"{here}: the run has no best network (yet); name a trial: {folder.path}:TRIAL."
        )
    tables = folder.config_tables()
    shown = typed("show", folder.path, "--ledger", "URL", "--trial", "N", "--json")
    folder.check_ledger(tables, f"write the trial to a file, as {shown} prints it, and name that")
    url = tables.get("store", {}).get("ledger")
    ledger = Ledger.open(folder.ledger_url(url), study_name(url, record["run"]))
    try:
        trials = {trial.seq: trial for trial in ledger.readable()[0]}
    finally:
        ledger.close()
    seq = int(which) if which.isdecimal() else best if not which else -1
    if seq not in trials:
        raise ConfigError(
            f"{here}: expected a trial from 0 to {len(trials) - 1} behind the colon, got '{which}'."
        )
    return trials[seq]


def _legal(here: str, data: Any, space: SearchSpace, space_name: str) -> Genotype:
    found: Any = data.get("genotype", data) if isinstance(data, dict) else None
    try:
        genotype = genotypes.read(found)  # which refuses what is no mapping
    except ValueError as error:
        raise ConfigError(f"{here}: expected {JSON}, but {error}") from None
    try:
        return space.adopt(genotype)
    except IllegalGenotypeError as error:
        raise ConfigError(f"{here} is not legal in the space '{space_name}': {error}") from None
