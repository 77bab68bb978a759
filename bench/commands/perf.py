"""`perf`: what this machine makes of the training core, backbone by backbone."""

from __future__ import annotations

from dataclasses import dataclass

from bench import look_up, machine, registry
from bench.commands.output import note, write, write_json
from bench.errors import UsageError

WAYS = ("eager", "graph", "compiled")
MOST_PAIRS = 100_000
LARGEST_BATCH = 65_536


@dataclass(frozen=True)
class Asked:
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
    asked = check(models, batch_size, image_size, pairs, threads, device, precision, augment, steps)

    import torch

    from bench.core.precision import prepare_process
    from bench.perf.parts import matrix_peak
    from bench.perf.report import measure, table, table_of_ways
    from bench.perf.steps import Workload

    prepare_process(asked.threads)
    where = torch.device(asked.device)
    note(f"perf: measuring the matrix peak in {asked.precision} on {asked.device}, {asked.threads} threads")
    peak = matrix_peak(asked.precision, where)
    figures = []
    for model in asked.models:
        note(f"perf: {model}, {asked.pairs} pairs of steps of {asked.batch} images")
        work = Workload(model, asked.size, 3, asked.batch, asked.augmentation, asked.precision)
        figures.append(measure(work, asked.pairs, where, peak, asked.ways))
    environment = {
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else machine.processor(),
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
    write(f"{head}\n{table(figures)}")
    if len(asked.ways) > 1:
        write(f"\nThe core's step in each way:\n\n{table_of_ways(figures)}")
    return 0


def check(
    models: str, batch_size: str, image_size: str, pairs: str, threads: str | None, device: str, precision: str,
    augment: str, steps: str,
) -> Asked:  # fmt: skip
    """The request in its types. Raises UsageError with what, why and what to type."""
    from bench.augmentations import canonical

    names = tuple(name.strip() for name in models.split(",") if name.strip())
    if not names:
        raise UsageError("--models names no backbone: type --models cnn8, or see `python -m bench list models`")
    size = whole("--image-size", image_size, 4, 1024)
    for name in names:
        look_up.check_model(name)
        look_up.check_fit(name, 10, (size, size, 3))
        smallest = registry.models().get(name, {}).get("smallest", 1)
        if size < smallest:
            raise UsageError(f"--image-size {size}: {name} needs {smallest} or more. Type --image-size {smallest}")
    where = machine.resolve_device(device)
    cores = machine.cores()
    return Asked(
        models=names,
        batch=whole("--batch-size", batch_size, 2, LARGEST_BATCH),
        size=size,
        pairs=whole("--pairs", pairs, 6, MOST_PAIRS),
        threads=cores if threads is None else whole("--threads", threads, 1, cores),
        device=where,
        precision=machine.resolve_precision(precision, where, "auto"),
        augmentation=canonical(augment),
        ways=ways_of(steps, where),
    )


def ways_of(text: str, device: str) -> tuple[str, ...]:
    """The ways to carry out a step that were asked for, each once, the one that runs take first where "all" was asked.

    Raises UsageError for a way that there isn't, or that this machine hasn't.
    """
    usual = "graph" if device.startswith("cuda") else "eager"
    names = [name.strip() for name in text.split(",") if name.strip()]
    found: dict[str, None] = {}
    for name in names:
        if name == "all":
            found |= dict.fromkeys([usual, *(way for way in WAYS if machine.has_steps(way, device))])
        elif name == "auto":
            found[usual] = None
        elif name in WAYS:
            machine.check_steps(name, device)
            found[name] = None
        else:
            raise UsageError(f"--steps {name}: there is none such. Type some of {', '.join(WAYS)}, or auto, or all")
    if not found:
        raise UsageError("--steps names no way: type --steps auto, or --steps all")
    return tuple(found)


def whole(option: str, text: str, low: int, high: int) -> int:
    """A whole number in [low, high]. Raises UsageError."""
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise UsageError(f"{option} {text}: type a whole number from {low} to {high:,}")
    return number
