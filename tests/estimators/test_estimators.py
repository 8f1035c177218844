"""Estimators beside what scikit-learn asks: frames, images, pickles, runs, what is refused."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import nasgen
from nasgen import NASClassifier, NASRegressor
from nasgen.errors import (
    ConfigError,
    DataError,
    EvaluationError,
    StoreError,
    UnknownNameError,
)
from nasgen.export import reading

QUICK: dict[str, Any] = {
    "trials": 2,
    "random_state": 0,
    "settings": {"training.epochs": 2, "finish": {"networks": 0}},
}
N = 120
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(N, 3))
TOWNS = np.array(["Kiel", "Bonn", "Ulm"])[np.arange(N) % 3]
LABELS = np.array(["low", "high"])[(NUMBERS[:, 0] + (TOWNS == "Ulm") > 0.3).astype(int)]


def _frame(rows: slice = slice(None)) -> pa.Table:
    """Two columns of numbers, one with a gap, one of texts, one of categories."""
    height = [None if i % 11 == 0 else v for i, v in enumerate(NUMBERS[:, 1].tolist())]
    return pa.table(
        {
            "width": NUMBERS[rows, 0],
            "height": pa.array(height[rows]),
            "town": pa.array(TOWNS[rows].tolist()),
            "shape": pa.array(["a", "b"] * (N // 2))[rows].dictionary_encode(),
        }
    )


@pytest.fixture(scope="module")
def of_frame() -> NASClassifier:
    return NASClassifier(**QUICK).fit(_frame(), LABELS)


@pytest.fixture(scope="module")
def of_images() -> NASClassifier:
    images, labels = _digits()
    return NASClassifier(**QUICK | {"trials": 1}).fit(images, labels)


def _digits() -> tuple[np.ndarray, np.ndarray]:
    found = load_digits()
    return found.images[:200].astype(np.uint8), found.target[:200]


def test_frames_have_numbers_texts_categories_and_gaps(of_frame: NASClassifier) -> None:
    assert list(of_frame.feature_names_in_) == ["width", "height", "town", "shape"]
    assert of_frame.n_features_in_ == 4
    assert list(of_frame.classes_) == ["high", "low"]
    feed = of_frame.network_.subject.transform.feed
    assert [c.kind for c in feed.columns] == ["number", "number", "text", "text"]
    assert [set(codes) for codes in feed.codes] == [{"Kiel", "Bonn", "Ulm"}, {"a", "b"}]
    assert feed.gaps.tolist() == [False, True]
    assert of_frame.score(_frame(), LABELS) > 0.7
    assert set(of_frame.predict(_frame(slice(5)))) <= {"high", "low"}


def test_new_categories_are_said_and_other_columns_refused(of_frame: NASClassifier) -> None:
    rows = _frame(slice(4))
    place = rows.column_names.index("town")
    strange = rows.set_column(place, "town", pa.array(["Oslo"] * 4))
    with pytest.warns(UserWarning, match="column 'town': 'Oslo' did not occur in training"):
        of_frame.predict_proba(strange)
    with pytest.raises(ValueError, match="feature names should match"):
        of_frame.predict(rows.drop_columns(["town"]))
    words = rows.set_column(0, "width", pa.array(["wide"] * 4))
    with pytest.raises(DataError, match="column 'width' is 'wide', expected a number"):
        of_frame.predict(words)


def test_images_are_read_in_both_shapes(of_images: NASClassifier) -> None:
    images, _ = _digits()
    assert of_images.network_.subject.transform.form == "image"
    assert of_images.n_features_in_ == 64
    p = of_images.predict_proba(images)
    assert p.shape == (200, 10)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(of_images.predict_proba(images[:, None]), p)
    run = of_images.run_
    np.testing.assert_allclose(run.ensemble.predict_proba(images[:, None]), p, atol=1e-5)
    with pytest.raises(DataError, match="8"):
        of_images.predict(np.zeros((2, 9, 9), np.uint8))
    with pytest.raises(ValueError, match="channels last"):
        clone(of_images).fit(np.zeros((20, 8, 8, 3)), np.arange(20) % 2)


def test_a_pickle_predicts_the_same_in_a_fresh_process_without_its_run(
    of_frame: NASClassifier, of_images: NASClassifier, tmp_path: Path
) -> None:
    images, _ = _digits()
    rows = [[1.5, None, "Ulm", "a"], [-2.0, 0.5, "Bonn", "b"]]
    joblib.dump((of_frame, of_images), tmp_path / "models.joblib")
    code = (
        "import joblib, numpy as np, sys\n"
        "table, image = joblib.load('models.joblib')\n"
        "table.run_path_ = image.run_path_ = 'gone'\n"
        f"rows = np.array({rows!r}, dtype=object)\n"
        "np.savez('answers.npz', table=table.predict_proba(rows),"
        " images=image.predict_proba(np.load('images.npy')))\n"
    )
    np.save(tmp_path / "images.npy", images[:20])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    answers = np.load(tmp_path / "answers.npz")
    with pytest.warns(UserWarning, match="feature names"):
        expected = of_frame.predict_proba(np.array(rows, dtype=object))
    np.testing.assert_array_equal(answers["table"], expected)
    np.testing.assert_array_equal(answers["images"], of_images.predict_proba(images[:20]))


def test_a_pickle_holds_no_networks_and_no_run(of_frame: NASClassifier) -> None:
    """Its classes are the estimator's alone: the rest are arrays and what JSON has."""
    found: set[str] = set()

    class Reader(pickle._Unpickler):  # type: ignore[name-defined,misc]
        def find_class(self, module: str, name: str) -> Any:
            found.add(f"{module}.{name}")
            return super().find_class(module, name)

    import io

    Reader(io.BytesIO(pickle.dumps(of_frame))).load()
    own = {name for name in found if name.startswith(("nasgen.", "torch."))}
    assert own == {
        "nasgen.estimators.classifier.NASClassifier",
        "nasgen.export.reading.unpacked",
    }


def test_the_run_is_there_as_long_as_its_estimator(tmp_path: Path) -> None:
    x, y = NUMBERS[:40], NUMBERS[:40, 0]
    model = NASRegressor(**QUICK | {"trials": 1}).fit(x, y)
    path = Path(model.run_path_)
    assert [t.state for t in model.run_.trials] == ["COMPLETE"]
    assert "chose the networks" in model.run_.record["data"]["notes"][0]
    twin = copy.deepcopy(model)
    expected = model.predict(x)
    del model
    assert not path.exists()
    np.testing.assert_array_equal(twin.predict(x), expected)
    with pytest.raises(AttributeError, match="is not there any more"):
        _ = twin.run_
    twin.set_params(keep_in=tmp_path / "runs").fit(x, y)
    twin.fit(x, y)
    assert len(list((tmp_path / "runs").iterdir())) == 2
    np.testing.assert_array_equal(twin.predict(x), expected)  # the seed repeats it
    assert nasgen.load(twin.run_path_).summary["best"]["trial"] == 0


def test_it_works_in_pipelines_grids_and_cross_validation() -> None:
    x, y = NUMBERS[:60], (NUMBERS[:60, 0] > 0).astype(int)
    one = NASClassifier(**QUICK | {"trials": 1})
    pipeline = make_pipeline(StandardScaler(), one)
    scores = cross_val_score(pipeline, x, y, cv=2)
    assert scores.shape == (2,)
    assert scores.mean() > 0.6
    grid = GridSearchCV(
        pipeline, {"nasclassifier__settings": [{"training.epochs": 1}, {"training.epochs": 3}]},
        cv=2,
    )  # fmt: skip
    grid.fit(x, y)
    used = grid.best_estimator_[-1].run_.config.training.epochs
    assert used == grid.best_params_["nasclassifier__settings"]["training.epochs"]


def test_fits_in_threads_are_those_of_one_after_another() -> None:
    x, y = NUMBERS[:90], (NUMBERS[:90, 0] > 0).astype(int)
    one, cv = NASClassifier(**QUICK | {"trials": 1}), 3

    def proba() -> Any:
        return cross_val_predict(one, x, y, cv=cv, method="predict_proba")

    alone = proba()
    with joblib.parallel_config("threading", n_jobs=cv):
        np.testing.assert_array_equal(proba(), alone)


def test_rows_of_pixels_become_images_in_a_pipeline() -> None:
    images, labels = _digits()
    shaped = FunctionTransformer(lambda x: x.reshape(-1, 8, 8))
    model = make_pipeline(shaped, NASClassifier(**QUICK | {"trials": 1}))
    model.fit(images.reshape(200, 64), labels)
    assert model[-1].network_.subject.transform.form == "image"


def test_the_best_network_alone_or_the_ensemble_answers(of_frame: NASClassifier) -> None:
    run = of_frame.run_
    assert len(of_frame.network_.modules) == len(run.summary["ensemble"]["members"])
    alone = clone(of_frame).set_params(ensemble=False).fit(_frame(), LABELS)
    assert len(alone.network_.modules) == 1
    assert alone.network_.record["members"][0]["trial"] == run.best.seq


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, {"bags": 20}),
        ({"ensemble.candidates": 9}, {"bags": 20, "candidates": 9}),
        ({"ensemble.bags": 1}, {"bags": 1}),
        ({"ensemble": {"name": "average"}}, {"name": "average"}),
    ],
)
def test_ensembles_are_bagged_where_few_rows_validate_and_settings_do_not_differ(
    settings: dict[str, Any], wanted: dict[str, Any]
) -> None:
    model = NASClassifier(settings=settings)
    assert model._tables(0, n_val=100)["ensemble"] == wanted
    more = model._tables(0, n_val=101).get("ensemble", {})  # enough to tell networks apart
    assert more == {k: v for k, v in wanted.items() if (k, v) != ("bags", 20)}


def test_a_class_of_one_row_is_trained_on_and_classes_keep_their_type() -> None:
    y = np.array([0.0, 1.0] * 15 + [7.0])
    model = NASClassifier(**QUICK | {"trials": 1}).fit(NUMBERS[:31], y)
    assert model.classes_.tolist() == [0.0, 1.0, 7.0]
    assert model.predict(NUMBERS[:3]).dtype == y.dtype
    assert model.run_.record["data"]["classes"] == ["0.0", "1.0", "7.0"]


def test_what_cannot_be_used_is_refused_in_a_sentence() -> None:
    x, y = NUMBERS[:30], np.arange(30) % 2
    model = NASClassifier(**QUICK)
    with pytest.raises(TypeError, match=r"got sample_weight as well, .*repeat rows"):
        model.fit(x, y, sample_weight=np.ones(30))
    with pytest.raises(TypeError, match="got groups as well"):
        model.fit(x, y, sample_weight=None, groups=y)
    for settings, words in (
        ({"data.validation": 0.2}, "expected none of .data., .*got data.validation"),
        ("lr=1", "settings: expected a mapping .* got str"),
        ({"training": {"epoch": 2}}, "'training.epoch' is not a setting; did you mean 'epochs'"),
    ):
        with pytest.raises(ConfigError, match=words):
            clone(model).set_params(settings=settings).fit(x, y)
    with pytest.raises(ConfigError, match="validation_fraction: expected a share between 0 and 1"):
        clone(model).set_params(validation_fraction=1.5).fit(x, y)
    with pytest.raises(ConfigError, match="ensemble: expected True or False, got 'x'"):
        clone(model).set_params(ensemble="x").fit(x, y)
    with pytest.raises(ConfigError, match="preset 'dmo' does not exist; did you mean 'demo'"):
        clone(model).set_params(preset="dmo").fit(x, y)
    with pytest.raises(DataError, match="each of the 4 classes has one"):
        clone(model).fit(x[:4], range(4))
    with pytest.raises(StoreError, match="keep_in: a run folder cannot be made in"):
        clone(model).set_params(keep_in=__file__).fit(x, y)
    with pytest.raises(StoreError, match="keep_in: a run folder cannot be made in 5"):
        clone(model).set_params(keep_in=5).fit(x, y)
    with pytest.raises(ConfigError, match="random_state: expected 0 or more, got -1"):
        clone(model).set_params(random_state=-1).fit(x, y)
    diverging = {"training": {"lr": 1e30, "epochs": 1}, "finish.networks": 0}
    with pytest.raises(EvaluationError, match=r"no network came of the trials \(2\): .*keep_in"):
        clone(model).set_params(settings=diverging).fit(x, y)
    with pytest.raises(NotFittedError):
        _ = model.run_
    times = pa.table({"t": pa.array(np.array(["2020-01-01"] * 30, dtype="datetime64[s]"))})
    with pytest.raises((TypeError, ValueError), match="column 't'"):
        model.fit(times, y)


def _changed(place: tuple[int, ...], value: float, shape: tuple[int, ...]) -> Any:
    x = np.random.default_rng(1).normal(size=shape)
    x[place] = value
    return x


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (pa.table({"a": [1.0]}), "expected at least 2 rows, .*got 1 sample"),
        (np.zeros((1, 4, 4)), "expected at least 2 rows, .*got 1 sample"),
        (np.zeros((30, 1, 1, 4, 4)), r"images \(N, H, W\) or .* got an array of 5 axes"),
        (_changed((2, 1, 1), np.nan, (30, 4, 4)), r"image 2 holds nan at \(1, 1\).*these pixels"),
        (_changed((2, 1, 1), np.inf, (30, 4, 4)), r"image 2 holds inf at \(1, 1\).*these pixels"),
        (_changed((3, 1), 1e308, (30, 3)), r"column '1' reach 1e\+308.*divide them"),
    ],
)
def test_rows_that_cannot_be_used_are_refused_in_nasgens_own_words(x: Any, words: str) -> None:
    for kind in (NASClassifier, NASRegressor):
        with pytest.raises(DataError, match=words):
            kind(**QUICK).fit(x, np.arange(len(x)) % 2)


@pytest.mark.parametrize(
    ("kind", "y", "words"),
    [
        (NASClassifier, ["a"] * 30, r"^NASClassifier.fit: at least 2 classes .* only 'a'"),
        (NASRegressor, np.ones(30), r"^NASRegressor.fit: y is 1 in every row"),
    ],
)
def test_targets_with_nothing_to_learn_are_called_y(kind: Any, y: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        kind(**QUICK).fit(NUMBERS[:30], y)


def test_values_without_a_deviation_are_refused() -> None:
    with pytest.raises(DataError, match=r"the targets reach 1e\+200.*divide them"):
        NASRegressor(**QUICK).fit(NUMBERS[:30], np.arange(30) % 2 * 1e200)


def test_a_plug_in_of_the_search_alone_may_be_gone_later(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "examples" / "double_channels.py").read_text()
    plugin = tmp_path / "double_channels.py"
    plugin.write_text(text)
    images, labels = _digits()
    quick = QUICK | {"trials": 1, "plugins": str(plugin)}
    model = NASClassifier(**quick).fit(images, labels)
    pickled = pickle.dumps(model)
    assert str(plugin).encode() in pickled
    plugin.unlink()
    again = pickle.loads(pickled)
    np.testing.assert_array_equal(again.predict_proba(images), model.predict_proba(images))
    state = model.network_.__reduce__()[1][0]
    state["record"]["members"][0]["steps"][0]["layer"] = "gone"
    with pytest.raises(UnknownNameError, match=r"what was pickled: .*'gone'.*double_channels.py"):
        reading.unpacked(state)


def test_importing_nasgen_loads_neither_scikit_learn_nor_torch() -> None:
    code = (
        "import nasgen, sys\n"
        "heavy = {'sklearn', 'torch', 'numpy', 'optuna'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "nasgen.NASClassifier()\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not done.returncode, done.stderr


def test_several_values_a_row_and_their_pickle() -> None:
    y = NUMBERS[:60] @ RNG.normal(size=(3, 2))
    model = NASRegressor(**QUICK | {"trials": 1}).fit(NUMBERS[:60], y)
    assert model.predict(NUMBERS[:5]).shape == (5, 2)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(NUMBERS), model.predict(NUMBERS))


def test_frames_of_pandas_are_read_as_their_types_say() -> None:
    pd = pytest.importorskip("pandas", reason="pandas reads frames of its own")
    frame = pd.DataFrame(
        {
            "size": pd.array([1, None, 3] * 10, dtype="Int64"),
            "code": pd.Categorical([10, 20, None] * 10),
            "name": pd.array(["x", "y", None] * 10, dtype="string"),
            "flag": [True, False, True] * 10,
        }
    )
    model = NASClassifier(**QUICK | {"trials": 1}).fit(frame, pd.Series(["u", "v", "v"] * 10))
    feed = model.network_.subject.transform.feed
    assert [c.kind for c in feed.columns] == ["number", "text", "text", "number"]
    assert {*feed.codes[0]} == {"10", "20", ""}
    assert {*feed.codes[1]} == {"x", "y", ""}
    assert model.predict(frame).shape == (30,)
