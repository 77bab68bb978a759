"""The check that files still hold what the runs were planned for: data, noise, labels, matrices, weights and plugins.

A run's identity has the hashes of what it is trained on. Planning takes them, and a run may begin hours later, in
another process or on another machine; so whoever reads a file compares again. A runtime that isn't `checked` compares
nothing.
"""

from __future__ import annotations

from bench.spec import RunSpec, Runtime
from bench.system.files import file_hash
from datasets.interface import DataError


def check_plugins(runtime: Runtime) -> None:
    """Raise DataError naming a plugin file that isn't what it was."""
    if runtime.checked:
        for path, planned in zip(runtime.plugins, runtime.plugin_hashes, strict=True):
            if file_hash(path) != planned:
                raise changed_file(f"--plugin {path}")


def check_data(spec: RunSpec, runtime: Runtime, sha256: str) -> None:
    """Raise DataError where the data that was read isn't that of the spec."""
    if runtime.checked and sha256 != spec.data_sha256:
        raise changed_file(f"--dataset {runtime.data_source}")


def check_noise(spec: RunSpec, runtime: Runtime, sha256: str | None) -> None:
    """Raise DataError where the noise's own file, or that of `--labels`, isn't that of the spec."""
    if runtime.checked and sha256 != spec.noise_sha256:
        labels = runtime.labels_source
        raise changed_file(f"--noise {runtime.noise_source}" if labels is None else f"--labels {labels}")


def check_matrix(runtime: Runtime, stated: str, sha256: str | None) -> None:
    """Raise DataError where the file of `--transition-matrix` isn't the one whose hash begins with `stated`."""
    if runtime.checked and not str(sha256).startswith(stated):
        raise changed_file(f"--transition-matrix {runtime.matrix_source}")


def check_weights(spec: RunSpec, runtime: Runtime, sha256: str | None) -> None:
    """Raise DataError where the file of weights isn't that of the spec."""
    if runtime.checked and sha256 != spec.weights_sha256:
        raise changed_file(f"--weights {runtime.weights_source}")


def changed_file(what: str) -> DataError:
    """The error of a run whose file is another by now."""
    return DataError(
        f"{what} has changed since this run was planned. Put it back, or run the same command again to train on what "
        "is there now"
    )
