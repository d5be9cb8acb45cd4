"""Compare a predicted series with a reference: one tidy table, streamed by blocks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from ..core.checks import check, check_same_grid, match_bands
from ..core.dates import calendar_days
from ..core.series import geobox
from ..errors import InputError
from ..metrics.strata import Mode
from ..readers import open_series
from ..writers.table import check_table_path, write_table
from .coarse import Coarse
from .compare import compare
from .matching import matches
from .rows import POOLED
from .scene import NDVI, UNCERTAINTY, Scene
from .strata import check_mode
from .table import COLUMNS, summary

__all__ = ["COLUMNS", "NDVI", "POOLED", "check_table_path", "evaluate", "summary", "write_table"]

Given = str | Path | xr.Dataset | xr.DataTree
"""A series, or where it lies."""


def evaluate(
    prediction: Given,
    reference: Given,
    target: Given | None = None,
    *,
    max_days: float = 1.0,
    block: int = 1024,
    mode: Mode = "mean",
    workers: int = 1,
) -> pd.DataFrame:
    """Compare predictions with the reference images of (nearly) the same dates.

    Each reference image is compared with the prediction of the nearest calendar day. A pixel counts if it is valid
    and finite in both and, where a target is given, if the target image of the prediction's date is clear there.

    Parameters
    ----------
    prediction, reference
        HR series on one grid, or their paths, as :func:`sitsfuse.open_series` takes them; the bands that both have are
        compared. The prediction's ``uncertainty``, if it has any, is judged too.
    target
        The LR series that was fused, with the prediction's bands. Reference dates without a target image within
        ``max_days`` of the prediction are left out.
    max_days
        Days by which two images may differ and still be compared.
    block
        Side of the blocks that are read at once, in HR pixels; grown to a multiple of 128. Memory depends on it, but
        not on the size of the images; the results do not depend on it but for rounding.
    mode
        How the gradients of the bands are joined for the strata, see :mod:`sitsfuse.evaluation.strata`.
    workers
        Threads that read and compare blocks.

    Returns
    -------
    pandas.DataFrame
        One row per date, band, stratum and metric: ``date`` (of the reference), ``predicted``, ``days`` (predicted
        minus reference), ``band`` (a band, ``ndvi`` or ``all``: the bands pooled), ``stratum`` (``all``, ``low`` or
        ``high`` gradient of the reference, see `strata`), ``metric``, ``value``, ``n_valid`` (pixels
        compared, or windows by their centres), ``n_reference`` (pixels of the stratum valid in the reference) and
        ``coverage`` (their quotient). ``attrs["left_out"]`` counts the reference dates without a partner.

        The metrics are those of :mod:`sitsfuse.metrics`: of each band, NDVI and the bands pooled; ``sam`` and, with a
        target, ``ergas`` of the bands together; ``coverage10`` … ``coverage99`` and ``sharpness`` of the bands whose
        uncertainty is known. With a target also, of the whole image, ``frr``, ``fro`` and ``fru`` of each band (see
        `sitsfuse.metrics.frequency`; invalid pixels take the value of the interpolated target in all three images) and
        ``lr_consistency``, the RMSE of the degraded prediction against the target, where the counts are of the LR
        pixels that lie in the image at least by half, and the target is the reference.

        The strata and the range of the structure term are those of the pixels that the reference offers for
        comparison, valid and under a clear target, whatever the prediction covers: they are the same for all
        predictions of a date.

    Raises
    ------
    InputError
        If the grids or bands do not fit, or no two dates do.
    """
    check_mode(mode)
    for name, value in (("block", block), ("workers", workers)):
        if value < 1:
            raise InputError(name, f"{value} is not positive", "give 1 or more")
    prediction, reference = _opened(prediction, "prediction"), _opened(reference, "reference")
    check_same_grid(prediction, reference, "prediction")
    bands = _common_bands(prediction, reference)
    if target is not None:
        target = match_bands(_opened(target, "target"), _select(prediction.isel(time=[0]), bands), "target")
    found = matches(prediction, reference, target, max_days)
    rows: list[dict[str, Any]] = []
    for match in found:
        image = _select(prediction.isel(time=match.prediction), bands)
        truth = _select(reference.isel(time=match.reference), bands)
        coarse = None
        if target is not None and match.target is not None:
            coarse = Coarse.of(target.isel(time=match.target), geobox(reference))
        head = {
            "date": truth["time"].values,
            "predicted": image["time"].values,
            "days": calendar_days(image["time"].values, truth["time"].values),
        }
        scene = Scene(image, truth, coarse, tuple(bands), mode, block, workers)
        rows += [head | row for row in compare(scene)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.attrs["left_out"] = reference.sizes["time"] - len(found)
    return table


def _opened(given: Given, role: str) -> xr.Dataset:
    """A series that is checked, by its role."""
    if isinstance(given, str | os.PathLike):
        return open_series(Path(given))
    return check(given.to_dataset() if isinstance(given, xr.DataTree) else given, role)


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


def _select(series: xr.Dataset, bands: list[str]) -> xr.Dataset:
    """What is compared, of some bands."""
    have = [str(b) for b in series["band"].values]
    names = ["reflectance", "valid"]
    if UNCERTAINTY in series and series[UNCERTAINTY].dims == series["reflectance"].dims:
        names.append(UNCERTAINTY)
    # Bands in their order are not a copy.
    return series[names] if have == bands else series[names].isel(band=[have.index(b) for b in bands])
