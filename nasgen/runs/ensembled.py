"""An ensemble as a folder: what of it is needed to answer, without the runs that it came from.

    ensemble.json                   members, their shares, how they are mixed, where they are from
    transform.json, transform.npz   feed, task and classes, as in a run folder
    artifacts/                      weights, supports and validation predictions of the members
    runs/NAME/                      config.toml and run.json of each run that members come from

The copies of `runs/` say which search space reads the genotypes and which plug-ins that needs, with
their digests: they are trusted as those of a run folder are.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from nasgen.data import arrays
from nasgen.ensembles.mixing import Mixing
from nasgen.ensembles.trained import TrainedEnsemble, TrainedNetwork
from nasgen.errors import StoreError
from nasgen.runs import commands, exporting
from nasgen.runs.results import Run
from nasgen.runs.trust import Named, Stored
from nasgen.settings.prediction import Views
from nasgen.settings.text import parsed
from nasgen.settings.writing import to_toml
from nasgen.store import beside
from nasgen.store.artifacts import Artifacts
from nasgen.store.folder import ENSEMBLE
from nasgen.store.trial import Trial

FORMAT: Final = 1
RECORD: Final = ENSEMBLE
KEPT: Final = ("weights", "predictions", "support")  # what a member keeps of its tensors


def is_one(path: str | Path) -> bool:
    """Tell whether a path is the folder of an ensemble."""
    return (Path(path) / RECORD).is_file()


class Ensembled:
    """The folder of an ensemble. Its networks load torch when they are asked for.

    `named` is what may be executed, see `trust`; `threads` are those that compute (None: as many as
    are fastest), `views` is [prediction] views (None: as the ensemble was made with). `record` is
    what ensemble.json holds. Raises StoreError for a folder that is none, or damaged.
    """

    def __init__(
        self,
        path: str | Path,
        named: Named | None = None,
        threads: int | None = None,
        views: Views | None = None,
    ) -> None:
        self.path = Path(path)
        self.named, self.threads, self.views = named or Named(), threads, views
        if not is_one(self.path):
            raise StoreError(
                f"{path} is no ensemble: expected a folder with {RECORD}, as `nasgen ensemble RUN "
                "--out DIR` writes."
            )
        try:
            self.record: dict[str, Any] = parsed(self.path / RECORD, json.loads, "JSON")
            self._members = [_Member(row) for row in self.record["members"]]
            self._mixing = Mixing(self.record["mean_of"], float(self.record["temperature"]))
            problem = self._problem()
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            raise StoreError(
                f"{self.path / RECORD} is damaged or of another version: {problem[:200]}. Make it "
                "again with `nasgen ensemble`."
            )

    def _problem(self) -> str:
        """Return what is wrong with the record, "" for nothing."""
        if self.record["format"] != FORMAT:
            return f"expected format {FORMAT}, got {self.record['format']!r}"
        for name, kind in {"metric": str, "data": dict, "metrics": dict}.items():
            if not isinstance(self.record[name], kind):
                return f"expected {name} as {kind.__name__}, got {self.record[name]!r}"
        if not isinstance(on := self.record["selected_on"], dict | None):
            return f"expected selected_on as dict, got {on!r}"
        for member in self._members:
            for name in ("n_params", "flops", f"val_{self.record['metric']}"):
                found = member.trial.metrics.get(name)
                if not isinstance(found, int | float | None):
                    return f"expected {name} of a member as a number, got {found!r}"
        shares = [member.share for member in self._members]
        if not shares or not all(s > 0 for s in shares) or abs(sum(shares) - 1) > 1e-6:
            return f"expected shares above 0 that sum to 1, got {shares}"
        if self._mixing.mean_of not in ("probabilities", "logits"):
            return f"expected a mean of probabilities or logits, got {self._mixing.mean_of!r}"
        temperature = self._mixing.temperature
        if not (math.isfinite(temperature) and temperature > 0):
            return f"expected a temperature above 0, got {temperature}"
        return ""

    @cached_property
    def runs(self) -> dict[str, Run]:
        """The runs that members come from, as far as it takes to answer; by name."""
        found = {}
        for name, origin in {m.run: m.origin for m in self._members}.items():
            stored = Stored(self.path / "runs" / name, self.named, home=self.path)
            data = stored.tables.get("data", {})
            if self.named.data is None and "source" in data:
                # Arrays that the run was given stay in its own folder.
                data["source"] = arrays.located(data["source"], origin)
            stored.folder.artifacts = Artifacts(self.path / "artifacts")
            stored.folder.origin = origin
            run = Run(stored.folder, stored.config, stored.resolved, stored.check_ledger)
            run.threads = self.threads
            found[name] = run.answering(views=self.views)
        return found

    @cached_property
    def ensemble(self) -> TrainedEnsemble:
        """The ensemble, ready to answer."""
        members = [
            TrainedNetwork(
                m.run,
                m.trial,
                self.runs[m.run].inference,
                averaged=m.averaged,
                folder=self.path.resolve().name,
                known=m.known,
            )
            for m in self._members
        ]
        section = self.runs[self._members[0].run].config.ensemble
        return TrainedEnsemble(
            tuple(members), tuple(m.share for m in self._members), self._mixing, section,
            known=partial(exporting.about_folder, self),
        )  # fmt: skip

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class, in the order of `predict`; empty where the task has none."""
        return self.ensemble.classes

    def predict(self, rows: Any) -> NDArray[Any]:
        """Return the ensemble's answers for raw rows, as `ensemble.predict` does."""
        return self.ensemble.predict(rows)

    def predict_proba(self, rows: Any) -> NDArray[Any]:
        """Return the ensemble's predictions of raw rows, as `ensemble.predict_proba` does."""
        return self.ensemble.predict_proba(rows)

    def predict_names(self, rows: Any) -> list[str]:
        """Return the name of the class of each raw row."""
        return self.ensemble.predict_names(rows)

    def __repr__(self) -> str:
        return f"Ensembled({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """Return the drawings of its members with their shares, which notebooks show."""
        return self.ensemble._repr_html_()

    @property
    def first(self) -> Run:
        """The run of the heaviest member: its data, split and task are those of all."""
        return self.runs[self._members[0].run]

    def networks(self) -> list[TrainedNetwork]:
        """Return the members, as candidates of another ensemble."""
        return list(self.ensemble.members)


class _Member:
    """A row of "members"; raises what reading foreign JSON raises."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.run, self.share = str(row["run"]), float(row["weight"])
        self.origin = Path(str(row["from"]))
        if self.run != Path(self.run).name:
            raise ValueError(f"expected the name of a folder as 'run', got {self.run!r}")
        self.averaged = tuple(int(seq) for seq in row["averaged"])
        self.trial = Trial(
            seq=int(row["trial"]),
            state="COMPLETE",
            genotype={**row["genotype"]},
            key=str(row["key"]),
            identity="",
            operator=str(row.get("operator", "")),
            outline={**row["outline"]},
            tags=tuple(int(tag) for tag in row["tags"]),
            parents=tuple(int(seq) for seq in row["parents"]),
            metrics={**row["metrics"]},
            refs={str(name): str(ref) for name, ref in row["refs"].items()},
        )
        self.lineage = [{**ancestor} for ancestor in row.get("lineage", ())]

    def known(self) -> Mapping[str, Any]:
        """Return what the record says of it beside what is in `trial`."""
        return {"lineage": self.lineage}


def check_free(path: Path) -> None:
    """Raise StoreError where no folder can be written: said before what is to lie there is made."""
    try:
        taken = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}.") from None
    if taken:
        raise StoreError(f"the output folder {path} exists and is not empty; choose another one.")
    beside.not_here(path)
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise StoreError(f"cannot write {path}: {parent} is no folder that can be written.")


def write(
    path: str | Path,
    ensemble: TrainedEnsemble,
    runs: Sequence[Run],
    summary: Mapping[str, Any],
    page: str = "",
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write an ensemble into a new folder and return it; the folder appears whole or not at all.

    `runs` has the run of each member, with the settings by which it answers; `summary` is what
    `ensemble_summary` says, `page` its report, `more` is kept in ensemble.json. Raises StoreError
    where the folder is not empty or cannot be written.
    """
    path = Path(path)
    check_free(path)
    with beside.whole(path) as made:
        _fill(made, ensemble, runs, summary, more or {})
        if page:
            (made / "report.html").write_text(page, encoding="utf-8")
    return path


def _fill(
    folder: Path,
    ensemble: TrainedEnsemble,
    runs: Sequence[Run],
    summary: Mapping[str, Any],
    more: Mapping[str, Any],
) -> None:
    names = _names(runs)
    for run, name in names.items():
        (folder / "runs" / name).mkdir(parents=True, exist_ok=True)
        # The ledger is not needed, and its URL may hold a password.
        kept = run.config.store.model_copy(update={"ledger": None})
        text = to_toml(run.config.model_copy(update={"store": kept}))
        (folder / "runs" / name / "config.toml").write_text(text, encoding="utf-8")
        text = json.dumps(run.record, indent=2)
        (folder / "runs" / name / "run.json").write_text(text, encoding="utf-8")
    inference = ensemble.inference
    inference.transform.save(folder)
    (folder / "artifacts").mkdir()
    store = Artifacts(folder / "artifacts", "the runs are as they were")
    rows = []
    for member, share, run in zip(ensemble.members, ensemble.weights, runs, strict=True):
        own = member.trial
        held = {k: member.inference.artifacts.load(own.refs[k]) for k in KEPT if k in own.refs}
        refs = {name: store.save(tensors) for name, tensors in held.items()}
        if "predictions" not in refs:
            refs["predictions"] = store.save({"validation": member.validation})
        rows.append(
            {
                "weight": share,
                "run": names[run],
                "from": str(run.folder.origin.resolve()),
                "trial": own.seq,
                "averaged": list(member.averaged),
                "operator": own.operator,
                "genotype": dict(own.genotype),
                "key": own.key,
                "outline": dict(own.outline),
                "tags": list(own.tags),
                "parents": list(own.parents),
                "refs": refs,
                "metrics": dict(own.metrics),
                "latency_ms": round(member.latency_ms, 4),
                "lineage": list(member.known().get("lineage", ())),
            }
        )
    data, section = runs[0].record["data"], ensemble.section
    metrics = {k: v for k, v in summary.items() if isinstance(v, int | float)}
    record = {
        "format": FORMAT,
        "nasgen": runs[0].record["versions"].get("nasgen"),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": commands.line(),
        "task": data["task"],
        "metric": inference.task.metric,
        "classes": list(ensemble.classes),
        "mean_of": ensemble.mean_of,
        "temperature": ensemble.temperature,
        "views": [list(view) if isinstance(view, tuple) else view for view in inference.views],
        "method": section.name if section else None,
        "options": section.model_dump() if section else {},
        "selected_on": summary.get("selected_on"),
        "metrics": metrics,
        "data": {"digest": data["digest"], "source": data["source"]},
        "members": rows,
        **more,
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _names(runs: Sequence[Run]) -> dict[Run, str]:
    """Return a name for the copy of each run: its own, with a number where two have the same."""
    found: dict[Run, str] = {}
    for run in dict.fromkeys(runs):
        own = run.path.resolve()
        same = next((found[other] for other in found if other.path.resolve() == own), None)
        if same is not None:  # RUN:3 and RUN:5
            found[run] = same
            continue
        name, n = run.name, 1
        while name in found.values():
            n += 1
            name = f"{run.name}-{n}"
        found[run] = name
    return found
