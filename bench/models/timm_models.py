"""Any model of timm by its name, as `timm:NAME`, with random weights. timm is imported only when one is built.

Weights from a file are put in by `bench.models.weights`.

Read `timm_model` first, then `TimmModel`. Most of the module is about two questions that timm doesn't answer: which
images a model takes (`find_size_fault`), and which layers follow a stage (`TimmModel.modules_after`).
"""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from bench.models.backbone import Declaration
from bench.system.errors import UsageError, nearest_names

TIMM = Declaration(
    name="timm:NAME",
    summary="any model of timm, such as timm:resnet18 or timm:convnext_atto, with random weights",
    source="Wightman, PyTorch Image Models, github.com/huggingface/pytorch-image-models",
    smallest=1,
    megaflops=167.0,  # those of resnet50, for all of them
)
SIZES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 299, 384, 448, 512)
"""Image sizes that are tried in search of the smallest one that a model takes."""
SIZE_ERRORS = (RuntimeError, ValueError, AssertionError, ZeroDivisionError)
"""The errors that models raise when their images are too small."""


class StageReachedError(Exception):
    """Carries the feature maps out of a forward pass that needn't continue. Not a failure."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features


class TimmModel(nn.Module):
    """A timm model with the interface of our backbones, see backbone.Model."""

    def __init__(self, name: str, model: Any, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.name = name
        self.model = model
        self.image_shape = image_shape
        self.feature_info = [dict(entry) for entry in getattr(model, "feature_info", [])]
        classifier = self.model.get_classifier()
        if not isinstance(classifier, nn.Linear):
            raise UsageError(f"{name} does not end in one linear layer, so it can't be used here: try another model.")
        self.num_features = classifier.in_features
        self._rest: dict[str, list[str]] = {}

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, K)."""
        return self.forward_head(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> the last features, in timm's shape for this model."""
        features: Tensor = self.model.forward_features(images)
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Last features -> logits (B, K), or (B, num_features) with `pre_logits`."""
        pooled: Tensor = self.model.forward_head(features, pre_logits=True)
        return pooled if pre_logits else self.get_classifier()(pooled)

    def get_classifier(self) -> nn.Module:
        """The layer that ends the network."""
        classifier: nn.Module = self.model.get_classifier()
        return classifier

    def forward_to(self, images: Tensor, stage: str) -> Tensor:
        """Images (B, C, H, W) -> the output of `stage`; no later layer runs. Raises ValueError on an unknown stage."""
        handle = self.stage(stage).register_forward_hook(stop_forward)
        try:
            self.model.forward_features(images)
        except StageReachedError as reached:
            return reached.features
        finally:
            handle.remove()
        raise ValueError(f"{self.name} does not run its stage {stage!r} in forward_features")

    def forward_from(self, features: Tensor, stage: str, pre_logits: bool = False) -> Tensor:
        """The output of `stage` -> logits (B, K), or (B, num_features) with `pre_logits`; no earlier layer runs.

        Raises ValueError on an unknown stage, and if the layers after it aren't one module after the other (the first
        call checks that against the plain forward pass).
        """
        if stage not in self._rest:
            self._rest[stage] = self.modules_after(stage)
        for name in self._rest[stage]:
            features = self.model.get_submodule(name)(features)
        return self.forward_head(features, pre_logits)

    def stage(self, name: str) -> nn.Module:
        """The module of a stage. Raises ValueError on an unknown stage."""
        names = [entry["module"] for entry in self.feature_info]
        if name not in names:
            raise ValueError(f"no stage {name!r} in {self.name}; it has {', '.join(names) or 'none'}")
        module: nn.Module = self.model.get_submodule(name)
        return module

    @torch.no_grad()
    def modules_after(self, stage: str) -> list[str]:
        """The outermost modules that forward_features runs after `stage`, in order, checked to give its result."""
        self.stage(stage)
        trace = Trace(stage)
        training = {name: module.training for name, module in self.model.named_modules()}
        weight = next(self.model.parameters())
        height, width, channels = self.image_shape
        noise = torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(0))
        images = noise.to(weight.device, weight.dtype)
        handles = [
            handle
            for name, module in self.model.named_modules()
            if name
            for handle in (
                module.register_forward_pre_hook(trace.enter(name)),
                module.register_forward_hook(trace.leave(name)),
            )
        ]
        try:
            self.model.eval()
            expected = self.model.forward_features(images)
            for handle in handles:
                handle.remove()
            features = trace.features
            for name in trace.after:
                features = self.model.get_submodule(name)(features)
            if (
                features is None
                or features.shape != expected.shape
                or not torch.allclose(features, expected, atol=1e-4)
            ):
                raise ValueError(
                    f"{self.name} can't be entered after its stage {stage!r}: it isn't a plain row of layers"
                )
        finally:
            for handle in handles:
                handle.remove()
            for name, module in self.model.named_modules():
                module.training = training[name]
        return trace.after


class Trace:
    """Hooks that record the outermost modules that start after `stage` has ended."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.features: Tensor | None = None
        self.after: list[str] = []
        self.inside: str | None = None

    def enter(self, name: str) -> Any:
        """A forward pre-hook for the module `name`."""

        def hook(module: nn.Module, inputs: Any) -> None:
            if self.features is not None and self.inside is None:
                self.inside = name
                self.after.append(name)

        return hook

    def leave(self, name: str) -> Any:
        """A forward hook for the module `name`."""

        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if name == self.stage:
                self.features = output.clone()
            elif name == self.inside:
                self.inside = None

        return hook


def stop_forward(module: nn.Module, inputs: Any, output: Tensor) -> NoReturn:
    """A forward hook that ends the forward pass."""
    raise StageReachedError(output)


def timm_model(name: str, num_classes: int, in_chans: int, height: int, width: int) -> TimmModel:
    """The timm model after "timm:" in `name`, with random weights. Raises UsageError if it can't be built."""
    import timm

    wanted = name.removeprefix("timm:")
    if not timm.is_model(wanted):
        close = [f"timm:{other}" for other in nearest_names(wanted, timm.list_models())]
        raise UsageError(
            f'timm has no model "{wanted}"; '
            + (f"did you mean {' or '.join(close)}?" if close else "see timm.list_models().")
        )
    try:
        model = create_timm_model(wanted, num_classes, in_chans, height, width)
        error = find_size_fault(model, in_chans, height, width)
    except SIZE_ERRORS as raised:
        error = raised
    if error is not None:
        raise too_small_error(name, num_classes, in_chans, (height, width), error) from error
    return TimmModel(name, model, (height, width, in_chans))


def create_timm_model(wanted: str, num_classes: int, in_chans: int, height: int, width: int) -> nn.Module:
    """timm's model, with the size of its images if it takes one."""
    import timm

    options: dict[str, Any] = {"pretrained": False, "num_classes": num_classes, "in_chans": in_chans}
    try:
        return timm.create_model(wanted, img_size=(height, width), **options)
    except TypeError:
        # Most convolutional networks take images of any size and know no img_size.
        return timm.create_model(wanted, **options)


def create_on_meta(wanted: str, num_classes: int, in_chans: int, height: int, width: int) -> nn.Module:
    """timm's model without memory for its weights, or with it if its constructor reads values."""
    try:
        with torch.device("meta"):
            return create_timm_model(wanted, num_classes, in_chans, height, width)
    except RuntimeError:  # raised by older versions for a value that has no memory
        return create_timm_model(wanted, num_classes, in_chans, height, width)


def find_size_fault(model: nn.Module, channels: int, height: int, width: int) -> Exception | None:
    """The error that images of this size cause, tried on shapes alone; None if they cause none."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: tensor.detach().to("meta") for name, tensor in tensors.items()}
    images = torch.empty(2, channels, height, width, device="meta")
    try:
        with torch.no_grad():
            torch.func.functional_call(model, shapes, (images,))
    except NotImplementedError:
        # An operation without a shape rule says nothing of the size.
        return None
    except SIZE_ERRORS as error:
        return error
    return None


def too_small_error(
    name: str,
    num_classes: int,
    in_chans: int,
    size: tuple[int, int],
    error: Exception,
    option: str = "--image-size",
    other: str = "--model",
) -> UsageError:
    """The error for the user, with the smallest larger size that works; tried without memory for weights.

    `option` is what the size is typed with, `other` what takes another model.
    """
    for larger in SIZES:
        if larger <= min(size):
            continue
        try:
            model = create_on_meta(name.removeprefix("timm:"), num_classes, in_chans, larger, larger)
        except SIZE_ERRORS:
            continue
        if find_size_fault(model, in_chans, larger, larger) is None:
            return UsageError(
                f"{name} can't take images of {size[0]} x {size[1]} pixels; the smallest that works is "
                f"{larger} x {larger}: give {option} {larger} or another {other}."
            )
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UsageError(f"{name} can't take images of {size[0]} x {size[1]} pixels ({reason}): try another {other}.")
