"""Reber strings: the automaton, exact counts, honest parts, rules of neighbours, bad input."""

import itertools
import time

import numpy as np
import pytest

import nasgen
from nasgen import seeding
from nasgen.data import grammar, ngrams, reber
from nasgen.data.base import Dataset, load, make
from nasgen.errors import DataError


def texts(dataset: Dataset, part: str) -> list[str]:
    given = dataset.inputs if part == "train" else dataset.inputs_test
    rows = zip(given["x"], given["lengths"], strict=True)
    return ["".join(map(chr, x[:n])) for x, n in rows]


@pytest.fixture(scope="module")
def plain() -> Dataset:
    return load("reber:n=4000&seed=1")


@pytest.fixture(scope="module")
def embedded() -> Dataset:
    return load("reber-embedded:n=2000")


def test_the_automaton_takes_what_the_paper_takes_and_turns_down_what_it_turns_down() -> None:
    assert grammar.accepts("BPTVPXTTVVE")
    assert not grammar.accepts("BTTVPXTVPSE")
    assert grammar.accepts("BTBPTVPXTTVVETE", embedded=True)
    assert not grammar.accepts("BTBPTVPXTTVVEPE", embedded=True)
    assert not grammar.accepts("B")
    assert not grammar.accepts("BTE", embedded=True)
    with pytest.raises(DataError, match="an empty one"):
        grammar.accepts("")


@pytest.mark.parametrize("embedded", [False, True])
def test_counts_are_those_of_all_strings_that_the_automaton_takes(embedded: bool) -> None:
    first, last = ("BTB", "ETE") if embedded else ("B", "E")
    for n_inner in range(3, 6):
        every = [
            first + "".join(inner) + last
            for inner in itertools.product(grammar.SYMBOLS, repeat=n_inner)
        ]
        taken = int(grammar.accepted(grammar.Strings.of(every), embedded).sum())
        both = 2 if embedded else 1  # the other frame
        assert both * taken == grammar.n_strings(len(every[0]), embedded)


def test_all_strings_of_a_length_are_drawn_once_and_no_walk_is_needed() -> None:
    rng = seeding.generator(0, "test")
    n = sum(grammar.n_strings(length) for length in range(11, 16))
    found = grammar.drawn(n, 11, 15, rng).texts()
    assert len(set(found)) == n
    assert all(map(grammar.accepts, found))
    with pytest.raises(DataError, match="expected one string or more, got 0"):
        grammar.drawn(0, 11, 12, np.random.default_rng(0))
    with pytest.raises(DataError, match=f"at most {n} different strings"):
        grammar.drawn(n + 1, 11, 15, rng)


def test_lengths_are_those_of_natural_walks() -> None:
    """2,000,000 walks were seen to give 12,323 different strings of 11 symbols and more."""
    counts = grammar.lengths_of(12_323, 11, 53)
    met = [grammar.n_strings(n) * -np.expm1(-2e6 * 2.0 ** -(n - 2)) for n in counts]
    assert sum(met) == pytest.approx(12_323, rel=0.01)
    assert list(counts.values()) == pytest.approx(met, rel=0.05, abs=1.0)
    assert min(counts) == 11
    assert counts[11] == grammar.n_strings(11)
    rng, seen = np.random.default_rng(0), set()
    while len(seen) < 300:  # walk, keep what is new
        state, text = 1, "B"
        while state:
            symbol, state = grammar.WAYS[state][int(rng.integers(len(grammar.WAYS[state])))]
            text += symbol
        if 11 <= len(text) <= 53:
            seen.add(text)
    walked = np.array(sorted(map(len, seen)))
    drawn = np.repeat(*map(list, zip(*grammar.lengths_of(300, 11, 53).items(), strict=True)))
    assert walked.mean() == pytest.approx(drawn.mean(), abs=4 * drawn.std() / 300**0.5)


def test_parts_are_honest(plain: Dataset, embedded: Dataset) -> None:
    for dataset, is_embedded in ((plain, False), (embedded, True)):
        train, test = texts(dataset, "train"), texts(dataset, "test")
        assert len(train) == 3 * len(test)
        assert len(set(train) | set(test)) == len(train) + len(test)
        for part, labels in ((train, dataset.targets), (test, dataset.targets_test)):
            assert [grammar.accepts(t, is_embedded) for t in part] == labels.astype(bool).tolist()
            assert labels.mean() == 0.5
            assert all(11 <= len(t) <= 53 for t in part)
            assert all(t[0] == "B" and t[-1] == "E" for t in part)


def test_negatives_are_those_that_are_asked_for(plain: Dataset, embedded: Dataset) -> None:
    wrong = [t for t, y in zip(texts(plain, "train"), plain.targets, strict=True) if not y]
    foreign = [t for t in wrong if set(t) - set(grammar.SYMBOLS)]
    assert len(foreign) / len(wrong) == pytest.approx(0.55, abs=0.03)
    others = {"T": "P", "P": "T"}
    for t in (
        t for t, y in zip(texts(embedded, "test"), embedded.targets_test, strict=True) if not y
    ):
        assert grammar.accepts(t[:-2] + others[t[-2]] + "E", embedded=True)
    near = load("reber:n=400&negatives=near")
    for t in (t for t, y in zip(texts(near, "test"), near.targets_test, strict=True) if not y):
        assert any(
            grammar.accepts(t[:i] + symbol + t[i + 1 :])
            for i in range(1, len(t) - 1)
            for symbol in grammar.SYMBOLS
        )


def test_rules_of_neighbours_solve_plain_strings_and_guess_embedded_ones(
    plain: Dataset, embedded: Dataset
) -> None:
    found = ngrams.of_dataset(plain)
    assert found["bigram rule"] == pytest.approx(0.937, abs=0.012)
    assert found["trigram rule"] > 0.995
    near = ngrams.of_dataset(load("reber:n=8000&negatives=near"))
    assert near["bigram rule"] == pytest.approx(0.925, abs=0.012)
    for accuracy in ngrams.of_dataset(embedded).values():
        assert accuracy == pytest.approx(0.5, abs=0.03)
    assert "two symbols" in plain.notes[0]
    assert f"{100 * found['bigram rule']:.1f} %" in plain.notes[0]


def test_a_rule_learns_the_neighbours_and_the_ends() -> None:
    strings = {"x": np.array([[1, 2, 3], [1, 2, 0]]), "lengths": np.array([3, 2])}
    rule = ngrams.Rule(strings, 2)
    asked = {"x": np.array([[1, 2, 3], [2, 3, 0], [1, 3, 0], [9, 9, 9]])}
    asked["lengths"] = np.array([3, 2, 2, 3])
    assert rule.accepts(asked).tolist() == [True, False, False, False]
    assert ngrams.Rule(strings, 1).accepts(asked).tolist() == [True, True, True, False]
    empty = {"x": np.zeros((0, 3), np.int64), "lengths": np.zeros(0, np.int64)}
    with pytest.raises(DataError, match="got none"):
        ngrams.Rule(empty, 2)


def test_25_000_strings_take_two_seconds_and_seeds_differ() -> None:
    began = time.process_time()
    whole = load("reber")
    assert time.process_time() - began < 4.0  # two on an idle machine
    assert (len(whole.targets), len(whole.targets_test)) == (18_750, 6_250)
    assert load("reber:n=100").digest == load("reber:n=100").digest
    assert load("reber:n=100").digest != load("reber:n=100&seed=1").digest


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("reber:n=3", "n: expected an integer from 8 to 1000000, got '3'"),
        ("reber:n=many", "n: expected an integer"),
        ("reber:n=2000&n=4000", "option 'n' is given twice"),
        ("reber:seed=-1", "seed: expected an integer from 0"),
        ("reber:sede=1", "unknown option 'sede'; did you mean 'seed'"),
        ("reber:negatives=far", "negatives: expected reference or near, got 'far'"),
        ("reber-embedded:negatives=near", "unknown option 'negatives'"),
        ("reber:5000", "expected options such as"),
    ],
)
def test_wrong_options_are_named(source: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(source)


def test_texts_are_numbered_by_the_vocabulary() -> None:
    made = make(
        "letters", ["ab", "ba", "aab", "bb"] * 5, [0, 1, 0, 1] * 5, vocabulary=("a", "b", "c")
    )
    assert made.form == "sequence"
    assert made.vocabulary == ("a", "b", "c")
    assert set(map(len, texts(made, "train"))) <= {2, 3}
    assert made.x_train.max() == 1
    with pytest.raises(
        DataError, match=r"x\[1\]: expected texts of the vocabulary \(a, b\), got 'c'"
    ):
        make("letters", ["ab", "ac"], [0, 1], vocabulary=("a", "b"))
    with pytest.raises(DataError, match="the token 2, expected 0 to 1"):
        make(
            "letters",
            {"x": np.array([[0, 2], [1, 1]] * 5), "lengths": np.array([2] * 10)},
            [0, 1] * 5,
            vocabulary=("a", "b"),
        )
    with pytest.raises(DataError, match="a vocabulary is for sequences of tokens"):
        make("images", np.zeros((4, 8, 8)), [0, 1, 0, 1], vocabulary=("a",))
    with pytest.raises(DataError, match="length 0"):
        make("letters", ["ab", ""], [0, 1], vocabulary=("a", "b"))
    with pytest.raises(DataError, match="at least 2 classes"):
        make("letters", ["ab", "ba"] * 5, [1, 1] * 5, vocabulary=("a", "b"))


def test_a_feed_with_a_vocabulary_reads_texts_and_says_what_is_strange(plain: Dataset) -> None:
    from nasgen.evaluation.feeds.sequence import SequenceFeed

    feed = SequenceFeed.fit(plain, np.arange(200))
    assert feed.input_shape[0] == 128
    again = SequenceFeed.restore(*feed.state())
    assert again.vocabulary == plain.vocabulary
    assert (again.seen == feed.seen).all()
    stored = again.read(["BTXSE", "BPVVE"])
    assert stored["x"].tolist() == [list(b"BTXSE"), list(b"BPVVE")]
    assert feed.remarks(stored) == []
    assert "'?'" in feed.remarks(feed.read(["BT?SE"]))[0]
    for rows, message in ((["BTü"], "expected texts of the vocabulary"), ([""], "length 0")):
        with pytest.raises(DataError, match=message):
            feed.read(rows)
    with pytest.raises(DataError, match="the token 200, expected 0 to 127"):
        feed.read({"x": np.array([[200]]), "lengths": np.array([1])})


def test_a_vocabulary_is_kept_with_the_arrays_of_a_run(tmp_path: object) -> None:
    from pathlib import Path

    from nasgen.data import arrays

    made = nasgen.Dataset(**{**vars(load("reber:n=40")), "name": "kept"})
    folder = Path(str(tmp_path))
    arrays.save(made, folder)
    back = arrays.load(str(folder / f"{made.digest}.npz"))
    assert back.vocabulary == made.vocabulary
    assert back.digest == made.digest
    assert back.classes == reber.CLASSES
