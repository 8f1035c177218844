import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

import nasgen.data
from nasgen import registry
from nasgen.data import digits
from nasgen.data.base import Dataset, load, make
from nasgen.errors import DataError, UnknownNameError

X = np.arange(10 * 1 * 4 * 5).reshape(10, 1, 4, 5)
Y = np.arange(10) % 2


def test_make_gives_uint8_images_int64_labels_and_numbered_classes():
    data = make("toy", X, Y)
    assert data.x_train.dtype == np.uint8
    assert data.y_train.dtype == np.int64
    assert (data.shape, data.n_classes, data.classes) == ((1, 4, 5), 2, ("0", "1"))


def test_without_test_images_a_fifth_is_held_out_and_nothing_is_lost():
    data = make("toy", X, Y)
    assert len(data.x_test) == 2
    assert set(data.y_test.tolist()) == {0, 1}
    both = np.concatenate([data.x_train, data.x_test])
    assert sorted(both[:, 0, 0, 0].tolist()) == X[:, 0, 0, 0].tolist()
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert (x[:, 0, 0, 0] // 20 % 2 == y).all()  # images keep their own label


def test_given_test_images_are_used_as_they_are():
    data = make("toy", X, Y, X[:3], Y[:3])
    assert len(data.x_train) == 10
    np.testing.assert_array_equal(data.x_test, X[:3])


@pytest.mark.parametrize(
    ("x", "kind"),
    [
        (X, "uint8"),
        (X.astype(np.int16), "uint8"),
        (X + 100, "float32"),
        (X - 1, "float32"),
        (X / 7, "float32"),
        (X.astype(np.float16), "float32"),
        (X.astype(">f8"), "float32"),
    ],
)
def test_integers_of_a_byte_become_uint8_and_all_else_float32(x, kind):
    data = make("toy", x, Y, x[:2], Y[:2])
    assert data.x_train.dtype == data.x_test.dtype == kind
    np.testing.assert_allclose(data.x_train, x, rtol=1e-6)


def test_one_type_is_chosen_for_train_and_test_together():
    data = make("toy", X, Y, X[:2] + 1000, Y[:2])
    assert data.x_train.dtype == data.x_test.dtype == np.float32


def test_images_without_channels_get_one_and_column_labels_are_flattened():
    assert make("toy", X[:, 0], Y[:, None]).shape == (1, 4, 5)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0, 1, 2], ("0", "1", "2")),
        ([3, 12, -7], ("-7", "3", "12")),
        ([10**12, 5, 9], ("5", "9", str(10**12))),
        (["owl", "cat", "10"], ("10", "cat", "owl")),
        ([b"owl", b"cat", "é".encode()], ("cat", "owl", "é")),
        ([False, True], ("False", "True")),
    ],
)
@pytest.mark.parametrize("has_test", [False, True])
def test_labels_of_every_type_are_numbered_by_their_order_and_keep_their_names(
    values, names, has_test
):
    rows = np.arange(30) % len(values)
    y, x = np.array(values)[rows], np.repeat(np.arange(30), 4).reshape(30, 2, 2)
    more = (x[::-1], y[::-1]) if has_test else (None, None)
    data = make("toy", x, y, *more)
    assert data.classes == names
    own = [v.decode() if isinstance(v, bytes) else str(v) for v in values]
    for part, labels in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        read = [data.classes[label] for label in labels]
        assert read == [own[int(row) % len(values)] for row in part[:, 0, 0, 0]]


NAN, HUGE = X / 1.0, X / 1.0
NAN[3, 0, 2, 4] = np.nan
HUGE[0, 0, 0, 1] = 1e300
RAGGED = np.array([np.zeros(2), np.zeros(3)], dtype=object)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((NAN, Y), ["x image 3, channel 0, row 2, column 4 is nan", "1 such"]),
        ((HUGE, Y), ["image 0", "column 1 is inf", "float32"]),
        ((X[:9], Y), ["x holds 9 images, y 10 labels"]),
        ((X[:0], Y[:0], X, Y), ["x_train", "empty"]),
        ((X, Y, X[:0], Y[:0]), ["x_test is empty"]),
        ((X[:0], Y[:0]), ["empty"]),
        ((X[:, :, :, :0], Y), ["(10, 1, 4, 0)", "at least 1"]),
        ((X, Y * 0), ["2 classes", "only '0'"]),
        ((X, Y, X, Y, ["a", "b", "c"]), ["no training image in y_train for class 'c' (label 2)"]),
        ((X, Y, X, Y + 1), ["y_test[1] is '2', which no training row is", "0, 1"]),
        ((X, Y, X, Y + 1, ["a", "b"]), ["y_test[1] is 2", "0..1"]),
        ((X, Y - 1, X, Y, ["a", "b"]), ["y_train[0] is -1"]),
        ((X, Y, X, Y, ["a"]), ["y_train[1] is 1", "0..0"]),
        ((X, Y * 10**9, X, Y, ["a", "b"]), ["y_train[1] is 1000000000", "0..1"]),
        ((X, np.eye(2)[Y]), ["one-hot", "argmax"]),
        ((X, Y * np.nan), ["y[0] is nan", "10 such rows"]),
        ((X, Y * 0.0), ["y is 0 in every row", "constant target"]),
        ((X, Y.astype(np.uint64) + np.uint64(2**63)), ["number the classes from 0"]),
        ((X, Y, X, Y, ["a", "a"]), ["'a' is given twice"]),
        ((X, Y, X), ["x_test came without y_test"]),
        ((X, Y, None, Y), ["y_test came without x_test"]),
        ((X > 3, Y), ["bool", "x.astype('uint8') * 255"]),
        ((X.reshape(10, 2, 2, 1, 5), Y), ["(10, 2, 2, 1, 5)", "(N, C, H, W)"]),
        ((X, Y, X[:, :, :3], Y), ["(1, 4, 5) uint8", "(1, 3, 5) uint8"]),
        ((X, Y, X / 1.0, Y), ["x_train int64, x_test float64"]),
        ((RAGGED, Y[:2]), ["x holds Python objects"]),
        (([[[1, 2], [3]], [[1], [2]]], Y[:2]), ["x is no regular array"]),
        ((X[:3], [0, 0, 1]), ["a test set", "'1' has 1"]),
    ],
)
def test_each_fault_is_named_with_its_place_and_its_remedy(args, words):
    with pytest.raises(DataError) as caught:
        make("toy", *args)
    message = str(caught.value)
    assert message.startswith("toy: ")
    for word in words:
        assert word in message


def test_the_constructor_refuses_what_make_would_have_converted():
    with pytest.raises(DataError, match="build it with `make`"):
        Dataset("toy", X, Y, X, Y, ("a", "b"))


def test_the_digest_follows_contents_labels_and_classes_but_not_the_name():
    x, y = X.astype(np.uint8), Y.astype(np.int64)
    base = make("toy", x, y, x, y)
    assert make("other", x.copy(), y, x, y).digest == base.digest
    pixel, label = x.copy(), y.copy()
    pixel[9, 0, 3, 4] ^= 1
    label[:2] = label[1::-1]
    others = [
        make("toy", pixel, y, x, y),
        make("toy", x, y, pixel, y),
        make("toy", x, label, x, y),
        make("toy", x, y, x, label),
        make("toy", x, y, x, y, ["a", "b"]),
        make("toy", x.astype(np.float32), y, x.astype(np.float32), y),
        make("toy", x.reshape(10, 1, 5, 4), y, x.reshape(10, 1, 5, 4), y),
        make("toy", x[:9], y[:9], x, y),
    ]
    assert len({base.digest, *(d.digest for d in others)}) == 1 + len(others)
    assert len(base.digest) == 32


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.data())
def test_make_is_valid_or_a_data_error_for_any_labels(labels, draw):
    x = np.zeros((len(labels), 2, 2), dtype=np.uint8)
    counts = np.unique(labels, return_counts=True)[1]
    possible = len(counts) > 1 and counts.min() >= 2
    if not possible:
        with pytest.raises(DataError):
            make("toy", x, labels)
        return
    data = make("toy", x, labels)
    named = [{data.classes[i] for i in y} for y in (data.y_test, data.y_train)]
    assert named == [{str(label) for label in labels}] * 2


def test_digits_are_scaled_to_a_byte_and_split_in_a_fixed_way():
    data = load("digits")
    assert data.x_train.shape == (1437, 1, 8, 8)
    assert data.x_test.shape == (360, 1, 8, 8)
    assert (data.x_train.min(), data.x_train.max()) == (0, 255)
    assert set(np.unique(data.x_train)) <= {round(v * 255 / 16) for v in range(17)}
    in_test, in_train = np.bincount(data.y_test), np.bincount(data.y_train)
    assert abs(in_test - 0.2 * (in_test + in_train)).max() < 1
    assert load("digits").digest == data.digest


@pytest.mark.parametrize("file", [digits.FILE, "elsewhere.csv.gz"])
def test_digits_are_those_of_scikit_learn_wherever_it_keeps_them(file, monkeypatch):
    monkeypatch.setattr(digits, "FILE", file)
    expected = load_digits(return_X_y=True)
    for found, wanted in zip(digits.rows(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_digits_take_nothing_after_the_colon():
    with pytest.raises(DataError, match="write 'digits'"):
        load("digits:here")


def test_an_unknown_scheme_names_the_nearest_and_lists_all():
    with pytest.raises(UnknownNameError) as caught:
        load("minst:somewhere")
    assert "did you mean 'mnist'?" in str(caught.value)
    assert "digits, mnist, cifar10, folder, npz, csv" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("data.npz", "npz"),
        ("data.csv", "csv"),
        ("a/train-images-idx3-ubyte", "mnist"),
        ("b/data_batch_1.bin", "cifar10"),
        ("c/cat/1.png", "folder"),
    ],
)
def test_a_path_without_a_scheme_is_told_which_scheme_fits(tmp_path, name, scheme):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    path = tmp_path / Path(name).parts[0]
    with pytest.raises(UnknownNameError, match=f"write '{scheme}:{path}'"):
        load(str(path))


@pytest.mark.parametrize("source", ["", "x" * 5000, "\0", "~nobody-here/x", "a:b:c"])
def test_any_text_is_answered_with_an_unknown_scheme(source):
    with pytest.raises(UnknownNameError, match="Schemes: digits"):
        load(source)


def test_a_source_that_is_no_text_is_refused():
    with pytest.raises(DataError, match="got PosixPath"):
        load(Path("/"))


@pytest.fixture
def plug_in():
    def add(function):
        registry.dataset("plugged")(function)

    yield add
    registry.unregister("datasets", "plugged")


def test_a_plug_in_gives_two_arrays_four_arrays_or_a_data_set(plug_in):
    answers = {"2": (X, Y), "4": (X, Y, X[:4], Y[:4]), "set": make("mine", X, Y)}
    plug_in(lambda rest: answers[rest])
    assert len(load("plugged:2").x_test) == 2
    assert len(load("plugged:4").x_test) == 4
    assert load("plugged:set") is answers["set"]


def test_a_plug_in_that_fails_or_answers_nonsense_is_named(plug_in):
    answers = {"3": (X, Y, X), "none": None, "last": (np.zeros((4, 8, 8, 3)), [0, 1, 0, 1])}
    plug_in(lambda rest: answers[rest])
    with pytest.raises(DataError, match=r"'plugged' .* failed on 'x': KeyError: 'x'"):
        load("plugged:x")
    with pytest.raises(DataError, match="got tuple of 3"):
        load("plugged:3")
    with pytest.raises(DataError, match="got NoneType"):
        load("plugged:none")
    with pytest.raises(DataError, match=r"transpose\(0, 3, 1, 2\)"):
        load("plugged:last")


def test_every_built_in_resolves_and_lies_in_this_room():
    for entry in nasgen.data.ENTRIES:
        assert callable(registry.resolve("datasets", entry.name))
        assert entry.target.startswith("nasgen.data.")
        assert entry.summary
    files = {p.stem for p in Path(nasgen.data.__file__).parent.glob("*.py")}
    members = {entry.target.split(":")[0].rsplit(".", 1)[1] for entry in nasgen.data.ENTRIES}
    assert files - members == {
        "__init__",
        "base",
        "checks",
        "columns",
        "files",
        "forms",
        "grammar",
        "mirrored",
        "ngrams",
        "pictures",
        "scaling",
        "split",
        "targets",
        "tokens",
    }


def test_listing_the_schemes_loads_neither_numpy_nor_torch_and_reading_no_torch():
    code = (
        "import sys, nasgen.data; assert 'numpy' not in sys.modules\n"
        "import nasgen.data.base as b; assert 'sklearn' not in sys.modules\n"
        "b.load('digits'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_reader_can_unpickle():
    for path in Path(nasgen.data.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [a.name for a in node.names] + [getattr(node, "module", "") or ""]
                assert not {"pickle", "joblib", "marshal"} & set(names), path
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert ast.literal_eval(node.value) is False, path
