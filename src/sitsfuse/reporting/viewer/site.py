"""What the viewer shows of a site, before it is compressed: images as bytes, their scales, and series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from ...benchmarking.results import Results
from ...core.arrays import BoolArray, ByteArray, FloatArray
from ...core.grid import place_in
from ...core.series import geobox
from ...drawing.text import printable
from .pictures import Code, Sheet, encode_difference, fill, halve
from .samples import Image, Sample, Samples, days_of, images_of, predictions_of, values_at
from .scales import NDVI, codes_of, error_ends, scale_of, sigma_end
from .series import Span, positions, sigma_codes, take

COLOUR, INFRARED = ("red", "green", "blue"), ("nir", "red", "green")
COLOURED = (COLOUR, INFRARED, ("swir16", "nir", "red"))
"""Bands that make a picture in colour; those of the first that are there share a panel."""
STORED = 4
"""Most bands that are kept of an image."""


@dataclass(frozen=True)
class Predicted:
    """A prediction."""

    method: str
    date: int
    """Position in the site's dates."""
    sheet: Sheet
    """Its differences from the base of the date, and its uncertainty, if it has one, mean over the bands."""


@dataclass(frozen=True)
class Target:
    """An LR series and what was predicted with it."""

    name: str
    ratio: float
    place: tuple[float, float, float, float]
    """Left, top, width and height of the LR images, as shares of the width and height of the HR window."""
    shape: tuple[int, int]
    """Rows and columns of the LR images."""
    images: dict[int, tuple[str, Sheet]]
    """By position in the site's dates, the LR image of that day with its own date."""
    predictions: list[Predicted]
    dates: list[str]
    """Of all LR images."""
    series: ByteArray
    """(time, band, position) of all LR images."""
    predicted: dict[str, ByteArray]
    """By method, (date, band, position) of the predictions."""
    unsure: dict[str, ByteArray]
    """By method that states it, (date, band, position) of the uncertainty: see :func:`sigma_codes`."""


@dataclass(frozen=True)
class Scene:
    """A site."""

    name: str
    title: str
    bands: list[str]
    """Those that are kept, in the order of a sheet's panels."""
    shape: tuple[int, int]
    dates: list[str]
    code: Code
    scale: FloatArray
    """(band,) what byte 255 of a difference stands for."""
    stretch: FloatArray
    """(band, 2) what becomes black and white."""
    sigma: float
    """What byte 255 of an uncertainty stands for."""
    errors: dict[str, float]
    """Ends of the scale of error maps: ``mean`` (over the bands) and ``ndvi``."""
    bases: list[Sheet]
    """By date, what predictions are told from: the reference, and where it is unknown the mean of the predictions."""
    known: list[BoolArray]
    """By date, where the base is the reference."""
    guides: dict[str, Sheet]
    """By date, those that are next to a date that is shown."""
    guide_dates: list[str]
    at: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
    """Rows and columns of the positions of the series."""
    transform: tuple[float, ...]
    """From (column, row) of the window to the map: a, b, c, d, e, f."""
    crs: str
    """The map's system, e.g. EPSG:32631; empty if it is not known."""
    span: Span
    observed: ByteArray
    """(time, band, position) of the guides, then of the references at the dates."""
    targets: list[Target]


def stored_bands(bands: Sequence[str]) -> list[str]:
    """The bands that are kept: first those of a colour picture, then what the NDVI needs besides."""
    colour = next((c for c in COLOURED if set(c) <= set(bands)), ())
    more = [b for b in NDVI if set(NDVI) <= set(bands) and b not in colour]
    return [*colour, *more] or list(bands)[:STORED]


def neighbours(date: str, guides: Sequence[str]) -> tuple[str | None, str | None]:
    """The nearest guides before and after a date; one of that very day is none."""
    return max((g for g in guides if g < date), default=None), min((g for g in guides if g > date), default=None)


@dataclass(frozen=True)
class Material:
    """What there is to see of a site: images in memory."""

    name: str
    title: str
    bands: list[str]
    """Those that are kept."""
    dates: list[str]
    """That are shown."""
    grid: xr.Dataset
    """An image on the HR window."""
    samples: Samples
    lr: Mapping[str, xr.Dataset | None]
    """By target, its LR series."""
    ratios: Mapping[str, float]
    """By target."""
    guide: xr.Dataset | None = None
    reference: xr.Dataset | None = None
    """Its images of the dates, as far as there are any."""
    longest: float = 1.0
    """Most days between a date and the LR image that goes with it."""


def read_scene(results: Results, site: str, methods: Sequence[str], side: int) -> Scene | None:
    """Read the samples of a site.

    Parameters
    ----------
    results
        The folder of results.
    site
        Name of the site.
    methods
        Names of the methods.
    side
        Series are kept at about ``side`` × ``side`` positions.

    Returns
    -------
    Scene or None
        None if there is no prediction to be seen.
    """
    config = results.config
    about = config.site(site)
    bands = stored_bands(about.bands)
    reference, guide = results.sample(site, "reference"), results.sample(site, "guide")
    samples, grid = predictions_of(results, site, about, methods, bands)
    if grid is None:
        return None
    material = Material(
        name=site,
        title=about.title or site,
        bands=bands,
        dates=list(about.shown),
        grid=next(s for s in (reference, guide, grid) if s is not None),
        samples=samples,
        lr={target: results.sample(site, target, "target") for target in about.targets},
        ratios={target: entry.ratio for target, entry in about.targets.items()},
        guide=guide,
        reference=reference,
        longest=config.max_days,
    )
    return scene_of(material, methods, side)


def scene_of(seen: Material, methods: Sequence[str], side: int) -> Scene:
    """What there is to see, as the viewer keeps it; series at about ``side`` × ``side`` positions."""
    bands, dates, samples, like = seen.bands, seen.dates, seen.samples, seen.grid
    shape = (int(like.sizes["y"]), int(like.sizes["x"]))
    truths, guides = images_of(seen.reference, bands), images_of(seen.guide, bands)
    bases = {d: _base(truths.get(d), _of_date(samples, d), len(bands), shape) for d in dates}
    near = sorted({g for d in dates for g in neighbours(d, list(guides)) if g})
    predicted = [sample.image for found in samples.values() for sample in found.values()]
    code, stretch = codes_of(list(truths.values()) or predicted, [guides[g] for g in near])

    at = positions(shape, side)
    series = {name: take(s, bands, like, at) for name, s in {"": seen.guide, **seen.lr}.items() if s is not None}
    truth = np.stack([values_at(image, at) for image in bases.values()])
    reader = _Reader(
        bands, methods, like, bases, code, scale_of(samples, bases, len(bands)), sigma_end(samples), at,
        Span.of([truth, *series.values()]), seen.longest,
    )  # fmt: skip
    observed = [series[""], truth] if "" in series else [truth]
    return Scene(
        name=seen.name,
        title=printable(seen.title),
        bands=bands,
        shape=shape,
        dates=dates,
        code=code,
        scale=reader.scale,
        stretch=stretch,
        sigma=reader.sigma,
        errors=error_ends(samples, bases, bands),
        bases=[Sheet(code(values), np.ones(shape, bool)) for values, _ in bases.values()],
        known=[known for _, known in bases.values()],
        guides={g: Sheet(code(fill(*guides[g])), guides[g][1]) for g in near},
        guide_dates=days_of(seen.guide),
        at=at,
        transform=tuple(geobox(like).affine)[:6],
        crs=_crs_name(like),
        span=reader.span,
        observed=np.concatenate([reader.span(part) for part in observed]),
        targets=[
            reader.target(name, ratio, samples[name], seen.lr[name], series.get(name))
            # As on the page: the largest ratio leads.
            for name, ratio in sorted(seen.ratios.items(), key=lambda held: -held[1])
            if samples[name]
        ],
    )  # fmt: skip


@dataclass(frozen=True)
class _Reader:
    """What all targets of a site share."""

    bands: list[str]
    methods: Sequence[str]
    like: xr.Dataset
    """An image on the HR window."""
    bases: Mapping[str, Image]
    """By date, see :class:`Scene`."""
    code: Code
    scale: FloatArray
    sigma: float
    at: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
    span: Span
    longest: float
    """Most days between a date and the LR image that goes with it."""

    def target(
        self,
        name: str,
        ratio: float,
        samples: Mapping[tuple[str, str], Sample],
        lr: xr.Dataset | None,
        series: FloatArray | None,
    ) -> Target:
        """A target of its samples and its LR series, which may be missing."""
        dates, count = list(self.bases), len(self.at[0]) * len(self.at[1])
        missing = np.full((len(self.bands), count), np.float32(np.nan))
        unsure = {
            m: np.stack([samples[m, d].sigma_at(self.at) if (m, d) in samples else missing for d in dates])
            for m in self.methods
        }
        values = {
            m: np.stack([values_at(samples[m, d].image, self.at) if (m, d) in samples else missing for d in dates])
            for m in self.methods
        }
        return Target(
            name=name,
            ratio=ratio,
            place=(0.0, 0.0, 1.0, 1.0) if lr is None else place_of(lr, self.like),
            shape=(1, 1) if lr is None else (lr.sizes["y"], lr.sizes["x"]),
            images=_of_days(images_of(lr, self.bands), dates, self.longest, self.code),
            predictions=[
                Predicted(method, dates.index(date), _sheet(sample, self.bases[date][0], self.scale, self.sigma))
                for (method, date), sample in samples.items()
            ],
            dates=days_of(lr),
            series=self.span(missing[None][:0] if series is None else series),
            predicted={m: self.span(v) for m, v in values.items() if np.isfinite(v).any()},
            unsure={m: sigma_codes(v, self.sigma) for m, v in unsure.items() if np.isfinite(v).any()},
        )


def _of_date(samples: Samples, date: str) -> list[Image]:
    """All predictions of a date."""
    return [s.image for found in samples.values() for (_, day), s in found.items() if day == date]


def _base(truth: Image | None, predictions: Sequence[Image], count: int, shape: tuple[int, int]) -> Image:
    """What predictions of a date are told from, and where that is the reference."""
    values, known = truth or (np.zeros((count, *shape), np.float32), np.zeros(shape, bool))
    if known.all():
        return values, known
    total, number = np.zeros_like(values), np.zeros(shape, np.float32)
    for image, valid in predictions:
        total += image
        number += valid
    mean = total / np.maximum(number, 1)
    return fill(np.where(known, values, mean).astype(np.float32), known | (number > 0)), known


def _sheet(sample: Sample, base: FloatArray, scale: FloatArray, sigma: float) -> Sheet:
    difference = encode_difference(fill(sample.values - base, sample.valid), scale)
    if sample.sigma is None:
        return Sheet(difference, sample.valid)
    half = np.clip(halve(sample.sigma, np.isfinite(sample.sigma) & sample.valid) / sigma, 0, 1)
    # By their square root: those of good methods are small next to those of others, and no less worth seeing.
    return Sheet(difference, sample.valid, np.rint(255 * np.sqrt(half)).astype(np.uint8))


def _of_days(
    images: Mapping[str, Image], dates: Sequence[str], longest: float, code: Code
) -> dict[int, tuple[str, Sheet]]:
    """By position of a date, the LR image taken at most ``longest`` days from it, with its date."""
    found = {}
    for k, date in enumerate(dates):
        apart = {lr: abs((np.datetime64(lr) - np.datetime64(date)).astype(int)) for lr in images}
        closest = min(images, key=lambda lr: apart[lr], default=None)
        if closest is not None and apart[closest] <= longest:
            values, valid = images[closest]
            found[k] = closest, Sheet(code(fill(values, valid)), valid, grey=True)
    return found


def _crs_name(image: xr.Dataset) -> str:
    """What readers know a map's system by; empty if it has no such name."""
    crs = geobox(image).crs
    return f"EPSG:{crs.epsg}" if crs is not None and crs.epsg else ""


def place_of(lr: xr.Dataset, hr: xr.Dataset) -> tuple[float, float, float, float]:
    """Left, top, width and height of an LR window as shares of the HR window."""
    rows, cols = geobox(hr).shape
    left, top, width, height = place_in(geobox(lr), geobox(hr))
    return left / cols, top / rows, width / cols, height / rows
