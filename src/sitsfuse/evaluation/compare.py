"""One date: first the reference alone, block by block, for what its strata are, then everything."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.arrays import BoolArray, F64Array, FloatArray
from ..core.grid import Window
from ..core.loading import load_image
from ..metrics import HIGH, LOW, MAPPED, REACH, Masks, Quantiles, measure, spectral_angles
from ..metrics.frequency import ENOUGH, SIDE, amplitudes, cuts
from ..metrics.strata import Thresholds, classify, gradient
from ..runtime.streaming import Block, stream, within
from .rows import Row, rows
from .scene import UNCERTAINTY, Found, Ground, Scene

RANGE = (0.01, 0.99)
"""Percentiles between which the values of the reference range."""


def compare(scene: Scene) -> list[Row]:
    """Rows of one date: band, stratum, metric, value, n_valid, n_reference and coverage."""
    if math.prod(scene.shape) <= scene.side**2:
        # Needed twice, and no larger than a block.
        scene = dataclasses.replace(scene, truth=scene.truth.compute(scheduler="synchronous"))
    ground = survey(scene)
    sizes = [[Quantiles() for _ in range(MAPPED)] for _ in scene.names]
    reach = REACH if scene.coarse is None else max(REACH, scene.coarse.reach)
    parts = stream(
        lambda window: _read(scene, window),
        lambda block: _work(scene, ground, sizes, block),
        scene.shape,
        side=scene.side,
        reach=reach,
        least=SIDE,
        workers=scene.workers,
    )
    return list(rows(scene, reduce(Found.__add__, parts), sizes))


def survey(scene: Scene) -> Ground:
    """Read the reference for what must be known of all of it beforehand."""
    magnitudes, values = Quantiles(), [Quantiles() for _ in scene.names]

    def read(window: Window) -> tuple[npt.NDArray[Any], ...]:
        return (*load_image(scene.truth, window), scene.clear(window))

    def work(block: Block) -> F64Array:
        image, valid, clear = block.arrays
        magnitude, known = gradient(image, valid, scene.mode)
        own = block.inner(block.core)
        magnitudes.add(magnitude[own][(known & clear)[own]])
        totals = []
        for quantiles, (plane, there) in zip(values, scene.planes(image, valid & clear), strict=True):
            some = plane[own][there[own]]
            quantiles.add(some)
            totals.append((some.size, some.sum(dtype=np.float64)))
        return np.array(totals)

    parts = stream(read, work, scene.shape, side=scene.side, reach=1, least=SIDE, workers=scene.workers)
    count, total = reduce(np.add, parts).T
    low, high = np.array([q.at(RANGE) for q in values]).T
    return Ground(
        Thresholds.of(magnitudes),
        total / np.maximum(count, 1),
        np.where(count > 0, (0.03 * (high - low)) ** 2 / 2, 0.0),
    )


def _read(scene: Scene, window: Window) -> tuple[npt.NDArray[Any], ...]:
    arrays = (*load_image(scene.image, window), *load_image(scene.truth, window), scene.clear(window))
    if UNCERTAINTY not in scene.image:
        return arrays
    sigma = scene.image[UNCERTAINTY].isel(y=window[0], x=window[1]).compute(scheduler="synchronous")
    return (*arrays, sigma.values)


def _work(scene: Scene, ground: Ground, sizes: list[list[Quantiles]], block: Block) -> Found:
    p, p_ok, r, r_ok, clear, *sigma = block.arrays
    own = block.inner(block.core)
    core = np.zeros(r_ok.shape, bool)
    core[own] = True
    strata = classify(*gradient(r, r_ok, scene.mode), ground.thresholds)
    ok = p_ok & r_ok & clear
    masks = Masks.of(ok, core)
    seen = strata[own][r_ok[own]]
    sums = []
    both = zip(scene.planes(p, ok), scene.planes(r, ok), strict=True)
    for i, ((ours, ours_ok), (truth, truth_ok)) in enumerate(both):
        there = ours_ok & truth_ok
        sums.append(
            measure(
                ours,
                truth,
                masks if (there == ok).all() else Masks.of(there, core),
                strata,
                sizes[i],
                level=float(ground.levels[i]),
                c=float(ground.constants[i]),
                sigma=sigma[0][i] if sigma and i < len(scene.bands) else None,
            )
        )
    coarse = scene.coarse
    return Found(
        np.array([seen.size, (seen == LOW).sum(), (seen == HIGH).sum()], np.float64),
        np.stack(sums),
        spectral_angles(p, r, masks, strata),
        np.zeros(2 + len(scene.bands)) if coarse is None else coarse.consistency(block, p, p_ok),
        *_spectra(scene, ground, block, (r, p), ok),
    )


def _spectra(
    scene: Scene, ground: Ground, block: Block, images: Sequence[FloatArray], valid: BoolArray
) -> tuple[F64Array, F64Array]:
    """Amplitudes of the reference, the prediction and the interpolated LR image over parts of a block, and their count.

    ``images`` are the former two, (band, y, x) each.
    """
    rows, cols = (
        [c for c in cuts(n) if c.start >= read.start and c.stop <= read.stop]
        for n, read in zip(scene.shape, block.read, strict=True)
    )
    height, width = (min(n, SIDE) for n in scene.shape)
    total, count = np.zeros((3, len(scene.bands), height, width // 2 + 1)), 0
    if scene.coarse is None:
        return total, np.zeros(1)
    smooth = scene.coarse.interpolated(block.read, ground.levels[: len(scene.bands)])
    for part in itertools.product(rows, cols):
        here = block.inner(part)
        ok = valid[here]
        if ok.mean() < ENOUGH:
            continue
        instead = smooth[:, *within(part, block.read)]
        total += amplitudes(np.stack([*(np.where(ok, image[:, *here], instead) for image in images), instead]))
        count += 1
    return total, np.array([count], np.float64)
