"""From what is found to rows of the table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from ..metrics import CALIBRATION, HIGH, LOW, MAPPED, METRICS, STRATA, Quantiles, Sums, ergas
from ..metrics.frequency import SIDE, Rates, profile
from .scene import NDVI, UNCERTAINTY, Found, Scene

Row = dict[str, Any]

POOLED = "all"
"""Name of the row that pools the bands."""
NDVI_RANGE = 2.0
KINDS = {"all": range(MAPPED), "low": (LOW,), "high": (HIGH,)}
"""Which kinds of pixels a stratum is made of."""


def rows(scene: Scene, found: Found, sizes: Sequence[Sequence[Quantiles]]) -> Iterator[Row]:
    """Rows of one date: band, stratum, metric, value, n_valid, n_reference and coverage.

    Parameters
    ----------
    scene
        What was compared.
    found
        What came of it.
    sizes
        Absolute errors, per band (and index) and kind of pixels.
    """
    bands = len(scene.bands)
    for k, stratum in enumerate(STRATA):
        of = found.reference[k]
        each = [
            Sums(found.sums[i, k], Quantiles.merged(parts[kind] for kind in KINDS[stratum]))
            for i, parts in enumerate(sizes)
        ]
        told = dict(zip(scene.names, each, strict=True)) | {POOLED: Sums.pooled(each[:bands])}
        for band, sums in told.items():
            # Pooled, a pixel counts once.
            share = bands if band == POOLED else 1
            stated = UNCERTAINTY in scene.image and band not in scene.names[bands:]
            for metric, rule in {**METRICS, **(CALIBRATION if stated else {})}.items():
                value = rule.of(sums, NDVI_RANGE if band == NDVI else 1.0)
                yield _row(band, stratum, metric, value, sums[rule.count] / share, of)
        if bands > 1:
            count, total = found.angles[k]
            angle = math.degrees(total / count) if count else math.nan
            yield _row(POOLED, stratum, "sam", angle, count, of)
        if scene.coarse is not None:
            value = ergas(each[:bands], scene.coarse.pair.ratio)
            yield _row(POOLED, stratum, "ergas", value, each[0]["pixels"], of)
    if scene.coarse is not None:
        yield from _consistency(scene, found)
        yield from _frequencies(scene, found)


def _consistency(scene: Scene, found: Found) -> Iterator[Row]:
    n, of, *squares = found.consistency
    for band, square in zip((*scene.bands, POOLED), (*squares, sum(squares) / len(squares)), strict=True):
        yield _row(band, "all", "lr_consistency", math.sqrt(square / n) if n else math.nan, n, of)


def _frequencies(scene: Scene, found: Found) -> Iterator[Row]:
    count = found.spectral[0]
    shape = (min(scene.shape[0], SIDE), min(scene.shape[1], SIDE))
    for i, band in enumerate(scene.bands):
        n = found.sums[i, 0, 0] if count else 0
        rates = Rates.of(*(profile(a[i] / count, shape) for a in found.spectra)) if count else Rates()
        for metric in ("frr", "fro", "fru"):
            yield _row(band, "all", metric, getattr(rates, metric), n, found.reference[0])


def _row(band: str, stratum: str, metric: str, value: float, n_valid: float, n_reference: float) -> Row:
    return {
        "band": band,
        "stratum": stratum,
        "metric": metric,
        "value": float(value),
        "n_valid": round(n_valid),
        "n_reference": round(n_reference),
        "coverage": n_valid / n_reference if n_reference else math.nan,
    }
