"""The options of frozen features and of weights, checked by what was typed alone. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from bench.spec.features import PREFIX, SIZE, VIEWS
from bench.system import encoder_package

AUTO = "auto"
"""`--features auto`: the backbone that the encoder extra installs."""
OF_FEATURES = ("feature_size", "feature_views", "feature_components")
"""Options that say what features are made; they mean nothing without `--features`."""


def check_feature_options(
    features: str | None, weights: str | None, pretrained: bool, model: str | None, typed: Collection[str]
) -> None:
    """Raise ValueError where options contradict one another, or one lacks what it belongs to.

    `typed` are the names of all options that were typed.
    """
    alone = [f"--{name.replace('_', '-')}" for name in OF_FEATURES if name in typed]
    if features is None and alone:
        raise ValueError(f"{' and '.join(alone)}: of which backbone? Add --features auto or --features {PREFIX}NAME")
    if weights is not None and pretrained:
        raise ValueError("--weights and --pretrained both say where weights come from: leave one out")
    source = "--weights" if weights is not None else "--pretrained" if pretrained else None
    if features is None:
        if source is not None and not (model or "").startswith(PREFIX):
            raise ValueError(
                f"{source} is for a model of timm: add --model {PREFIX}NAME, or --features {PREFIX}NAME for frozen "
                "features of it"
            )
        return
    if features == AUTO:
        if source is not None:
            raise ValueError(f"--features {AUTO} brings its own weights: leave {source} out, or name a backbone")
        return
    if not features.startswith(PREFIX) or features == f"{PREFIX}NAME":
        raise ValueError(
            f"--features {features}: must be {AUTO}, or a model of timm such as {PREFIX}tf_efficientnet_lite0"
        )


def options_of_spec(spec: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """The options that ask for a spec's features and weights; where the weights are is taken from the options `typed`.

    The weights of the encoder package need no path: `--features auto` finds them.
    """
    sha256, features = spec.get("weights_sha256"), spec.get("features")
    if sha256 is None:
        return {}
    source: dict[str, Any] = (
        {"pretrained": True} if typed.get("pretrained") else {"weights": typed.get("weights", "FILE")}
    )
    if features is None:
        return source
    if sha256 == encoder_package.SHA256 and not typed.get("weights"):
        features, source = AUTO, {}
    sizes = {"feature_size": SIZE, "feature_views": VIEWS, "feature_components": None}
    return {"features": features, **source} | {
        name: spec[name] for name, usual in sizes.items() if spec.get(name) != usual
    }
