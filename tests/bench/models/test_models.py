"""The backbones: sizes as published, one interface, weights from a seed alone."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from bench.models import MODELS, build, declarations
from bench.models.backbone import Flatten
from bench.models.co_teaching_cnn import ChannelDropout
from bench.system.errors import UsageError

SMALLEST = {name: entry["smallest"] for name, entry in declarations().items()}
OWN = [(name, max(size, SMALLEST[name]), channels) for name in MODELS for size, channels in ((8, 1), (16, 3))]
OTHERS = [("timm:resnet18", 32, 3), ("timm:convnext_atto", 32, 1), ("timm:vit_tiny_patch16_224", 32, 3)]
EVERY = [*OWN, ("cnn-small", 28, 1), ("cnn-small", 17, 3), ("cnn4", 28, 1), ("cnn8", 20, 3), *OTHERS]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from a second thread, and lose much where other tests hold the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def images_of(size: int, channels: int, count: int = 4) -> Tensor:
    images = torch.randn((count, channels, size, size), generator=torch.Generator().manual_seed(0))
    return images.to(memory_format=torch.channels_last)


def made(name: str, size: int, channels: int, seed: int = 0, classes: int = 7) -> nn.Module:
    model = build(name, num_classes=classes, in_chans=channels, image_size=size, seed=seed)
    return model.to(memory_format=torch.channels_last)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def convolutions(*layers: tuple[int, int], kernel: int = 9, bias: bool = False) -> int:
    return sum(inputs * outputs * kernel + outputs * bias for inputs, outputs in layers)


def normalisations(*widths: int) -> int:
    return 2 * sum(widths)


def residual(blocks: tuple[int, ...], channels: int, classes: int, shortcut_norm: bool, preact: bool) -> int:
    """Parameters of a ResNet of basic blocks, counted layer by layer."""
    total = convolutions((channels, 64)) + normalisations(64)
    inputs = 64
    for width, count in zip((64, 128, 256, 512), blocks, strict=True):
        for _ in range(count):
            total += convolutions((inputs, width), (width, width))
            total += normalisations(inputs if preact else width, width)
            if inputs != width:
                total += convolutions((inputs, width), kernel=1) + normalisations(width) * shortcut_norm
            inputs = width
    return total + 512 * classes + classes


def narrow_residual(channels: int, classes: int) -> int:
    """Parameters of the pre-activation network of JS and GJS: 3 x 5 blocks, and batch normalisation at the end."""
    total, inputs = convolutions((channels, 32)), 32
    for width in (32, 64, 128):
        total += convolutions((inputs, width), *[(width, width)] * 9)
        total += normalisations(inputs, *[width] * 9)
        total += convolutions((inputs, width), kernel=1) if inputs != width else 0
        inputs = width
    return total + normalisations(128) + 128 * classes + classes


CNN8_CONVOLUTIONS = ((3, 64), (64, 64), (64, 128), (128, 128), (128, 196), (196, 196))
CNN9_CONVOLUTIONS = (
    (3, 128),
    (128, 128),
    (128, 128),
    (128, 256),
    (256, 256),
    (256, 256),
    (256, 512),
    (512, 256),
    (256, 128),
)
CNN7_CONVOLUTIONS = ((3, 64), (64, 64), (64, 128), (128, 128), (128, 196), (196, 16))
RESNET9_CONVOLUTIONS = ((3, 32), (32, 64), (64, 64), (64, 64), (64, 128), (128, 256), (256, 256), (256, 256))
COUNTS = {
    ("cnn8", 32, 3, 10): convolutions(*CNN8_CONVOLUTIONS, bias=True)
    + normalisations(64, 64, 128, 128, 196, 196, 256)
    + (3136 * 256 + 256)
    + (256 * 10 + 10),
    ("cnn4", 28, 1, 10): convolutions((1, 32), (32, 64), bias=True)
    + normalisations(32, 64, 128)
    + (3136 * 128 + 128)
    + (128 * 10 + 10),
    ("resnet18", 32, 3, 10): residual((2, 2, 2, 2), 3, 10, shortcut_norm=True, preact=False),
    ("resnet34", 32, 3, 10): residual((3, 4, 6, 3), 3, 10, shortcut_norm=True, preact=False),
    ("resnet34", 32, 3, 100): residual((3, 4, 6, 3), 3, 100, shortcut_norm=True, preact=False),
    ("preact-resnet18", 32, 3, 10): residual((2, 2, 2, 2), 3, 10, shortcut_norm=False, preact=True),
    ("preact-resnet34", 32, 3, 10): residual((3, 4, 6, 3), 3, 10, shortcut_norm=False, preact=True),
    ("preact-resnet34", 32, 3, 100): residual((3, 4, 6, 3), 3, 100, shortcut_norm=False, preact=True),
    ("resnet18-default", 32, 3, 10): residual((2, 2, 2, 2), 3, 10, shortcut_norm=True, preact=False),
    ("resnet34-default", 32, 3, 100): residual((3, 4, 6, 3), 3, 100, shortcut_norm=True, preact=False),
    ("cnn9", 32, 3, 10): convolutions(*CNN9_CONVOLUTIONS, bias=True)
    + normalisations(128, 128, 128, 256, 256, 256, 512, 256, 128)
    + (128 * 10 + 10),
    ("cnn7", 32, 3, 100): convolutions(*CNN7_CONVOLUTIONS, bias=True)
    + normalisations(64, 64, 128, 128, 196, 16)
    + (256 * 100 + 100),
    ("resnet9", 32, 3, 10): convolutions(*RESNET9_CONVOLUTIONS)
    + normalisations(*(outputs for _, outputs in RESNET9_CONVOLUTIONS))
    + (256 * 10 + 10),
    ("preact-resnet34-narrow", 32, 3, 10): narrow_residual(3, 10),
    ("preact-resnet34-narrow", 32, 3, 100): narrow_residual(3, 100),
}


@pytest.mark.parametrize(("setting", "count"), COUNTS.items())
def test_parameters_are_those_of_the_papers_networks(setting: tuple[str, int, int, int], count: int) -> None:
    name, size, channels, classes = setting
    assert parameters(made(name, size, channels, classes=classes)) == count


@pytest.mark.parametrize(
    ("name", "millions"), [("cnn8", 1.64), ("preact-resnet18", 11.2), ("resnet18", 11.2), ("resnet34", 21.3)]
)
def test_parameters_round_to_what_is_published(name: str, millions: float) -> None:
    count = parameters(made(name, 32, 3, classes=10)) / 1e6
    assert abs(count - millions) < (0.005 if millions < 10 else 0.05)


@pytest.mark.parametrize("size", [8, 28, 32])
def test_the_small_network_keeps_its_size(size: int) -> None:
    assert parameters(made("cnn-small", size, 1, classes=10)) == 72_058


@pytest.mark.parametrize(("size", "across"), [(8, 8), (14, 7), (16, 8), (28, 7), (32, 8), (64, 16)])
def test_the_pooling_network_ends_in_maps_of_about_8_x_8_and_their_mean(size: int, across: int) -> None:
    model = made("cnn-pool", size, 3, classes=10).eval()
    assert parameters(model) == 79_858
    assert sum(isinstance(layer, nn.Conv2d) for layer in model.modules()) == 5
    with torch.no_grad():
        maps = model.forward_features(images_of(size, 3))
        assert maps.shape == (4, 96, across, across)
        # a class's score is the mean of its map
        of_positions = torch.einsum("bchw,kc->bkhw", maps, model.fc.weight).mean((2, 3)) + model.fc.bias
        torch.testing.assert_close(model(images_of(size, 3)), of_positions, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "size", "channels"), EVERY)
def test_one_interface(name: str, size: int, channels: int) -> None:
    """Logits are the plain forward's, by way of features, head and classifier, and by way of every stage."""
    model = made(name, size, channels).eval()
    images = images_of(size, channels)
    with torch.no_grad():
        logits = model(images)
        assert logits.shape == (4, 7)
        features = model.forward_features(images)
        assert torch.equal(model.forward_head(features), logits)
        pooled = model.forward_head(features, pre_logits=True)
        assert pooled.shape == (4, model.num_features)
        assert torch.equal(model.get_classifier()(pooled.float()), logits)
        assert model.feature_info
        for entry in model.feature_info:
            between = model.forward_to(images, entry["module"])
            assert entry["num_chs"] in between.shape
            assert torch.allclose(model.forward_from(between, entry["module"]), logits, atol=1e-5)


@pytest.mark.parametrize(("name", "size", "channels"), [(name, max(16, SMALLEST[name]), 3) for name in MODELS])
def test_stages_shrink_as_they_say(name: str, size: int, channels: int) -> None:
    model = made(name, size, channels).eval()
    for entry in model.feature_info:
        between = model.forward_to(images_of(size, channels), entry["module"])
        assert between.shape[2:] == (size // entry["reduction"], size // entry["reduction"])


@pytest.mark.parametrize(("name", "size", "channels"), OTHERS)
def test_timm_models_are_timms_own(name: str, size: int, channels: int) -> None:
    model = made(name, size, channels).eval()
    images = images_of(size, channels)
    with torch.no_grad():
        assert torch.allclose(model(images), model.model(images), atol=1e-6)


def test_entering_a_timm_stage_leaves_the_training_mode_and_statistics_alone() -> None:
    model = made("timm:resnet18", 32, 3).train()
    model.model.layer2.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    model.modules_after("layer2")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert model.model.layer1.training
    assert not model.model.layer2.training
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", [*MODELS, "timm:resnet18"])
def test_an_unknown_stage_is_refused(name: str) -> None:
    model = made(name, 32, 3)
    for call in (model.forward_to, model.forward_from):
        with pytest.raises(ValueError, match="no stage 'nowhere'"):
            call(images_of(32, 3), "nowhere")


@pytest.mark.parametrize("name", [*MODELS, "timm:resnet18"])
def test_memory_format_changes_nothing_but_speed(name: str) -> None:
    size = max(16, SMALLEST.get(name, 0))
    model = made(name, size, 3).eval()
    images = images_of(size, 3)
    with torch.no_grad():
        last = model(images)
        first = model.to(memory_format=torch.contiguous_format)(images.contiguous())
    assert torch.allclose(last, first, rtol=1e-4, atol=1e-4 * float(first.abs().max()))


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("name", "size"), [("cnn-small", 8), ("cnn-small", 32), ("cnn4", 28), ("cnn8", 32)])
def test_flattening_is_pytorchs_in_every_bit_and_keeps_the_memory_format_of_gradients(
    name: str, size: int, memory_format: torch.memory_format
) -> None:
    ours = made(name, size, 3).to(memory_format=memory_format)
    theirs = copy.deepcopy(ours)
    assert isinstance(ours.head[0], Flatten)
    theirs.head[0] = nn.Flatten()
    images = images_of(size, 3).contiguous(memory_format=memory_format)
    for model in (ours, theirs):
        model(images).square().sum().backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))

    maps = torch.randn(4, 3, 5, 5).to(memory_format=memory_format).requires_grad_()
    (came,) = torch.autograd.grad(Flatten()(maps).square().sum(), maps)
    assert came.is_contiguous(memory_format=memory_format) and torch.equal(came, 2 * maps)


@pytest.mark.parametrize("name", [*MODELS, "timm:convnext_atto"])
def test_weights_come_from_the_seed_alone(name: str) -> None:
    torch.rand(3)
    before = torch.get_rng_state()
    first = made(name, 32, 3, seed=1).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(5)
    again, other = made(name, 32, 3, seed=1).state_dict(), made(name, 32, 3, seed=2).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", ["cnn-small", "cnn-pool", "cnn4", "cnn8", "resnet18", "resnet34"])
def test_initialisation_is_the_published_one(name: str) -> None:
    """Kaiming-uniform convolutions and xavier-uniform linear layers fill their ranges, and no more."""
    for layer in made(name, 32, 3).modules():
        if isinstance(layer, nn.Conv2d):
            bound = (6 / layer.weight[0].numel()) ** 0.5
        elif isinstance(layer, nn.Linear):
            bound = (6 / sum(layer.weight.shape)) ** 0.5
        else:
            continue
        largest = float(layer.weight.detach().abs().max())
        assert 0.98 * bound < largest <= bound


@pytest.mark.parametrize("name", ["resnet9", "resnet18-default", "resnet34-default", "cnn9", "cnn7"])
def test_initialisation_is_pytorchs_own(name: str) -> None:
    """A convolution's weights over n inputs of 3 x 3 are uniform with a standard deviation of 1 / sqrt(27 n)."""
    for layer in made(name, 32, 3).modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            spread = float(layer.weight.detach().std())
            assert spread == pytest.approx((27 * layer.in_channels) ** -0.5, rel=0.05)


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_first_weights_are_all_in_which_a_default_network_differs(name: str) -> None:
    ours, default = made(name, 32, 3).eval(), made(f"{name}-default", 32, 3).eval()
    first, other = ours.stem[0].weight.detach().std(), default.stem[0].weight.detach().std()
    assert float(first / other) == pytest.approx(6**0.5, rel=0.1)
    default.load_state_dict(ours.state_dict())
    with torch.no_grad():
        assert torch.equal(ours(images_of(32, 3)), default(images_of(32, 3)))


def test_channels_are_dropped_whole_by_the_count_of_calls_alone() -> None:
    layer = ChannelDropout(0.25)
    maps = torch.ones(64, 50, 2, 2)
    kept = [layer(maps) for _ in range(3)]
    for out in kept:
        assert torch.equal(out, out[:, :, :1, :1].expand_as(out))
        assert out.unique().tolist() == pytest.approx([0.0, 4 / 3])
        assert float((out == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert not torch.equal(kept[0], kept[1])
    state = layer.state_dict()
    torch.rand(5)
    again = ChannelDropout(0.25)
    again.load_state_dict({**state, "calls": torch.tensor(1)})
    assert torch.equal(again(maps), kept[1]) and torch.equal(again(maps), kept[2])
    assert torch.equal(again.eval()(maps), maps) and int(again.calls) == 3
    # neighbours, in the batch and in time, don't go together
    dropped = torch.stack(kept)[..., 0, 0] == 0
    for axis in range(3):
        pair = dropped.narrow(axis, 0, dropped.shape[axis] - 1) & dropped.narrow(axis, 1, dropped.shape[axis] - 1)
        assert float(pair.float().mean()) == pytest.approx(0.25**2, abs=0.02)


@pytest.mark.parametrize("name", ["preact-resnet18", "preact-resnet34"])
def test_dividemix_network_is_the_one_of_its_code(name: str) -> None:
    """Its skips start from the activated input, and no activation stands before the pooling."""
    model = made(name, 32, 3).eval()
    block = model.layer1[0]
    features = torch.randn((2, 64, 8, 8), generator=torch.Generator().manual_seed(0))
    nn.init.zeros_(block.conv2.weight)
    assert torch.equal(block(features), torch.relu(block.bn1(features)))
    assert isinstance(model.layer2[0].shortcut, nn.Conv2d)
    assert float(model.forward_features(images_of(32, 3)).detach().min()) < 0


def test_resnet9_adds_to_its_input_and_ends_in_an_eighth_of_the_maximum() -> None:
    model = made("resnet9", 32, 3).eval()
    pair = model.layer3[2]
    features = torch.randn((2, 256, 4, 4), generator=torch.Generator().manual_seed(0))
    nn.init.zeros_(pair.inner[1][0].weight)
    assert torch.equal(pair(features), features), "no activation follows the sum"
    assert torch.equal(model.forward_head(features, pre_logits=True), features.amax((2, 3)) / 8)
    assert [len(getattr(model, f"layer{number}")) for number in (1, 2, 3)] == [3, 2, 3]


def test_the_network_of_js_is_the_one_of_its_code() -> None:
    """Its skips start from the block's input, nothing follows the stem, and the last features are normalised."""
    model = made("preact-resnet34-narrow", 32, 3).eval()
    block = model.layer1[0]
    features = torch.randn((2, 32, 8, 8), generator=torch.Generator().manual_seed(0))
    nn.init.zeros_(block.conv2.weight)
    assert torch.equal(block(features), features)
    wider = model.layer2[0]
    nn.init.zeros_(wider.conv2.weight)
    assert torch.equal(wider(features), wider.shortcut(torch.relu(wider.bn1(features))))
    assert isinstance(model.stem, nn.Conv2d)
    assert float(model.forward_features(images_of(32, 3)).detach().min()) < 0
    assert float(model.forward_head(model.forward_features(images_of(32, 3)), pre_logits=True).detach().min()) >= 0


@pytest.mark.parametrize("name", MODELS)
def test_every_network_learns_its_batch(name: str) -> None:
    """Three steps on one batch lower its loss, with gradients in every parameter."""
    model = made(name, SMALLEST[name], 1)
    images, labels = images_of(SMALLEST[name], 1, 16), torch.arange(16) % 7
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    losses = []
    for _ in range(4):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("cnn6", 32, "did you mean cnn"),
        ("resnet50", 32, "did you mean resnet"),
        ("timm:resnet19", 32, "did you mean timm:resnet18"),
        ("timm:zzzzzzzz", 32, "timm has no model"),
        ("cnn8", 7, "at least 8 x 8"),
        ("cnn9", 27, "at least 28 x 28"),
        ("cnn4", 3, "at least 4 x 4"),
        ("timm:convnext_atto", 8, "smallest that works is 32 x 32"),
        ("timm:vit_tiny_patch16_224", 8, "smallest that works is 16 x 16"),
        ("timm:deit_tiny_distilled_patch16_224", 32, "one linear layer"),
        ("cnn8", 0, "1 x 1 at least"),
    ],
)
def test_bad_requests_say_what_to_type(name: str, size: int, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        build(name, num_classes=10, in_chans=3, image_size=size, seed=0)
    assert len(str(caught.value).splitlines()) <= 2


@pytest.mark.parametrize("name", MODELS)
def test_the_smallest_size_works_and_a_smaller_one_does_not(name: str) -> None:
    smallest = declarations()[name]["smallest"]
    images = images_of(smallest, 3)
    assert made(name, smallest, 3)(images).shape == (4, 7)
    with pytest.raises(UsageError, match=f"--image-size {smallest}"):
        build(name, num_classes=7, in_chans=3, image_size=(smallest, smallest - 1), seed=0)


def test_declarations_say_what_list_prints() -> None:
    declared = declarations()
    assert [*declared] == [*MODELS, "timm:NAME"]
    for name, entry in declared.items():
        assert entry["name"] == name
        assert entry["summary"]
        assert entry["source"]


def test_timm_is_imported_only_for_its_own_models() -> None:
    program = (
        "import sys; from bench.models import build, declarations; declarations(); "
        "build('cnn-small', num_classes=3, in_chans=1, image_size=8, seed=0); sys.exit('timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
