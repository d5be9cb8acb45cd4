"""Predictions on a pool of processes, of which a job may take one down."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from .results import Results
from .units import Job


def finished(work: Sequence[Job], processes: int, run: Callable[[Job], None]) -> Iterator[Job]:
    """Run jobs and yield them as they end; a job that takes its process down is noted as failed."""
    if processes == 0:
        for job in work:
            run(job)
            yield job
        return
    waiting = list(reversed(work))
    suspects: list[Job] = []
    while waiting or suspects:
        # When a process dies, all that were at work are suspects: they are tried one by one.
        alone = bool(suspects)
        queue = suspects if alone else waiting
        with _pool(1 if alone else processes) as pool:
            running: dict[Future[None], Job] = {}
            broken = False
            while (queue and not broken) or running:
                while queue and not broken and len(running) < (1 if alone else processes):
                    job = queue.pop()
                    running[pool.submit(run, job)] = job
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    try:
                        future.result()
                    except BrokenProcessPool:
                        broken = True
                        if alone:
                            Results(job.results).write_failure(job.unit, "took its process down: out of memory?")
                            yield job
                        else:
                            suspects.append(job)
                    else:
                        yield job


@contextlib.contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    # Spawned: a fork would copy the locks of threads that it does not copy.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_begin_process)
    try:
        yield pool
    except BaseException:
        # Ctrl-C: what is at work is lost, nothing else.
        for process in list((pool._processes or {}).values()):
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_process() -> None:
    """Leave Ctrl-C to the parent, and end when it ends, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
