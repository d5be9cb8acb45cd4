"""The scales of the viewer's colours, errors and uncertainties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...core.arrays import FloatArray
from ...metrics import ndvi
from .pictures import Code
from .samples import Image, Samples

NDVI = ("red", "nir")
STRETCH = (2.0, 98.0)
"""Percentiles of the references that become the darkest and the brightest value of a picture."""
TAILS = (0.1, 99.9)
"""Percentiles of references and guides that the bytes of a picture span."""
COMMON, EXTREME = 98.0, 99.8
"""Percentiles of the absolute errors: the end of the scale of an error map, and what its bytes span."""
SPARSE = 7
"""Every so manieth pixel is enough for a percentile."""


def codes_of(truths: Sequence[Image], guides: Sequence[Image]) -> tuple[Code, FloatArray]:
    """What bytes of images stand for, and (band, 2) what becomes black and white."""

    def limits(images: Sequence[Image], which: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
        pooled = np.concatenate([values[:, valid][:, ::SPARSE] for values, valid in images], axis=1)
        if not pooled.size:
            return np.zeros(len(pooled), np.float32), np.ones(len(pooled), np.float32)
        low, high = np.percentile(pooled, which, axis=1).astype(np.float32)
        return low, np.maximum(high, low + np.float32(1e-3))

    return Code(*limits([*truths, *guides], TAILS)), np.stack(limits(truths, STRETCH), axis=1)


def scale_of(samples: Samples, bases: Mapping[str, Image], count: int) -> FloatArray:
    """(band,) nearly the largest difference of a prediction from its base."""
    parts = [
        np.abs(s.values - bases[date][0])[:, s.valid][:, ::SPARSE]
        for found in samples.values() for (_, date), s in found.items()
    ]  # fmt: skip
    pooled = np.concatenate([np.empty((count, 0), np.float32), *parts], axis=1)
    scale = np.percentile(pooled, EXTREME, axis=1) if pooled.size else np.full(count, 0.1)
    enough: FloatArray = np.maximum(scale, 1e-3).astype(np.float32)
    return enough


def sigma_end(samples: Samples) -> float:
    """A round number that most uncertainties do not exceed, so that one careless method does not hide all others."""
    sizes = [
        np.percentile(known, COMMON) for found in samples.values() for s in found.values()
        if s.sigma is not None and (known := s.sigma[s.valid & np.isfinite(s.sigma)]).size
    ]  # fmt: skip
    return round_up(float(np.percentile(sizes, 90))) if sizes else 1.0


def error_ends(samples: Samples, bases: Mapping[str, Image], bands: list[str]) -> dict[str, float]:
    """By kind of error map, a round number that most errors do not exceed."""
    maps: dict[str, list[FloatArray]] = {"mean": []}
    if set(NDVI) <= set(bands):
        maps["ndvi"] = []
    for found in samples.values():
        for (_, date), sample in found.items():
            base, known = bases[date]
            both = sample.valid & known
            values, truth = sample.values[:, both][:, ::SPARSE], base[:, both][:, ::SPARSE]
            maps["mean"].append(np.abs((values - truth).mean(axis=0)))
            if "ndvi" in maps:
                red, nir = (bands.index(b) for b in NDVI)
                apart = np.abs(ndvi(values[red], values[nir]) - ndvi(truth[red], truth[nir])).astype(np.float32)
                maps["ndvi"].append(apart[np.isfinite(apart)])
    pooled = {kind: np.concatenate([np.empty(0, np.float32), *parts]) for kind, parts in maps.items()}
    return {kind: round_up(float(np.percentile(p, COMMON))) if p.size else 0.1 for kind, p in pooled.items()}


def round_up(value: float) -> float:
    """The smallest of 1, 1.5, 2, 3, 5, 7, 10, 15 … at any power of ten that is not below a positive number."""
    power = 10.0 ** np.floor(np.log10(max(value, 1e-4)))
    step = next(s for s in (1, 1.5, 2, 3, 5, 7, 10) if s * power >= value * (1 - 1e-6))
    return float(f"{step * power:.3g}")
