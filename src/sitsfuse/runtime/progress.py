"""How a long run tells how far it is: one callback for all of them."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as the work proceeds, on the calling thread."""

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Take the name of a stage, the steps done, those of earlier runs included, and the steps in all."""


def silent(_stage: str, _done: int, _total: int, /) -> None:
    """Tell nobody."""


def renamed(report: Progress, stage: str) -> Progress:
    """A callback for a step of a longer run: passes everything on as one stage of that run."""

    def told(_stage: str, done: int, total: int, /) -> None:
        report(stage, done, total)

    return told
