"""Frozen features as a run's identity holds them: the backbone, its weights, and what is made of each image."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from bench.spec.run_spec import RunSpec

PREFIX = "timm:"
"""What the name of every backbone begins with."""
SIZE = 128
"""The default number of pixels a side that a backbone is given."""
VIEWS = 4
"""The default number of views of each training image."""
WEAK_VIEW = "crop7/8+flip"
"""The name of the views beside the plain one: the image, enlarged so that its shorter side is 8/7 of the backbone's,
is cropped to the backbone's size at random, and mirrored with probability 1/2."""


@dataclass(frozen=True)
class FeatureSettings:
    """Everything that the features of an image depend on.

    `backbone` is a model of timm, "timm:NAME"; `weights_sha256` the hash of the file that its weights are from; `size`
    the pixels a side that it is given; `views` counts the plain view and the weak ones; `components` are principal
    components (None: the features themselves); `precision` is "fp32" or "bf16".
    """

    backbone: str
    weights_sha256: str
    size: int
    views: int
    components: int | None
    precision: str

    @classmethod
    def of(cls, spec: RunSpec) -> Self | None:
        """Those of a run; None where it isn't on features of a backbone."""
        if spec.features is None:
            return None
        sha256, size, views = spec.weights_sha256, spec.feature_size, spec.feature_views
        if sha256 is None or size is None or views is None or spec.feature_precision is None:
            raise ValueError("a run on features has the hash of its weights, a size, views and a precision")
        return cls(spec.features, sha256, size, views, spec.feature_components, spec.feature_precision)

    @property
    def name(self) -> str:
        """The backbone as timm calls it."""
        return self.backbone.removeprefix(PREFIX)

    def fields(self) -> dict[str, Any]:
        """The same as fields of a RunSpec."""
        values = asdict(self)
        return {
            "features": values["backbone"],
            "weights_sha256": values["weights_sha256"],
            **{f"feature_{name}": values[name] for name in ("size", "views", "components", "precision")},
        }
