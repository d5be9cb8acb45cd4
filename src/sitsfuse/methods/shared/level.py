"""What an LR series lastingly shows more than the guides do, per band, as `radiometry` tells it.

An LR image is compared with the guide of its day, or with what the guides before and after it tell of its day where
these agree. A level is believed if it brings the sensors closer on dates that were left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.arrays import FloatArray
from ...core.dates import days
from ...operators.coarse import Coarse
from ...radiometry.learning import EVIDENCE, UNKNOWN, Kind, Learner, read_dates
from ...radiometry.samples import Means, Samples, between, together, window_means
from ...stats.heldout import gain
from ...stats.robust import FEWEST

SAME_DAY = 1.0
"""Days to a guide within which it is taken for one of the same day."""
AROUND = 30.0
"""Days within which guides before and after an LR image tell of its day."""
CLEAR = 0.3
"""Clear share of the guides that are compared, if there are any."""


def believed_level(parts: Sequence[Coarse]) -> FloatArray | None:
    """What the LR series lastingly shows more than the guides do, (B,), in reflectance; None if nothing proves it.

    Parameters
    ----------
    parts
        Windows of a site, all of the same dates.

    See Also
    --------
    sitsfuse.radiometry.harmonize.pool : The same judgement, of gains as well; these come out too small where the
        sensors show other details.
    """
    samples = compared(parts)
    if not samples:
        return None
    dates, scale = read_dates(samples)
    learner = Learner(dates, scale, np.full(scale.size, UNKNOWN))
    sizes = [d.evidence for d in learner.differences()]
    if np.sqrt(np.mean(np.square(sizes))) < EVIDENCE:
        return None
    kinds: tuple[Kind, Kind] = "nothing", "difference"
    before, after = (learner.logs(learner.left_out(kind)) for kind in kinds)
    _, gained = gain(before, after, learner.weights, learner.parts)
    return np.asarray(-learner.learn("difference")[1], np.float32) if gained.sure else None


def compared(parts: Sequence[Coarse]) -> list[Samples]:
    """Samples of every LR image that guides tell of."""
    times, dates = parts[0].times, parts[0].dates
    guides = [_together([window_means(p.guide[k], p.valid[k]) for p in parts]) for k in range(len(times))]
    share = [float(np.mean([p.valid[k].mean() for p in parts])) for k in range(len(times))]
    usable = [k for k in range(len(times)) if share[k] >= CLEAR] or list(range(len(times)))
    found = []
    for j, date in enumerate(dates):
        gaps = days(times, date)
        lr = _together([window_means(p.series[j], p.clear[j]) for p in parts])
        samples = _of_date(date, lr, [(times[k], gaps[k], guides[k]) for k in usable])
        if samples is not None and samples.lr.shape[1] >= FEWEST:
            found.append(samples)
    return found


def _of_date(date: np.datetime64, lr: Means, guides: list[tuple[np.datetime64, float, Means]]) -> Samples | None:
    near = min(guides, key=lambda g: abs(g[1]), default=None)
    if near is None:
        return None
    if abs(near[1]) <= SAME_DAY:
        return together(date, lr, near[2])
    before, after = [g for g in guides if -AROUND <= g[1] < 0], [g for g in guides if 0 < g[1] <= AROUND]
    if not before or not after:
        return None
    return between(date, lr, (before[-1][0], before[-1][2]), (after[0][0], after[0][2]))


def _together(means: list[Means]) -> Means:
    return Means(np.concatenate([m.values for m in means], axis=1), np.concatenate([m.whole for m in means]))
