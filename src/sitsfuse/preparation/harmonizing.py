"""Brings the LR images of a site to the radiometry of its guides, by what the guides of and around their days tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.sensors import gain_spread
from ..errors import InputError
from ..radiometry.harmonize import Harmonization, pool
from ..radiometry.lines import combine_weights
from ..radiometry.samples import Means, Samples, between, bridge_days, together, window_means
from ..runtime.progress import Progress
from .config import PrepareConfig
from .placed import Placing
from .placing import key
from .sources import Source
from .survey import Chosen, Survey

CLEAR = 0.3
"""Clear share of the guides that are compared, if there are any."""
ALIKE = 4
"""LR images between the same two guides that are compared at most: those nearest to one of them."""
MOST = 24
"""LR images that are compared at most, those that the guides tell most of."""
SHOWN = 20_000
"""Samples per band that are kept for the report."""


@dataclass(frozen=True)
class Radiometry:
    """How the LR images are harmonised."""

    harmonization: Harmonization | None = None
    """None where nothing is to be done."""
    recipes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """HR bands that are made of others, with the weights that were found."""
    pairs: tuple[dict[str, Any], ...] = ()
    """Dates of the images that were compared."""
    samples: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    """Some of what was compared, per band, for the report."""
    note: str = ""
    """Why nothing is done."""

    def lines(
        self, date: np.datetime64, bands: Sequence[str]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(band,) gains and offsets of a date; of a band matrix, its diagonal."""
        if self.harmonization is None:
            return np.ones(len(bands)), np.zeros(len(bands))
        matrix, offsets = self.harmonization.coefficients(date)
        return np.diagonal(matrix).copy(), offsets


@dataclass(frozen=True)
class Comparison:
    """An LR image, and the guide of its day or the two around it."""

    image: Chosen
    guides: tuple[Chosen, ...]

    @property
    def days(self) -> float:
        """How far away the guides are, together; 0 for one of the same day."""
        if len(self.guides) == 1:
            return 0.0
        return bridge_days(self.image.image.time, *(g.image.time for g in self.guides))


def comparisons(found: Survey, max_days: float, around_days: float) -> list[Comparison]:
    """LR images, targets or not, with the guides that tell what they should show.

    Parameters
    ----------
    found
        The images.
    max_days
        A guide at most this many days away is taken for one of the same time.
    around_days
        Where there is none, the guides before and after are at most this many days away.

    Returns
    -------
    list of Comparison
        By time. Of many, those that the guides are nearest to, a few for every two guides.
    """
    guides = sorted(
        [g for g in found.of("guide") if g.useful >= CLEAR] or found.of("guide"), key=lambda g: g.image.time
    )
    known = []
    for image in (*found.of("target"), *found.others):
        near = min(guides, key=lambda g: abs(_gap(image, g)))
        if abs(_gap(image, near)) <= max_days:
            known.append(Comparison(image, (near,)))
            continue
        before = [g for g in guides if -around_days <= _gap(image, g) < 0]
        after = [g for g in guides if 0 < _gap(image, g) <= around_days]
        if before and after:
            known.append(Comparison(image, (before[-1], after[0])))
    alike: dict[tuple[int, ...], int] = {}
    taken: list[Comparison] = []
    for c in sorted(known, key=lambda c: (c.days, -c.image.useful)):
        name = tuple(id(g.image) for g in c.guides)
        alike[name] = alike.get(name, 0) + 1
        if alike[name] <= ALIKE and len(taken) < MOST:
            taken.append(c)
    return sorted(taken, key=lambda c: c.image.image.time)


def harmonize(
    config: PrepareConfig,
    found: Survey,
    compared: Sequence[Comparison],
    placed: Placing,
    report: Progress,
) -> Radiometry:
    """Learn the radiometry from LR images and guides; references are never among them.

    Parameters
    ----------
    config, found
        What to do, and with which images.
    compared
        From :func:`comparisons`.
    placed
        Where the content of the images lies.
    report
        Told of the progress.
    """
    h = config.harmonization
    recipes = dict(found.hr.recipes)
    wanted = h.mode != "none" or any(b in recipes for b in found.bands)
    if not compared or not wanted:
        far = f"no LR image is within {h.max_days:g} days of a guide or between two within {h.around_days:g} days"
        return Radiometry(recipes=recipes, note="" if h.mode == "none" else far)
    parts = found.hr.parts(found.bands)
    reader = _Reader(config, found, parts, placed)
    taken: list[Samples] = []
    used: list[dict[str, Any]] = []
    for done, c in enumerate(compared):
        report("comparing radiometry", done, len(compared))
        samples = reader.samples(c)
        if samples is not None:
            taken.append(samples)
            used.append(_pair(c, samples))
    report("comparing radiometry", len(compared), len(compared))
    lr = np.concatenate([s.lr for s in taken], axis=1) if taken else np.empty((len(found.bands), 0))
    hr = np.concatenate([s.hr for s in taken], axis=1) if taken else np.empty((len(parts), 0))
    for band, recipe in recipes.items():
        if band in found.bands and lr.shape[1]:
            rows = [parts.index(p) for p in recipe]
            weights = combine_weights(hr[rows], lr[found.bands.index(band)])
            recipes[band] = dict(zip(recipe, (round(float(w), 4) for w in weights), strict=True))
    weighed = replace(found.hr, recipes=recipes)
    mixed = [
        replace(
            s,
            hr=weighed.mix(s.hr, found.bands),
            doubt=None if s.doubt is None else weighed.mix(s.doubt, found.bands),
        )
        for s in taken
    ]
    fitted = None
    if h.mode != "none":
        likely = [gain_spread(found.hr.sensor, found.lr.sensor, b) for b in found.bands]
        fitted = pool(mixed, found.bands, h.mode, judge=h.judge, sensible=h.gains, likely=likely)
    return Radiometry(fitted, recipes, tuple(used), _shown(mixed, found.bands))


class _Reader:
    """Reads what is compared, each guide once."""

    def __init__(self, config: PrepareConfig, found: Survey, parts: Sequence[str], placed: Placing) -> None:
        self.config, self.found, self.parts, self.placed = config, found, parts, placed
        # The guides' bands as they are: what is made of several is made when its weights are known.
        self.hr = replace(found.hr, recipes={})
        self.mtf = found.hr.part_mtfs(found.bands, found.own_mtf)
        self.known: dict[int, Means | None] = {}

    def samples(self, c: Comparison) -> Samples | None:
        """What is compared; None if an image cannot be read, unless that ends the run."""
        found, time = self.found, c.image.image.time
        lr = self._means(found.lr, c.image, found.bands, found.own_mtf)
        seen = []
        for g in c.guides:
            if id(g.image) not in self.known:
                self.known[id(g.image)] = self._means(self.hr, g, self.parts, self.mtf)
            seen.append(self.known[id(g.image)])
        if lr is None or any(m is None for m in seen):
            return None
        guides = [(g.image.time, m) for g, m in zip(c.guides, seen, strict=True) if m is not None]
        return together(time, lr, guides[0][1]) if len(guides) == 1 else between(time, lr, guides[0], guides[1])

    def _means(self, source: Source, image: Chosen, bands: Sequence[str], mtf: Sequence[float]) -> Means | None:
        moved = self.placed[key(image)].displacement
        try:
            return window_means(*source.read(image.image, bands, self.found.own_box, moved, mtf)[:2])
        except InputError:
            if self.config.on_error == "stop":
                raise
            return None


def _pair(c: Comparison, samples: Samples) -> dict[str, Any]:
    """What was compared, for the record."""
    days = max((_gap(c.image, g) for g in c.guides), key=abs)
    return {
        "lr": _day(c.image),
        "hr": " and ".join(_day(g) for g in c.guides),
        "days": round(days, 3),
        "count": int(samples.lr.shape[1]),
    }


def _shown(samples: Sequence[Samples], bands: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
    """Evenly drawn samples of each band."""
    if not samples:
        return {}
    lr, hr = (np.concatenate([getattr(s, n) for s in samples], axis=1) for n in ("lr", "hr"))
    step = max(1, math.ceil(lr.shape[1] / SHOWN))
    return {f"{n}_{b}": a[k, ::step] for k, b in enumerate(bands) for n, a in (("x", lr), ("y", hr))}


def _day(chosen: Chosen) -> str:
    return str(chosen.image.time)[:10]


def _gap(image: Chosen, guide: Chosen) -> float:
    """Days from an image to a guide."""
    return float((guide.image.time - image.image.time) / np.timedelta64(1, "D"))
