"""What both estimators are: a search in `fit`, and what it found as an object of plain arrays."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
import weakref
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from nasgen import papers
from nasgen.data import split
from nasgen.data.base import Dataset
from nasgen.data.columns import Column
from nasgen.data.targets import check_training
from nasgen.errors import ConfigError, DataError, EvaluationError, StoreError, typed
from nasgen.estimators import rows
from nasgen.evaluation.feeds.base import Stored
from nasgen.runs import session
from nasgen.runs.results import Run
from nasgen.settings.config import merge, read_toml
from nasgen.settings.text import readable

if TYPE_CHECKING:
    from nasgen.export.reading import Exported

Array = NDArray[Any]
NO_TEST: Final = (
    "The estimator sets no test rows aside. Results on validation rows, which chose the networks, "
    "are expected to be too good; cross-validate the estimator instead."
)
MOST_SEEDS: Final = 2**31 - 1
LEAST_ROWS: Final = 2
FEW_ROWS: Final = 100  # that validate: ensembles are bagged
BAGGED, BAGS = "greedy", 20  # selections, each from half of the networks, that are averaged
SHARE: Final = 0.1  # of the rows that validate, in MLPClassifier too


class NASEstimator(BaseEstimator):
    """Searches for networks in `fit`; see `NASClassifier` for the parameters."""

    _task: ClassVar[str]

    def __init__(
        self,
        budget: str | float | None = None,
        trials: int | None = None,
        *,
        preset: str | None = None,
        algorithm: str | None = None,
        ensemble: bool = True,
        validation_fraction: float = SHARE,
        plugins: Sequence[Any] = (),
        settings: Mapping[str, Any] | None = None,
        workers: int | None = 1,
        random_state: Any = None,
        keep_in: str | Path | None = None,
        verbose: bool = False,
    ) -> None:
        self.budget = budget
        self.trials = trials
        self.preset = preset
        self.algorithm = algorithm
        self.ensemble = ensemble
        self.validation_fraction = validation_fraction
        self.plugins = plugins
        self.settings = settings
        self.workers = workers
        self.random_state = random_state
        self.keep_in = keep_in
        self.verbose = verbose

    @abstractmethod
    def _targets(self, y: Any) -> tuple[Array, tuple[str, ...]]:
        """Return targets as a data set keeps them, and the names of the classes; learns them."""

    def fit(self, X: Any, y: Any, **unknown: Any) -> Self:  # noqa: N803 - scikit-learn's name
        """Search for networks on rows X and their targets y; return the estimator.

        X is an array (N, columns), a frame (pandas, polars, pyarrow) with columns of numbers, texts
        or categories, or an array of images (N, H, W) or (N, C, H, W). Missing cells of a table are
        NaN or None. Raises ValueError or TypeError for what cannot be used, ConfigError (a
        ValueError too) for parameters that are wrong; sample weights are refused.
        """
        unknown = {name: value for name, value in unknown.items() if value is not None}
        if unknown:
            raise TypeError(
                f"{type(self).__name__}.fit: expected X and y, got {', '.join(sorted(unknown))} as "
                "well, which nasgen does not use. In the place of sample_weight, repeat rows."
            )
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        inputs, columns = self._learnt(X)
        targets, classes = self._targets(y)
        check_consistent_length(inputs["x"], targets)
        where = f"{type(self).__name__}.fit"
        if len(targets) < LEAST_ROWS:
            raise DataError(
                f"{rows.WHERE}: expected at least {LEAST_ROWS} rows, one to train on and one to "
                f"validate, got {len(targets)} sample."
            )
        check_training(where, self._task, "y", targets, classes, "row")
        _ = self._wants_ensemble  # before anything is trained
        seed = self._seed()
        held_out = self._held_out(targets, classes, seed)
        parts = {name: array[held_out] for name, array in inputs.items()}
        form = "table" if columns else "image"
        data = Dataset(
            where, inputs, targets, parts, targets[held_out], classes, form, self._task, columns,
            None, held_out, (NO_TEST,), has_test=False,
        )  # fmt: skip
        self._keep(self._searched(data, seed))
        return self

    def _predictions(self, X: Any) -> Array:  # noqa: N803
        """Return the task's predictions of rows as `fit` takes them, float64 (n, ...)."""
        check_is_fitted(self)
        transform = self.network_.subject.transform
        if transform.form == "table":
            feed: Any = transform.feed
            inputs, _ = rows.table(self, X, feed.columns)
            found = self.network_.predict_proba(Stored(inputs))
        else:
            found = self.network_.predict_proba(rows.images(X, self))
        return found.astype(np.float64)

    @property
    def run_(self) -> Run:
        """The run of the last `fit`, with its trials, report and ensemble.

        Its folder goes with the estimator, unless `keep_in` says where runs stay; a pickle has its
        path alone. AttributeError where it is not there any more.
        """
        check_is_fitted(self)
        if not Path(self.run_path_).is_dir():
            raise AttributeError(
                f"the run folder {self.run_path_} is not there any more; run folders stay where "
                "`keep_in` names a folder for them."
            )
        found: Run = session.load(self.run_path_, self._plugins)
        return found

    # ---- what fit is made of ---------------------------------------------------------------------

    def _learnt(self, X: Any) -> tuple[dict[str, Array], tuple[Column, ...]]:  # noqa: N803
        """Return the inputs of the rows and, of a table, its columns; learns their names."""
        if (n := rows.n_axes(X)) > 4:
            raise DataError(
                f"{rows.WHERE}: expected a table (N, columns) or images (N, H, W) or (N, C, H, W), "
                f"got an array of {n} axes; reshape it."
            )
        if n > 2:
            images = rows.images(X, self)
            self.n_features_in_ = int(np.prod(images.shape[1:]))
            self.__dict__.pop("feature_names_in_", None)  # of a fit before
            return {"x": rows.as_pixels(images)}, ()
        return rows.table(self, X, None)

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            if self.random_state < 0:
                raise ConfigError(f"random_state: expected 0 or more, got {self.random_state}.")
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(MOST_SEEDS))

    def _held_out(self, targets: Array, classes: tuple[str, ...], seed: int) -> NDArray[np.int64]:
        """Return the rows that validate, ascending; each class keeps a row to train on.

        A class of one row is trained on and not validated.
        """
        given: Any = self.validation_fraction
        n, purpose = len(targets), "validation_fraction"
        if not isinstance(given, Real) or not 0 < float(given) < 1:
            raise ConfigError(f"{purpose}: expected a share between 0 and 1, got {given!r}.")
        share = float(given)
        if not classes:
            return split.drawn(n, share, seed, "validation", purpose)[1]
        counts = np.bincount(targets, minlength=len(classes))
        several = np.flatnonzero(counts > 1)
        if not len(several):
            raise DataError(
                f"y: expected two rows or more of at least one class, as a row must validate; each "
                f"of the {len(classes)} classes has one."
            )
        eligible = np.flatnonzero(counts[targets] > 1)
        labels = np.searchsorted(several, targets[eligible])
        names = [classes[i] for i in several]
        drawn = split.stratified(labels, share, seed, "validation", purpose, names, "row")[1]
        return eligible[drawn]

    def _tables(self, seed: int, n_val: int) -> dict[str, Any]:
        """Return the tables of the config: of the preset, the parameters, then of `settings`.

        `n_val` rows validate. Where they are few, one selection of many networks would choose what
        suits these rows alone, so ensembles are bagged.
        """
        tables: dict[str, Any] = {}
        if self.preset is not None:
            tables = read_toml(papers.preset(self.preset))
            tables.pop("data", None)  # of its example
        own: dict[str, Any] = {"seed": seed}
        if self.budget is not None or self.trials is not None:
            limits = {"time": self.budget, "trials": self.trials}
            own["budget"] = {name: value for name, value in limits.items() if value is not None}
            tables.pop("budget", None)
        if self.algorithm is not None:
            own["algorithm"] = {"name": self.algorithm}
        own["execution"] = {"executor": "serial"} if self.workers == 1 else (
            {"executor": "processes"} | ({} if self.workers is None else {"workers": self.workers})
        )  # fmt: skip
        found = merge(merge(tables, own), nested(self.settings))
        chosen = found.get("ensemble", {})
        is_greedy = isinstance(chosen, Mapping) and chosen.get("name", BAGGED) == BAGGED
        if is_greedy and n_val <= FEW_ROWS:
            found["ensemble"] = {"bags": BAGS, **chosen}
        return found

    @property
    def _wants_ensemble(self) -> bool:
        if not isinstance(self.ensemble, bool | np.bool_):
            raise ConfigError(f"ensemble: expected True or False, got {self.ensemble!r}.")
        return bool(self.ensemble)

    @property
    def _plugins(self) -> tuple[Any, ...]:
        """What `plugins` names, one plug-in or several."""
        given = self.plugins or ()
        return tuple(given) if isinstance(given, list | tuple | set) else (given,)

    def _searched(self, data: Dataset, seed: int) -> Run:
        """Return the finished run; its folder is a new one."""
        assert data.validation is not None
        tables = self._tables(seed, len(data.validation))
        where = type(self).__name__
        path, place = self._new_folder(f"{where}-seed{seed}-")
        self.__dict__.pop("_folder", _nothing)()  # of a fit before
        if place is not None:
            self._folder = weakref.finalize(self, _remove, str(place), os.getpid())
        view = None
        if self.verbose:
            from nasgen.runs.progress import on_stderr

            view = on_stderr()
        with view or nullcontext():
            found = session.run(
                tables,
                out=path,
                listeners=(_warn,) if view is None else (view,),
                where=where,
                plugins=self._plugins,
                data=data,
            )
        self.run_path_ = str(path)
        return found

    def _new_folder(self, prefix: str) -> tuple[Path, Path | None]:
        """Return where the run goes, and what is to be deleted with the estimator, if anything."""
        try:
            if self.keep_in is None:
                place = Path(tempfile.mkdtemp(prefix="nasgen-"))
                return place / "run", place
            Path(self.keep_in).mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=prefix, dir=self.keep_in)), None
        except (OSError, TypeError) as error:  # TypeError: 5 is no path
            reason = getattr(error, "strerror", None) or error
            raise StoreError(
                f"keep_in: a run folder cannot be made in {self.keep_in or tempfile.gettempdir()} "
                f"({reason}); name another folder."
            ) from None

    def _keep(self, run: Run) -> None:
        """Keep what the run found, without the run."""
        if run.best is None:
            failures = [t.failure for t in run.trials if t.failure]
            why = (run.nearest or {}).get("message") or (failures or ["no trial was made"])[0]
            look = "name a folder in keep_in, to look at them."
            if self.keep_in is not None:
                look = f"{typed('show', self.run_path_, '--history')} lists them."
            raise EvaluationError(
                f"{type(self).__name__}.fit: no network came of the trials ({len(run.trials)}): "
                f"{why.rstrip('.')}; {look}"
            )
        has_ensemble = self._wants_ensemble and run.summary["ensemble"]
        answering: Any = run.ensemble if has_ensemble else run.network()
        found: Exported = answering.held(run.resolved.scope)
        is_table = found.subject.transform.form == "table"
        self.network_ = found.exactly() if is_table else found

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_folder", None)  # a copy does not remove the run folder of the original
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.three_d_array = True
        tags.non_deterministic = self.budget is not None
        return tags


def nested(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return settings as tables; a key may have dots: {"training.epochs": 3}.

    ConfigError for settings of the data, which are the arguments of `fit`.
    """
    found: dict[str, Any] = {}
    if settings is None:
        return found
    if not isinstance(settings, Mapping):
        raise ConfigError(
            "settings: expected a mapping such as {'training.epochs': 3}, got "
            f"{type(settings).__name__}."
        )
    for key, value in settings.items():
        names = str(key).split(".")
        for name in reversed(names):
            value = {name: value}
        found = merge(found, value)
    if "data" in found:
        raise ConfigError(
            "settings: expected none of [data], which are what fit() is given and "
            f"validation_fraction, got {', '.join(f'data.{k}' for k in found['data'])}."
        )
    return found


def names_of(classes: Array) -> tuple[str, ...]:
    """Return a name for each class; different classes have different ones."""
    found = [readable(str(c)) for c in classes.tolist()]
    if len(set(found)) < len(found):
        found = [f"{i}: {name}" for i, name in enumerate(found)]
    return tuple(found)


def _warn(event: str, data: Mapping[str, Any]) -> None:
    """Say what the command line says as a caution, but for what the estimator decides itself."""
    if event == "caution" and not data["text"].startswith((NO_TEST, "data.task: ")):
        warnings.warn(data["text"], stacklevel=2)


def _remove(place: str, owner: int) -> None:
    """Delete a run folder, but not from a process that was forked."""
    if os.getpid() == owner:
        shutil.rmtree(place, ignore_errors=True)


def _nothing() -> None:
    """There was no fit before."""
