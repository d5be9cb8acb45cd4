"""The images that the viewer shows, read from a benchmark's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from ...benchmarking.configuration import PlannedSite
from ...benchmarking.protocols import STANDARD
from ...benchmarking.results import Results, Unit
from ...core.arrays import BoolArray, FloatArray
from ...core.loading import load_image

Image = tuple[FloatArray, BoolArray]
"""(band, y, x) values, 0 where invalid, and (y, x) where all of them are valid."""


@dataclass(frozen=True)
class Sample:
    """A prediction as it is read."""

    values: FloatArray
    """(band, y, x), 0 where invalid."""
    valid: BoolArray
    sigma: FloatArray | None
    """(y, x) mean over the bands."""
    sigmas: FloatArray | None
    """(band, y, x)."""

    def sigma_at(self, at: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]) -> FloatArray:
        """(band, row × column) uncertainties at positions; NaN where there is none."""
        if self.sigmas is None:
            return np.full((len(self.values), len(at[0]) * len(at[1])), np.float32(np.nan))
        return values_at((self.sigmas, self.valid), at)

    @property
    def image(self) -> Image:
        """Values and mask."""
        return self.values, self.valid


Samples = Mapping[str, Mapping[tuple[str, str], Sample]]
"""By target, by method and date."""


def predictions_of(
    results: Results, site: str, about: PlannedSite, methods: Sequence[str], bands: list[str]
) -> tuple[Samples, xr.Dataset | None]:
    """The predictions of a site, and one of them for its grid."""
    found: dict[str, dict[tuple[str, str], Sample]] = {target: {} for target in about.targets}
    grid = None
    for target, held in found.items():
        for date in about.shown:
            for method in methods:
                sample = results.prediction(Unit(site, target, date, STANDARD, method))
                if sample is not None:
                    held[method, date] = Sample(*read(sample, bands), *_sigma(sample, bands))
                    grid = sample if grid is None else grid
    return found, grid


def read(image: xr.Dataset, bands: list[str]) -> Image:
    """Values and mask of an image of one date; invalid values are 0."""
    values, valid = load_image(image, bands=bands)
    return np.where(valid, values, np.float32(0)), valid


def _sigma(sample: xr.Dataset, bands: list[str]) -> tuple[FloatArray, FloatArray] | tuple[None, None]:
    """Mean over the bands, and of each band."""
    if "uncertainty" not in sample:
        return None, None
    values = sample["uncertainty"].sel(band=bands).transpose("band", "y", "x").values.astype(np.float32)
    return (values.mean(axis=0), values) if np.isfinite(values).any() else (None, None)


def values_at(image: Image, at: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]) -> FloatArray:
    """(band, row × column) values of an image at positions; NaN where it is invalid."""
    values, valid = image
    kept = np.where(valid, values, np.float32(np.nan))[:, at[0]][:, :, at[1]]
    return kept.reshape(len(values), -1)


def days_of(series: xr.Dataset | None) -> list[str]:
    """The dates of a series, as YYYY-MM-DD."""
    return [] if series is None else [str(t)[:10] for t in series["time"].values]


def images_of(series: xr.Dataset | None, bands: list[str]) -> dict[str, Image]:
    """Images of a series by date."""
    if series is None:
        return {}
    return {day: read(series.isel(time=k), bands) for k, day in enumerate(days_of(series))}
