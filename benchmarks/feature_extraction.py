"""What making features costs beside the backbone itself: images per second of both, in turn, and their ratio.

The bare model gets views that are normalised already, in batches of the same size and in the same precision. An
extraction reads images, makes their views, computes and writes to the disk. Weights are random: they cost the same.

python benchmarks/feature_extraction.py [--backbone tf_efficientnet_lite0] [--size 128] [--views 4] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import timm
import torch

from bench.features.block_files import Array, Block
from bench.features.extraction import BATCH, Extraction
from bench.features.feature_files import FeatureFiles, ImageContent, feature_length
from bench.spec.features import FeatureSettings
from bench.system.files import file_hash
from bench.system.hardware import has_fast_bf16
from bench.training.precision import prepare_process

CLOCKS = {"cpu": time.process_time, "cuda": time.perf_counter}
"""On a CPU the time of all its threads, which other programs' load doesn't change."""


def extract(settings: FeatureSettings, weights: Path, images: np.ndarray, device: str, threads: int) -> float:
    """Seconds that the features of `images` take, from the images to the files."""
    with tempfile.TemporaryDirectory() as folder:
        content = ImageContent("0" * 64, None, 0, {"train": len(images)})
        length = feature_length(settings, Path(folder))
        files = FeatureFiles.of(settings, content, length, Path(folder))
        sources = {"train": images}
        with closing(Extraction(settings, weights, sources, files.views, torch.device(device), threads)) as extraction:

            def make(block: Block) -> Array:
                return extraction.features_of(block, None)

            make(Block("train", 0, 64))  # which warms up
            began = CLOCKS[torch.device(device).type]()
            files.blocks.complete(make, lambda done: None)
            return CLOCKS[torch.device(device).type]() - began


def infer(settings: FeatureSettings, passes: int, device: str) -> float:
    """Seconds that `passes` views take of the bare model."""
    model = timm.create_model(settings.name, num_classes=0).eval()
    model = model.to(device).to(memory_format=torch.channels_last)
    batch = BATCH[torch.device(device).type]
    views = torch.rand(batch, 3, settings.size, settings.size, device=device).to(memory_format=torch.channels_last)
    low = settings.precision == "bf16"
    with torch.inference_mode(), torch.autocast(torch.device(device).type, torch.bfloat16, enabled=low):
        model(views).cpu()
        began = CLOCKS[torch.device(device).type]()
        for _ in range(-(-passes // batch)):
            features = model(views)
        features.cpu()
        return (CLOCKS[torch.device(device).type]() - began) * passes / (-(-passes // batch) * batch)


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--side", type=int, default=32, help="pixels a side of the images")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    prepare_process(asked.threads)
    random = np.random.Generator(np.random.PCG64(0))
    images = random.integers(0, 256, (asked.images, asked.side, asked.side, 3), dtype=np.uint8)
    precision = "bf16" if has_fast_bf16(asked.device) else "fp32"
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "random.pth"
        torch.save(timm.create_model(asked.backbone).state_dict(), weights)
        sha256 = file_hash(weights) or ""
        settings = FeatureSettings(f"timm:{asked.backbone}", sha256, asked.size, asked.views, None, precision)
        passes = asked.images * asked.views
        ratios, speeds = [], []
        for _ in range(asked.repeats):
            bare = infer(settings, passes, asked.device)
            whole = extract(settings, weights, images, asked.device, asked.threads)
            ratios.append(bare / whole)
            speeds.append(passes / whole)
    result = {
        "throughput_of_bare": statistics.median(ratios),
        "from": min(ratios),
        "to": max(ratios),
        "views_per_second": statistics.median(speeds),
        "precision": precision,
    }
    print(f"extraction at {result['throughput_of_bare']:.3f} of the bare model's throughput ({precision}; ", end="")
    print(f"{min(ratios):.3f} to {max(ratios):.3f} in {asked.repeats} turns), {result['views_per_second']:.0f} views/s")
    if asked.json is not None:
        asked.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
