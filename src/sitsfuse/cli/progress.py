"""Progress on stderr: bars on a terminal, now and then a line elsewhere, nothing where it is not wanted."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

EVERY = 30.0
"""Seconds between two lines where stderr is not a terminal."""

Stage = Callable[[str, int, int], None]
"""Called with the name of a stage, the steps done and in all."""


@contextmanager
def stages(quiet: bool, unit: str = "") -> Iterator[Stage]:
    """Show the progress of one stage after another.

    Parameters
    ----------
    quiet
        Whether to show nothing.
    unit
        What is counted.
    """
    console = Console(stderr=True)
    if quiet:
        yield lambda *_: None
    elif console.is_terminal:
        with _bars(console, unit) as report:
            yield report
    else:
        yield _lines(unit)


@contextmanager
def tiles(quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Show the progress of a fusion: called with tiles done, tiles in all and a note."""
    with stages(quiet, "tiles") as show:
        first = True

        def report(done: int, total: int, note: str) -> None:
            nonlocal first
            if first and done and not quiet:
                print(f"sitsfuse: resuming, {done} of {total} tiles are there already", file=sys.stderr, flush=True)
            first = False
            show("fusing", done, total)

        yield report


@contextmanager
def _bars(console: Console, unit: str) -> Iterator[Stage]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("· left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        tasks = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                # What an earlier run did does not count for the speed.
                tasks[stage] = progress.add_task(stage, total=total, completed=done)
            progress.update(tasks[stage], completed=done, total=total)

        try:
            yield report
        except BaseException:
            # The error's line stands alone.
            progress.live.transient = True
            raise


def _lines(unit: str) -> Stage:
    last = time.monotonic()

    def report(stage: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            print(f"sitsfuse: {stage} {done}/{total} {unit}".rstrip(), file=sys.stderr, flush=True)

    return report
