"""Radiometric harmonisation of an LR series to an HR one, learnt where both saw the land at nearly the same time.

``harmonised = gain * LR + offset`` per band, or a full matrix of bands. What is learnt from are samples: values of
the LR sensor, and of the HR sensor degraded to the LR grid. Among them are missed clouds and fields that changed in
between, hence every fit here drops outliers. The HR images to learn from are the guides: references are there to
judge the result and must never get in here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from ..core.arrays import BoolArray, F64Array, FloatArray
from ..errors import InputError
from ..stats.robust import Fit, draw, settle, settle_offset, weighted_median
from .lines import LARGEST, Line, fit_line, judged

Mode = Literal["pooled", "per-date", "mixing"]
FEWEST_PER_DATE = 200
"""Samples below which a date has no line of its own."""
WINDOW = 3
"""Side of the windows of LR pixels whose means are the samples."""
UNSTEADY = 0.02
"""How much gains are taken to differ from date to date, relative (standard deviation)."""
RIDGE = 0.1
"""Pull of the band matrix towards the diagonal, relative to the variance of a band."""


@dataclass(frozen=True)
class Samples:
    """What two sensors saw of the same places at nearly the same time."""

    date: np.datetime64
    """Of the LR image."""
    lr: FloatArray
    """(band, n) values of the LR image."""
    hr: FloatArray
    """(band, n) values of the HR image, degraded to the LR grid."""


@dataclass(frozen=True)
class Harmonization:
    """How to harmonise a series, and how well that fits."""

    lines: Mapping[str, Line]
    """Line of each band for all dates, in the order of the bands."""
    dates: Mapping[str, Mapping[str, Line]] = field(default_factory=dict)
    """Lines of single dates (ISO days) by band, where they were asked for."""
    matrix: tuple[tuple[float, ...], ...] | None = None
    """(band, band) weights of the LR bands (columns) in each harmonised band (rows), where they were asked for."""
    offsets: tuple[float, ...] | None = None
    """(band,) offsets that belong to the matrix, in units of the values."""

    def coefficients(self, date: np.datetime64) -> tuple[F64Array, F64Array]:
        """Matrix (band, band) and offsets (band,) that hold on a date; a day without lines has those of all dates."""
        if self.matrix is not None:
            return np.array(self.matrix), np.array(self.offsets)
        lines = self.dates.get(_day(date), self.lines)
        return np.diag([lines[b].gain for b in self.lines]), np.array([lines[b].offset for b in self.lines])

    def apply(self, values: FloatArray, date: np.datetime64) -> FloatArray:
        """Harmonise an LR image.

        Parameters
        ----------
        values
            (band, y, x) float32, bands in the order of ``lines``.
        date
            Of the image.

        Returns
        -------
        harmonised
            (band, y, x) float32; what is NaN stays NaN.
        """
        matrix, offsets = (a.astype(np.float32) for a in self.coefficients(date))
        if self.matrix is None:
            return np.asarray(np.diagonal(matrix)[:, None, None] * values + offsets[:, None, None], np.float32)
        return np.asarray(np.tensordot(matrix, values, 1) + offsets[:, None, None], np.float32)

    def to_mapping(self) -> dict[str, Any]:
        """The fields, as JSON can hold them: None for what is not known."""

        def plain(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {k: plain(v) for k, v in value.items()}
            if isinstance(value, tuple):
                return [plain(v) for v in value]
            return None if isinstance(value, float) and math.isnan(value) else value

        out: dict[str, Any] = plain(asdict(self))
        return out


def take_samples(
    date: np.datetime64, lr: FloatArray, lr_valid: BoolArray, hr: FloatArray, hr_valid: BoolArray, window: int = WINDOW
) -> Samples:
    """Samples of a pair of images: means over windows in which both are valid.

    Means of 3 × 3 pixels have a ninth of the noise's variance, yet most of the land's, and feel a displacement or a
    wrong PSF less: gains of simulated bands are right within 1 %, where those of single pixels are off by up to 3 %.
    They also leave out the rims of clouds, where masks miss most.

    Parameters
    ----------
    date
        Of the LR image.
    lr, hr
        (band, y, x) float32: the LR image, and the HR image degraded to its grid.
    lr_valid, hr_valid
        (y, x) bool.
    window
        Side of the windows, in LR pixels. They overlap: there is one around every pixel.
    """
    both = lr_valid & hr_valid & np.isfinite(lr).all(axis=0) & np.isfinite(hr).all(axis=0)
    if min(both.shape) < window:
        return Samples(date, lr[:, :0, 0], hr[:, :0, 0])
    views = np.lib.stride_tricks.sliding_window_view
    inside = views(both, (window, window)).all(axis=(-2, -1))

    def means(image: FloatArray) -> FloatArray:
        windows = views(np.where(both, image, np.float32(0)), (window, window), axis=(1, 2))
        return np.asarray(windows.mean(axis=(-2, -1))[:, inside], np.float32)

    return Samples(date, means(lr), means(hr))


def pool(samples: Sequence[Samples], bands: Sequence[str], mode: Mode = "pooled") -> Harmonization:
    """Learn how to harmonise a series from pairs of images.

    Parameters
    ----------
    samples
        Of each pair of images, bands in the same order. Only guides may be in them, no references.
    bands
        Names of the bands.
    mode
        "pooled": one line per band for all dates. "per-date": also lines of the dates in ``samples``; a date of
        fewer than 200 samples, or without a good line, has that of all dates. "mixing": a matrix of bands for all
        dates, by least squares around the lines of all dates and pulled towards them (ridge).

    Returns
    -------
    Harmonization
        Bands without enough samples are left as they are (see :attr:`Line.ok`).

    Raises
    ------
    InputError
        If the mode is unknown.

    Notes
    -----
    What is common to all dates has the weighted median of their gains (weight 1 / (variance of a gain + 0.02²)) and
    the offset that then fits most samples; the matrix, too, is learnt within dates. A line through the samples of
    all dates at once would take for a gain what shifts a whole image: haze, its correction, rain on bare soil. No
    date gives more samples than the middle one, so that the clearest do not outweigh the others.
    """
    if mode not in get_args(Mode):
        raise InputError("harmonisation", f"{mode!r} is not known", f"choose among {', '.join(get_args(Mode))}")
    if any(a.shape[0] != len(bands) for s in samples for a in (s.lr, s.hr)):
        raise ValueError(f"samples must have the {len(bands)} bands {', '.join(bands)}")
    held = [s for s in map(_finite, samples) if s.lr.shape[1]]
    most = max(min(int(np.median([s.lr.shape[1] for s in held])), LARGEST // len(held)), 1) if held else 1
    parts = [[a.astype(np.float64) for a in draw([s.lr, s.hr], most)] for s in held]
    count = sum(s.lr.shape[1] for s in held)
    lines = {b: replace(_common([(x[k], y[k]) for x, y in parts]), count=count) for k, b in enumerate(bands)}
    if mode == "per-date":
        days = sorted({_day(s.date) for s in held})
        return Harmonization(lines, {d: _of_date([s for s in held if _day(s.date) == d], lines) for d in days})
    if mode == "mixing":
        rows = [_mixed(k, len(bands), parts, line) for k, line in enumerate(lines.values())]
        return Harmonization(lines, matrix=tuple(m for m, _ in rows), offsets=tuple(o for _, o in rows))
    return Harmonization(lines)


def _finite(samples: Samples) -> Samples:
    """The samples that have a value in every band."""
    whole = np.isfinite(samples.lr).all(axis=0) & np.isfinite(samples.hr).all(axis=0)
    return samples if whole.all() else replace(samples, lr=samples.lr[:, whole], hr=samples.hr[:, whole])


def _common(parts: Sequence[tuple[F64Array, F64Array]]) -> Line:
    """The line of one band that holds for all dates, from the samples of each."""
    own = [line for line in (fit_line(x, y) for x, y in parts) if line.ok]
    x, y = (np.concatenate([np.empty(0), *(p[k] for p in parts)]) for k in (0, 1))
    if not own:
        return fit_line(x, y)
    # Relative variance of a gain; windows overlap, so that samples are fewer than they look.
    doubt = [WINDOW**2 * (1 - v.correlation**2) / (v.used * v.count) for v in own]
    gain = weighted_median([v.gain for v in own], [1 / (d + UNSTEADY**2) for d in doubt])
    offset, kept = settle_offset(x[None], y, np.array([gain]))
    return judged(Line(gain, offset), x, y, kept)


def _of_date(samples: Sequence[Samples], lines: Mapping[str, Line]) -> dict[str, Line]:
    """Lines of one date by band; where it has none of its own, that of all dates."""
    lr, hr = (np.concatenate([getattr(s, name) for s in samples], axis=1) for name in ("lr", "hr"))
    out = {}
    for k, (band, common) in enumerate(lines.items()):
        own = fit_line(lr[k], hr[k])
        few = f"only {own.count} samples" if own.count < FEWEST_PER_DATE else own.reason
        out[band] = replace(common, reason=f"that of all dates: {few}") if few else own
    return out


def _mixed(band: int, bands: int, parts: Sequence[Sequence[F64Array]], line: Line) -> tuple[tuple[float, ...], float]:
    """Weights (band,) of the LR bands in one HR band and the offset: ridge regression around the band's line."""
    alone = line.gain * np.eye(bands)[band]
    if not line.ok:
        return tuple(alone.tolist()), line.offset
    # Each date is centred on its samples along the band's line: what shifts a whole image is not a matter of bands.
    along = [settle_offset(x[band][None], y[band], alone[band : band + 1])[1] for x, y in parts]
    x = np.concatenate(
        [x - x[:, k].mean(axis=1, keepdims=True) for (x, _), k in zip(parts, along, strict=True)], axis=1
    )
    y = np.concatenate([y[band] - y[band, k].mean() for (_, y), k in zip(parts, along, strict=True)])

    def solve(kept: BoolArray) -> Fit:
        u, v = x[:, kept], y[kept]
        size = np.sqrt(np.mean(np.square(u), axis=1))
        size[size == 0] = 1
        u = u / size[:, None]
        left = v - (alone * size) @ u
        change = np.linalg.solve(u @ u.T / v.size + RIDGE * np.eye(bands), u @ left / v.size)
        return alone + change / size, 0.0

    weights = settle(x, y, (alone, 0.0), solve)[0]
    lr, hr = np.concatenate([x for x, _ in parts], axis=1), np.concatenate([y[band] for _, y in parts])
    return tuple(weights.tolist()), settle_offset(lr, hr, weights)[0]


def _day(date: np.datetime64) -> str:
    return str(np.datetime64(date, "D"))  # type: ignore[call-overload]
