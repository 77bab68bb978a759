"""Noise from a file of class probabilities: how sure a network that learnt from clean labels was of each image.

Read `FromPosterior` first; `read_posterior` knows the files, and `write_posterior` writes the kind that says which data
it is of.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets.files import replacing
from datasets.interface import DataError, Labels
from datasets.noise.files import NPY, parse_npy, read_bytes
from datasets.noise.interface import DrawnImages, Noise, NoiseFacts

Values = NDArray[np.floating[Any]]

FORMAT = "label-noise benchmark: posterior"
ZIP = b"PK"
OFF_BY = 0.01
"""How far rows of probabilities may miss a sum of 1: half-precision numbers of many classes do by so much."""
HOW_TO_MAKE = (
    "`python -m bench posterior --dataset NAME --save FILE.npz` trains a network on clean labels and writes one"
)


@dataclass(frozen=True, eq=False)
class Posterior:
    """What a file says of a whole training set.

    `probabilities` (N, K) are mean class probabilities, `log_probabilities` (N, K) means or sums of logarithms; None
    for what isn't there. `data_set`, `data_sha256` and `split` say what they are of, as in label files, `about` how
    they came about; empty where the file doesn't say.
    """

    probabilities: Values | None
    log_probabilities: Values | None
    data_set: str = ""
    data_sha256: str = ""
    split: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K)."""
        values = self.probabilities if self.probabilities is not None else self.log_probabilities
        assert values is not None
        return values.shape[0], values.shape[1]


class FromPosterior(Noise):
    """Labels that a saved posterior decides; a subclass says how. The file's hash is in a run's identity.

    The posterior is of the whole training set in its order, so that any draw of it finds its rows. A file that names
    other data than the run's is refused; one that names none is compared by its size, and a note says so.
    """

    argument = "FILE"
    reads_posterior = True
    needs_logarithms: ClassVar[bool] = False
    """Whether sums of log-probabilities are what the noise is defined by; probabilities then stand in for them."""

    def __init__(self, argument: str | None = None, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__(argument, parameters)
        self.path = Path(self.argument_value)

    @functools.cached_property
    def posterior(self) -> Posterior:
        """The file's content, checked. Raises DataError."""
        return read_posterior(self.path)

    def matrix(self, facts: NoiseFacts, rate: float | None) -> None:
        self.checked_rate(rate)
        classes = self.posterior.shape[1]
        if classes != len(facts.classes):
            raise DataError(
                f"{self.path} has columns for {classes} classes; {facts.data_set} has {len(facts.classes)}."
            )
        self.scores()

    def scores(self) -> Values:
        """What this noise goes by, (N, K): log-probabilities where it needs them and they are there, or probabilities.

        Raises DataError where the file has neither.
        """
        posterior = self.posterior
        if self.needs_logarithms and posterior.log_probabilities is not None:
            return posterior.log_probabilities
        if posterior.probabilities is None:
            raise DataError(
                f"{self.path} holds log-probabilities; noise {self.name!r} needs probabilities. {HOW_TO_MAKE}."
            )
        return posterior.probabilities

    def origin(self, facts: NoiseFacts) -> str:
        return f"{self.source}; {self.path}"

    def notes(self, facts: NoiseFacts) -> tuple[str, ...]:
        said = []
        if not self.posterior.data_sha256:
            said.append(f"{self.path} doesn't say which data it is of, so that only its size is compared")
        if self.needs_logarithms and self.posterior.log_probabilities is None:
            said.append(
                f"{self.path} holds mean probabilities, and {self.name} adds up log-probabilities: what is least "
                "plausible may differ"
            )
        return tuple(said)

    def file_hash(self) -> str:
        return hashlib.sha256(read_bytes(self.path)).hexdigest()

    def check(self, images: DrawnImages) -> None:
        posterior, source = self.posterior, images.source
        if source is None:
            return
        theirs, data_set = posterior.data_set or "another data set", images.facts.data_set
        if posterior.data_sha256 and posterior.data_sha256 != source.data_sha256:
            raise DataError(
                f"The posterior in {self.path} is of other data ({theirs}, content {posterior.data_sha256[:12]}; "
                f"this is content {source.data_sha256[:12]}). Give the data set that it was made for to --dataset. "
                f"{HOW_TO_MAKE}."
            )
        if posterior.split is not None and source.split is not None and posterior.split != source.split:
            theirs = posterior.split.removeprefix("seed ")
            way_out = f"Type --seeds {theirs}:{int(theirs) + 1}, or make" if theirs.isdecimal() else "Make"
            raise DataError(
                f"The posterior in {self.path} is of the training split {posterior.split}, and this is {source.split}: "
                f"{data_set} draws another one for each seed. {way_out} a posterior of this split."
            )
        if posterior.shape[0] != source.total:
            raise DataError(
                f"The posterior in {self.path} has {posterior.shape[0]} rows, and {data_set} has {source.total} "
                "training images. It needs a row for each, in their order."
            )

    def drawn_scores(self, images: DrawnImages) -> NDArray[np.float64]:
        """`scores` of the drawn images (n, K), which `check` has passed, as new float64 numbers."""
        index = np.arange(len(images.clean)) if images.source is None else images.source.index
        return self.scores()[index].astype(np.float64)


def flip_first(images: DrawnImages, rate: float, targets: Labels, priority: NDArray[np.float64]) -> Labels:
    """The clean labels with the floor(rate * n) images of the lowest `priority` (n,) set to their `targets` (n,).

    Ties go to the earlier image. Nothing is drawn: wrong labels are exactly so many, and nested in the rate.
    """
    number = int(np.floor(np.round(rate * len(images.clean), 6)))
    flipped = np.argsort(priority, kind="stable")[:number]
    labels = images.clean.astype(np.int64)
    labels[flipped] = targets[flipped]
    return labels


def read_posterior(path: Path) -> Posterior:
    """A posterior from an npz that `write_posterior` wrote, or from an npy file of (N, K) numbers. Raises DataError.

    The numbers of an npy file are probabilities if each row sums to 1, log-probabilities if none is above 0.
    """
    content = read_bytes(path)
    if content.startswith(NPY):
        values = checked_values(path, parse_npy(path, content))
        if is_probability(values):
            return Posterior(values, None)
        if (values <= 0).all():
            return Posterior(None, values)
        raise DataError(
            f"{path} holds neither probabilities (rows of numbers from 0 to 1 that sum to 1) nor log-probabilities (no "
            "number above 0)."
        )
    if not content.startswith(ZIP):
        raise DataError(f"{path} is no posterior: it is read from .npy and .npz files. {HOW_TO_MAKE}.")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            arrays = {name.removesuffix(".npy"): parse_npy(path, archive.read(name)) for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(f"{path} is no complete npz file: {error}") from error
    found = {name: checked_values(path, arrays[name]) for name in ("posterior", "log_posterior") if name in arrays}
    if not found:
        named = ", ".join(arrays) or "nothing"
        raise DataError(f"{path} holds {named}, and no array called posterior or log_posterior of (N, K) numbers.")
    if len({values.shape for values in found.values()}) > 1:
        raise DataError(f"{path}: posterior and log_posterior have different shapes.")
    probabilities, logarithms = found.get("posterior"), found.get("log_posterior")
    if probabilities is not None and not is_probability(probabilities):
        raise DataError(f"{path}: the rows of posterior aren't probabilities: numbers from 0 to 1 that sum to 1.")
    if logarithms is not None and not (logarithms <= 0).all():
        raise DataError(f"{path}: log_posterior has numbers above 0, which no logarithm of a probability is.")
    try:
        about = json.loads(str(arrays["about"])) if "about" in arrays else {}
        names = [about.get(key) for key in ("data_set", "data_sha256", "split")]
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path}: what it says about itself is no JSON object: {error}") from error
    data_set, sha256, split = (None if each is None else str(each) for each in names)
    return Posterior(probabilities, logarithms, data_set or "", sha256 or "", split, about)


def checked_values(path: Path, values: NDArray[Any]) -> Values:
    """Finite numbers with two axes, or DataError; log-probabilities may be minus infinity, which is taken as lowest."""
    if values.ndim != 2 or values.dtype.kind != "f" or 0 in values.shape:
        raise DataError(f"{path} holds {values.dtype} values of shape {values.shape}. A posterior is (N, K) floats.")
    if np.isnan(values).any() or (values == np.inf).any():
        row = int(np.flatnonzero((np.isnan(values) | (values == np.inf)).any(axis=1))[0])
        raise DataError(f"{path} holds numbers that aren't finite, first in row {row}.")
    return values


def is_probability(values: Values) -> bool:
    """Whether every row holds numbers from 0 to 1 that sum to 1, up to rounding."""
    within = ((values >= 0) & (values <= 1 + OFF_BY)).all()
    return bool(within and (np.abs(values.sum(axis=1, dtype=np.float64) - 1) <= OFF_BY).all())


def write_posterior(path: Path, posterior: Posterior) -> None:
    """Write a posterior as npz, whole or not at all. Raises DataError where the file can't be written."""
    about = {
        **posterior.about,
        "format": FORMAT,
        "version": 1,
        "data_set": posterior.data_set,
        "data_sha256": posterior.data_sha256,
        "split": posterior.split,
    }
    arrays: dict[str, Any] = {"about": np.array(json.dumps(about, sort_keys=True, allow_nan=False))}
    if posterior.probabilities is not None:
        arrays["posterior"] = posterior.probabilities.astype(np.float32)
    if posterior.log_probabilities is not None:
        arrays["log_posterior"] = posterior.log_probabilities.astype(np.float32)
    try:
        with replacing(path) as stream:
            np.savez_compressed(stream, **arrays)
    except OSError as error:
        raise DataError(f"{path} can't be written: {error.strerror}. Give another place to --save.") from error
