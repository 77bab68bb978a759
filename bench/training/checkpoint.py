"""Checkpoints: tensors, numbers and text beside a run's record, renamed into place; no pickle is ever loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

FORMAT = 3
"""Raised whenever what is saved changes; a checkpoint of another format is as good as none."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` so that `path` holds either the old checkpoint or the whole new one.

    It is not flushed to the disk's platters: a checkpoint lost with the power costs time, not results.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        torch.save({"format": FORMAT, **state}, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state at `path`, or None where there is none that can be read whole."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception:  # torn by a crash of the machine, say: the run begins anew
        return None
    return state if isinstance(state, dict) and state.get("format") == FORMAT else None
