"""The checkpoint of a training, as far as it can be read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CHECKPOINT = "checkpoint.safetensors"
"""Name of the file in the state's folder."""


def progress_of(path: Path) -> dict[str, Any]:
    """Record, step, history and reason to stop of an interrupted training.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    from safetensors import SafetensorError, safe_open  # comes with an extra

    try:
        with safe_open(path, "numpy") as file:
            found: dict[str, Any] = json.loads((file.metadata() or {})["progress"])
            return {key: found[key] for key in ("record", "step", "history", "stopped")}
    except (SafetensorError, LookupError, TypeError, OSError) as error:
        raise ValueError((str(error).splitlines() or ["?"])[0][:120]) from error


def record_of(path: Path) -> dict[str, Any]:
    """All that the result of an interrupted training depends on; damage is a ValueError."""
    return dict(progress_of(path)["record"])
