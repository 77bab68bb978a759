"""Named augmentations, drawn per image ahead of time and applied to a whole batch on the device; see `Augmentation`.

A name is "none" or steps joined with "+":

    cropN        zero-pad N pixels and crop back (crop4: the usual one for CIFAR)
    flip         mirror left and right with probability 1/2
    rotateD      rotate by a uniform angle within D degrees
    autoaugment  one of AutoAugment's 25 pairs of operations for CIFAR-10, see bench.training.augmentation.policies
    randaugment  two random operations of random strength, see bench.training.augmentation.policies
    randaugment:N:M  N operations of one magnitude M of 30, before all other steps, see
                 bench.training.augmentation.magnitude
    cutoutN      a square of N pixels of the mean colour; "cutout": half of the shorter side

Of samples that are vectors, see bench.training.augmentation.vector_steps:

    view         one of the stored views of each vector but the plain one, at random
    dropoutN     each feature is its mean with a probability of N percent

Steps act in this order however the name lists them, each at most once; `bench.spec.augmentations` writes the canonical
name, which is part of a run's identity. An earlier step's draws don't depend on the later ones: "crop4" and
"crop4+flip" crop alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from bench.spec.augmentations import AugmentationStep, acts_first, augmentation_steps, format_step
from bench.system.errors import UsageError
from bench.training.augmentation.magnitude import MagnitudeRandAugment
from bench.training.augmentation.policies import AutoAugment, RandAugment
from bench.training.augmentation.steps import Crop, Cutout, Draws, Flip, LateCrop, PixelStep, Rotate, Size
from bench.training.augmentation.vector_steps import FeatureDropout, OtherView
from bench.training.images.image_store import ImageStore
from bench.training.images.vector_store import VectorStore

__all__ = ["Augmentation", "build_augmentation", "padding_and_flips"]


class Augmentation:
    """A pipeline of steps. `name` is canonical; `pad` is the smallest padding that its ImageStore may have."""

    def __init__(self, steps: Sequence[PixelStep]) -> None:
        self.steps = tuple(steps)
        self.name = "+".join(step.name for step in steps) or "none"
        # What acts before the crop can't be part of the gather, and then the crop and the flip can't either.
        gathered = () if any(step.acts_first for step in steps) else self.steps
        self.crop = next((step for step in gathered if isinstance(step, Crop)), None)
        self.flip = next((step for step in gathered if isinstance(step, Flip)), None)
        self.view = next((step for step in gathered if isinstance(step, OtherView)), None)
        self.pad = self.crop.margin if self.crop else 0

    def draws(self, n: int, size: Size, generator: Generator) -> dict[str, Tensor]:
        """Every random number for n images of `size` (height, width): CPU tensors by name, first axis n.

        Empty for "none". `apply` takes the draws of one batch.
        """
        drawn: dict[str, Tensor] = {}
        for step in sorted(self.steps, key=lambda step: step.acts_first):
            drawn |= step.draws(n, size, generator)
        return drawn

    def apply(self, store: ImageStore, index: Tensor, draws: Draws, dtype: torch.dtype = torch.float32) -> Tensor:
        """The images `index` (B,) augmented by `draws` (first axis B, on the store's device) and normalised.

        Returns (B, C, H, W) of `dtype` in channels_last memory format. A function of its tensors alone: nothing is
        drawn, no shape depends on data and the host never waits. The store's padding must be `pad` or more.
        """
        pixels = self.gather(store, index, draws)
        for step in self._after_gathering(store):
            pixels = step.pixels(pixels, draws)
        images = store.normalise(pixels)
        for step in self.steps:
            images = step.normalised(images, draws)
        return images.to(dtype)

    def apply_mask(self, store: ImageStore, index: Tensor, draws: Draws) -> Tensor:
        """Masks that follow the images: the geometric steps alone, uint8 (B, H, W, C), unnormalised.

        `store` holds masks as uint8 images (N, H, W, C), such as 0 and 1 or class ids, with the images' padding.
        """
        masks = self.gather(store, index, draws)
        for step in self._after_gathering(store):
            masks = step.masks(masks, draws)
        return masks

    def gather(self, store: ImageStore, index: Tensor, draws: Draws) -> Tensor:
        """The batch's crops (or whole images), uint8 (B, H, W, C), flipped where the store keeps mirror images.

        Of a store of vectors (B, D): their plain views, or others.
        """
        if self.view is not None and isinstance(store, VectorStore):
            return store.other_view(index, draws["view"])
        flipped = draws["flip"] if self.flip is not None and store.mirrored else None
        if self.crop is None:
            return store.centre(index, flipped)
        spare = store.pad - self.crop.margin
        if spare < 0:
            raise UsageError(f"{self.name} needs images padded by {self.pad} pixels, not {store.pad}.")
        down, right = draws["crop.down"], draws["crop.right"]
        if spare:
            down, right = down + spare, right + spare
        return store.crops(index, down, right, flipped)

    def _after_gathering(self, store: ImageStore) -> list[PixelStep]:
        """The steps that remain after gathering; a flip, which is the first of them, may be part of the gather."""
        return [step for step in self.steps if not (store.mirrored and step is self.flip)]


def build_augmentation(name: str) -> Augmentation:
    """The augmentation called `name`, such as "crop4+flip". Raises UsageError on a step that doesn't exist."""
    named = augmentation_steps(name)
    late = any(map(acts_first, named))
    return Augmentation([build_step(step, late) for step in named])


def padding_and_flips(*names: str) -> tuple[int, bool]:
    """(padding, whether mirror images are used) that an image store needs for the augmentations of these names."""
    augmentations = [build_augmentation(name) for name in names]
    padding = max((augmentation.pad for augmentation in augmentations), default=0)
    return padding, any(augmentation.flip is not None for augmentation in augmentations)


def build_step(named: AugmentationStep, late: bool = False) -> PixelStep:
    """A step from its kind and numbers; `late`: another one acts before the crop."""
    kind, numbers = named
    text, number = format_step(named), numbers[0] if numbers else 0
    match kind:
        case "crop":
            return LateCrop(text, number) if late else Crop(text, number)
        case "flip":
            return Flip(text)
        case "rotate":
            return Rotate(text, number)
        case "autoaugment":
            return AutoAugment(text)
        case "randaugment":
            return MagnitudeRandAugment(text, *numbers) if acts_first(named) else RandAugment(text)
        case "view":
            return OtherView(text)
        case "dropout":
            return FeatureDropout(text, number)
        case _:
            return Cutout(text, number or None)
