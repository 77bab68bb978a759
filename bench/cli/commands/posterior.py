"""`posterior`: train a network on clean labels, and save how sure it was of each training image.

The file is what noises such as `instance-learned:FILE` read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.execution.backends import make_runtimes
from bench.execution.progress import gather_facts_with_display
from bench.memory.job_limits import JobLimits
from bench.planning.plan import make_plan
from bench.planning.request import Request
from bench.planning.validate import validate_request, with_registered_names
from bench.spec import RunSpec
from bench.system.console import check_folder, print_note, write_json, write_text
from bench.system.errors import UsageError
from bench.system.files import file_hash
from bench.system.processes import torchrun_world

METHOD, NOISE = "ce", "none"


def posterior_command(options: Mapping[str, Any]) -> int:
    """Train as typed, write the file, and print its hash and what reads it."""
    typed = dict(options)
    path, form = checked_target(str(typed.pop("save"))), typed.pop("format")
    seed = str(typed.pop("seed", "0"))
    if not seed.isdecimal():
        raise UsageError(f"--seed {seed}: must be a whole number, 0 or more")
    if torchrun_world().size > 1:
        raise UsageError("posterior trains one network in one process: leave torchrun out")
    of_run = {"methods": [METHOD], "noise": [NOISE], "hold_out": "0", "seeds": f"{seed}:{int(seed) + 1}"}
    request = with_registered_names(Request.typed(**of_run, **typed))
    facts = gather_facts_with_display(validate_request(request))
    for note in facts.data_notes:
        print_note(f"note: {note}")
    plan = make_plan(request, facts)
    (spec,) = plan.specs
    if spec.noise != NOISE:
        print_note("note: the network learns from labels as given, which nobody knows to be clean")
    runtime = make_runtimes(request, facts, JobLimits(1, facts.cores))(spec)

    from bench.training.outcome import Diverged
    from bench.training.posterior import train_posterior
    from datasets.noise.posterior import write_posterior

    try:
        posterior = train_posterior(spec, runtime, lambda done, total: print_note(f"epoch {done} of {total}"))
    except Diverged as error:
        raise UsageError(f"the training {error}, so nothing is saved. Type a lower --lr") from error
    write_posterior(path, posterior)
    show_file(path, spec, posterior.shape, form)
    return 0


def checked_target(text: str) -> Path:
    """The path of `--save`. Raises UsageError where it isn't one of an npz, or its folder can't be written."""
    path = Path(text)
    if path.suffix.lower() != ".npz":
        raise UsageError(f"--save {path}: a posterior is written as .npz. Type --save {path.stem or 'posterior'}.npz")
    check_folder("--save", path.parent)
    return path


def show_file(path: Path, spec: RunSpec, shape: tuple[int, int], form: str) -> None:
    """Print what was written: where, its hash, of which data, by which training."""
    sha256 = file_hash(path)
    if form == "json":
        value = {"file": str(path), "sha256": sha256, "images": shape[0], "classes": shape[1]}
        write_json({**value, "data_set": spec.data_set, "data_sha256": spec.data_sha256, "epochs": spec.epochs})
        return
    write_text(
        f"wrote {path} ({shape[0]:,} images, {shape[1]} classes, averaged over {spec.epochs} epochs of {spec.model}; "
        f"SHA-256 {str(sha256)[:12]})\n"
        f"noises that read it: instance-learned:{path}, pmd:{path}, bad:{path}\n"
    )
