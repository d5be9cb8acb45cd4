"""What a run would do with each date, and why, without doing it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ..core.site import SiteLayout
from ..core.tiling import tiles
from ..methods import Method
from .inputs import Inputs, changed, made_of
from .outputs.layout import Output
from .run import doubtful


@dataclass(frozen=True)
class Decision:
    """What a run would do with a date."""

    time: np.datetime64
    act: str
    """keep, go on, predict or predict anew."""
    why: str

    def __str__(self) -> str:
        return f"{str(self.time)[:10]}  {self.act}: {self.why}"


OnDecision = Callable[[Decision], None]
"""Called with what would be done with each date."""


def explain(
    site: xr.DataTree, known: SiteLayout, method: Method, output: Output, inputs: Inputs, there: bool
) -> Iterator[Decision]:
    """What a run would do.

    Where the inputs are others than those of a date that is there, the method is fitted to the date: only that tells
    which images it reads and what it learns of the others.

    Parameters
    ----------
    site, known, method, output, inputs
        Of the run.
    there
        Whether an earlier run of the same configuration is there.
    """
    times = output.layout.times
    if not there:
        yield from (Decision(time, "predict", "there is no output yet") for time in times)
        return
    count = sum(1 for _ in tiles(known.grids, output.layout.tile, method.halo(known.ratio)))
    unsure, study = doubtful(output, inputs), None
    for date, time in enumerate(times):
        found = len(output.done(date))
        record: dict[str, Any] = output.known(date)
        if not record:
            yield Decision(time, "predict", "nothing of it is there")
            continue
        if date in unsure:
            study = method.study(site) if study is None else study
            if why := changed(record.get("inputs", {}), made_of(inputs, study.fit(time))):
                yield Decision(time, "predict anew", why)
                continue
        if output.finished(date) or found == count:
            why = "its images have not changed" if date in unsure else "no input has changed"
            yield Decision(time, "keep", why)
        else:
            yield Decision(time, "go on", f"{found} of {count} tiles are there")
