import numpy as np
import pytest

from nasgen.data.base import load, make
from nasgen.data.columns import Column, arrays, rows
from nasgen.errors import DataError


@pytest.fixture
def table(tmp_path):
    def write(text, query="?target=y", encoding="utf-8"):
        path = tmp_path / "toy.csv"
        path.write_bytes(text.encode(encoding))
        return f"csv:{path}{query}"

    return write


PIXELS = "a,y,b,c,d\n" + "".join(f"{i},{'xz'[i % 2]},{i + 1},{i + 2},255\n" for i in range(10))
FLOATS = "a,b,y\n" + "".join(f"{i / 2},{1e9 + i},{10 - i % 2}\n" for i in range(20))


def test_integers_of_a_byte_become_images_of_the_given_shape(table):
    data = load(table(PIXELS, "?target=y&shape=1x2x2"))
    assert data.x_train.dtype == np.uint8
    assert data.shape == (1, 2, 2)
    assert data.classes == ("x", "z")
    assert (len(data.x_train), len(data.x_test)) == (8, 2)
    first = data.x_train[:, 0, 0, 0]
    np.testing.assert_array_equal(data.x_train[:, 0, 0, 1], first + 1)
    assert (data.x_train[:, 0, 1, 1] == 255).all()
    assert (first % 2 == data.y_train).all()


def test_rows_are_called_by_their_first_line(table):
    long = 'a,b,y\n1,"p\nq",u\n\n2,"p\nq",v\n'  # lines 2, 5 and 7
    for row, said in (
        ('3,"p\nq"', "line 7 has 2 cells"),
        ('3,"p\nq",', "line 7, column 'y' is empty"),
        ('oops,"p\nq",u', "line 7, column 'a' is 'oops'"),
    ):
        rest = "".join(f'{i},"p\nq",v\n' for i in range(40))
        with pytest.raises(DataError, match=said):
            load(table(f"{long}{row}\n{rest}"))


def test_without_a_shape_the_columns_are_a_table(table):
    data = load(table(PIXELS))
    assert (data.form, data.task, data.shape) == ("table", "classification", (4,))
    assert [(c.name, c.kind) for c in data.columns] == [(name, "number") for name in "abcd"]


def test_other_numbers_are_standardised_by_the_training_rows(table):
    data = load(table(FLOATS, "?target=y&shape=1x1x2"))
    train, test = data.scaling(data.x_train), data.scaling(data.x_test)
    assert train.dtype == test.dtype == np.float32
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(train.std(axis=0), 1, atol=1e-6)
    # both columns count the rows, so standardised they agree, in the test rows too
    np.testing.assert_allclose(test[..., 0], test[..., 1], atol=1e-6)


def test_what_pandas_has_for_missing_cells_is_missing_and_columns_are_of_one_length():
    pd = pytest.importorskip("pandas", reason="pandas has values of its own for missing cells")
    frame = pd.DataFrame({"a": [1, None], "b": [None, "x"], "c": ["<NA>", "y"]}).convert_dtypes()
    told = [Column("a", "number"), Column("b", "text"), Column("c", "text")]
    found = rows("x", told, frame)
    np.testing.assert_array_equal(found["x"], [[1.0], [np.nan]])
    assert found["text"].tolist() == [["", ""], ["x", "y"]]
    with pytest.raises(DataError, match=r"a cell of each column for each row, got 'a' 2, 'b' 1"):
        rows("x", told, {"a": [1, 2], "b": ["x"], "c": ["y", "z"]})


def test_names_with_underscores_are_no_numbers(table):
    data = load(table("a,y\n" + "".join(f"10_{i % 3},{i % 2}\n" for i in range(12))))
    assert [(c.name, c.kind) for c in data.columns] == [("a", "text")]
    with pytest.raises(DataError, match="expected a number"):
        arrays("x", [Column("a", "number")], [["10_1"]])
    with pytest.raises(DataError, match="expected a number"):
        arrays("x", [Column("a", "number")], [[10**400]])


def test_labels_that_are_numbers_are_ordered_by_value(table):
    data = load(table(FLOATS))
    assert data.classes == ("9", "10")


def test_a_constant_column_becomes_zero(table):
    text = "a,b,y\n" + "".join(f"{i / 2},0.1,{i % 2}\n" for i in range(10))
    data = load(table(text, "?target=y&shape=1x1x2"))
    np.testing.assert_allclose(data.scaling(data.x_train)[..., 1], 0, atol=1e-6)


MIXED = "age,town,y\n" + "".join(
    f"{i if i % 3 else ''},{('Ulm', 'Kiel', 'NA')[i % 3]},{i / 2}\n" for i in range(20)
)


def test_texts_missing_cells_and_values_to_predict_are_a_table(table):
    data = load(table(MIXED))
    assert (data.form, data.task, data.classes) == ("table", "regression", ())
    assert [(c.name, c.kind) for c in data.columns] == [("age", "number"), ("town", "text")]
    rows = np.concatenate([data.inputs["x"], data.inputs_test["x"]])[:, 0]
    texts = np.concatenate([data.inputs["text"], data.inputs_test["text"]])[:, 0]
    targets = np.concatenate([data.targets, data.targets_test]) * 2
    for age, town, i in zip(rows, texts, targets.astype(int), strict=True):
        assert np.isnan(age) if i % 3 == 0 else age == i
        assert town == ("Ulm", "Kiel", "")[i % 3]


@pytest.mark.parametrize(
    ("task", "cells", "kind", "n_classes"),
    [
        ("auto", "12", "classification", 2),
        ("auto", ["1.0", "2.0"], "regression", 0),
        ("auto", ["yes", "no"], "classification", 2),
        ("regression", "12", "regression", 0),
        ("classification", ["1.5", "2.5"], "classification", 2),
    ],
)
def test_the_task_follows_the_target_unless_it_is_asked_for(table, task, cells, kind, n_classes):
    text = "a,y\n" + "".join(f"{i},{cells[i % 2]}\n" for i in range(10))
    data = load(table(text), task)
    assert (data.task, data.n_classes) == (kind, n_classes)


@pytest.mark.parametrize(
    ("text", "task", "words"),
    [
        (MIXED.replace("4,Kiel", "four,Kiel"), "auto", ["line 6, column 'age' is 'four'"]),
        (MIXED.replace("Ulm,0.0", "Ulm,nan"), "regression", ["line 2, column 'y' is 'nan'"]),
        (MIXED.replace("Kiel,0.5", "Kiel,NA"), "auto", ["line 3, column 'y' is 'NA'", "drop"]),
        (MIXED.replace("Kiel,0.5", "Kiel,"), "auto", ["line 3, column 'y' is empty"]),
        (
            MIXED.replace("Kiel,0.5", "Kiel,half"),
            "auto",
            ["line 3, column 'y' is 'half'", "data.task = classification"],
        ),
        ("a,y\n" + "1,0\n1,1\n" * 5 + "1,?\n", "auto", ["line 12, column 'y' is '?'"]),
        (
            "a,y\n" + "".join(f"1,{i}\n" for i in range(9)),
            "auto",
            ["at least 2 rows of each class", "data.task = regression"],
        ),
        ("a,y\n" + "1,u\n" + "1,v\n" * 9, "auto", ["at least 2 rows of each class: 'u' has 1"]),
        ("a,y\n" + "1,2.5\n" * 9, "auto", ["is 2.5 in every row", "constant target"]),
        ("a,y\n" + "1,x\n2,z\n" * 9, "regression", ["line 2, column 'y' is 'x'"]),
        ("a,y\n" + "inf,1.5\n2,2.5\n" * 9, "auto", ["row 0, column 'a' is inf"]),
    ],
)
def test_faults_of_a_table_are_named(table, text, task, words):
    with pytest.raises(DataError) as caught:
        load(table(text), task)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_marks_line_ends_quotes_and_blank_lines_do_not_matter(table, encoding, end):
    rows = [f'"{i}","kläs, ""{i % 2}""\nmore",{i}' for i in range(10)]
    text = end.join(['"a col",y,b', *rows[:5], "", *rows[5:]]) + end + end
    data = load(table(text, encoding=encoding))
    assert data.classes == ('kläs, "0"\nmore', 'kläs, "1"\nmore')
    assert data.x_train[:, 0].tolist() == data.x_train[:, 1].tolist()


def test_column_names_may_be_escaped(table):
    text = PIXELS.replace("a,y,b", "a,is it & how?,b")
    assert load(table(text, "?target=is it %26 how%3F")).n_classes == 2


HEAD = "a,y,b\n1,x,2\n"


@pytest.mark.parametrize(
    ("text", "query", "words"),
    [
        (PIXELS, "?trget=y", ["unknown option 'trget'", "did you mean 'target'?"]),
        (PIXELS, "?target=y&target=a", ["'target' is given twice"]),
        (PIXELS, "?target=", ["'target' has no value"]),
        (PIXELS, "", ["'target' is missing", "'a', 'y', 'b'"]),
        (PIXELS, "?target=why", ["no column 'why'", "Columns: 'a', 'y'"]),
        (FLOATS.replace("a,b,y\n", ""), "?target=y", ["no column 'y'", "add a header"]),
        (PIXELS.replace("a,y,b", "y,y,b"), "?target=y", ["2 columns are named 'y'"]),
        (PIXELS, "?target=y&shape=1x2x3", ["1x2x3 needs 6 columns", "has 4"]),
        (PIXELS, "?target=y&shape=2x2", ["expected CxHxW", "'2x2'"]),
        (PIXELS, "?target=y&shape=1x-2x-2", ["expected CxHxW"]),
        (HEAD + "3,z,high\n", "?target=y&shape=1x1x2", ["line 3, column 'b' is 'high'"]),
        (HEAD + "\n3,z,\n", "?target=y&shape=1x1x2", ["line 4, column 'b' is ''"]),
        (HEAD + "nan,z,4\n", "?target=y&shape=1x1x2", ["line 3, column 'a' is nan", "finite"]),
        (HEAD + "1,z,1e999\n", "?target=y&shape=1x1x2", ["line 3, column 'b' is inf"]),
        (HEAD + "1,,4\n", "?target=y", ["line 3, column 'y' is empty"]),
        (HEAD + "1,z\n", "?target=y", ["line 3 has 2 cells, the header 3"]),
        (HEAD + "1,z,2,3\n", "?target=y", ["line 3 has 4 cells, the header 3"]),
        ("a,y\n", "?target=y", ["is empty"]),
        ("", "?target=y", ["names the columns", "got nothing"]),
        ("a;y\n1;2\n", "?target=y", ["comma-separated", "'a;y'"]),
        (HEAD + "1,x,2\n", "?target=y", ["only 'x'"]),
        (HEAD + "1,x,2.5\n", "?target=y&shape=1x1x2", ["one class only: x"]),
        (HEAD + "1,z,2.5\n", "?target=y", ["a test set", "'x' has 1"]),
    ],
)
def test_faults_are_named_with_line_and_column(table, text, query, words):
    with pytest.raises(DataError) as caught:
        load(table(text, query))
    for word in words:
        assert word in str(caught.value)


def test_a_file_that_is_no_text_is_refused(table):
    with pytest.raises(DataError, match="is not UTF-8 text"):
        load(table("a,y\n1,ä\n", encoding="latin-1"))


def test_arrays_in_the_cells_and_complex_numbers_are_refused() -> None:
    x, y = np.arange(60.0).reshape(20, 3), np.arange(20.0)
    with pytest.raises(DataError, match=r"one value a row in column 'a', got arrays of"):
        make("data", {"a": x}, y)
    with pytest.raises(DataError, match="complex numbers"):
        make("data", x.astype(complex), y)
