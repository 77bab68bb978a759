"""`perf`: the speed of the training core on this machine, backbone by backbone.

`check_perf_request` turns what was typed into a `PerfRequest`; `perf_command` measures and prints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from bench import registry
from bench.planning import data_facts, validate
from bench.registry.names import split_list
from bench.spec.augmentations import canonical_augmentation
from bench.system import hardware
from bench.system.console import print_note, write_json, write_text
from bench.system.errors import UsageError

STEP_MODES = ("eager", "graph", "compiled")
ON_CPU, ON_GPU = "cnn-small", "cnn-small,cnn8,preact-resnet18"
"""The backbones that are timed by default: on a CPU the larger ones take minutes each."""
PAIRS = "50"
SECONDS_OF_PAIRS = 20.0
FEWEST_PAIRS, MOST_PAIRS = 6, 100_000
LARGEST_BATCH = 65_536


@dataclass(frozen=True)
class PerfRequest:
    """The options of `perf` in their types and within bounds."""

    models: tuple[str, ...]
    batch_size: int
    image_size: int
    pairs: int
    limit: float
    """Seconds after which the pairs of a backbone's step mode end; infinite where their number was typed."""
    threads: int
    device: str
    precision: str
    augmentation: str
    step_modes: tuple[str, ...]


def perf_command(options: Mapping[str, str]) -> int:
    """Time each model and print a table, or one JSON document."""
    request = check_perf_request(options)

    import torch

    from bench.perf.figures import figures_table, measure_matrix_peak, measure_model, step_modes_table
    from bench.perf.step_times import Workload
    from bench.training.precision import prepare_process

    prepare_process(request.threads)
    device = torch.device(request.device)
    batch, size, threads = request.batch_size, request.image_size, request.threads
    print_note(f"perf: measuring the matrix peak in {request.precision} on {request.device}, {threads} threads")
    peak = measure_matrix_peak(request.precision, device)
    figures = []
    for model in request.models:
        upto = "" if math.isinf(request.limit) else f" or as many as {request.limit:g} s allow"
        print_note(f"perf: {model}, {request.pairs} pairs of steps of {batch} images{upto}")
        workload = Workload(model, size, 3, batch, request.augmentation, request.precision)
        figures.append(
            measure_model(workload, request.pairs, device, peak, request.step_modes, request.limit, print_note)
        )
    environment = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else hardware.cpu_name(),
        "threads": threads,
        "torch": torch.__version__,
        "precision": request.precision,
        "batch": batch,
        "image_size": size,
        "augmentation": request.augmentation,
        "matrix_peak_gigaflops": peak / 1e9,
    }
    if options["format"] == "json":
        write_json({**environment, "models": [asdict(figure) for figure in figures]})
        return 0
    write_text(
        f"{environment['device']}, {threads} threads, torch {torch.__version__}, {request.precision}: "
        f"matrix peak {peak / 1e9:,.0f} GFLOP/s\n"
        f"batches of {batch} images of {size} x {size} x 3, {request.augmentation}; "
        f"medians of {describe_pairs([figure.pairs for figure in figures])} pairs with 95 % intervals\n\n"
        f"{figures_table(figures)}"
    )
    if len(request.step_modes) > 1:
        write_text(f"\nThe core's step in each way:\n\n{step_modes_table(figures)}")
    return 0


def describe_pairs(pairs: Sequence[int]) -> str:
    """The numbers of pairs of several backbones: "50", or "12 to 50"."""
    return str(min(pairs)) if min(pairs) == max(pairs) else f"{min(pairs)} to {max(pairs)}"


def check_perf_request(options: Mapping[str, str]) -> PerfRequest:
    """The options in their types. Raises UsageError with what is wrong and what to type."""
    device = hardware.resolve_device(options["device"])
    usual = ON_GPU if device.startswith("cuda") else ON_CPU
    models = tuple(split_list(options.get("models", usual)))
    if not models:
        raise UsageError("--models names no backbone: type --models cnn8, or see `python -m bench list models`")
    side = parse_whole_number("--image-size", options["image_size"], 4, 1024)
    models = tuple(map(validate.find_model_name, models))
    for model in models:
        data_facts.check_image_size(model, 10, (side, side, 3))
        smallest = registry.models().get(model, {}).get("smallest", 1)
        if side < smallest:
            raise UsageError(f"--image-size {side}: {model} needs {smallest} or more. Type --image-size {smallest}")
    cores = hardware.count_cores()
    return PerfRequest(
        models=models,
        batch_size=parse_whole_number("--batch-size", options["batch_size"], 2, LARGEST_BATCH),
        image_size=side,
        pairs=parse_whole_number("--pairs", options.get("pairs", PAIRS), FEWEST_PAIRS, MOST_PAIRS),
        limit=math.inf if "pairs" in options else SECONDS_OF_PAIRS,
        threads=parse_whole_number("--threads", options["threads"], 1, cores) if "threads" in options else cores,
        device=device,
        precision=hardware.resolve_precision(options["precision"], device, "auto"),
        augmentation=canonical_augmentation(options["augment"]),
        step_modes=parse_step_modes(options["steps"], device),
    )


def parse_step_modes(text: str, device: str) -> tuple[str, ...]:
    """The step modes in `text`, each once; of "all", the one that runs use comes first.

    Raises UsageError for a mode that doesn't exist, or that this machine doesn't have.
    """
    usual = "graph" if device.startswith("cuda") else "eager"
    modes: dict[str, None] = {}
    for name in split_list(text):
        if name == "all":
            modes |= dict.fromkeys([usual, *(mode for mode in STEP_MODES if hardware.has_step_mode(mode, device))])
        elif name == "auto":
            modes[usual] = None
        elif name in STEP_MODES:
            hardware.check_step_mode(name, device)
            modes[name] = None
        else:
            raise UsageError(
                f"--steps {name}: there is none such. Type some of {', '.join(STEP_MODES)}, or auto, or all"
            )
    if not modes:
        raise UsageError("--steps names no way: type --steps auto, or --steps all")
    return tuple(modes)


def parse_whole_number(option: str, text: str, low: int, high: int) -> int:
    """A whole number in [low, high]. Raises UsageError."""
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise UsageError(f"{option} {text}: type a whole number from {low} to {high:,}")
    return number
