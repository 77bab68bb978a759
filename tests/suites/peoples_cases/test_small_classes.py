"""Few images a class: the realised rate is the nominal one, and labels that were published stay what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.records.compact import read_jsonl
from datasets.digits import Digits
from datasets.draw import draw_indices
from datasets.interface import Options
from datasets.noise import NoiseFacts, corrupt
from datasets.noise.asym import Asymmetric
from datasets.noise.sym import Symmetric

RECORDS = Path(__file__).resolve().parents[3] / "leaderboards" / "published" / "records" / "digits.jsonl"


@pytest.mark.skipif(not RECORDS.exists(), reason="the published records are in the repository alone")
def test_published_labels_of_digits_stay_what_they_are() -> None:
    digits, seen = Digits(Options()), set()
    for record in read_jsonl(RECORDS):
        spec, expected = record["spec"], record["measures"]["labels_sha256"]
        of_noise = tuple(spec[name] for name in ("noise", "rate", "noise_seed", "split_seed", "imbalance"))
        if of_noise in seen:
            continue
        seen.add(of_noise)
        labels = digits.outline(spec["split_seed"]).labels
        clean = labels[draw_indices(labels, 10, spec["train_size"], spec["imbalance"], spec["split_seed"])]
        noise = {"sym": Symmetric, "asym": Asymmetric}[spec["noise"]]()
        drawn = corrupt(noise, clean, NoiseFacts.of(digits.describe()), spec["rate"], spec["noise_seed"], spec["draw"])
        assert drawn.sha256 == expected, of_noise
    assert len(seen) == 25


def test_the_rate_is_met_and_the_run_has_an_id_of_its_own(own: Any) -> None:
    """40 classes of 5 images, 4 of them for training: class by class, 0.1 was no noise at all, and 0.3 a quarter."""
    own.table("index.csv", ("path", "label"), [(path, f"kind {kind:02}") for path, kind, _ in own.pictures(5, 40)])
    for rate, wrong in ((0.1, 16), (0.3, 48), (0.25, 40)):
        shown = own.typed(f"show noise sym --rate {rate} --dataset table:index.csv --format json").json
        assert shown["realised_rate"] == pytest.approx(wrong / 160), rate
    line = "run --methods ce --noise sym --epochs 1 --seeds 1 --model cnn-small --batch-size 32 --jobs 1"
    done = own.typed(f"{line} --rate 0.1,0.25 --dataset table:index.csv")
    assert done.code == 0, done.err
    rounding = {record["spec"]["rate"]: record["spec"].get("rounding") for record in own.records()}
    assert rounding == {0.1: "total", 0.25: None}, "where quotas are whole, nothing was rounded then or now"
    assert all(record["measures"]["realised_rate"] == pytest.approx(record["spec"]["rate"]) for record in own.records())


def test_digits_keep_their_run_ids(own: Any) -> None:
    line = "run --methods ce --noise sym --rate 0.4,0.5 --seeds 1 --epochs 3 --dry-run --format json"
    plan = own.typed(f"{line} --dataset digits --train-size 700")
    assert plan.code == 0 and "rounding" not in json.dumps(plan.json)
