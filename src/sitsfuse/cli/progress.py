"""Progress on stderr: bars on a terminal, now and then a line elsewhere, nothing where it is not wanted."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from ..runtime.progress import Progress, silent
from .settings import COMPILING

EVERY = 30.0
"""Seconds between two lines where stderr is not a terminal."""
UNITS = {"fusing": "tiles"}
"""What the steps of a stage are, where that needs saying."""
RESUMED = {"fusing": "tiles are there already", "training": "steps are done already"}
"""Stages that go on where an earlier run stopped, which they say when they begin."""


@contextmanager
def stages(quiet: bool) -> Iterator[Progress]:
    """Show the progress of one stage after another; nothing where it is to be quiet."""
    if quiet:
        yield silent
        return
    console = Console(stderr=True)
    if console.is_terminal:
        logging.getLogger(COMPILING).setLevel(logging.INFO)
        with _bars(console) as report:
            yield _resuming(report)
    else:
        yield _resuming(_lines())


def _resuming(report: Progress) -> Progress:
    begun: set[str] = set()

    def told(stage: str, done: int, total: int, /) -> None:
        if stage not in begun and done and stage in RESUMED:
            print(f"sitsfuse: resuming, {done} of {total} {RESUMED[stage]}", file=sys.stderr, flush=True)
        begun.add(stage)
        report(stage, done, total)

    return told


@contextmanager
def _bars(console: Console) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        TextColumn("· left"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console) as bars:
        tasks = {}

        def report(stage: str, done: int, total: int, /) -> None:
            if stage not in tasks:
                # What an earlier run did does not count for the speed.
                tasks[stage] = bars.add_task(stage, total=total, completed=done, unit=UNITS.get(stage, ""))
            bars.update(tasks[stage], completed=done, total=total)

        try:
            yield report
        except BaseException:
            # The error's line stands alone.
            bars.live.transient = True
            raise


def _lines() -> Progress:
    last = time.monotonic()

    def report(stage: str, done: int, total: int, /) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            print(f"sitsfuse: {stage} {done}/{total} {UNITS.get(stage, '')}".rstrip(), file=sys.stderr, flush=True)

    return report
