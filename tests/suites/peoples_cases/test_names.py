"""Names as people write them: case and hyphens don't matter, and nothing is suggested that isn't near."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench import registry
from bench.registry.names import select_methods
from bench.system.errors import UsageError, nearest_names


@pytest.mark.parametrize(
    ("kind", "typed", "name"),
    [
        ("method", "CE", "ce"),
        ("method", "DivideMix", "dividemix"),
        ("method", "Co_Teaching", "co-teaching"),
        ("method", "ELR+", "elr+"),
        ("data set", "MNIST", "mnist"),
        ("data set", "CIFAR-10", "cifar10"),
        ("data set", "FashionMNIST", "fashion-mnist"),
        ("noise", "Sym", "sym"),
        ("noise", "Symmetric", "sym"),
        ("noise", "PairFlip", "pairflip"),
        ("model", "ResNet-18", "resnet18"),
    ],
)
def test_case_and_hyphens_do_not_matter(kind: str, typed: str, name: str) -> None:
    assert registry.find_declaration(kind, typed)["name"] == name


def test_every_name_is_found_in_capitals() -> None:
    kinds = {"method": registry.methods, "data set": registry.data_sets, "noise": registry.noises}
    for kind, declared in kinds.items():
        for name, entry in declared().items():
            for word in (name, *entry["aliases"]):
                assert registry.find_declaration(kind, word.upper().replace("-", "_"))["name"] == name


def test_globs_and_all_in_capitals() -> None:
    methods = registry.methods()
    assert [item.name for item in select_methods(["ANL*"], methods)] == [n for n in methods if n.startswith("anl")]
    assert len(select_methods(["ALL"], methods)) == len(methods)


def test_a_request_in_capitals_is_the_same_request(own: Any) -> None:
    plans = [
        own.typed(f"run {line} --epochs 1 --seeds 1 --dry-run --format json")
        for line in (
            "--methods CE,G_CE --dataset Digits --noise SYM,None --model CNN_Small",
            "--methods ce,gce --dataset digits --noise sym,none --model cnn-small",
        )
    ]
    assert [plan.code for plan in plans] == [0, 0], plans[0].err
    first, second = ([run["run_id"] for run in json.loads(plan.out)["runs"]] for plan in plans)
    assert first == second and len(first) == 4


@pytest.mark.parametrize(("option", "word"), [("noise", "backdoor"), ("dataset", "xyz"), ("methods", "xyz")])
def test_nothing_is_suggested_that_is_not_near(own: Any, option: str, word: str) -> None:
    refused = own.typed(f"run --{option} {word}")
    assert refused.code == 2 and "Did you mean" not in refused.err
    assert f"{word!r}. Known: " in refused.err and "python -m bench list" in refused.err


def test_near_names_in_another_case() -> None:
    assert nearest_names("GEC", ["gce", "sce", "anl-ce"])[0] == "gce"
    assert nearest_names("instance", ["none", "sym", "asym", "column"]) == []
    with pytest.raises(UsageError, match="Did you mean gce"):
        registry.find_declaration("method", "GEC")
