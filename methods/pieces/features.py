"""Outputs of a network beyond its logits, for `Task.infer(output=...)`."""

from __future__ import annotations

from typing import Any

from torch import Tensor, cat


def logits_and_features(module: Any, images: Tensor) -> Tensor:
    """Logits beside the features that the classifier was given, (B, K + D) float32, of images (B, C, H, W)."""
    features = module.forward_head(module.forward_features(images), pre_logits=True).float()
    return cat([module.get_classifier()(features), features], dim=1)
