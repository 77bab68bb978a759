"""`perf`: what this machine makes of the training core, backbone by backbone."""

from __future__ import annotations

from dataclasses import dataclass

from bench import registry
from bench.planning import data_facts, validate
from bench.system import hardware
from bench.system.console import print_note, write_json, write_text
from bench.system.errors import UsageError

STEP_MODES = ("eager", "graph", "compiled")
MOST_PAIRS = 100_000
LARGEST_BATCH = 65_536


@dataclass(frozen=True)
class PerfRequest:
    """A request, checked."""

    models: tuple[str, ...]
    batch: int
    size: int
    pairs: int
    threads: int
    device: str
    precision: str
    augmentation: str
    ways: tuple[str, ...]


def perf_command(
    models: str, batch_size: str, image_size: str, pairs: str, threads: str | None, device: str, precision: str,
    augment: str, steps: str, form: str,
) -> int:  # fmt: skip
    """Time each model and print a table, or one JSON document."""
    asked = check_perf_request(models, batch_size, image_size, pairs, threads, device, precision, augment, steps)

    import torch

    from bench.perf.figures import figures_table, measure_matrix_peak, measure_model, step_modes_table
    from bench.perf.steps import Workload
    from bench.training.precision import prepare_process

    prepare_process(asked.threads)
    where = torch.device(asked.device)
    print_note(f"perf: measuring the matrix peak in {asked.precision} on {asked.device}, {asked.threads} threads")
    peak = measure_matrix_peak(asked.precision, where)
    figures = []
    for model in asked.models:
        print_note(f"perf: {model}, {asked.pairs} pairs of steps of {asked.batch} images")
        work = Workload(model, asked.size, 3, asked.batch, asked.augmentation, asked.precision)
        figures.append(measure_model(work, asked.pairs, where, peak, asked.ways))
    environment = {
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else hardware.cpu_name(),
        "threads": asked.threads,
        "torch": torch.__version__,
        "precision": asked.precision,
        "batch": asked.batch,
        "image_size": asked.size,
        "augmentation": asked.augmentation,
        "matrix_peak_gigaflops": peak / 1e9,
    }
    if form == "json":
        write_json({**environment, "models": [figure.as_json() for figure in figures]})
        return 0
    head = (
        f"{environment['device']}, {asked.threads} threads, torch {torch.__version__}, {asked.precision}: "
        f"matrix peak {peak / 1e9:,.0f} GFLOP/s\n"
        f"batches of {asked.batch} images of {asked.size} x {asked.size} x 3, {asked.augmentation}; "
        f"medians of {asked.pairs} pairs with 95 % intervals\n"
    )
    write_text(f"{head}\n{figures_table(figures)}")
    if len(asked.ways) > 1:
        write_text(f"\nThe core's step in each way:\n\n{step_modes_table(figures)}")
    return 0


def check_perf_request(
    models: str, batch_size: str, image_size: str, pairs: str, threads: str | None, device: str, precision: str,
    augment: str, steps: str,
) -> PerfRequest:  # fmt: skip
    """The request in its types. Raises UsageError with what, why and what to type."""
    from bench.spec.augmentations import canonical_augmentation

    names = tuple(name.strip() for name in models.split(",") if name.strip())
    if not names:
        raise UsageError("--models names no backbone: type --models cnn8, or see `python -m bench list models`")
    size = parse_whole_number("--image-size", image_size, 4, 1024)
    for name in names:
        validate.check_model_name(name)
        data_facts.check_image_size(name, 10, (size, size, 3))
        smallest = registry.models().get(name, {}).get("smallest", 1)
        if size < smallest:
            raise UsageError(f"--image-size {size}: {name} needs {smallest} or more. Type --image-size {smallest}")
    where = hardware.resolve_device(device)
    cores = hardware.count_cores()
    return PerfRequest(
        models=names,
        batch=parse_whole_number("--batch-size", batch_size, 2, LARGEST_BATCH),
        size=size,
        pairs=parse_whole_number("--pairs", pairs, 6, MOST_PAIRS),
        threads=cores if threads is None else parse_whole_number("--threads", threads, 1, cores),
        device=where,
        precision=hardware.resolve_precision(precision, where, "auto"),
        augmentation=canonical_augmentation(augment),
        ways=parse_step_modes(steps, where),
    )


def parse_step_modes(text: str, device: str) -> tuple[str, ...]:
    """The ways to carry out a step that were asked for, each once, the one that runs take first where "all" was asked.

    Raises UsageError for a way that there isn't, or that this machine hasn't.
    """
    usual = "graph" if device.startswith("cuda") else "eager"
    names = [name.strip() for name in text.split(",") if name.strip()]
    found: dict[str, None] = {}
    for name in names:
        if name == "all":
            found |= dict.fromkeys([usual, *(way for way in STEP_MODES if hardware.has_step_mode(way, device))])
        elif name == "auto":
            found[usual] = None
        elif name in STEP_MODES:
            hardware.check_step_mode(name, device)
            found[name] = None
        else:
            raise UsageError(
                f"--steps {name}: there is none such. Type some of {', '.join(STEP_MODES)}, or auto, or all"
            )
    if not found:
        raise UsageError("--steps names no way: type --steps auto, or --steps all")
    return tuple(found)


def parse_whole_number(option: str, text: str, low: int, high: int) -> int:
    """A whole number in [low, high]. Raises UsageError."""
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise UsageError(f"{option} {text}: type a whole number from {low} to {high:,}")
    return number
