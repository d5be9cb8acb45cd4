"""Sums over pixels and windows, and the metrics that follow from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

from ..core.arrays import F64Array
from ..stats.quantiles import Quantiles
from ._kernels import CONSTANT

LEVELS = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)
"""Central intervals whose coverage is counted, in percent."""
BOUNDS = np.array([NormalDist().inv_cdf(0.5 + level / 200) for level in LEVELS])
"""Half widths of these intervals of a gaussian, in standard deviations."""

COLUMNS = (
    *("pixels", "error", "size", "square", "reference"),
    *("gradients", "a", "b", "aa", "bb", "ab"),
    *("squares", "uiqi"),
    *("discs", "structural"),
    *("deviations", "sigma", *(f"within{level}" for level in LEVELS)),
)
"""Columns of the sums of a band: see the loops that fill them, in their order."""
_INDEX = {name: k for k, name in enumerate(COLUMNS)}
PARTS = {
    "errors": slice(0, 5),
    "gradients": slice(5, 11),
    "uiqi": slice(11, 13),
    "structural": slice(13, 15),
    "coverages": slice(15, len(COLUMNS)),
}
"""Which columns a loop fills."""


@dataclass(frozen=True)
class Sums:
    """Sums over the pixels of one band, or of several pooled, in one stratum."""

    values: F64Array
    """(columns,) see :data:`COLUMNS`."""
    sizes: Quantiles
    """The absolute errors."""

    @classmethod
    def pooled(cls, parts: Iterable[Sums]) -> Sums:
        """The sums over the pixels of several bands."""
        parts = list(parts)
        return cls(np.sum([p.values for p in parts], axis=0), Quantiles.merged(p.sizes for p in parts))

    def __getitem__(self, name: str) -> float:
        return float(self.values[_INDEX[name]])

    @cached_property
    def circular(self) -> tuple[float, float]:
        """90th and 99th percentile of the absolute errors."""
        ninety, ninety_nine = self.sizes.at((0.90, 0.99))
        return ninety, ninety_nine

    def mean(self, name: str, count: str = "pixels") -> float:
        """A sum over a count; NaN of nothing."""
        return self[name] / self[count] if self[count] else math.nan


@dataclass(frozen=True)
class Metric:
    """One metric of the errors of a band."""

    count: str
    """The sum that tells how many pixels or windows it is of."""
    of: Callable[[Sums, float], float]
    """Its value, given the range of the values: 1 for reflectances, 2 for NDVI."""


def psnr(sums: Sums, value_range: float) -> float:
    """Peak signal-to-noise ratio in dB for values that span a range; infinite without error."""
    square = sums.mean("square")
    return math.inf if square == 0 else 10 * math.log10(value_range**2 / square) if square > 0 else square


def correlation(sums: Sums) -> float:
    """Pearson correlation of two gradient magnitudes; NaN where one of them is constant."""
    a, b, aa, bb, ab = (sums.mean(name, "gradients") for name in ("a", "b", "aa", "bb", "ab"))
    va, vb = aa - a * a, bb - b * b
    if not (va > CONSTANT * aa and vb > CONSTANT * bb):
        return math.nan
    return min(max((ab - a * b) / math.sqrt(va * vb), -1.0), 1.0)


def _coverage(level: int) -> Metric:
    return Metric("deviations", lambda s, _: s.mean(f"within{level}", "deviations"))


METRICS: Mapping[str, Metric] = {
    "rmse": Metric("pixels", lambda s, _: math.sqrt(s.mean("square"))),
    "mae": Metric("pixels", lambda s, _: s.mean("size")),
    "bias": Metric("pixels", lambda s, _: s.mean("error")),
    "ce90": Metric("pixels", lambda s, _: s.circular[0]),
    "ce99": Metric("pixels", lambda s, _: s.circular[1]),
    "psnr": Metric("pixels", psnr),
    "uiqi": Metric("squares", lambda s, _: s.mean("uiqi", "squares")),
    "structural": Metric("discs", lambda s, _: s.mean("structural", "discs")),
    "gradient_correlation": Metric("gradients", lambda s, _: correlation(s)),
}
"""What is told of the errors of a band, by name."""
CALIBRATION: Mapping[str, Metric] = {
    **{f"coverage{level}": _coverage(level) for level in LEVELS},
    "sharpness": Metric("deviations", lambda s, _: 2 * BOUNDS[LEVELS.index(90)] * s.mean("sigma", "deviations")),
}
"""What is told of a band whose uncertainty is given."""


def ergas(bands: Iterable[Sums], ratio: float) -> float:
    """ERGAS of some bands: ``100 / ratio · sqrt(mean over bands (RMSE² / µ²))`` with µ the reference's mean.

    NaN where there is no pixel or a mean is 0.
    """
    parts = [(s.mean("square"), s.mean("reference")) for s in bands]
    if any(mean == 0 for _, mean in parts):
        return math.nan
    return 100 / ratio * math.sqrt(sum(square / mean**2 for square, mean in parts) / len(parts))
