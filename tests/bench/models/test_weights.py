"""Weights from files: what fits, what is left out and said, what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, linear, pad

from bench.models import weights
from bench.models.weights import WeightsFile, fit_weights, load_weights
from bench.system import encoder_package
from bench.system.errors import UsageError

TINY = "test_resnet"


def tiny(**options: Any) -> Any:
    return timm.create_model(TINY, **options).eval()


@pytest.mark.parametrize("form", ["safetensors", "pth", "training program"])
def test_a_model_computes_as_the_one_whose_weights_were_saved(form: str, tmp_path: Path) -> None:
    saved = tiny(num_classes=7)
    path = tmp_path / f"weights.{'safetensors' if form == 'safetensors' else 'pth'}"
    if form == "safetensors":
        safetensors.torch.save_file(saved.state_dict(), path)
    elif form == "pth":
        torch.save(saved.state_dict(), path)
    else:  # under a key, with a wrapper's prefix, beside other things
        wrapped = {f"module.{name}": value for name, value in saved.state_dict().items()}
        torch.save({"epoch": 3, "state_dict": wrapped}, path)
    started = tiny(num_classes=7)
    WeightsFile(path).load_into(started, TINY)
    images = torch.rand(2, 3, 48, 48)
    assert torch.equal(started(images), saved(images))


def test_a_head_of_other_classes_is_left_out_and_said() -> None:
    saved, other = tiny(num_classes=7), tiny(num_classes=3)
    fitted = fit_weights(saved.state_dict(), other, TINY, "it")
    assert fitted.notes == (f"the last layer of timm:{TINY} starts from random weights: the file's is for 7 classes",)
    assert not [name for name in fitted.state if name.startswith("fc.")]
    # a backbone without a classifier has no use for it, and nothing needs to be said
    headless = tiny(num_classes=0)
    assert fit_weights(saved.state_dict(), headless, TINY, "it").notes == ()
    # and what was saved without one lacks it
    without = fit_weights(headless.state_dict(), other, TINY, "it")
    assert without.notes == (f"the last layer of timm:{TINY} starts from random weights: the file has none",)


def test_a_first_layer_for_colours_takes_a_grey_image_as_three_equal_channels() -> None:
    saved, grey = tiny(num_classes=3), tiny(num_classes=3, in_chans=1)
    fitted = fit_weights(saved.state_dict(), grey, TINY, "it")
    grey.load_state_dict(fitted.state)
    image = torch.rand(2, 1, 48, 48)
    torch.testing.assert_close(grey(image), saved(image.expand(-1, 3, -1, -1)))
    assert fitted.notes == ("the first layer's weights for three colours are summed",)


def test_weights_of_another_image_size_are_brought_to_it() -> None:
    saved = timm.create_model("test_vit", num_classes=3, img_size=160)
    smaller = timm.create_model("test_vit", num_classes=3, img_size=64)
    smaller.load_state_dict(fit_weights(saved.state_dict(), smaller, "test_vit", "it").state)


def test_weights_that_do_not_fit_are_refused_with_their_number_and_the_first() -> None:
    state = tiny(num_classes=3).state_dict()
    del state["conv1.0.weight"]
    state["extra.weight"] = torch.zeros(1)
    state["layer1.0.conv1.weight"] = torch.zeros(2, 3)
    with pytest.raises(UsageError, match=r"it doesn't fit timm:test_resnet: 3 names or shapes differ .*conv1.0.weight"):
        fit_weights(state, tiny(num_classes=3), TINY, "it")


@pytest.mark.parametrize("content", ["text", "object", "empty", "number", "broken"])
def test_what_holds_no_weights_is_refused_and_nothing_in_it_is_run(content: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    if content == "text":
        path.write_text("no weights")
    elif content == "object":
        path.write_bytes(pickle.dumps(Path(tmp_path)))
    elif content == "broken":
        torch.save(tiny().state_dict(), path)
        path.write_bytes(path.read_bytes()[:1000])
    else:
        torch.save({} if content == "empty" else 3, path)
    with pytest.raises(UsageError, match=r"--weights .*weights.pth (can't be read|holds no weights)"):
        load_weights(path)


def test_fetching_without_a_network_says_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("no route to host. And more")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(
        UsageError, match=r"can't be fetched \(no route to host\).*--weights FILE.*lnl-bench\[encoder\]"
    ):
        weights.download_weights("resnet18", tmp_path / "fetched.safetensors")
    with pytest.raises(UsageError, match=r"timm has no weights for resnet18.none\. It has them for"):
        weights.download_weights("resnet18.none", tmp_path / "fetched.safetensors")
    assert not list(tmp_path.iterdir())


def test_fetched_weights_are_kept_as_a_file_like_any_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = tiny()
    monkeypatch.setattr("socket.create_connection", lambda *arguments, **options: open(tmp_path / "x", "w"))  # noqa: PTH123, SIM115
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: model)
    weights.download_weights("resnet18", tmp_path / "fetched.safetensors")
    kept = load_weights(tmp_path / "fetched.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())


STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
"""Of EfficientNet-Lite0's 16 blocks (Tan and Le 2019, and the release notes of the lite variants)."""


def same_convolution(images: Tensor, weight: Tensor, stride: int, groups: int = 1) -> Tensor:
    """A convolution padded as TensorFlow's "same": one pixel more on the right and below where the number is odd."""
    size, kernel = images.shape[2], weight.shape[2]
    missing = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    before, after = missing // 2, missing - missing // 2
    return conv2d(pad(images, (before, after, before, after)), weight, None, stride, 0, 1, groups)


def published_logits(held: dict[str, Tensor], images: Tensor) -> Tensor:
    """EfficientNet-Lite0 by the names in the package's file: every layer is found by its name, not by its place."""

    def norm(values: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (
            held[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return batch_norm(values, mean, variance, weight, bias, False, 0.0, 1e-3)

    values = norm(same_convolution(images, held["_conv_stem.weight"], 2), "_bn0").clamp(0, 6)
    for number, stride in enumerate(STRIDES):
        block, before = f"_blocks.{number}", values
        if f"{block}._expand_conv.weight" in held:
            values = norm(conv2d(values, held[f"{block}._expand_conv.weight"]), f"{block}._bn0").clamp(0, 6)
        depthwise = same_convolution(values, held[f"{block}._depthwise_conv.weight"], stride, values.shape[1])
        values = norm(depthwise, f"{block}._bn1").clamp(0, 6)
        values = norm(conv2d(values, held[f"{block}._project_conv.weight"]), f"{block}._bn2")
        if before.shape == values.shape:
            values = values + before
    values = norm(conv2d(values, held["_conv_head.weight"]), "_bn1").clamp(0, 6).mean((2, 3))
    return linear(values, held["_fc.weight"], held["_fc.bias"])


def test_the_encoder_package_computes_as_published() -> None:
    path = encoder_package.find_encoder()
    if path is None:
        pytest.skip(f"needs the package {encoder_package.PACKAGE}: {encoder_package.HOW_TO_INSTALL}")
    held = load_weights(path)
    model = timm.create_model(encoder_package.BACKBONE).eval()
    WeightsFile(path).load_into(model, encoder_package.BACKBONE)
    images = torch.rand(2, 3, 97, 97, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected = published_logits(held, images)
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.5  # weights that were trained, and no constant


def test_other_weights_in_the_encoder_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    if encoder_package.find_encoder() is None:
        pytest.skip(f"needs the package {encoder_package.PACKAGE}: {encoder_package.HOW_TO_INSTALL}")
    monkeypatch.setattr(encoder_package, "SHA256", "0" * 64)
    with pytest.raises(UsageError, match="aren't those that this release knows"):
        encoder_package.find_encoder()
