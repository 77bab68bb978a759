"""The policies of strong views: RandAugment and AutoAugment choose operations and strengths for each image.

`Policy` applies what either drew. AutoAugment's table is the one of CIFAR-10.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from bench.training.augmentation.geometry import to_interleaved, to_planar
from bench.training.augmentation.operations import CODE, OPERATIONS, apply_colour, apply_geometric
from bench.training.augmentation.steps import Draws, PixelStep, Size

ROUNDS = 2
"""Operations that are applied to an image, one after the other."""


class Policy(PixelStep):
    """Two rounds; each applies one operation to every image, at a strength of its own.

    Draws "<name>.operation" int64 (n, 2), codes of `OPERATIONS`, and "<name>.strength" (n, 2) in [-1, 1], signed.
    """

    def pixels(self, images: Tensor, draws: Draws) -> Tensor:
        planes = to_planar(images)
        for operation, strength in self.rounds(draws):
            planes = apply_geometric(planes, operation, strength)
            planes = apply_colour(planes, operation, strength)
        return to_interleaved(planes)

    def masks(self, masks: Tensor, draws: Draws) -> Tensor:
        planes = to_planar(masks)
        for operation, strength in self.rounds(draws):
            planes = apply_geometric(planes, operation, strength)
        return to_interleaved(planes)

    def rounds(self, draws: Draws) -> list[tuple[Tensor, Tensor]]:
        """The operations and strengths (B,) of each round."""
        operations, strengths = draws[f"{self.name}.operation"], draws[f"{self.name}.strength"]
        return list(zip(operations.unbind(1), strengths.unbind(1), strict=True))


class RandAugment(Policy):
    """Two of 14 operations at random.

    Operations, their ranges and their order at random are those of RandAugment (Cubuk et al. 2020, arXiv 1909.13719)
    as torchvision gives them. What differs: the strength isn't one number for all images (their M) but uniform from
    nothing to the range's end for each image and operation, as in FixMatch (Sohn et al. 2020, arXiv 2001.07685), and
    the sign of a signed operation is uniform too.
    """

    def draws(self, n: int, size: Size, generator: Generator) -> dict[str, Tensor]:
        """Uniform operations, and strengths uniform in [-1, 1)."""
        return {
            f"{self.name}.operation": torch.randint(len(OPERATIONS), (n, ROUNDS), generator=generator),
            f"{self.name}.strength": torch.rand((n, ROUNDS), generator=generator) * 2 - 1,
        }


MAGNITUDES = 9
"""AutoAugment's strongest magnitude; 9 is strength 1 of `operations`."""

CIFAR_POLICY: tuple[tuple[tuple[str, float, int], tuple[str, float, int]], ...] = (
    (("invert", 0.1, 0), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate-x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear-y", 0.5, 8), ("translate-y", 0.7, 9)),
    (("autocontrast", 0.5, 0), ("equalize", 0.9, 0)),
    (("shear-y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 0), ("equalize", 0.5, 0)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate-x", 0.5, 8)),
    (("equalize", 0.3, 0), ("autocontrast", 0.4, 0)),
    (("translate-y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 0)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 0), ("equalize", 0.6, 0)),
    (("color", 0.9, 9), ("equalize", 0.6, 0)),
    (("autocontrast", 0.8, 0), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 0)),
    (("translate-y", 0.9, 9), ("translate-y", 0.7, 9)),
    (("autocontrast", 0.9, 0), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 0), ("invert", 0.1, 0)),
    (("translate-y", 0.7, 9), ("autocontrast", 0.9, 0)),
)
"""AutoAugment's 25 pairs for CIFAR-10: operation, its probability, its magnitude from 0 to 9."""


def policy_entry(operation: str, magnitude: int) -> tuple[int, float]:
    """Code and strength of an entry of the policy. "invert" is "solarize" at full strength: from 0 on."""
    return (CODE["solarize"], 1.0) if operation == "invert" else (CODE[operation], magnitude / MAGNITUDES)


class AutoAugment(Policy):
    """One of 25 learnt pairs of operations for each image, each applied with its probability.

    The policy for CIFAR-10 of Cubuk et al., CVPR 2019, arXiv 1805.09501, which the methods of this field use on
    CIFAR-100 too; ranges and the uniform sign of signed operations are torchvision's.
    """

    def draws(self, n: int, size: Size, generator: Generator) -> dict[str, Tensor]:
        """A pair for each image; an operation that its probability leaves out is "identity"."""
        entries = [[policy_entry(name, magnitude) for name, _, magnitude in pair] for pair in CIFAR_POLICY]
        codes = torch.tensor([[code for code, _ in pair] for pair in entries])
        strengths = torch.tensor([[strength for _, strength in pair] for pair in entries])
        chances = torch.tensor([[chance for _, chance, _ in pair] for pair in CIFAR_POLICY])
        pair = torch.randint(len(CIFAR_POLICY), (n,), generator=generator)
        applied = torch.rand((n, ROUNDS), generator=generator) < chances[pair]
        sign = torch.randint(2, (n, ROUNDS), generator=generator) * 2.0 - 1
        return {
            f"{self.name}.operation": torch.where(applied, codes[pair], CODE["identity"]),
            f"{self.name}.strength": torch.where(applied, strengths[pair] * sign, 0.0),
        }
