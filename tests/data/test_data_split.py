import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen.data.base import make
from nasgen.data.split import split, split_digest
from nasgen.errors import DataError


def dataset(counts, seed=0):
    y = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(seed).shuffle(y)
    x = np.zeros((len(y), 1, 1), dtype=np.uint8)
    return make("toy", x, y, x, y)


COUNTS = st.lists(st.integers(2, 40), min_size=2, max_size=6)
SHARES = st.floats(0.01, 0.99)


@settings(deadline=None, max_examples=60)
@given(COUNTS, SHARES, st.integers(0, 9))
def test_train_and_validation_are_disjoint_complete_and_stratified(counts, share, seed):
    data = dataset(counts)
    parts = split(data, share, seed)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([parts.train, parts.validation])), np.arange(sum(counts))
    )
    assert (np.diff(parts.train) > 0).all()
    assert (np.diff(parts.validation) > 0).all()
    held_out = np.bincount(data.y_train[parts.validation], minlength=len(counts))
    for n, total in zip(held_out, counts, strict=True):
        assert 1 <= n <= total - 1
        assert abs(n - share * total) < 1 or n in (1, total - 1)


@settings(deadline=None, max_examples=60)
@given(COUNTS, SHARES, SHARES, SHARES, st.integers(0, 9))
def test_fractions_are_nested_and_leave_the_validation_alone(counts, share, one, two, seed):
    data = dataset(counts)
    whole = split(data, share, seed)
    small, large = (split(data, share, seed, f) for f in sorted((one, two)))
    assert set(small.train) <= set(large.train) <= set(whole.train)
    np.testing.assert_array_equal(small.validation, whole.validation)
    kept = np.bincount(data.y_train[small.train], minlength=len(counts))
    available = np.bincount(data.y_train[whole.train], minlength=len(counts))
    for n, total in zip(kept, available, strict=True):
        assert n >= 1
        assert abs(n - min(one, two) * total) <= 0.5 or n == 1


@pytest.mark.parametrize(("share", "n"), [(0.1, 3), (0.2, 6), (0.5, 15), (0.7, 21)])
def test_the_validation_has_the_asked_size_without_rounding_drift(share, n):
    assert len(split(dataset([11, 9, 10]), share, 1).validation) == n


@pytest.mark.parametrize(
    ("n_rows", "n"), [(30, 3), (1797, 180), (25_000, 2500), (25_010, 2500), (60_000, 2500)]
)
def test_by_default_a_tenth_validates_and_of_many_rows_enough(n_rows, n):
    rest = n_rows - 2 * (n_rows // 3)
    parts = split(dataset([n_rows // 3, n_rows // 3, rest]), None, 0)
    assert (len(parts.validation), len(parts.train)) == (n, n_rows - n)


def test_the_seed_decides_and_the_same_seed_repeats():
    data = dataset([30, 30])
    first, again, other = (split(data, 0.3, s, 0.5) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.train, again.train)
    assert first.validation.tolist() != other.validation.tolist()
    assert split_digest(data, first) == split_digest(data, again) != split_digest(data, other)


def test_the_digest_tells_data_and_fraction_apart():
    data = dataset([30, 30])
    digests = {
        split_digest(data, split(data, 0.3, 1)),
        split_digest(data, split(data, 0.3, 1, 0.5)),
        split_digest(data, split(data, 0.2, 1)),
        split_digest(dataset([30, 30], seed=5), split(data, 0.3, 1)),
    }
    assert len(digests) == 4


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_validation_share_out_of_range_is_refused(share):
    with pytest.raises(DataError, match=r"validation: expected a share in \(0, 1\), got"):
        split(dataset([4, 4]), share, 0)


@pytest.mark.parametrize("fraction", [0.0, 1.1, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(DataError, match=r"fraction: expected a share in \(0, 1\], got"):
        split(dataset([4, 4]), 0.5, 0, fraction)


@pytest.mark.parametrize("seed", [-1, 1.5, True, None])
def test_a_seed_must_be_a_counting_number(seed):
    with pytest.raises(DataError, match="seed: expected an integer >= 0"):
        split(dataset([4, 4]), 0.5, seed)


def test_a_class_of_one_image_cannot_be_split_and_is_named():
    with pytest.raises(DataError, match=r"a validation set needs at least 2 .*: '1' has 1;"):
        split(dataset([4, 1, 4]), 0.5, 0)
