"""Predictions on a few processes, each for one method at a time, of which a job may take one down.

What a process has loaded stays in it: one that fuses with a network holds torch from then on. So that the memory of a
method is its own, and not what ran before it, a process ends where its method does.
"""

from __future__ import annotations

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

Run = Callable[[Job], None]


def finished(work: Sequence[Job], processes: int, run: Run) -> Iterator[Job]:
    """Run jobs and yield them as they end; a job that takes its process down twice is noted as failed."""
    if processes == 0:
        for job in work:
            run(job)
            yield job
        return
    died: list[Job] = []
    for job, survived in _ended(work, processes, run):
        if survived:
            yield job
        else:
            died.append(job)
    # It may have lacked memory that others held: once more, alone.
    for job, survived in _ended(died, 1, run):
        if not survived:
            Results(job.results).write_failure(job.unit, "took its process down: out of memory?")
        yield job


def _ended(work: Sequence[Job], processes: int, run: Run) -> Iterator[tuple[Job, bool]]:
    """Jobs as they end, and whether their process survived them."""
    waiting: dict[str, list[Job]] = {}
    for job in reversed(work):
        waiting.setdefault(job.unit.method, []).append(job)
    running: dict[Future[None], tuple[Job, ProcessPoolExecutor]] = {}

    def start(method: str, process: ProcessPoolExecutor) -> None:
        job = waiting[method].pop()
        if not waiting[method]:
            del waiting[method]
        running[process.submit(run, job)] = job, process

    try:
        while waiting or running:
            while waiting and len(running) < processes:
                start(max(waiting, key=lambda m: len(waiting[m])), _process())
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, process = running[future]
                try:
                    future.result()
                except BrokenProcessPool:
                    survived = False
                else:
                    survived = True
                del running[future]
                if survived and job.unit.method in waiting:
                    start(job.unit.method, process)
                else:
                    process.shutdown(wait=False)
                yield job, survived
    except BaseException:
        # Ctrl-C: what is at work is lost, nothing else.
        for _, pool in running.values():
            for worker in list((pool._processes or {}).values()):
                worker.kill()
        raise
    finally:
        for _, pool in running.values():
            pool.shutdown(cancel_futures=True)


def _process() -> ProcessPoolExecutor:
    # Spawned: a fork would copy the locks of threads that it does not copy.
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_begin_process)


def _begin_process() -> None:
    """Leave Ctrl-C to the parent, and end when it ends, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
