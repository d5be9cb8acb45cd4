"""The device that networks run on."""

from __future__ import annotations

from ..errors import InputError


def pick_device(name: str) -> str:
    """The torch device for ``cpu``, ``cuda`` or ``auto``."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError("`device`", f"{name!r} cannot be used by torch here", "choose cpu, cuda or auto") from error
    return name
