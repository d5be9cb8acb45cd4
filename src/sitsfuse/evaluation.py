"""Compare a predicted series with a reference: one tidy table, streamed by blocks."""

from __future__ import annotations

import functools
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from dask.base import is_dask_collection
from odc.geo.geobox import GeoBox

from .degrade import up_mask
from .errors import InputError
from .grid import GridPair, Window
from .metrics import METRICS, Errors, ndvi
from .resample import degrade
from .series import check, check_same_grid, geobox, match_bands, mtf

POOLED = "all"
"""Name of the row that pools the bands."""
NDVI = "ndvi"
"""Name of the row of the vegetation index."""
NDVI_RANGE = 2.0
COLUMNS = ("date", "predicted", "days", "band", "metric", "value", "n_valid", "n_reference", "coverage")


def evaluate(
    prediction: xr.Dataset,
    reference: xr.Dataset,
    target: xr.Dataset | None = None,
    *,
    max_days: float = 1.0,
    block: int = 1024,
) -> pd.DataFrame:
    """Compare predictions with the reference images of (nearly) the same dates.

    Each reference image is compared with the prediction of the nearest calendar day. A pixel counts if it is valid
    and finite in both and, where a target is given, if the target image of the prediction's date is clear there.

    Parameters
    ----------
    prediction, reference
        HR series on one grid; the bands that both have are compared.
    target
        The LR series that was fused, with the prediction's bands. Reference dates without a target image within
        ``max_days`` of the prediction are left out.
    max_days
        Days by which two images may differ and still be compared.
    block
        Side of the blocks that are in memory at once, in HR pixels.

    Returns
    -------
    pandas.DataFrame
        One row per date, band and metric: ``date`` (of the reference), ``predicted``, ``days`` (predicted minus
        reference), ``band`` (a band, ``ndvi`` or ``all``: the bands pooled), ``metric`` (see
        :mod:`sitsfuse.metrics`), ``value``, ``n_valid`` (pixels compared), ``n_reference`` (pixels valid in the
        reference) and ``coverage`` (their quotient). With a target also the metric ``lr_consistency``: RMSE of the
        degraded prediction against the target, where the counts are of LR pixels and the target is the reference.
        ``attrs["left_out"]`` counts the reference dates without a partner.

    Raises
    ------
    InputError
        If the grids or bands do not fit, or no two dates do.
    """
    check(prediction, "prediction")
    check(reference, "reference")
    check_same_grid(prediction, reference, "prediction")
    bands = _common_bands(prediction, reference)
    prediction, reference = _select(prediction, bands), _select(reference, bands)
    if target is not None:
        target = match_bands(check(target, "target"), prediction, "target")
    matches = _matches(prediction, reference, target, max_days)
    rows: list[dict[str, Any]] = []
    for match in matches:
        image, truth = prediction.isel(time=match.prediction), reference.isel(time=match.reference)
        coarse = None if target is None or match.target is None else target.isel(time=match.target)
        head = {
            "date": truth["time"].values,
            "predicted": image["time"].values,
            "days": _calendar_days(image["time"].values, truth["time"].values),
        }
        rows += [head | row for row in _compare(image, truth, coarse, bands, block)]
        if coarse is not None:
            rows += [head | row for row in _consistency(image, coarse, bands, block)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.attrs["left_out"] = reference.sizes["time"] - len(matches)
    return table


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over the dates of every metric.

    Parameters
    ----------
    table
        What :func:`evaluate` returns.

    Returns
    -------
    pandas.DataFrame
        Bands as rows, metrics as columns, both in the table's order; NaN where a metric has no value.
    """
    wide = table.pivot_table(index="band", columns="metric", values="value", aggfunc="mean", dropna=False)
    wide = wide.reindex(index=table["band"].unique(), columns=table["metric"].unique())
    return wide.rename_axis(index="band", columns=None)


def write_table(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table as CSV or Parquet, by the suffix of ``path``; the file appears whole or not at all.

    Raises
    ------
    InputError
        If the suffix is neither ``.csv`` nor ``.parquet`` or the folder does not exist.
    """
    path = Path(path)
    check_table_path(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".table-") as folder:
        draft = Path(folder) / path.name
        if path.suffix == ".csv":
            table.to_csv(draft, index=False)
        else:
            table.to_parquet(draft, index=False)
        draft.replace(path)


def check_table_path(path: Path) -> None:
    """Raise :class:`InputError` if :func:`write_table` cannot write there."""
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(path, "is neither .csv nor .parquet", "choose one of these suffixes")
    if not path.parent.is_dir():
        raise InputError(path.parent, "is no folder", "create it first")


@dataclass(frozen=True)
class _Match:
    """Positions along time of images that are compared."""

    reference: int
    prediction: int
    target: int | None


def _matches(prediction: xr.Dataset, reference: xr.Dataset, target: xr.Dataset | None, max_days: float) -> list[_Match]:
    """The partners of each reference date, those without one left out."""
    found = []
    for k, date in enumerate(reference["time"].values):
        near = _nearest(prediction, date)
        if abs(_calendar_days(prediction["time"].values[near], date)) > max_days:
            continue
        clear = None
        if target is not None:
            when = prediction["time"].values[near]
            clear = _nearest(target, when)
            if abs(_calendar_days(target["time"].values[clear], when)) > max_days:
                continue
        found.append(_Match(k, near, clear))
    if not found:
        _raise_closest(prediction, reference, target, max_days)
    return found


def _raise_closest(prediction: xr.Dataset, reference: xr.Dataset, target: xr.Dataset | None, max_days: float) -> None:
    """Raise :class:`InputError` with the closest pair of dates that are still too far apart."""
    for name, a, b in (("reference", reference, prediction), ("target", target, prediction)):
        if a is None:
            continue
        gaps = np.abs(_calendar_days(a["time"].values[:, None], b["time"].values[None, :]))
        i, j = np.unravel_index(np.argmin(gaps), gaps.shape)
        if gaps[i, j] > max_days:
            ours, theirs = _day(a["time"].values[i]), _day(b["time"].values[j])
            raise InputError(
                "prediction",
                f"has no date within {max_days:g} days of the {name} (closest: {theirs}, {name} {ours})",
                f"predict at the dates of the {name}, or set max_days to {gaps[i, j]} or more",
            )
    raise InputError(
        "prediction",
        f"has no date within {max_days:g} days of both a reference and a target image",
        "predict at the dates of the reference, or set max_days higher",
    )


def _compare(
    image: xr.Dataset, truth: xr.Dataset, coarse: xr.Dataset | None, bands: Sequence[str], block: int
) -> list[dict[str, Any]]:
    """Rows of one date."""
    box = geobox(image)
    clear = _Clear(GridPair(box, geobox(coarse)), coarse["valid"].values) if coarse is not None else None
    # A series may hold the index itself, as a band.
    names = [*bands, NDVI] if {"red", "nir"} <= set(bands) and NDVI not in bands else list(bands)
    errors = dict.fromkeys(names, Errors())
    n_reference, n_valid = 0, 0
    for window in _windows(box, block):
        p, p_ok = _load(image, window)
        r, r_ok = _load(truth, window)
        n_reference += int(r_ok.sum())
        ok = p_ok & r_ok
        if clear is not None:
            ok &= clear(window)
        n_valid += int(ok.sum())
        p, r = p[:, ok].astype(np.float64), r[:, ok].astype(np.float64)
        for k, name in enumerate(bands):
            errors[name] += Errors.of(p[k] - r[k])
        if len(names) > len(bands):
            red, nir = bands.index("red"), bands.index("nir")
            e = ndvi(p[red], p[nir]) - ndvi(r[red], r[nir])
            errors[NDVI] += Errors.of(e[np.isfinite(e)])
    pooled = functools.reduce(Errors.__add__, (errors[name] for name in bands))
    return [
        _row(name, metric, function(e, NDVI_RANGE if name == NDVI else 1.0), n, n_reference)
        for name, e, n in [*((n, e, e.n) for n, e in errors.items()), (POOLED, pooled, n_valid)]
        for metric, function in METRICS.items()
    ]


def _consistency(image: xr.Dataset, coarse: xr.Dataset, bands: Sequence[str], block: int) -> list[dict[str, Any]]:
    """Rows of ``lr_consistency`` of one date."""
    # As dask chunks of a block's size, so that an image is never degraded in one piece.
    source = image.expand_dims("time").transpose("time", "band", "y", "x")
    if not is_dask_collection(source):
        source = source.chunk(y=block, x=block)
    degraded = degrade(source, geobox(coarse), mtf(coarse)).isel(time=0).compute()
    p, p_ok = _finite(degraded)
    r, r_ok = _finite(coarse)
    ok = p_ok & r_ok
    per_band = [Errors.of(a[ok].astype(np.float64) - b[ok]) for a, b in zip(p, r, strict=True)]
    pooled = functools.reduce(Errors.__add__, per_band)
    counts = int(ok.sum()), int(r_ok.sum())
    named = [*zip(bands, per_band, strict=True), (POOLED, pooled)]
    return [_row(name, "lr_consistency", e.rmse, *counts) for name, e in named]


@dataclass(frozen=True)
class _Clear:
    """Where the LR target is clear, on windows of the HR grid."""

    pair: GridPair
    valid: npt.NDArray[np.bool_]

    def __call__(self, window: Window) -> npt.NDArray[np.bool_]:
        lr = self.pair.lr_window(window)
        if any(s.stop <= s.start for s in lr):
            return np.zeros([s.stop - s.start for s in window], bool)
        return up_mask(self.valid[lr], self.pair.crop(window, lr))


def _row(band: str, metric: str, value: float, n_valid: int, n_reference: int) -> dict[str, Any]:
    coverage = n_valid / n_reference if n_reference else math.nan
    return {
        "band": band,
        "metric": metric,
        "value": value,
        "n_valid": n_valid,
        "n_reference": n_reference,
        "coverage": coverage,
    }


def _windows(box: GeoBox, block: int) -> Iterator[Window]:
    rows, cols = box.shape
    for y in range(0, rows, block):
        for x in range(0, cols, block):
            yield slice(y, min(y + block, rows)), slice(x, min(x + block, cols))


def _load(image: xr.Dataset, window: Window) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    return _finite(image.isel(y=window[0], x=window[1]))


def _finite(image: xr.Dataset) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Values (band, y, x) and where all bands are valid and finite."""
    loaded = image[["reflectance", "valid"]].compute()
    values, valid = loaded["reflectance"].values, loaded["valid"].values
    return values, valid & np.isfinite(values).all(axis=0)


def _common_bands(prediction: xr.Dataset, reference: xr.Dataset) -> list[str]:
    ours, theirs = ([str(b) for b in s["band"].values] for s in (prediction, reference))
    common = [b for b in ours if b in theirs]
    if not common:
        raise InputError(
            "reference",
            f"has bands {', '.join(theirs)} but the prediction has {', '.join(ours)}",
            "name the bands of both alike",
        )
    return common


def _select(series: xr.Dataset, bands: Sequence[str]) -> xr.Dataset:
    have = [str(b) for b in series["band"].values]
    return series[["reflectance", "valid"]].isel(band=[have.index(b) for b in bands])


def _nearest(series: xr.Dataset, date: np.datetime64) -> int:
    return int(np.argmin(np.abs(_calendar_days(series["time"].values, date))))


def _calendar_days(a: Any, b: Any) -> Any:
    """Whole days from ``b`` to ``a``, whatever the hours."""
    return (np.asarray(a).astype("datetime64[D]") - np.asarray(b).astype("datetime64[D]")).astype(int)


def _day(time: np.datetime64) -> str:
    return str(time)[:10]
