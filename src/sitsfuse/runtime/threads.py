"""The one place that bounds threads.

Parallelism comes from tiles and dates, one worker thread each; inside a worker every library runs on one thread.
Left to themselves BLAS, OpenMP and torch would each take all cores in every worker.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


def default_workers() -> int:
    """Number of tiles or dates worked on at once: the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def bound() -> None:
    """Give every library one thread per calling thread, for this process from now on."""
    threadpool_limits(limits=1)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


@contextmanager
def all_cores() -> Iterator[None]:
    """Give torch every core for a while: for the one long training that has the process to itself."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(default_workers())
    try:
        yield
    finally:
        torch.set_num_threads(before)
