"""The settings of images that have no published ones."""

from __future__ import annotations

from datasets.interface import Protocol

WIDEST_CROP = 1024
"""Pixels that a crop may reach beyond an image, at most: `bench.spec.augmentations` takes no more."""


def protocol(shape: tuple[int, int, int], classes: int) -> Protocol:
    """The settings of images without published ones: those of the published set that is most like them.

    Grey: MNIST's. RGB: CIFAR-10's, or CIFAR-100's from 50 classes on. The backbone follows the size: `cnn4` (grey) and
    `cnn8` or `resnet34` (RGB) up to 32 pixels, `resnet18` up to 64, above that ImageNet's stem.
    """
    height, width, channels = shape
    side = max(height, width)
    many = classes >= 50
    small = "cnn4" if channels == 1 else "resnet34" if many else "cnn8"
    model = "cnn-small" if side < 16 else small if side <= 32 else "resnet18" if side <= 64 else "timm:resnet18"
    crop = f"crop{min(max(1, side // 8), WIDEST_CROP)}"
    if many:
        name, epochs, rate, decay, weak = "cifar100", 200, 0.1, 1e-5, f"{crop}+flip+rotate20"
    elif channels == 1:
        name, epochs, rate, decay, weak = "mnist", 50, 0.01, 1e-3, "none"
    else:
        name, epochs, rate, decay, weak = "cifar10", 120, 0.01, 1e-4, f"{crop}+flip"
    strong = f"{crop}+randaugment+cutout" if channels == 1 else f"{crop}+flip+autoaugment"
    return Protocol(
        recipes_from=name,
        model=model,
        epochs=epochs,
        batch_size=128,
        learning_rate=rate,
        weight_decay=decay,
        augmentation=weak,
        strong_augmentation=strong,
        source=f"that of {name}, by the images' shape and the number of classes",
    )
