"""Which images of two series become guides, targets and references.

Guides are chosen for an even revisit and clear skies. For images at times t₁ < … < tₖ in a period from a to b, and a
revisit of R, the choice has the least

    Σᵢ (1 - clearᵢ · coverageᵢ)  +  Σᵢ ((tᵢ₊₁ - tᵢ) / R - 1)²  +  ((t₁ - a) / R)²  +  ((b - tₖ) / R)²

over all subsets, found exactly by dynamic programming. The weights are all 1, which fixes how clouds are traded
against time: an image that shows nothing is exactly not worth having between two others 2 R apart (a cost of 1 with
it and without it), and one that is half clear is worth putting its gaps off balance by half a revisit. At the ends the
best gap is none: from there on a prediction has guides on one side only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from ..core.arrays import F64Array
from ..errors import InputError
from .plan import Candidate, Pair, Plan, Skipped, days_of

Mode = Literal["benchmark", "production"]
Period = tuple[np.datetime64 | None, np.datetime64 | None]

REVISIT = 20.0
"""Days between guides that are aimed at."""
MIN_CLEAR = 0.05
"""Clear share below which an image is not worth its reading."""


def select_guides(
    candidates: Sequence[Candidate],
    revisit: float = REVISIT,
    *,
    count: int | None = None,
    start: np.datetime64 | None = None,
    end: np.datetime64 | None = None,
    min_clear: float = MIN_CLEAR,
) -> list[int]:
    """Choose guides from a dense HR series (see the module for the cost that is the least).

    Parameters
    ----------
    candidates
        The images, in any order.
    revisit
        Days between guides that are aimed at.
    count
        Number of guides; by default what costs least, at least two.
    start, end
        First and last day of the period; by default those of the candidates.
    min_clear
        Clear share that an image must have.

    Returns
    -------
    list of int
        Positions among the candidates, by time.

    Raises
    ------
    InputError
        If a number makes no sense or there are not enough images.
    """
    if not revisit > 0:
        raise InputError("`selection.revisit`", f"{revisit:g} is not usable", "give the days between guides")
    if count is not None and count < 2:
        raise InputError("`selection.guides`", f"{count} is not enough", "ask for 2 or more")
    within = [c for c in candidates if _within(c, (start, end))]
    fit = (i for i, c in enumerate(candidates) if c.clear >= min_clear and _within(c, (start, end)))
    usable = sorted(fit, key=lambda i: candidates[i].time)
    _check_enough("hr", within, len(usable), count or 2, min_clear)
    t = np.array([days_of(candidates[i].time) for i in usable])
    first = min(days_of(c.time) for c in within) if start is None else days_of(start)
    last = max(days_of(c.time) for c in within) if end is None else days_of(end)
    image = 1 - np.array([candidates[i].useful for i in usable])
    gap = np.square((t[None, :] - t[:, None]) / revisit - 1)
    before, after = (np.square(np.maximum(d, 0) / revisit) for d in (t - first, last - t))
    return [usable[i] for i in _cheapest(count, image, gap, before, after)]


def _cheapest(count: int | None, image: F64Array, gap: F64Array, before: F64Array, after: F64Array) -> list[int]:
    """The cheapest chain of ``count`` images, or of two or more.

    Parameters
    ----------
    count
        Number of images, or None.
    image, before, after
        (n,) cost of each image, and of its being the first or the last.
    gap
        (n, n) cost of the second index following the first.
    """
    n, last = image.size, (count or 2) - 1
    # Cost of the cheapest chain that ends at an image (columns) after k others (rows; the last one stands for more,
    # too, if the number is free), and the image before that.
    cost, previous = np.full((last + 1, n), np.inf), np.zeros((last + 1, n), int)
    cost[0] = before + image
    for i in range(1, n):
        chains = cost[:-1, :i] if count else np.minimum(cost[:-1, :i], cost[1:, :i])
        reached = chains + gap[:i, i]
        previous[1:, i] = reached.argmin(axis=1)
        cost[1:, i] = reached.min(axis=1) + image[i]
    chain, k = [int(np.argmin(cost[-1] + after))], last
    while k > 0:
        chain.append(int(previous[k, chain[-1]]))
        if count or cost[k - 1, chain[-1]] <= cost[k, chain[-1]]:
            k -= 1
    return chain[::-1]


def plan(
    hr: Sequence[Candidate],
    lr: Sequence[Candidate],
    *,
    mode: Mode = "benchmark",
    revisit: float = REVISIT,
    max_days: float = 1.0,
    guides: int | None = None,
    start: np.datetime64 | None = None,
    end: np.datetime64 | None = None,
    min_clear_hr: float = MIN_CLEAR,
    min_clear_lr: float = MIN_CLEAR,
) -> Plan:
    """Give the images of an HR and an LR series their roles.

    Of several images of a series on one day, the one that shows most (clear · coverage) is kept. In a benchmark,
    guides are chosen as :func:`select_guides` does; each other HR image is the reference of the LR image nearest to
    it, if that is less than ``max_days`` away and no other reference nearer to it, and these LR images are the
    targets. An LR image of a guide's own day is none: the answer is among the guides. In production, all images are
    guides and targets.

    Parameters
    ----------
    hr, lr
        The images of the two series, in any order.
    mode
        "benchmark" or "production".
    revisit, guides
        Days between guides that are aimed at, and their number if it is fixed; in production, guides are chosen only
        if it is.
    max_days
        A target is less than this number of days from its reference.
    start, end
        First and last day of the period.
    min_clear_hr, min_clear_lr
        Clear share that an image must have.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        If a number makes no sense, there are fewer than two guides or no targets; it says what to relax.
    """
    if mode not in get_args(Mode):
        raise InputError("`selection.mode`", f"{mode!r} is not known", f"choose among {', '.join(get_args(Mode))}")
    if not max_days > 0:
        raise InputError("`selection.max_days`", f"{max_days:g} is not usable", "give a number of days")
    skipped: list[Skipped] = []
    sharp = _usable(hr, "hr", (start, end), min_clear_hr, skipped)
    frequent = _usable(lr, "lr", (start, end), min_clear_lr, skipped)
    _check_enough("hr", [c for c in hr if _within(c, (start, end))], len(sharp), guides or 2, min_clear_hr)
    _check_enough("lr", [c for c in lr if _within(c, (start, end))], len(frequent), 1, min_clear_lr)
    chosen = list(range(len(sharp)))
    if mode == "benchmark" or guides is not None:
        chosen = select_guides(sharp, revisit, count=guides, start=start, end=end, min_clear=0)
    taken, rest = [sharp[i] for i in chosen], [c for i, c in enumerate(sharp) if i not in set(chosen)]
    pairs: list[tuple[Candidate, Candidate]] = []
    targets, references = frequent, []
    if mode == "benchmark":
        pairs = _paired(taken, rest, frequent, max_days, skipped)
        targets, references = (sorted((p[k] for p in pairs), key=lambda c: c.time) for k in (0, 1))
    else:
        skipped += [Skipped(c, "hr", "not among the guides chosen") for c in rest]
    numbered = [
        Pair(targets.index(t), references.index(r), _apart(t, r), bool(t.day == r.day))
        for t, r in sorted(pairs, key=lambda p: p[0].time)
    ]
    skipped.sort(key=lambda s: s.image.time)
    return Plan(tuple(taken), tuple(targets), tuple(references), tuple(numbered), tuple(skipped))


def _usable(
    images: Sequence[Candidate], series: str, period: Period, least: float, skipped: list[Skipped]
) -> list[Candidate]:
    """The images to choose among, by time, one per day; why the others are not is noted in ``skipped``."""
    best: dict[np.datetime64, Candidate] = {}
    for image in sorted(images, key=lambda c: (c.time, c.id)):
        if not _within(image, period):
            skipped.append(Skipped(image, series, "outside the period"))
        elif image.clear < least:
            skipped.append(Skipped(image, series, f"only {100 * image.clear:.0f} % clear"))
        elif image.day not in best:
            best[image.day] = image
        else:
            kept, other = sorted((best[image.day], image), key=lambda c: -c.useful)
            best[image.day] = kept
            skipped.append(Skipped(other, series, f"{kept.id} shows more on the same day"))
    return list(best.values())


def _paired(
    guides: Sequence[Candidate],
    references: Sequence[Candidate],
    frequent: Sequence[Candidate],
    max_days: float,
    skipped: list[Skipped],
) -> list[tuple[Candidate, Candidate]]:
    """Targets with their references, each other's nearest; why the others have none is noted in ``skipped``.

    The nearest two are a pair, then the nearest two of those left, and so on.

    Raises
    ------
    InputError
        If there is no pair.
    """
    taken = {g.day for g in guides}
    free = [c for c in frequent if c.day not in taken]
    near = [(_apart(t, r), i, j) for i, r in enumerate(references) for j, t in enumerate(free)]
    of_reference: dict[int, int] = {}
    of_target: dict[int, int] = {}
    for days, i, j in sorted(near):
        if days < max_days and i not in of_reference and j not in of_target:
            of_reference[i], of_target[j] = j, i
    if not references:
        problem = f"none: all {len(guides)} usable HR images are guides and none is left to compare with"
        raise InputError(
            "`selection.targets`",
            problem,
            "raise `selection.revisit`, ask for fewer guides, or choose `selection.mode=production`",
        )
    if not near:
        raise InputError(
            "`selection.targets`", "none: every LR image is of the day of a guide", "raise `selection.revisit`"
        )
    if not of_target:
        problem = f"none: the nearest LR image is {min(near)[0]:.1f} days from a reference"
        raise InputError("`selection.targets`", problem, f"raise `selection.max_days` ({max_days:g})")
    sides = ("hr", references, free, of_reference, "LR image"), ("lr", free, references, of_target, "reference")
    for series, images, others, partner, what in sides:
        for image in (c for i, c in enumerate(images) if i not in partner):
            gap = min((_apart(image, o) for o in others), default=np.inf)
            reason = f"the nearest {what} is {gap:.1f} days away"
            if gap < max_days:
                reason = f"the nearest {what} has a nearer one"
            elif series == "lr" and min(_apart(image, g) for g in guides) < max_days:
                reason = "near a guide only"
            skipped.append(Skipped(image, series, reason))
    skipped += [Skipped(c, "lr", "of the day of a guide") for c in frequent if c.day in taken]
    return [(free[j], references[i]) for j, i in of_target.items()]


def _check_enough(series: str, images: Sequence[Candidate], usable: int, wanted: int, least: float) -> None:
    """Raise InputError if fewer than the wanted number of a series' images are usable."""
    if usable >= wanted:
        return
    where, name = ("guides", "HR") if series == "hr" else ("targets", "LR")
    if not images:
        raise InputError(where, f"there is no {name} image in the period", "widen it, or look at the path")
    problem = f"{usable} of {len(images)} {name} images can be used and {wanted} are needed"
    cloudy = sorted((c.clear for c in images if c.clear < least), reverse=True)
    mend = "ask for fewer guides, or widen the period"
    if len(cloudy) >= wanted - usable:
        mend = f"lower min_clear_{series} to {np.floor(100 * cloudy[wanted - usable - 1]) / 100:g}"
    raise InputError(where, problem, mend)


def _within(image: Candidate, period: Period) -> bool:
    """Whether an image is of the days of the period, first and last included."""
    start, end = (d if d is None else d.astype("datetime64[D]") for d in period)
    return bool((start is None or image.day >= start) and (end is None or image.day <= end))


def _apart(a: Candidate, b: Candidate) -> float:
    """Days between two images."""
    return abs(float((a.time - b.time) / np.timedelta64(1, "D")))
