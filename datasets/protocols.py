"""The settings of images and vectors that have no published ones."""

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


def vector_protocol(classes: int, views: int) -> Protocol:
    """The settings of vectors, for which nobody has published any: tables of numbers, features of a backbone.

    Recipes of methods are those of CIFAR-10, or CIFAR-100 from 50 classes on. Where training vectors have several
    `views`, the weak one is any but the plain one; the strong one leaves out features, see
    bench.training.augmentation.vector_steps.
    """
    weak = "none" if views == 1 else "view"
    return Protocol(
        recipes_from="cifar100" if classes >= 50 else "cifar10",
        model="mlp",
        epochs=50,
        batch_size=128,
        learning_rate=0.03,
        weight_decay=1e-4,
        augmentation=weak,
        strong_augmentation="dropout20" if views == 1 else f"{weak}+dropout20",
        precision="fp32",
        source="ours: plain cross-entropy on clean labels fits three small tables (breast cancer, wine, the 64 values "
        "of digits) wholly; by held-out labels 20 or 50 epochs at rates of 0.01, 0.03 and 0.1 did alike",
    )
