"""What a run costs as far as its spec decides it: passes of images through its networks, and operations of a pass.

Seconds, images a second and memory depend on the machine; `bench.provenance` has them.
"""

from __future__ import annotations

from pathlib import Path

import torch

from bench.core.trainer import Trainer
from bench.models.flops import kept_flops


def costs(trainer: Trainer, cache: Path | None) -> dict[str, float]:
    """What a finished run cost, for its record; everything is for one image of the training part.

    `forward_per_sample_epoch` and `backward_per_sample_epoch` are passes of all networks, and
    `units_per_sample_epoch` their sum, in which a backward pass counts twice: over all phases, divided by the epochs of
    the spec. Work in inner layers counts in forward passes, its backward part included. `flops_forward` and
    `flops_forward_backward` are operations of one network. What measuring took isn't counted. `cache` is the folder
    that keeps operations.
    """
    meter, part, spec = trainer.meter, trainer.part, trainer.spec
    passes = torch.tensor([meter.forward, meter.backward, meter.units], dtype=torch.float64, device=trainer.device)
    forward, backward, units = (trainer.ranks.sum(passes) / (spec.epochs * len(part.labels))).tolist()
    operations = kept_flops(spec.model, part.images.size, part.images.channels, part.classes, cache)
    return {
        "forward_per_sample_epoch": forward,
        "backward_per_sample_epoch": backward,
        "units_per_sample_epoch": units,
        "flops_forward": operations[0],
        "flops_forward_backward": operations[1],
    }
