"""Brings the LR images of a site to the radiometry of its guides, by pairs of images that are near in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..radiometry.harmonize import Harmonization, Samples, pool, take_samples
from ..radiometry.lines import combine_weights
from ..runtime.progress import Progress
from .config import PrepareConfig
from .placing import Placed, key
from .sources import Source
from .survey import Chosen, Survey

ENOUGH = 3
"""LR images near a guide from which on no other ones are compared."""
CLEAR = 0.3
"""Clear share of the guides that are compared, if there are any."""
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


Pair = tuple[Chosen, Chosen]
"""An LR image and the guide that it is compared with."""


def near_pairs(found: Survey, max_days: float, wider_days: float) -> list[Pair]:
    """LR images, targets or not, with the nearest guide, if that is at most ``max_days`` days away.

    If these are fewer than :data:`ENOUGH`, the guide may be ``wider_days`` days away. On simulated sites and a real
    one, that told the radiometry better than guides interpolated in time.
    """
    guides = [g for g in found.of("guide") if g.useful >= CLEAR] or found.of("guide")
    pairs = [(image, min(guides, key=lambda g: abs(_gap(image, g)))) for image in (*found.of("target"), *found.others)]
    pairs.sort(key=lambda pair: pair[0].image.time)
    near, wider = ([p for p in pairs if abs(_gap(*p)) <= days] for days in (max_days, max(max_days, wider_days)))
    return near if len(near) >= ENOUGH else wider


def harmonize(
    config: PrepareConfig,
    found: Survey,
    pairs: Sequence[Pair],
    placed: Mapping[str, Placed],
    report: Progress,
) -> Radiometry:
    """Learn the radiometry from pairs of an LR image and a guide; references are never among them.

    Parameters
    ----------
    config, found
        What to do, and with which images.
    pairs
        From :func:`near_pairs`.
    placed
        Where the content of the images lies.
    report
        Told of the progress.
    """
    mode = config.harmonization.mode
    recipes = dict(found.hr.recipes)
    wanted = mode != "none" or any(b in recipes for b in found.bands)
    if not pairs or not wanted:
        h = config.harmonization
        far = f"no LR image is within {max(h.max_days, h.wider_days):g} days of a guide"
        return Radiometry(recipes=recipes, note="" if mode == "none" else far)
    parts = found.hr.parts(found.bands)
    # The guides' bands as they are: what is made of several is made when its weights are known.
    plain = replace(found.hr, recipes={})
    mtf = found.hr.part_mtfs(found.bands, found.own_mtf)
    taken = []
    used = []
    for done, (image, guide) in enumerate(pairs):
        report("comparing radiometry", done, len(pairs))
        try:
            taken.append(_samples(found, plain, parts, mtf, image, guide, placed))
        except InputError:
            if config.on_error == "stop":
                raise
            continue
        days = {"lr": _day(image), "hr": _day(guide), "days": round(_gap(image, guide), 3)}
        used.append(days | {"count": int(taken[-1].lr.shape[1])})
    report("comparing radiometry", len(pairs), len(pairs))
    lr = np.concatenate([s.lr for s in taken], axis=1) if taken else np.empty((len(found.bands), 0))
    hr = np.concatenate([s.hr for s in taken], axis=1) if taken else np.empty((len(parts), 0))
    for band, recipe in recipes.items():
        if band in found.bands and lr.shape[1]:
            rows = [parts.index(p) for p in recipe]
            weights = combine_weights(hr[rows], lr[found.bands.index(band)])
            recipes[band] = dict(zip(recipe, (round(float(w), 4) for w in weights), strict=True))
    weighed = replace(found.hr, recipes=recipes)
    mixed = [Samples(s.date, s.lr, weighed.mix(s.hr, found.bands)) for s in taken]
    fitted = pool(mixed, found.bands, mode) if mode != "none" else None
    return Radiometry(fitted, recipes, tuple(used), _shown(mixed, found.bands))


def _samples(
    found: Survey,
    hr: Source,
    parts: Sequence[str],
    mtf: Sequence[float],
    image: Chosen,
    guide: Chosen,
    placed: Mapping[str, Placed],
) -> Samples:
    box = found.own_box
    seen = found.lr.read(image.image, found.bands, box, placed[key(image)].displacement, found.own_mtf)
    true = hr.read(guide.image, parts, box, placed[key(guide)].displacement, mtf)
    return take_samples(image.image.time, *seen[:2], *true[:2])


def _shown(samples: Sequence[Samples], bands: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
    """Evenly drawn samples of each band."""
    if not samples:
        return {}
    lr, hr = (np.concatenate([getattr(s, n) for s in samples], axis=1) for n in ("lr", "hr"))
    step = max(1, lr.shape[1] // SHOWN)
    return {f"{n}_{b}": a[k, ::step] for k, b in enumerate(bands) for n, a in (("x", lr), ("y", hr))}


def _day(chosen: Chosen) -> str:
    return str(chosen.image.time)[:10]


def _gap(image: Chosen, guide: Chosen) -> float:
    """Days from an image to a guide."""
    return float((guide.image.time - image.image.time) / np.timedelta64(1, "D"))
