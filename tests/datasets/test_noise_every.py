"""Suite over every noise in datasets/noise: the next one is tested by existing."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import numpy as np
import pytest

import datasets.noise
from datasets.interface import AsymmetricPairs, DataError, Description, Labels, Protocol
from datasets.noise import ImageSource, Noise, NoiseFacts, NoisyLabels, corrupt, label_hash
from datasets.noise.interface import Matrix
from datasets.randomness import uniforms

CLASSES = 10
HUMAN = tuple(f"human-{kind}" for kind in ("aggre", "worse", "random1", "random2", "random3", "noisy", "coarse"))
FACTS = NoiseFacts(
    classes=tuple(f"class {each}" for each in range(CLASSES)),
    pairs=AsymmetricPairs(((9, 1), (2, 0), (3, 5), (5, 3), (4, 7)), "Patrini et al. 2017"),
    superclasses=(0, 0, 1, 1, 1, 2, 2, 2, 2, 3),
    columns=("worse", *HUMAN),
    data_set="example",
)
CLEAN = np.arange(1000, dtype=np.int64) % CLASSES
TAIL = np.repeat(np.arange(CLASSES), [200, 120, 80, 50, 31, 20, 13, 8, 5, 3])
DRAWS = ("exact", "multinomial")
OPEN_SET = "open-set"
"""Noise with outsiders even at rate 0."""
DATA = "d" * 64
PIXELS = (uniforms(0, "pixels", 1000 * 5 * 7 * 3) * 256).astype(np.uint8).reshape(1000, 5, 7, 3)

GOLDEN = {
    ("annotators", "multinomial"): ("3edef9435ebedfbf", "bf130a0dcd3d9677"),
    ("annotators", "exact"): ("3edef9435ebedfbf", "bf130a0dcd3d9677"),
    ("open-set", "multinomial"): ("feac4e0d0e0264ba", "4ab344af566ffce2"),
    ("open-set", "exact"): ("028be7271c1e82f3", "f27cb8a05547aaf2"),
    ("sym-prior", "multinomial"): ("74b37affcb48ca02", "e234ff1f0c7cb48e"),
    ("sym-prior", "exact"): ("45ce122c1ce680c6", "6846309a58e5c08e"),
    ("as-given", "exact"): ("abbc512c3acb0f8c", "7788956a61b8439b"),
    ("as-given", "multinomial"): ("abbc512c3acb0f8c", "7788956a61b8439b"),
    ("asym", "exact"): ("18ce26f7065ee29c", "2d0245f0f5bfe326"),
    ("asym", "multinomial"): ("a890ea8540f7052b", "3147dc2f2172913d"),
    ("asym-superclass", "exact"): ("65abdfa9f598585b", "40da3bc4afa1e4b2"),
    ("asym-superclass", "multinomial"): ("e432c9f20ad5787f", "c4596035b819006a"),
    ("column", "exact"): ("8d7b6c9c11c70692", "11a14bade73c7ba8"),
    ("column", "multinomial"): ("8d7b6c9c11c70692", "11a14bade73c7ba8"),
    ("instance", "exact"): ("4c6473b9d0b47ac1", "3ffb3cc8ed8ebabe"),
    ("instance", "multinomial"): ("e6457b71dcedabde", "58efb4c4470f274d"),
    ("instance-shared", "exact"): ("3245b8a508f4ad12", "633704a34b6e1408"),
    ("instance-shared", "multinomial"): ("c9922a13fc98a0d2", "eb53280cd3e7fb3f"),
    **{
        (name, draw): ("8d7b6c9c11c70692", "11a14bade73c7ba8")  # as the column that they are
        for name in HUMAN
        for draw in DRAWS
    },
    ("bad", "exact"): ("d5a13837e29ce399", "7ff27a887725a9e5"),
    ("bad", "multinomial"): ("d5a13837e29ce399", "7ff27a887725a9e5"),
    ("instance-learned", "exact"): ("e777e76112f6c2d5", "02047b0a53b22ba7"),
    ("instance-learned", "multinomial"): ("e777e76112f6c2d5", "02047b0a53b22ba7"),
    ("pmd", "exact"): ("4fd90f36942545e8", "d94b6dea4ab47e49"),
    ("pmd", "multinomial"): ("9c74fb30b8e90d85", "c82aa15e1ab6e500"),
    ("matrix", "exact"): ("a3e2d72968fd826a", "834d2d445e1c5226"),
    ("matrix", "multinomial"): ("1221ed571a8b15dc", "1485abece837657c"),
    ("none", "exact"): ("abbc512c3acb0f8c", "7788956a61b8439b"),
    ("none", "multinomial"): ("abbc512c3acb0f8c", "7788956a61b8439b"),
    ("pairflip", "exact"): ("aed16109d0792c7a", "0462773caa485a3a"),
    ("pairflip", "multinomial"): ("c00fa6675b6c5b23", "745d5141251f1087"),
    ("sym", "exact"): ("45ce122c1ce680c6", "e2626c0834f0191c"),
    ("sym", "multinomial"): ("74b37affcb48ca02", "112302ee81ac9bee"),
    ("sym-incl", "exact"): ("1966202a52e1bfce", "bdb7f9ad7e9f00aa"),
    ("sym-incl", "multinomial"): ("f8b1297ad5be79e2", "9d177a92793beca1"),
}


def found() -> dict[str, type[Noise]]:
    modules = [
        importlib.import_module(f"datasets.noise.{each.name}") for each in pkgutil.iter_modules(datasets.noise.__path__)
    ]
    classes = [
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Noise) and value.__module__ == module.__name__
    ]
    return {each.name: each for each in classes if "name" in vars(each)}


NOISES = found()


@pytest.fixture
def example(tmp_path: Path) -> dict[str, Noise]:
    """Every noise, ready to use."""
    confusions = np.full((CLASSES, CLASSES), 0.01) + 0.9 * np.eye(CLASSES)
    confusions[2] = [0.2, 0.1, 0.5, 0.15, 0.05, 0, 0, 0, 0, 0]
    np.save(tmp_path / "confusions.npy", confusions)
    np.save(tmp_path / "posterior.npy", posterior())
    arguments = {"FILE": str(tmp_path / "confusions.npy"), "NAME": "worse", "NAMES": "5", "WORD": None, None: None}
    from_posterior = str(tmp_path / "posterior.npy")
    return {
        name: each(from_posterior if each.reads_posterior else arguments[each.argument])
        for name, each in NOISES.items()
    }


def posterior() -> Matrix:
    """Probabilities of every image of CLEAN, to four digits; the true class is one of the two most probable."""
    rows = np.arange(len(CLEAN))
    weights = uniforms(0, "posterior", len(CLEAN) * CLASSES).reshape(-1, CLASSES)
    weights[rows, CLEAN] = 0
    second, first = np.sort(weights, axis=1)[:, -2:].T
    weights[rows, CLEAN] = second + 4 * uniforms(0, "true class", len(CLEAN)) * (first - second + 0.1)
    return np.asarray(np.round(weights / weights.sum(axis=1, keepdims=True), 4))


def noisy(noise: Noise, clean: Labels = CLEAN, rate: float = 0.4, seed: int = 0, draw: str = "exact") -> NoisyLabels:
    worse = np.where(np.arange(len(clean)) % 7 == 0, (clean + 3) % CLASSES, clean)
    places = clean.astype(np.int64) + CLASSES * (np.arange(len(clean)) % 100)  # of images of these classes in CLEAN
    source = ImageSource(places, len(CLEAN), DATA, None, PIXELS[: len(clean)], (0.5,), (0.25,))
    columns = dict.fromkeys(FACTS.columns, worse)
    return corrupt(noise, clean, FACTS, rate if noise.takes_rate else None, seed, draw, columns, source)


def test_all_are_found_one_a_file() -> None:
    assert set(NOISES) == {
        "as-given",
        "none",
        "sym",
        "sym-incl",
        "asym",
        "asym-superclass",
        "instance",
        "instance-shared",
        "pairflip",
        "matrix",
        "column",
        "annotators",
        "sym-prior",
        "open-set",
        *HUMAN,
        "instance-learned",
        "pmd",
        "bad",
    }
    for name, each in NOISES.items():
        file = "human" if name in HUMAN else name.replace("-", "_")
        assert each.__module__ == f"datasets.noise.{file}"
        assert each.summary and each.source and each.__doc__
    names = [name for each in NOISES.values() for name in (each.name, *each.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("name", sorted(NOISES))
def test_golden_label_hashes(example: dict[str, Noise], name: str, draw: str) -> None:
    """The same labels on every machine and with every NumPy: a change here changes every published number."""
    both = noisy(example[name], draw=draw).sha256[:16], noisy(example[name], TAIL, seed=3, draw=draw).sha256[:16]
    assert both == GOLDEN[name, draw]


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("name", sorted(NOISES))
def test_record_is_consistent(example: dict[str, Noise], name: str, draw: str) -> None:
    for clean in (CLEAN, TAIL, CLEAN[:1], CLEAN[:0]):
        untouched = clean.copy()
        result = noisy(example[name], clean, draw=draw)
        assert np.array_equal(clean, untouched)
        assert result.labels.dtype == np.int64 and result.labels.shape == clean.shape
        assert result.sha256 == label_hash(result.labels)
        assert (result.clean is not None) == (name == OPEN_SET)
        truth = clean if result.clean is None else result.clean
        share = float(np.mean(result.labels != truth)) if len(clean) else 0.0
        assert result.realised_rate == (share if example[name].is_known else None)
        assert result.source and ("overall" if example[name].is_known else "noise unknown") in result.caption
        if result.matrix is not None:
            assert np.abs(result.matrix.sum(axis=1) - 1).max() < 1e-12
            assert ((result.matrix >= 0) & (result.matrix <= 1)).all()
            assert (result.matrix[clean, result.labels] > 0).all()
            for row, column in result.pairs:
                assert result.matrix[row, column] > 0


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("name", sorted(NOISES))
def test_same_seed_same_labels_whatever_the_order_of_calls(example: dict[str, Noise], name: str, draw: str) -> None:
    first = noisy(example[name], seed=5, draw=draw).sha256
    for other in example.values():
        noisy(other, TAIL, seed=1)
    np.random.Philox(1).random_raw(10)
    assert noisy(example[name], seed=5, draw=draw).sha256 == first


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("name", sorted(NOISES))
def test_different_seeds_differ(example: dict[str, Noise], name: str, draw: str) -> None:
    hashes = {noisy(example[name], seed=seed, draw=draw).sha256 for seed in range(6)}
    alike = ("as-given", "column", "none", "instance-learned", "bad", *HUMAN)
    assert len(hashes) == (1 if name in alike else 6)


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize(
    "name", sorted(each.name for each in NOISES.values() if each.takes_rate and each.name != OPEN_SET)
)
def test_nested_in_the_rate(example: dict[str, Noise], name: str, draw: str) -> None:
    """A wrong label at a lower rate is wrong at a higher one, and is the same wrong label."""
    for clean in (CLEAN, TAIL):
        before = noisy(example[name], clean, 0.0, seed=2, draw=draw).labels
        assert np.array_equal(before, clean)
        for rate in np.linspace(0.03, 1.0, 23):
            after = noisy(example[name], clean, float(rate), seed=2, draw=draw).labels
            wrong = before != clean
            assert np.array_equal(after[wrong], before[wrong])
            before = after


@pytest.mark.parametrize(
    "name", sorted(each.name for each in NOISES.values() if each.takes_rate and each.name != OPEN_SET)
)
def test_more_noise_at_a_higher_rate(example: dict[str, Noise], name: str) -> None:
    rates = [noisy(example[name], rate=rate).realised_rate or 0.0 for rate in (0.0, 0.2, 0.4, 1.0)]
    assert rates[0] == 0.0
    assert rates == sorted(set(rates))


@pytest.mark.parametrize("name", sorted(NOISES))
def test_rates_that_cannot_be(example: dict[str, Noise], name: str) -> None:
    noise = example[name]
    if not noise.takes_rate:
        with pytest.raises(DataError, match=r"Leave out --rate 0\.4"):
            corrupt(noise, CLEAN, FACTS, 0.4, 0, columns=dict.fromkeys(FACTS.columns, CLEAN))
        return
    with pytest.raises(DataError, match=r"--rate 0\.4"):
        corrupt(noise, CLEAN, FACTS, None, 0)
    for rate in (-0.1, 1.1, float("nan"), float("inf")):
        with pytest.raises(DataError, match="from 0 to 1"):
            corrupt(noise, CLEAN, FACTS, rate, 0)


@pytest.mark.parametrize("name", sorted(name for name, each in NOISES.items() if not each.argument_optional))
def test_arguments_that_cannot_be(name: str) -> None:
    with pytest.raises(DataError, match=f"--noise {name}"):
        NOISES[name]("surplus") if NOISES[name].argument is None else NOISES[name]()


@pytest.mark.parametrize("name", sorted(NOISES))
def test_labels_that_are_none(example: dict[str, Noise], name: str) -> None:
    with pytest.raises(DataError, match="position 1: 10"):
        noisy(example[name], np.array([0, 10]))
    with pytest.raises(DataError, match="position 0: -1"):
        noisy(example[name], np.array([-1, 1]))
    with pytest.raises(DataError, match="float64"):
        noisy(example[name], np.array([0.0, 1.0]))  # type: ignore[arg-type]


def test_unknown_draw(example: dict[str, Noise]) -> None:
    with pytest.raises(DataError, match="--draw exact"):
        noisy(example["sym"], draw="bernoulli")


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("none", "no noise, 0.00 overall"),
        ("sym", "0.4 in all 10 classes (the true class excluded), 0.40 overall"),
        (
            "sym-prior",
            "0.4 in all 10 classes (to other classes in proportion to their sizes), 0.40 overall, "
            "largest class 1 times the smallest by clean labels and 1.04 times by noisy ones",
        ),
        ("sym-incl", "0.4 in all 10 classes (the true class included), 0.36 overall"),
        ("asym", "0.4 in 5 of 10 classes, 0.20 overall"),
        ("asym-superclass", "0.4 in 9 of 10 classes (rotated inside superclasses), 0.36 overall"),
        ("pairflip", "0.4 in all 10 classes (to the next class), 0.40 overall"),
        ("matrix", "0.09 to 0.50 in all 10 classes, 0.131 overall"),
        ("column", "column worse, 0.143 overall"),
        ("annotators", "majority of 3 answers by 5 simulated annotators, 0.085 overall"),
        ("instance", "0.4 by image (pixels standardised), 0.40 overall"),
        ("instance-shared", "0.4 by image (pixels standardised), 0.40 overall"),
        ("human-aggre", "what most of three people said, 0.143 overall"),
        ("human-worse", "a wrong one of three people's labels where there is one, 0.143 overall"),
        ("human-random1", "the first of three people's labels, 0.143 overall"),
        ("human-random2", "the second of three people's labels, 0.143 overall"),
        ("human-random3", "the third of three people's labels, 0.143 overall"),
        ("human-noisy", "one person's label, 0.143 overall"),
        ("human-coarse", "one person's superclass, 0.143 overall"),
        ("instance-learned", "0.4 by image (the most probable wrong class of a network), 0.40 overall"),
        ("pmd", "0.4 by image (a network's two most probable classes, type 1), 0.40 overall"),
        ("bad", "0.4 by image (an adversary: the least plausible class of a network), 0.40 overall"),
    ],
)
def test_captions(example: dict[str, Noise], name: str, caption: str) -> None:
    assert noisy(example[name]).caption == caption


def test_facts_of_a_description() -> None:
    described = Description(
        name="example",
        classes=FACTS.classes,
        image_shape=None,
        train_size=None,
        test_size=None,
        protocol=Protocol("mnist", "cnn", 1, 1, 0.1, 0.0),
        pairs=FACTS.pairs,
        superclasses=FACTS.superclasses,
        columns=FACTS.columns,
    )
    assert NoiseFacts.of(described) == FACTS
