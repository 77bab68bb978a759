"""Every published setting, written down a second time from the tables; and what every declaration must hold."""

from __future__ import annotations

import importlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import methods
from methods._published import CITATIONS, cited_sources
from methods.interface import Method

FOLDER = Path(methods.__file__).parent
FILES = [
    path
    for path in sorted(FOLDER.glob("*.py"))
    if not path.stem.startswith("_") and path.stem not in ("interface", "losses")
]


def class_of(path: Path) -> type[Method]:
    """The one method of a file."""
    module = importlib.import_module(f"methods.{path.stem}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__
    ]
    assert len(found) == 1, path.name
    return found[0]


METHODS = {cls.name: cls for cls in map(class_of, FILES)}

PLAIN = ["mnist", "cifar10", "cifar100", "webvision", "clothing1m"]
NO_PARAMETERS = [(data_set, None, None, ()) for data_set in [*PLAIN, *PLAIN[:3]]]
"""Of ANL's and eps-softmax's codes, and of APL's."""


def cell(data_set: str, *values: Any, noise: str | None = None, rate: float | None = None) -> tuple[Any, ...]:
    """One cell of a published table: for what, and its values in the order that PARAMETERS gives."""
    return data_set, noise, rate, values


def row(*cells: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Cells of MNIST, CIFAR-10, CIFAR-100, WebVision and Clothing1M, as far as given."""
    return [(data_set, None, None, values) for data_set, values in zip(PLAIN, cells, strict=False)]


PARAMETERS = {
    "dividemix": ["lambda_u", "threshold", "history", "penalty", "alpha", "warm_up", "forward_unlabelled"],
    "m-correction": ["alpha", "z", "regulariser"],
    "focal": ["gamma"],
    "gce": ["q"],
    "sce": ["alpha", "beta"],
    "bootstrap": ["beta"],
    "forward-estimated": ["percentile"],
    "taylor-ce": ["order"],
    "phuber-ce": ["tau"],
    "nce+rce": ["alpha", "beta"],
    "nce+mae": ["alpha", "beta"],
    "nfl+rce": ["alpha", "beta"],
    "nfl+mae": ["alpha", "beta"],
    "nce+agce": ["alpha", "beta", "a", "q"],
    "nce+aul": ["alpha", "beta", "a", "q"],
    "nce+ael": ["alpha", "beta", "a"],
    "anl-ce": ["alpha", "beta", "delta", "min_prob"],
    "anl-fl": ["alpha", "beta", "delta", "min_prob", "gamma"],
    "anl-ce-er": ["alpha", "beta", "delta", "min_prob", "lam"],
    "eps-softmax": ["alpha", "beta", "m"],
    "jal-ce": ["alpha", "beta", "a", "delta"],
    "js": ["weight", "scaled"],
    "gjs": ["weight", "scaled"],
    "elr": ["lam", "beta"],
    "mixup": ["alpha"],
    "mixup-ensemble": ["alpha"],
    "co-teaching": ["gradual", "exponent"],
    "co-teaching+": ["gradual", "init"],
    "jocor": ["lam", "gradual", "exponent"],
    "cores2": ["beta", "delay", "ramp", "sieve"],
    "sop": ["lr_u", "lr_v"],
    "sop+": ["lr_u", "lr_v", "consistency", "balance"],
    "confident-learning": ["folds", "filter_by", "class_weights"],
    "selc": ["momentum", "turning_point"],
    "selc+": ["turning_point"],
    "elr+": ["lam", "beta", "alpha", "decay", "average_ramp", "reference_steps", "ramp", "refine"],
    "volminnet": ["lam", "init", "transition_rate", "transition_optimizer"],
    "mixnn": ["warm_up", "history"],
}

RATES = (0.2, 0.4, 0.6, 0.8)
APL_BOTH = row((1, 10), (1, 1), (10, 0.1), (50, 0.1))
APL_OWN = row((1, 10), (1, 1), (10, 1), (50, 1))
ALF = row((1, 100), (1, 1), (10, 1))
HUMAN = ["aggre", "random1", "random2", "random3", "worst"]


def symmetric(data_set: str, clean: float, *weights: float) -> list[tuple[Any, ...]]:
    """GJS's weights on clean data and at symmetric rates 0.2, 0.4, 0.6, 0.8."""
    by_rate = [cell(data_set, w, True, noise="sym-incl", rate=r) for r, w in zip(RATES, weights, strict=True)]
    return [cell(data_set, clean, True, noise="none"), *by_rate]


TURNING_POINTS = [
    cell("cifar10", 30 / 200),
    *(cell("cifar10", t / 200, noise="sym-incl", rate=r) for r, t in zip(RATES, (40, 30, 30, 40), strict=True)),
    cell("cifar10", 40 / 200, noise="asym", rate=0.4),
    cell("cifar100", 20 / 200),
    *(cell("cifar100", t / 200, noise="sym-incl", rate=r) for r, t in zip(RATES, (30, 20, 30, 40), strict=True)),
    cell("cifar100", 20 / 200, noise="asym", rate=0.4),
]

CELLS: dict[str, list[tuple[Any, ...]]] = {
    "dividemix": [
        cell("cifar10", 25),
        cell("cifar10", 0, noise="sym-incl", rate=0.2),
        cell("cifar10", 25, noise="sym-incl", rate=0.5),
        cell("cifar10", 25, noise="sym-incl", rate=0.8),
        cell("cifar10", 50, 0.6, 5, noise="sym-incl", rate=0.9),
        cell("cifar10", 0, 1, noise="asym"),
        cell("cifar100", 150, 0.1),
        cell("cifar100", 25, 0.1, noise="sym-incl", rate=0.2),
        cell("cifar100", 150, 0.1, noise="sym-incl", rate=0.5),
        cell("cifar100", 150, 0.1, noise="sym-incl", rate=0.8),
        cell("cifar100", 150, 0.6, 5, 0.1, noise="sym-incl", rate=0.9),
        cell("cifar100", 150, 1, 0.1, noise="asym", rate=0.4),
        cell("clothing1m", 0, 1, 0.5, 1 / 80, False),
        cell("webvision", 0, 0.5, 1 / 80, False),
    ],
    "m-correction": [cell("cifar10", 32, "hard", 1), cell("cifar100", 32, "hard", 1)],
    "ce": NO_PARAMETERS,
    "ce-ensemble": NO_PARAMETERS,
    "ce-strong": NO_PARAMETERS,
    "ce-ema": NO_PARAMETERS,
    "ce-clean": NO_PARAMETERS,
    "ce-oracle": NO_PARAMETERS,
    "focal": 2 * row((0.5,), (0.5,), (0.5,)),
    "mae": 2 * row((), (), ()),
    "gce": [
        *row((0.7,), (0.7,), (0.7,)),
        *row((0.7,), (0.7,), (0.7,), (0.7,), (0.6,)),
        cell("webvision", 0.6),
        cell("cifar100", 0.5, noise="none"),
        *(cell("cifar100", q, noise="sym", rate=r) for r, q in zip(RATES, (0.5, 0.7, 0.7, 0.9), strict=True)),
        cell("cifar100", 0.7, noise="asym"),
    ],
    "sce": [
        *row((0.01, 1), (0.1, 1), (6, 0.1), (10, 1)),
        *row((0.01, 1), (0.1, 1), (6, 0.1)),
        cell("cifar100", 6, 1),
        *row((1, 1), (1, 1), (1, 1)),
    ],
    "taylor-ce": [cell("cifar10", 2), cell("cifar100", 2)],
    "phuber-ce": [cell("cifar10", 10), cell("cifar100", 10)],
    "label-smoothing": [cell("cifar10")],
    "bootstrap": 2 * row((0.95,), (0.95,), (0.95,)),
    "forward": row((), (), ()),
    "forward-estimated": 2 * row((97,), (97,), (100,)),
    "nce+rce": [*APL_BOTH, *APL_BOTH, *ALF, cell("clothing1m", 10, 1)],
    "nce+mae": [*APL_OWN, *row((1, 10), (1, 1), (10, 0.1)), *ALF],
    "nfl+rce": [*APL_BOTH, *APL_BOTH[:3], *ALF],
    "nfl+mae": APL_OWN,
    "nce+agce": row((0, 1, 4, 0.2), (1, 4, 6, 1.5), (10, 0.1, 1.8, 3), (50, 0.1, 2.5, 3), (50, 0.1, 2.5, 3)),
    "nce+aul": row((0, 1, 3, 0.1), (1, 4, 6.3, 1.5), (10, 0.015, 6, 3)),
    "nce+ael": row((0, 1, 3.5), (1, 4, 5), (10, 0.1, 1.5)),
    "anl-ce": row((1, 1, 1e-6, 1e-7), (5, 5, 5e-5, 1e-7), (10, 1, 5e-7, 1e-7), (20, 1, 5e-6, 1e-7), (5, 0.1, 0, 1e-8)),
    "anl-fl": [
        *row((1, 1, 1e-6, 1e-7, 0.5), (5, 5, 5e-5, 1e-7, 0.5), (10, 1, 5e-7, 1e-7, 0.5)),
        cell("clothing1m", 5, 0.1, 0, 1e-8, 0.5),
    ],
    "anl-ce-er": [cell("cifar10", 5, 5, 5e-5, 1e-7, 2), cell("cifar100", 10, 1, 5e-7, 1e-7, 0.01)],
    "eps-softmax": [
        cell("cifar10", 0.01, 5, 1e5, noise="sym"),
        cell("cifar10", 0.02, 5, 1e3, noise="asym"),
        cell("cifar10", 0.045, 10, 1e5, noise="instance"),
        cell("cifar100", 0.1, 1, 1e4, noise="none"),
        cell("cifar100", 0.05, 1, 1e4, noise="sym", rate=0.2),
        cell("cifar100", 0.03, 1, 1e4, noise="sym", rate=0.4),
        cell("cifar100", 0.0125, 1, 1e4, noise="sym", rate=0.6),
        cell("cifar100", 0.00125, 1, 1e4, noise="sym", rate=0.6),
        cell("cifar100", 0.0075, 1, 1e4, noise="sym", rate=0.8),
        cell("cifar100", 0.05, 1, 1e4, noise="instance", rate=0.2),
        cell("cifar100", 0.03, 1, 1e4, noise="instance", rate=0.4),
        cell("cifar100", 0.0125, 1, 1e4, noise="instance", rate=0.6),
        cell("cifar100", 0.015, 1, 1e2, noise="asym", rate=0.1),
        cell("cifar100", 0.007, 1, 1e2, noise="asym", rate=0.2),
        cell("cifar100", 0.005, 1, 1e2, noise="asym", rate=0.3),
        cell("cifar100", 0.004, 1, 1e2, noise="asym", rate=0.4),
        *(cell("cifar10", 0.5, 1, 1e4, noise=f"human-{kind}") for kind in HUMAN),
        cell("cifar100", 0.5, 1, 1e4, noise="human-noisy"),
        cell("webvision", 0.015, 0.3, 1e3),
        cell("clothing1m", 0.012, 0.1, 1e3),
    ],
    "jal-ce": [
        cell("cifar10", 1, 1, 30, 5e-5),
        cell("cifar100", 5, 1, 20, 5e-6),
        cell("webvision", 50, 1, 30, 0),
        cell("clothing1m", 5, 0.1, 5, 0),
    ],
    "js": [
        *symmetric("cifar10", 0.1, 0.7, 0.7, 0.9, 0.9),
        cell("cifar10", 0.3, True, noise="asym"),
        *symmetric("cifar100", 0.1, 0.1, 0.3, 0.5, 0.3),
        cell("cifar100", 0.5, True, noise="asym-superclass"),
        cell("webvision", 0.1, False),
    ],
    "gjs": [
        *symmetric("cifar10", 0.5, 0.3, 0.9, 0.1, 0.1),
        cell("cifar10", 0.3, True, noise="asym"),
        *symmetric("cifar100", 0.3, 0.3, 0.5, 0.9, 0.1),
        cell("cifar100", 0.5, True, noise="asym-superclass", rate=0.2),
        cell("cifar100", 0.1, True, noise="asym-superclass", rate=0.4),
        cell("webvision", 0.1, False),
    ],
    "elr": [
        cell("cifar10", 3, 0.7, noise="sym-incl"),
        cell("cifar10", 1, 0.9, noise="asym"),
        cell("cifar100", 7, 0.9),
    ],
    "mixup": [cell("cifar10", 1)],
    "mixup-ensemble": [cell("cifar10", 1)],
    "co-teaching": row((0.05, 1), (0.05, 1), (0.05, 1)),
    "co-teaching+": row((0.05, 0), (0.05, 0.1), (0.05, 0.025)),
    "jocor": [
        *(cell("cifar10", lam, 0.05, 1, noise="sym", rate=rate) for rate, lam in ((0.2, 0.9), (0.5, 0.9), (0.8, 0.65))),
        cell("cifar10", 0.9, 0.05, 1, noise="asym", rate=0.4),
        cell("cifar100", 0.85, 0.05, 1),
    ],
    "cores2": [cell("cifar10", 2, 0.1, 0.3, 0.31), cell("cifar100", 2, 0.1, 0.3, 0.31)],
    "sop": [
        cell("cifar10", 10, 10, noise="sym-incl"),
        cell("cifar10", 10, 100, noise="asym"),
        cell("cifar100", 1, 10, noise="sym-incl"),
        cell("cifar100", 0.1, 100, noise="asym"),
    ],
    "sop+": [
        cell("cifar10", 10, 10, 0.9, 0.1, noise="sym-incl"),
        cell("cifar10", 10, 100, 0.9, 0.1, noise="asym"),
        cell("cifar100", 1, 10, 0.9, 0.1, noise="sym-incl"),
        cell("cifar100", 0.1, 100, 0.9, 0.1, noise="asym"),
    ],
    "confident-learning": [cell("cifar10", 4, "prune_by_noise_rate", True)],
    "selc": [
        *TURNING_POINTS,
        cell("clothing1m", 0.8, 5 / 40),
        cell("webvision", 40 / 100),
        cell("animal10n", 40 / 100),
    ],
    "selc+": TURNING_POINTS,
    "elr+": [
        cell("cifar10", 3, 0.7, noise="sym-incl"),
        cell("cifar10", 1, 0.9, noise="asym"),
        cell("cifar100", 7, 0.9, 40_000 / 97_750, 97_750, 40_000 / 97_750, True),
        cell("clothing1m", 0.9999, 0, 45_000),
        cell("webvision", 1.5, 0, 206_100),
    ],
    "volminnet": row((1e-4, 2, 0.01, "adam"), (1e-4, 2, 0.01, "sgd"), (1e-4, 4.5, 0.01, "adam")),
    "mixnn": [
        cell("cifar10", 9 / 300, 1),
        cell("cifar10", 9 / 300, 5, noise="sym-incl", rate=0.8),
        cell("cifar100", 29 / 300, 1),
        cell("cifar100", 29 / 300, 5, noise="sym-incl", rate=0.8),
    ],
}
# FLSC has published none of its own
CELLS["flsc"], PARAMETERS["flsc"] = CELLS["dividemix"], PARAMETERS["dividemix"]

TRAINING_KEYS = {
    "model",
    "epochs",
    "batch_size",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "momentum",
    "nesterov",
    "schedule",
    "gradient_clip",
    "augmentation",
}
OPTIONAL_KEYS = {"strong_augmentation"}
"""Only where a method has a strong view."""
# (model, epochs, learning rate, weight decay, schedule, clip) of each data set in the robust-loss codes
ROBUST = {
    "mnist": ("cnn4", 50, 0.01, 1e-3, "cosine", 5.0),
    "cifar10": ("cnn8", 120, 0.01, 1e-4, "cosine", 5.0),
    "cifar100": ("resnet34", 200, 0.1, 1e-5, "cosine", 5.0),
    "webvision": ("timm:resnet50", 250, 0.4, 3e-5, "exponential:0.97", 5.0),
    "clothing1m": ("timm:resnet50", 10, 5e-3, 1e-3, "step:5@0.1", None),
}


def test_the_tables_cover_every_method() -> None:
    assert set(CELLS) == set(METHODS)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_recipes_are_the_published_cells(name: str) -> None:
    cls = METHODS[name]
    have = Counter(
        (r.data_set, r.noise, r.rate, tuple(r.values[key] for key in PARAMETERS.get(name, []) if key in r.values))
        for r in cls.recipes
    )
    assert have == Counter(CELLS[name])
    for recipe in cls.recipes:
        assert set(recipe.values) <= set(PARAMETERS.get(name, [])), "a value that the table doesn't have"
        assert recipe.source and recipe.chosen
        assert recipe.source_names and set(recipe.source_names) <= set(CITATIONS)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_recipes_and_defaults_lie_within_the_bounds(name: str) -> None:
    cls = METHODS[name]
    known = {parameter.name: parameter for parameter in cls.parameters}
    for parameter in cls.parameters:
        assert parameter.check(parameter.default) == parameter.default
        assert parameter.meaning and parameter.source
        if parameter.search is not None and parameter.search.kind != "choice":
            assert parameter.search.low is not None and parameter.search.high is not None
            assert parameter.search.low < parameter.search.high
            parameter.check(parameter.search.low)
            parameter.check(parameter.search.high)
    for recipe in cls.recipes:
        for key, value in recipe.values.items():
            assert known[key].check(value) == value
        cls(**recipe.values)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_training_settings_are_whole_and_known(name: str) -> None:
    for recipe in METHODS[name].recipes:
        if not recipe.training:
            continue
        # WebVision's and Clothing1M's augmentation has no name here
        missing = {"augmentation"} if recipe.data_set in ("webvision", "clothing1m") else set()
        assert set(recipe.training) - OPTIONAL_KEYS == TRAINING_KEYS - missing, recipe.data_set


@pytest.mark.parametrize("data_set", sorted(ROBUST))
def test_cross_entropy_trains_as_the_robust_loss_codes_do(data_set: str) -> None:
    (recipe,) = (r for r in METHODS["ce"].recipes if r.data_set == data_set and "apl" not in r.source_names)
    keys = ("model", "epochs", "learning_rate", "weight_decay", "schedule", "gradient_clip")
    assert tuple(recipe.training[key] for key in keys) == ROBUST[data_set]


def trainings(name: str, source: str) -> dict[str, dict[str, Any]]:
    """The published trainings of a method by data set, of one source."""
    return {r.data_set: dict(r.training) for r in METHODS[name].recipes if source in r.source_names and r.training}


def test_anl_and_apl_train_mnist_differently() -> None:
    for name in ("ce", "gce", "sce", "nce+rce", "nfl+rce"):
        anl, apl = trainings(name, "anl"), trainings(name, "apl")
        assert (anl["mnist"]["weight_decay"], anl["mnist"]["nesterov"]) == (1e-3, False)
        assert apl["mnist"] == anl["mnist"] | {"weight_decay": 1e-2, "nesterov": True}
        assert apl["cifar10"] == anl["cifar10"]


@pytest.mark.parametrize(
    ("name", "source", "model"),
    [
        ("co-teaching", "co-teaching", "cnn9"),
        ("co-teaching+", "co-teaching+", "cnn7"),
        ("jocor", "jocor", "cnn7"),
        ("forward", "co-teaching", "cnn9"),
        ("forward-estimated", "co-teaching", "cnn9"),
        ("bootstrap", "co-teaching", "cnn9"),
    ],
)
def test_the_family_of_co_teaching_trains_by_adam_on_plain_images(name: str, source: str, model: str) -> None:
    """selection.md, sections 0 and 2 to 4: Adam, beta1 from 0.9 to 0.1 where the rate begins to fall."""
    found = trainings(name, source)
    assert set(found) - {"mnist"} == {"cifar10", "cifar100"}
    for data_set, training in found.items():
        decay = 100 if data_set == "cifar100" else 80
        assert training == {
            "model": model,
            "epochs": 200,
            "batch_size": 128,
            "augmentation": "none",
            "gradient_clip": None,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "momentum": 0.9,
            "nesterov": False,
            "weight_decay": 0.0,
            "schedule": f"linear:{decay}@momentum=0.1",
        }
    assert all(r.deviation for r in METHODS[name].recipes if r.training)


@pytest.mark.parametrize("name", ["phuber-ce", "taylor-ce"])
def test_clipped_losses_train_as_in_ogcs_comparison(name: str) -> None:
    """losses.md 6.8: 150 epochs, 0.1 with drops at 50 and 100, weight decay 5e-4, gradient clip 5."""
    found = trainings(name, "ogc")
    assert {data_set: training["model"] for data_set, training in found.items()} == {
        "cifar10": "resnet18",
        "cifar100": "resnet34",
    }
    for training in found.values():
        keys = ("epochs", "learning_rate", "schedule", "weight_decay", "gradient_clip", "nesterov", "augmentation")
        values = (150, 0.1, "step:50,100@0.1", 5e-4, 5.0, False, "crop4+flip+rotate15")
        assert tuple(training[key] for key in keys) == values


def test_views_of_js_and_gjs_are_of_one_magnitude_before_the_crop() -> None:
    views = {r.training["augmentation"] for name in ("js", "gjs") for r in METHODS[name].recipes[:-1]}
    assert views == {"randaugment:1:3+crop4+flip+cutout16"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("APL and ANL official codes", ("apl", "anl")),
        ("asymmetric losses, code; the same in ANL's and eps-softmax's", ("alf", "anl", "eps")),
        ("Co-teaching+, official code", ("co-teaching+",)),
        ("ELR's official code, of ELR+", ("elr",)),
    ],
)
def test_a_recipe_is_named_after_the_sources_that_its_text_cites(text: str, names: tuple[str, ...]) -> None:
    assert cited_sources(text) == names
    with pytest.raises(ValueError, match="no source"):
        cited_sources("a paper")


PYTORCHS_WEIGHTS = {"elr", "selc", "selc+", "mixnn", "cores2", "volminnet"}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_recipes_name_the_network_with_the_first_weights_of_their_code(name: str) -> None:
    """The codes of ELR, SELC, MixNN, CORES2 and VolMinNet leave PyTorch's weights, the robust losses' don't."""
    models = {r.training["model"] for r in METHODS[name].recipes if r.training and r.data_set.startswith("cifar")}
    ours = {model for model in models if model.startswith("resnet")}
    assert {model.endswith("-default") for model in ours} <= {name in PYTORCHS_WEIGHTS}
    assert ours or name not in PYTORCHS_WEIGHTS


def test_the_second_view_of_sop_plus_is_cut_out() -> None:
    views = {recipe.training["strong_augmentation"] for recipe in METHODS["sop+"].recipes}
    assert views == {"crop4+flip+autoaugment+cutout16"}
    assert all("strong_augmentation" not in recipe.training for recipe in METHODS["sop"].recipes)


def test_the_methods_authors_come_first() -> None:
    first = {r.data_set: r.values for r in reversed(METHODS["nce+mae"].recipes)}
    assert first["cifar100"] == {"alpha": 10.0, "beta": 1.0}
    first = {r.data_set: r.values for r in reversed(METHODS["nce+rce"].recipes)}
    assert first["mnist"] == {"alpha": 1.0, "beta": 10.0}


def test_names_and_aliases_are_unique_and_files_are_named_after_them() -> None:
    taken = Counter(name for cls in METHODS.values() for name in (cls.name, *cls.aliases))
    assert [name for name, times in taken.items() if times > 1] == []
    for path in FILES:
        # a plus at the end is a method's successor, one inside joins two losses
        name = re.sub(r"\+$", "_plus", class_of(path).name)
        assert name.replace("-", "_").replace("+", "_") == path.stem


@pytest.mark.parametrize("name", sorted(METHODS))
def test_declarations_are_json_and_say_where_they_come_from(name: str) -> None:
    cls = METHODS[name]
    declared = json.loads(json.dumps(cls.declaration(), allow_nan=False))
    assert declared["name"] == name
    assert declared["summary"] and "\n" not in declared["summary"]
    assert declared["source"]
    assert "Source: " in (cls.__doc__ or "")
    assert (name.startswith("ce-") or name.endswith("-ensemble")) == declared["control"]
    for identifier in ("arXiv", "NeurIPS", "ICML", "ICLR", "IJCAI", "CVPR", "ICCV", "AAAI", "standard", "control"):
        if identifier in declared["source"]:
            break
    else:
        pytest.fail(f"{name} names no source")
