"""Augmentation against torchvision, image by image, for the same draws."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms import v2
from torchvision.transforms.functional import normalize, to_tensor
from torchvision.transforms.v2 import functional as reference

from bench.spec.augmentations import KINDS, OF_VECTORS, canonical_augmentation
from bench.system.errors import UsageError
from bench.training.augmentation import Augmentation, build_augmentation
from bench.training.augmentation.magnitude import entries_at
from bench.training.augmentation.operations import CODE
from bench.training.augmentation.policies import CIFAR_POLICY, policy_entry
from bench.training.images.image_store import ImageStore

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
EVERYTHING = "crop2+flip+rotate20+autoaugment+randaugment+cutout"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_store(shape: tuple[int, int, int, int] = (40, 32, 32, 3), pad: int = 4, mirrored: bool = False) -> ImageStore:
    """Smooth random images, as photographs are: neighbouring pixels are alike."""
    count, height, width, channels = shape
    coarse = torch.rand((count, channels, 5, 5), generator=generator(1))
    images = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return ImageStore(pixels, MEAN[:channels], STD[:channels], pad, mirrored)


def original(store: ImageStore, number: int) -> Tensor:
    """One image as torchvision wants it: uint8 (C, H, W)."""
    return store.centre(torch.tensor([number]))[0].permute(2, 0, 1)


def torchvision_normalise(image: Tensor, store: ImageStore) -> Tensor:
    """ToTensor and Normalize, on an image as NumPy or Pillow would hand it over."""
    scaled = to_tensor(image.permute(1, 2, 0).numpy())
    return normalize(scaled, store.mean.tolist(), store.std.tolist())


def augmented(name: str, store: ImageStore, seed: int = 0) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """A batch of every second image: (index, images, draws)."""
    augmentation = build_augmentation(name)
    index = torch.arange(0, len(store), 2)
    draws = augmentation.draws(len(index), store.size, generator(seed))
    return index, augmentation.apply(store, index, draws), draws


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("shape", [(10, 32, 32, 3), (10, 8, 8, 1), (10, 9, 12, 3)])
@pytest.mark.parametrize("name", ["none", "crop4", "flip", "crop4+flip", "crop2+flip"])
def test_crop_flip_and_normalise_equal_torchvision_bit_for_bit(
    shape: tuple[int, ...], name: str, mirrored: bool
) -> None:
    store = make_store(shape, mirrored=mirrored)
    index, images, draws = augmented(name, store)
    assert images.is_contiguous(memory_format=torch.channels_last)
    margin = build_augmentation(name).pad
    for row, number in enumerate(index.tolist()):
        expected = original(store, number)
        if margin:
            padded = reference.pad(expected, [margin])
            top, left = int(draws["crop.down"][row]), int(draws["crop.right"][row])
            expected = reference.crop(padded, top, left, *store.size)
        if "flip" in draws and draws["flip"][row]:
            expected = reference.horizontal_flip(expected)
        assert torch.equal(images[row], torchvision_normalise(expected, store))


def test_none_is_the_plain_batch_and_keeps_the_images_uncopied() -> None:
    pixels = torch.randint(0, 256, (6, 8, 8, 1), dtype=torch.uint8, generator=generator())
    store = ImageStore(pixels, MEAN[:1], STD[:1])
    assert store.images.data_ptr() == pixels.data_ptr()
    index = torch.tensor([5, 0, 5])
    assert torch.equal(build_augmentation("none").apply(store, index, {}), store.plain(index))


@pytest.mark.parametrize("name", ["crop4+flip+rotate20", "crop2+flip+autoaugment+cutout", "flip+randaugment"])
def test_mirror_images_that_are_kept_change_no_bit(name: str) -> None:
    plain, kept = make_store(), make_store(mirrored=True)
    assert len(plain) == len(kept)
    augmentation, index = build_augmentation(name), torch.arange(0, len(plain), 3)
    draws = augmentation.draws(len(index), plain.size, generator())
    assert 0 < draws["flip"].sum() < len(index)
    assert torch.equal(augmentation.apply(plain, index, draws), augmentation.apply(kept, index, draws))
    assert torch.equal(augmentation.apply_mask(plain, index, draws), augmentation.apply_mask(kept, index, draws))


@pytest.mark.parametrize("shape", [(40, 32, 32, 3), (40, 9, 12, 1)])
def test_rotation_equals_torchvision_but_for_ties(shape: tuple[int, ...]) -> None:
    """Pixels whose source lies within float32 precision of a pixel's edge may fall either way: under 1 in 500."""
    store = make_store(shape)
    index, images, draws = augmented("rotate20", store)
    assert draws["rotate"].abs().max() > 10
    differing = 0
    for row, number in enumerate(index.tolist()):
        expected = torchvision_normalise(reference.rotate(original(store, number), float(draws["rotate"][row])), store)
        differing += int((images[row] != expected).sum())
    assert differing <= images.numel() / 500


@pytest.mark.parametrize(("name", "side"), [("cutout", 16), ("cutout8", 8), ("cutout5", 5), ("cutout40", 40)])
def test_cutout_zeroes_a_clipped_square(name: str, side: int) -> None:
    store = make_store()
    index, images, draws = augmented(name, store)
    for row, number in enumerate(index.tolist()):
        expected = torchvision_normalise(original(store, number), store)
        top, left = int(draws["cutout.row"][row]) - side // 2, int(draws["cutout.column"][row]) - side // 2
        expected[:, max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = 0
        assert torch.equal(images[row], expected)


def reference_operation(image: Tensor, name: str, strength: float) -> Tensor:
    """One RandAugment operation by torchvision on one image uint8 (C, H, W); `strength` in [-1, 1]."""
    height, width = image.shape[1:]
    factor = 1 + 0.9 * strength
    still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    slant = math.degrees(math.atan(0.3 * strength))
    simple = {
        "identity": lambda: image,
        "shear-x": lambda: reference.affine(image, **still | {"shear": [slant, 0.0]}, center=[0, 0]),
        "shear-y": lambda: reference.affine(image, **still | {"shear": [0.0, slant]}, center=[0, 0]),
        "translate-x": lambda: reference.affine(image, **still | {"translate": [int(150 / 331 * width * strength), 0]}),
        "translate-y": lambda: reference.affine(
            image, **still | {"translate": [0, int(150 / 331 * height * strength)]}
        ),
        "rotate": lambda: reference.rotate(image, 30 * strength),
        "brightness": lambda: reference.adjust_brightness(image, factor),
        "color": lambda: reference.adjust_saturation(image, factor),
        "contrast": lambda: reference.adjust_contrast(image, factor),
        "sharpness": lambda: reference.adjust_sharpness(image, factor),
        "posterize": lambda: reference.posterize(image, 8 - round(4 * abs(strength))),
        "solarize": lambda: reference.solarize(image, 255 * (1 - abs(strength))),
        "autocontrast": lambda: reference.autocontrast(image),
        "equalize": lambda: reference.equalize(image),
    }
    return simple[name]()


OPERATIONS = [
    *("identity", "shear-x", "shear-y", "translate-x", "translate-y", "rotate"),
    *("brightness", "color", "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize"),
]


@pytest.mark.parametrize("shape", [(8, 32, 32, 3), (8, 28, 20, 1), (8, 8, 8, 3)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_randaugment_operation_equals_torchvision(name: str, shape: tuple[int, ...]) -> None:
    """Geometric ones but for ties (under 1 in 200), colours to one level of 255."""
    store = make_store(shape)
    index = torch.arange(8)
    operation = torch.zeros((8, 2), dtype=torch.long)
    operation[:, 0] = OPERATIONS.index(name)
    strength = torch.tensor([-0.97, -0.7, -0.31, -0.02, 0.02, 0.31, 0.7, 0.97])[:, None].repeat(1, 2)
    draws = {"randaugment.operation": operation, "randaugment.strength": strength}
    images = build_augmentation("randaugment").apply(store, index, draws)
    pixels = (images * store.std[:, None, None] + store.mean[:, None, None]) * 255
    changed, far = 0.0, 0
    for row in range(8):
        expected = reference_operation(original(store, row), name, float(strength[row, 0])).float()
        far += int(((pixels[row] - expected).abs() > 1.01).sum())
        changed += float((expected - original(store, row).float()).abs().max())
    assert far <= images.numel() / 200 if name in OPERATIONS[1:6] else far == 0
    nothing = name == "identity" or (name == "color" and shape[3] == 1) or (name == "equalize" and shape[1] == 8)
    assert nothing or changed > 1


def test_randaugment_applies_its_two_operations_in_their_order() -> None:
    store = make_store((20, 32, 32, 3))
    index, images, draws = augmented("randaugment", store, seed=3)
    pixels = (images * store.std[:, None, None] + store.mean[:, None, None]) * 255
    good = 0
    for row, number in enumerate(index.tolist()):
        expected = original(store, number)
        for code, strength in zip(
            draws["randaugment.operation"][row].tolist(), draws["randaugment.strength"][row].tolist(), strict=True
        ):
            expected = reference_operation(expected, OPERATIONS[code], strength)
        good += int(((pixels[row] - expected.float()).abs() <= 2).float().mean() > 0.99)
    assert good == len(index)


def published_operation(
    number: int, image: Image.Image, magnitude: int, sign: int, corner: tuple[int, int]
) -> Image.Image:
    """One of the 16 operations of pytorch-randaugment at a magnitude of 30, by Pillow; `corner` of its grey square."""
    share = magnitude / 30
    factor = 0.1 + 1.8 * share

    def affine(*numbers: float) -> Image.Image:
        return image.transform(image.size, Image.Transform.AFFINE, numbers)

    def cut() -> Image.Image:
        copied = image.copy()
        right, down = (min(length, first + 40 * share) for length, first in zip(image.size, corner, strict=True))
        ImageDraw.Draw(copied).rectangle((*corner, right, down), (125, 123, 114))
        return copied

    def add() -> Image.Image:
        brighter = np.clip(np.asarray(image).astype(int) + 110 * share, 0, 255).astype(np.uint8)
        return ImageOps.solarize(Image.fromarray(brighter), 128)

    return [
        lambda: ImageOps.autocontrast(image),
        lambda: ImageOps.equalize(image),
        lambda: ImageOps.invert(image),
        lambda: image.rotate(sign * 30 * share),
        # a Pillow of the code's time took 0 bits too, of which nothing remains
        lambda: image.point([value & ~(2 ** (8 - int(4 * share)) - 1) for value in range(256)] * 3),
        lambda: ImageOps.solarize(image, 256 * share),
        add,
        lambda: ImageEnhance.Color(image).enhance(factor),
        lambda: ImageEnhance.Contrast(image).enhance(factor),
        lambda: ImageEnhance.Brightness(image).enhance(factor),
        lambda: ImageEnhance.Sharpness(image).enhance(factor),
        lambda: affine(1, sign * 0.3 * share, 0, 0, 1, 0),
        lambda: affine(1, 0, 0, sign * 0.3 * share, 1, 0),
        cut,
        lambda: affine(1, 0, -sign * 100 * share, 0, 1, 0),
        lambda: affine(1, 0, 0, 0, 1, -sign * 100 * share),
    ][number]()


@pytest.mark.parametrize("magnitude", [0, 3, 14, 30])
@pytest.mark.parametrize("number", range(16))
def test_each_operation_of_one_magnitude_is_pillows(number: int, magnitude: int) -> None:
    """Geometric ones but for ties (under 1 in 100), colours to two levels of 255."""
    augmentation = build_augmentation(f"randaugment:1:{magnitude}")
    store = make_store((2, 32, 32, 3), pad=0)
    name, strength, signed = entries_at(magnitude, store.size)[number]
    sign = torch.tensor([[1.0], [-1.0]]) if signed else torch.ones(2, 1)
    place = torch.tensor([[[0.1, 0.8]], [[0.6, 0.02]]])
    draws = {
        f"{augmentation.name}.operation": torch.full((2, 1), CODE[name]),
        f"{augmentation.name}.strength": strength * sign,
        f"{augmentation.name}.place": place,
    }
    images = augmentation.apply(store, torch.arange(2), draws)
    pixels = (images * store.std[:, None, None] + store.mean[:, None, None]) * 255
    for row in range(2):
        original_image = Image.fromarray(original(store, row).permute(1, 2, 0).numpy())
        side = 40 * magnitude / 30
        corner = tuple(int(max(0, 32 * float(centre) - side / 2)) for centre in reversed(place[row, 0]))
        expected = published_operation(number, original_image, magnitude, int(sign[row]), corner)
        wanted = torch.from_numpy(np.asarray(expected).copy()).permute(2, 0, 1)
        far = float(((pixels[row] - wanted).abs() > 2.01).float().mean())
        assert far <= (0.01 if name in OPERATIONS[1:6] else 0), (name, far)


def test_one_magnitude_acts_before_the_crop_and_on_the_same_crops() -> None:
    store = make_store((30, 16, 24, 3), pad=4)
    strong, weak = build_augmentation("flip+crop3+randaugment:2:9+cutout4"), build_augmentation("crop3+flip+cutout4")
    assert strong.name == "randaugment:2:9+crop3+flip+cutout4"
    index = torch.arange(30)
    draws = strong.draws(30, store.size, generator())
    usual = weak.draws(30, store.size, generator())
    assert all(torch.equal(draws[name], usual[name]) for name in usual)
    first = build_augmentation("randaugment:2:9")
    changed = first.apply(store, index, {name: draws[name] for name in draws if name.startswith("randaugment")})
    pixels = ((changed * store.std[:, None, None] + store.mean[:, None, None]) * 255).round().to(torch.uint8)
    between = ImageStore(pixels.permute(0, 2, 3, 1).contiguous(), MEAN, STD, 4)
    assert torch.equal(strong.apply(store, index, draws), weak.apply(between, index, usual))
    mirrored = make_store((30, 16, 24, 3), pad=4, mirrored=True)
    assert torch.equal(strong.apply(mirrored, index, draws), strong.apply(store, index, draws))
    masks = ImageStore((store.images[:, 4:-4, 4:-4, :1] > 128).to(torch.uint8).contiguous(), (0.0,), (1.0,), 0)
    followed = strong.apply_mask(masks, index, draws)
    assert followed.shape == (30, 16, 24, 1) and set(followed.unique().tolist()) == {0, 1}


def test_one_magnitude_draws_every_operation_alike() -> None:
    draws = build_augmentation("randaugment:1:3").draws(16_000, (32, 32), generator())
    counts = Counter(draws["randaugment:1:3.operation"].flatten().tolist())
    # solarising and inverting are one code of two strengths
    assert sorted(counts.values())[-1] == pytest.approx(2000, abs=5 * 42)
    assert len(counts) == 15 and min(counts.values()) > 850
    for operation, strength in zip(
        draws["randaugment:1:3.operation"].flatten(), draws["randaugment:1:3.strength"].flatten(), strict=True
    ):
        if int(operation) == CODE["rotate"]:
            assert abs(float(strength)) == pytest.approx(0.1)


def test_draws_are_uniform() -> None:
    """Each mean of 20,000 draws within 5 standard errors of what it should be."""
    count = 20_000
    drawn = build_augmentation("crop4+flip+rotate20+randaugment+cutout").draws(count, (16, 24), generator())
    uniform = {
        "crop.down": (0, 8),
        "crop.right": (0, 8),
        "cutout.row": (0, 15),
        "cutout.column": (0, 23),
        "flip": (0, 1),
        "randaugment.operation": (0, 13),
    }
    for name, (low, high) in uniform.items():
        values = drawn[name].double()
        assert values.min() == low
        assert values.max() == high
        spread = math.sqrt(((high - low + 1) ** 2 - 1) / 12 / values.numel())
        assert abs(float(values.mean()) - (low + high) / 2) < 5 * spread
    for name, most in {"rotate": 20.0, "randaugment.strength": 1.0}.items():
        values = drawn[name].double() / most
        assert values.abs().max() <= 1
        assert abs(float(values.mean())) < 5 / math.sqrt(3 * values.numel())
        assert abs(float((values**2).mean()) - 1 / 3) < 5 * math.sqrt(4 / 45 / values.numel())


def test_draws_repeat_and_do_not_depend_on_later_steps() -> None:
    size, count = (32, 32), 50
    first, again = (build_augmentation(EVERYTHING).draws(count, size, generator(5)) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = build_augmentation(EVERYTHING).draws(count, size, generator(6))
    assert all(not torch.equal(first[name], other[name]) for name in first)
    shorter = build_augmentation("crop2+flip").draws(count, size, generator(5))
    assert all(torch.equal(first[name], shorter[name]) for name in shorter)
    assert all(len(values) == count and values.device.type == "cpu" for values in first.values())


def test_the_callers_generator_is_the_only_one_that_moves() -> None:
    before = torch.get_rng_state()
    augmented(EVERYTHING, make_store())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("shape", [(6, 8, 8, 1), (6, 32, 32, 3), (6, 17, 9, 3)])
def test_a_batch_is_its_images_one_by_one(shape: tuple[int, ...]) -> None:
    store = make_store(shape)
    augmentation = build_augmentation(EVERYTHING)
    index = torch.tensor([3, 3, 0, 5])
    draws = augmentation.draws(4, store.size, generator(2))
    together = augmentation.apply(store, index, draws)
    for row in range(4):
        alone = {name: values[row : row + 1] for name, values in draws.items()}
        single = augmentation.apply(store, index[row : row + 1], alone)
        # Contrast rests on a mean over pixels, whose summation order may depend on the batch: one level of 255.
        assert float((single[0] - together[row]).abs().max()) <= 1.01 / 255 / min(STD)


@pytest.mark.parametrize("name", ["none", "crop4+flip", EVERYTHING])
def test_shapes_do_not_depend_on_data(name: str) -> None:
    """Under FakeTensorMode a read of a value, or a shape that rests on one, raises."""
    with FakeTensorMode():
        images = torch.zeros((20, 16, 16, 3), dtype=torch.uint8)
        augmentation = build_augmentation(name)
        store = ImageStore(images, MEAN, STD, augmentation.pad)
        draws = {
            key: torch.zeros((7, *tail), dtype=dtype)
            for key, tail, dtype in (
                ("crop.down", (), torch.long),
                ("crop.right", (), torch.long),
                ("flip", (), torch.bool),
                ("rotate", (), torch.float32),
                ("autoaugment.operation", (2,), torch.long),
                ("autoaugment.strength", (2,), torch.float32),
                ("randaugment.operation", (2,), torch.long),
                ("randaugment.strength", (2,), torch.float32),
                ("cutout.row", (), torch.long),
                ("cutout.column", (), torch.long),
            )
        }
        out = augmentation.apply(store, torch.zeros(7, dtype=torch.long), draws)
    assert out.shape == (7, 3, 16, 16)


def test_masks_follow_the_images() -> None:
    """An image that is its own mask stays so under every geometric step."""
    masks = (make_store((12, 16, 16, 1), pad=0).images > 128).to(torch.uint8)
    images = ImageStore(masks * 255, (0.0,), (1.0,), 4)
    followed = ImageStore(masks, (0.0,), (1.0,), 4)
    augmentation = build_augmentation("crop4+flip+rotate90")
    index = torch.arange(12)
    draws = augmentation.draws(12, images.size, generator())
    out = augmentation.apply(images, index, draws)
    assert torch.equal(out[:, 0], augmentation.apply_mask(followed, index, draws)[..., 0].float())
    strong = build_augmentation("autoaugment+randaugment+cutout")
    draws = strong.draws(12, images.size, generator())
    assert set(strong.apply_mask(followed, index, draws).unique().tolist()) == {0, 1}


def test_output_type() -> None:
    store = make_store((4, 8, 8, 3))
    out = build_augmentation("crop4").apply(
        store, torch.arange(4), build_augmentation("crop4").draws(4, store.size, generator()), torch.bfloat16
    )
    assert out.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("none", "none"),
        ("flip+crop4", "crop4+flip"),
        (" Crop04 + FLIP", "crop4+flip"),
        ("cutout+randaugment+flip+crop4", "crop4+flip+randaugment+cutout"),
        ("rotate20", "rotate20"),
        ("crop4+flip+cutout16+RandAugment:01:3", "randaugment:1:3+crop4+flip+cutout16"),
    ],
)
def test_names_are_normalised(typed: str, name: str) -> None:
    assert canonical_augmentation(typed) == name
    assert canonical_augmentation(name) == name


@given(
    st.lists(
        st.sampled_from(["crop4", "flip", "rotate15", "autoaugment", "randaugment", "cutout", "cutout6"]), min_size=1
    )
)
@settings(max_examples=50, deadline=None)
def test_a_name_does_not_depend_on_the_order_of_its_steps(steps: list[str]) -> None:
    kinds = [step.rstrip("0123456789") for step in steps]
    if len(set(kinds)) < len(kinds):
        with pytest.raises(UsageError, match="more than once"):
            canonical_augmentation("+".join(steps))
    else:
        assert canonical_augmentation("+".join(steps)) == canonical_augmentation("+".join(reversed(steps)))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "no augmentation step"),
        ("crop4+", "no augmentation step"),
        ("flop", "did you mean flip"),
        ("randaugmnt", "did you mean randaugment"),
        ("crop", "crop4"),
        ("crop0", "from 1 to 1024"),
        ("crop99999", "from 1 to 1024"),
        ("crop" + "9" * 5000, "from 1 to 1024"),
        ("rotate", "degrees"),
        ("rotate200", "from 1 to 180"),
        ("flip2", "takes no number"),
        ("crop-4", "did you mean"),
        ("none+flip", "stands alone"),
        ("flip+flip", "more than once"),
        ("cutout0", "or nothing, for half"),
        ("randaugment:0:3", "randaugment:1:3"),
        ("randaugment:1:31", "from 0 to 30"),
        ("randaugment:1", "randaugment:N:M"),
        ("randaugment:1:3:5", "randaugment:N:M"),
        ("randaugment:1:3+randaugment", "more than once"),
        ("crop４", "no augmentation step"),
    ],
)
def test_bad_names_say_what_to_type(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        build_augmentation(name)
    assert len(str(caught.value).splitlines()) <= 2


def test_names_need_no_torch() -> None:
    program = (
        "import sys, bench.spec.augmentations as names; names.canonical_augmentation('flip');"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_kinds_stand_in_the_order_in_which_they_act() -> None:
    steps: Augmentation = build_augmentation(EVERYTHING)
    of_images = [kind for kind in KINDS if kind not in OF_VECTORS]
    assert [step.name.rstrip("0123456789") for step in steps.steps] == of_images


@pytest.mark.parametrize(
    ("images", "mean", "std", "pad", "words"),
    [
        (torch.zeros(3, 8, 8, 1), (0.5,), (0.5,), 0, "must be uint8"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), (0.5,), (0.5,), 0, "must be uint8"),
        (torch.zeros(3, 8, 8, 3, dtype=torch.uint8), (0.5,), (0.5,), 0, "3 channel"),
        (torch.zeros(3, 8, 8, 1, dtype=torch.uint8), (0.5,), (0.0,), 0, "above 0"),
        (torch.zeros(3, 8, 8, 1, dtype=torch.uint8), (0.5,), (0.5,), -1, "0 or more"),
    ],
)
def test_a_store_refuses_what_does_not_fit(
    images: Tensor, mean: tuple[float, ...], std: tuple[float, ...], pad: int, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        ImageStore(images, mean, std, pad)


def test_a_crop_wider_than_the_padding_is_refused() -> None:
    store = make_store((4, 8, 8, 1), pad=1)
    augmentation = build_augmentation("crop4")
    with pytest.raises(UsageError, match="padded by 4"):
        augmentation.apply(store, torch.arange(4), augmentation.draws(4, store.size, generator()))


def test_the_reference_is_torchvisions_own_randaugment() -> None:
    """The ranges that the tests use are those of the class in torchvision, at its last of 31 magnitudes."""
    space = v2.RandAugment()._AUGMENTATION_SPACE
    ends = {name: entry[0](31, 32, 64) for name, entry in space.items()}
    assert float(ends["ShearX"][-1]) == pytest.approx(0.3)
    assert float(ends["TranslateX"][-1]) == pytest.approx(150 / 331 * 64)
    assert float(ends["Rotate"][-1]) == pytest.approx(30)
    assert float(ends["Color"][-1]) == pytest.approx(0.9)
    assert int(ends["Posterize"][-1]) == 4
    assert len(space) == len(OPERATIONS)


def test_the_policy_is_torchvisions_autoaugment_for_cifar10() -> None:
    """The pairs, and the strengths that our operations make of magnitudes, against torchvision's own."""
    theirs = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)
    names = {"ShearX": "shear-x", "ShearY": "shear-y", "TranslateX": "translate-x", "TranslateY": "translate-y"}
    for ours, pair in zip(CIFAR_POLICY, theirs._policies, strict=True):
        for (name, chance, magnitude), (their_name, their_chance, their_magnitude) in zip(ours, pair, strict=True):
            assert name == names.get(their_name, their_name.lower())
            assert (chance, magnitude) == (their_chance, their_magnitude or 0)
            magnitudes = theirs._AUGMENTATION_SPACE[their_name][0](10, 32, 64)
            if magnitudes is not None:
                strength = policy_entry(name, magnitude)[1]
                # its thresholds of solarize are for images in [0, 1]
                expected = {"posterize": 8 - round(4 * strength), "solarize": 1 - strength}
                full = {"rotate": 30, "translate-x": 150 / 331 * 64, "translate-y": 150 / 331 * 32}
                ours_there = expected.get(name, strength * full.get(name, 0.3 if "shear" in name else 0.9))
                assert float(magnitudes[magnitude]) == pytest.approx(ours_there, abs=1e-4)


def test_invert_is_solarize_from_nought() -> None:
    store = make_store((6, 9, 7, 3))
    code, strength = policy_entry("invert", 0)
    draws = {
        "autoaugment.operation": torch.tensor([[code, OPERATIONS.index("identity")]] * 6),
        "autoaugment.strength": torch.tensor([[strength, 0.0]] * 6),
    }
    images = build_augmentation("autoaugment").apply(store, torch.arange(6), draws)
    for row in range(6):
        assert torch.equal(images[row], torchvision_normalise(255 - original(store, row), store))


def test_autoaugment_draws_every_pair_alike_and_each_operation_by_its_chance() -> None:
    """Each share of 50,000 draws within 5 standard errors of what the policy says."""
    count = 50_000
    drawn = build_augmentation("autoaugment").draws(count, (8, 8), generator())
    expected = torch.zeros(2, len(OPERATIONS), dtype=torch.float64)
    for pair in CIFAR_POLICY:
        for place, (name, chance, magnitude) in enumerate(pair):
            expected[place, policy_entry(name, magnitude)[0]] += chance / len(CIFAR_POLICY)
            expected[place, 0] += (1 - chance) / len(CIFAR_POLICY)
    for place in range(2):
        shares = torch.bincount(drawn["autoaugment.operation"][:, place], minlength=len(OPERATIONS)) / count
        spread = (expected[place] * (1 - expected[place]) / count).sqrt()
        assert ((shares - expected[place]).abs() <= 5 * spread).all()
    strength = drawn["autoaugment.strength"]
    assert strength.abs().max() == 1
    assert (strength[drawn["autoaugment.operation"] == 0] == 0).all()
    # signs are even: of the applied ones, half are negative
    applied = strength[strength != 0]
    assert abs(float((applied < 0).double().mean()) - 0.5) < 5 * 0.5 / math.sqrt(len(applied))
