"""Peak memory of this process, and the free memory of the machine."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import resource
import sys
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def free() -> float:
    """Memory that may still be taken, in bytes; infinite where nobody can tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024.0
    return math.inf


def reset_peak() -> None:
    """Forget the peak so far, and give back what is free, so that the next one is that of what comes.

    Only Linux can: elsewhere :func:`peak` is that since the start.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def peak() -> float:
    """Largest resident memory since the last :func:`reset_peak`, in MB."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
