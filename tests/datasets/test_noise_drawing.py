"""What is drawn from a matrix: exact counts, frequencies, composition with a long tail, and what a data set lacks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.draw import draw_indices
from datasets.interface import AsymmetricPairs, DataError, Labels
from datasets.noise import Noise, NoiseFacts, corrupt
from datasets.noise.apportionment import rounds_in_total, share_out
from datasets.noise.asym import Asymmetric
from datasets.noise.asym_superclass import AsymmetricSuperclass
from datasets.noise.captions import caption
from datasets.noise.column import Column
from datasets.noise.drawing import draw_exact, draw_independent
from datasets.noise.interface import Matrix
from datasets.noise.matrices import flipped, rotation, symmetric, symmetric_inclusive
from datasets.noise.none import NoNoise
from datasets.noise.pairflip import PairFlip
from datasets.noise.sym import Symmetric
from datasets.noise.sym_incl import SymmetricInclusive

TEN = NoiseFacts(tuple(str(each) for each in range(10)), data_set="example")


def counts(clean: Labels, labels: Labels, classes: int) -> Labels:
    return np.bincount(clean * classes + labels, minlength=classes * classes).reshape(classes, classes)


@st.composite
def matrices(draw: st.DrawFn) -> Matrix:
    """Any transition matrix, with zeros and rows that are certain."""
    classes = draw(st.integers(1, 6))
    weights = np.array(draw(st.lists(st.integers(0, 9), min_size=classes**2, max_size=classes**2)), dtype=np.float64)
    weights = weights.reshape(classes, classes)
    weights[weights.sum(axis=1) == 0] = 1
    matrix: Matrix = weights / weights.sum(axis=1, keepdims=True)
    return matrix


@given(matrix=matrices(), data=st.data(), seed=st.integers(0, 5))
def test_every_count_is_its_quota_rounded(matrix: Matrix, data: st.DataObject, seed: int) -> None:
    classes = len(matrix)
    clean = np.array(data.draw(st.lists(st.integers(0, classes - 1), max_size=80)), dtype=np.int64)
    sizes = np.bincount(clean, minlength=classes)
    drawn = counts(clean, draw_exact(clean, matrix, seed), classes)
    quotas = sizes[:, None] * matrix
    assert np.array_equal(drawn.sum(axis=1), sizes)
    assert np.abs(drawn - quotas).max(initial=0) < 1
    wrong, expected = sizes - np.diag(drawn), sizes - np.diag(quotas)
    if rounds_in_total(len(clean), classes):
        assert abs(wrong.sum() - expected.sum()) < 1 + 1e-9
    else:
        assert np.array_equal(wrong, np.floor(np.round(expected, 9) + 0.5))


@given(matrix=matrices(), scale=st.integers(1, 3), seed=st.integers(0, 5))
def test_whole_quotas_are_met_exactly(matrix: Matrix, scale: int, seed: int) -> None:
    """And the rest goes to the largest remainders: no class is rounded up while one with more of a claim isn't."""
    classes = len(matrix)
    clean = np.repeat(np.arange(classes), 7 * scale)
    drawn = counts(clean, draw_exact(clean, matrix, seed), classes)
    quotas = np.round(7 * scale * matrix, 9)
    whole = quotas == np.floor(quotas)
    assert np.array_equal(drawn[whole & ~np.eye(classes, dtype=bool)], quotas[whole & ~np.eye(classes, dtype=bool)])
    remainder, up = quotas - np.floor(quotas), drawn > quotas
    for row in range(classes):
        others = (np.arange(classes) != row) & ~whole[row]
        raised, lowered = remainder[row][others & up[row]], remainder[row][others & ~up[row]]
        assert raised.min(initial=2.0) >= lowered.max(initial=-1.0) - 1e-9


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.6, 0.8])
def test_cifar10_counts_are_those_of_the_literature(rate: float) -> None:
    """rate * 5000 wrong labels in each class: 111 or 112 a class at 0.2, where floor(5000 * 0.2 / 9) loses one."""
    clean = np.repeat(np.arange(10), 5000)
    drawn = counts(clean, draw_exact(clean, symmetric(10, rate), 0), 10)
    assert (np.diag(drawn) == round(5000 * (1 - rate))).all()
    others = drawn[~np.eye(10, dtype=bool)]
    assert set(others.tolist()) <= {int(5000 * rate / 9), int(5000 * rate / 9) + 1}


def test_surplus_labels_favour_no_class() -> None:
    """With fewer wrong labels than classes, which classes get one is random in each row."""
    clean = np.repeat(np.arange(50), 10)
    total = sum(counts(clean, draw_exact(clean, symmetric(50, 0.4), seed), 50) for seed in range(60))
    offset = np.array([sum(total[i, (i + step) % 50] for i in range(50)) for step in range(1, 50)])
    expected = 60 * 50 * 4 / 49
    assert ((offset - expected) ** 2 / expected).sum() < 93.2  # 0.01 % point of chi-square with 48 degrees of freedom


@pytest.mark.parametrize("draw", ["exact", "multinomial"])
def test_no_image_is_favoured(draw: str) -> None:
    clean = np.repeat(np.arange(4), 25)
    facts = NoiseFacts(("a", "b", "c", "d"))
    often = sum(
        (corrupt(Symmetric(), clean, facts, 0.4, seed, draw).labels != clean).astype(int) for seed in range(400)
    )
    statistic = ((often - 160) ** 2 / (160 * 0.6)).sum()
    assert 47.9 < statistic < 172.1  # both 0.001 % points of chi-square with 96 to 100 degrees of freedom


CHI_SQUARE_1E6 = {0: 1e-9, 1: 23.93, 2: 27.63, 3: 30.66, 8: 42.70, 9: 44.81}
"""The points that chi-square exceeds with probability 1e-6, by degrees of freedom (0: nothing is random)."""


@pytest.mark.parametrize(
    "matrix",
    [
        symmetric(10, 0.4),
        symmetric(10, 1.0),
        symmetric_inclusive(10, 0.6),
        flipped(10, ((9, 1), (2, 0), (3, 5), (5, 3), (4, 7)), 0.4),
        flipped(10, rotation([0] * 10), 0.45),
        np.array([[0.5, 0.3, 0.2, 0.0, 0.0], [0.0, 0.1, 0.2, 0.3, 0.4], *np.eye(5)[2:]]),
    ],
)
def test_independent_draws_follow_the_matrix(matrix: Matrix) -> None:
    """Each row within its 1e-6 point: with 55 rows, a sound generator fails for one seed in 18,000."""
    classes = len(matrix)
    clean = np.tile(np.arange(classes), 20_000)
    drawn = counts(clean, draw_independent(clean, matrix, 11), classes)
    for row in range(classes):
        possible = matrix[row] > 0
        assert drawn[row][~possible].sum() == 0
        expected = 20_000 * matrix[row][possible]
        freedom = int(possible.sum()) - 1
        statistic = float(((drawn[row][possible] - expected) ** 2 / expected).sum())
        assert statistic < CHI_SQUARE_1E6[freedom]


def test_independent_draws_vary_in_number() -> None:
    clean = np.zeros(1000, dtype=np.int64)
    numbers = [int((draw_independent(clean, symmetric(2, 0.4), seed) != 0).sum()) for seed in range(200)]
    assert 10 < np.std(numbers) < 22  # sqrt(1000 * 0.4 * 0.6) = 15.5
    assert {int((draw_exact(clean, symmetric(2, 0.4), seed) != 0).sum()) for seed in range(20)} == {400}


@settings(deadline=None)
@given(
    low=st.floats(0, 1),
    high=st.floats(0, 1),
    noise=st.sampled_from([Symmetric(), SymmetricInclusive(), PairFlip()]),
    draw=st.sampled_from(["exact", "multinomial"]),
    sizes=st.lists(st.integers(0, 30), min_size=10, max_size=10),
)
def test_nested_for_any_two_rates(low: float, high: float, noise: Noise, draw: str, sizes: list[int]) -> None:
    low, high = sorted((low, high))
    clean = np.repeat(np.arange(10), sizes)
    less = corrupt(noise, clean, TEN, low, 1, draw).labels
    more = corrupt(noise, clean, TEN, high, 1, draw).labels
    wrong = less != clean
    assert np.array_equal(more[wrong], less[wrong])


@given(
    sizes=st.lists(st.sampled_from([0, 1, 2, 3, 4, 7, 10, 33, 49, 100, 1000]), min_size=1, max_size=30),
    low=st.floats(0, 1),
    high=st.floats(0, 1),
    noisy=st.lists(st.booleans(), min_size=30, max_size=30),
    seed=st.integers(0, 5),
)
def test_small_classes_share_what_rounding_leaves(
    sizes: list[int], low: float, high: float, noisy: list[bool], seed: int
) -> None:
    """Whatever the sizes: every number is its quota rounded, their sum the nominal one, and rates nest."""
    each, share = np.array(sizes), np.array(noisy[: len(sizes)], dtype=float)
    priority = np.random.Generator(np.random.PCG64(seed)).random(len(sizes))
    less, more = (share_out(each, share * rate, priority) for rate in sorted((low, high)))
    for counts, rate in ((less, min(low, high)), (more, max(low, high))):
        quotas = each * share * rate
        assert np.abs(counts - quotas).max() < 1
        assert abs(counts.sum() - quotas.sum()) < 1 + 1e-6
    assert (less <= more).all()


@pytest.mark.parametrize("noise", [Symmetric(), SymmetricInclusive(), PairFlip()])
def test_many_small_classes_have_the_nominal_rate(noise: Noise) -> None:
    """300 classes of 4: class by class, 0.1 would be no noise at all, and 0.3 a quarter."""
    clean = np.repeat(np.arange(300), 4)
    facts = NoiseFacts(tuple(map(str, range(300))))
    before = clean
    for rate in np.linspace(0.02, 1.0, 25):
        labels = corrupt(noise, clean, facts, float(rate), 3).labels
        nominal = rate * (299 / 300 if isinstance(noise, SymmetricInclusive) else 1)
        assert abs((labels != clean).sum() - 1200 * nominal) < 1 + 1e-9
        wrong = before != clean
        assert np.array_equal(labels[wrong], before[wrong])
        assert np.bincount(clean[labels != clean], minlength=300).max() <= np.ceil(4 * nominal)
        before = labels


def test_large_classes_are_rounded_alone() -> None:
    """Published labels: the classes of digits, whose wrong labels at 0.5 are three more than half."""
    sizes = np.array([139, 142, 138, 143, 141, 142, 141, 139, 135, 140])
    clean = np.repeat(np.arange(10), sizes)
    wrong = np.bincount(clean[draw_exact(clean, symmetric(10, 0.5), 0) != clean])
    assert np.array_equal(wrong, (sizes + 1) // 2)


def test_independent_labels_follow_their_images_not_their_neighbours() -> None:
    """An image's random numbers belong to its place: another class elsewhere changes no independent draw here."""
    clean = np.arange(100) % 5
    other = clean.copy()
    other[:10] = (other[:10] + 1) % 5
    facts = NoiseFacts(tuple("abcde"))
    one, two = (corrupt(Symmetric(), each, facts, 0.4, 0, "multinomial").labels for each in (clean, other))
    assert np.array_equal(one[10:], two[10:])


def test_long_tail_then_noise() -> None:
    """Noise is drawn over the long tail, so that each class has the rate, however small it is."""
    labels = np.arange(5000, dtype=np.int64) % 10
    clean = labels[draw_indices(labels, 10, imbalance=0.1)]
    sizes = np.bincount(clean)
    assert (sizes[0], sizes[9]) == (500, 50)
    for noise in (Symmetric(), PairFlip()):
        noisy = corrupt(noise, clean, TEN, 0.4, 0)
        wrong = np.bincount(clean[noisy.labels != clean], minlength=10)
        assert np.array_equal(wrong, np.floor(np.round(0.4 * sizes, 9) + 0.5))
        assert abs(noisy.realised_rate - 0.4) < 5 / len(clean)


def test_asym_overall_rate_follows_the_class_sizes() -> None:
    facts = NoiseFacts(TEN.classes, AsymmetricPairs(((9, 1),), "a paper"))
    clean = np.repeat(np.arange(10), [100] * 9 + [10])
    noisy = corrupt(Asymmetric(), clean, facts, 0.5, 0)
    assert noisy.realised_rate == pytest.approx(5 / 910)
    assert noisy.caption == "0.5 in 1 of 10 classes, 0.0055 overall"
    assert noisy.pairs == ((9, 1),)
    assert noisy.source == "a paper"


def test_cifar100_blocks_are_named_in_the_caption() -> None:
    blocks = rotation([each // 5 for each in range(100)])
    assert blocks[4] == (4, 0) and blocks[5] == (5, 6)
    facts = NoiseFacts(tuple(map(str, range(100))), AsymmetricPairs(blocks, "APL"))
    said = caption(Asymmetric(), facts, Asymmetric().matrix(facts, 0.4), 0.4)
    expected = "0.4 in all 100 classes (rotated inside blocks of five consecutive class ids), 0.40 expected overall"
    assert said == expected


def test_captions_without_a_rate_or_without_noise() -> None:
    assert caption(Symmetric(), TEN, Symmetric().matrix(TEN, 0.0), 0.0, 0.0).startswith("0 in 10 classes")
    assert caption(NoNoise(), TEN, NoNoise().matrix(TEN, None)) == "no noise, 0.00 expected overall"
    assert caption("labels of others") == "labels of others"
    assert caption(Column("worse"), TEN) == "column worse"


@pytest.mark.parametrize("facts", [TEN, NoiseFacts(TEN.classes, AsymmetricPairs((), ""), data_set="example")])
def test_asym_without_documented_pairs(facts: NoiseFacts) -> None:
    with pytest.raises(DataError, match=r"example.*--noise pairflip.*matrix:FILE"):
        corrupt(Asymmetric(), np.zeros(3, dtype=np.int64), facts, 0.4, 0)


@pytest.mark.parametrize("superclasses", [None, tuple(range(10))])
def test_superclasses_are_needed(superclasses: tuple[int, ...] | None) -> None:
    facts = NoiseFacts(TEN.classes, superclasses=superclasses)
    with pytest.raises(DataError, match="--noise pairflip"):
        AsymmetricSuperclass().matrix(facts, 0.4)


def test_one_class() -> None:
    for noise in (Symmetric(), PairFlip()):
        with pytest.raises(DataError, match="--noise none"):
            noise.matrix(NoiseFacts(("only",)), 0.4)


def test_column_is_taken_as_it_is() -> None:
    clean, worse = np.array([0, 1, 2, 3]), np.array([0, 2, 2, 0])
    facts = NoiseFacts(tuple("abcd"), columns=("worse",), data_set="example")
    noisy = corrupt(Column("worse"), clean, facts, None, 0, columns={"worse": worse})
    assert noisy.labels.tolist() == worse.tolist()
    assert (noisy.matrix, noisy.realised_rate, noisy.source) == (None, 0.5, "column worse of example")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (("worse_label", "random_label1"), "column:worse_label"),
        (("a", "b"), "column:a or column:b"),
        ((), "no further label columns"),
    ],
)
def test_unknown_column_names_the_nearest(columns: tuple[str, ...], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Column("worse_lable").matrix(NoiseFacts(TEN.classes, columns=columns, data_set="example"), None)


def test_column_of_wrong_length_or_with_unknown_classes() -> None:
    facts = NoiseFacts(tuple("abc"), columns=("worse",))
    clean = np.array([0, 1, 2])
    with pytest.raises(DataError, match="2 labels for 3"):
        corrupt(Column("worse"), clean, facts, None, 0, columns={"worse": np.array([0, 1])})
    with pytest.raises(DataError, match="position 2: 3"):
        corrupt(Column("worse"), clean, facts, None, 0, columns={"worse": np.array([0, 1, 3])})
