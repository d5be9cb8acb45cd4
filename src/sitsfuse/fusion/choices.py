"""The keywords of :func:`~sitsfuse.fusion.fuse.fuse`, for its overloads: what they mean stands there."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from ..runtime.progress import Progress

if TYPE_CHECKING:
    from ..methods import Method
    from ..radiometry.screening import Screening
    from .explain import OnDecision
    from .run import OnFit

Step = str | int | datetime.timedelta | np.timedelta64
"""A number of days."""


class Choices(TypedDict, total=False):
    """All that may be said beside what is fused and where to write."""

    method: str | Method
    options: Mapping[str, Any] | None
    dates: Any
    every: Step | None
    format: str | None
    tile: int | None
    weights: bool
    int16: bool
    workers: int | None
    scheduler: Any
    overwrite: bool
    renew: bool
    keep_all_guides: bool
    leave_out_same_day: bool
    compute: bool
    report: Progress
    on_fit: OnFit | None
    on_screening: Callable[[Screening], None] | None
    on_decision: OnDecision | None
