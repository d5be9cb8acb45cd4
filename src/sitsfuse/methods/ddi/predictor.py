"""DDI of one date: networks and weights, applied tile by tile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ...core.arrays import BoolArray, FloatArray, Times
from ...core.dates import days
from ...core.timeline import temporal_weights
from ...operators.residual import correct, spread_residual
from ...operators.updown import up_mask
from ..base import Tile, result
from ..shared.calibration import local_square
from ..shared.in_time import temporal_spread, weighted_sum

if TYPE_CHECKING:
    from .network import Ensemble, LoadedEnsemble


CHUNK = 1 << 11
"""Pixels predicted at once: their activations stay in the processor's cache."""


@dataclass(frozen=True)
class DDIPredictor:
    """Predicts one date with the trained networks; without networks it is difference interpolation."""

    guides: Times
    targets: Times
    mtf: tuple[float, ...]
    iterations: int
    strength: tuple[float, ...]
    """Strength of the residual correction, per band."""
    ensemble: Ensemble | None = None
    alpha: float = 0.0
    """How far to move from temporal interpolation (0) to the networks (1)."""
    clear_model: FloatArray | None = None
    """(B, 3): variance of the error under a clear target from spread², local residual² and a constant."""
    cloudy_model: FloatArray | None = None
    """(B, 3): the same where no residual is known (its second column is 0)."""
    device: str = "cpu"
    chosen: Mapping[str, Any] | None = None

    @property
    def choices(self) -> Mapping[str, Any]:
        """Head, regularisation and strengths, with the held-out errors that chose them."""
        return self.chosen or {"head": None, "note": "too few clear target pixels to train on"}

    @cached_property
    def _loaded(self) -> LoadedEnsemble | None:
        return None if self.ensemble is None else self.ensemble.to(self.device)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_loaded"}

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`. Diagnostic ``weight``: (guide_time, band, y, x) float32."""
        values, valid = tile.guide_arrays()
        target, clear = tile.target_arrays()
        offsets = days(self.guides, self.targets[0])
        prior = temporal_weights(valid, offsets)
        any_valid = np.asarray(valid.any(axis=0))
        want = "weight" in tile.diagnostics
        if self._loaded is None:
            image = weighted_sum(prior, values)
            spread = temporal_spread(values, valid, prior, offsets)
            weights = np.repeat(prior[:, None], values.shape[1], axis=1) if want else None
        else:
            image, spread, weights = blend(self._loaded, values, valid, prior, self.alpha, want)
        image, misfit, known = correct(
            image, any_valid, target, clear, tile.grids, self.mtf, self.strength, self.iterations
        )
        seen = up_mask(known, tile.grids)
        deviation = self._uncertainty(spread, misfit, known, seen, tile)
        extra = {}
        if weights is not None:
            names = ("guide_time", "band", "y", "x")
            extra["weight"] = xr.DataArray(weights, dims=names, coords={"guide_time": self.guides})
        return result(tile, image, any_valid, deviation, ~seen, **extra)

    def _uncertainty(
        self, spread: FloatArray, misfit: FloatArray, known: BoolArray, seen: BoolArray, tile: Tile
    ) -> FloatArray:
        """One standard deviation of the error, from the models that the held-out pixels calibrated."""
        if self.clear_model is None or self.cloudy_model is None:
            local = np.abs(spread_residual(np.abs(misfit), known, tile.grids))
            return np.where(seen, local, spread)
        square = spread_residual(local_square(misfit, known), known, tile.grids)
        inputs = (spread**2, np.clip(square, 0, None), np.float32(1))
        total = np.zeros_like(spread)
        for i, part in enumerate(inputs):
            clear, cloudy = (model[:, i, None, None] for model in (self.clear_model, self.cloudy_model))
            total += np.where(seen, clear, cloudy) * part
        return np.sqrt(total)


def blend(
    loaded: LoadedEnsemble, values: FloatArray, valid: BoolArray, prior: FloatArray, alpha: float, want_weights: bool
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """``P0 = sum (w0 + alpha (w - w0)) F + alpha b``, in chunks of pixels.

    Parameters
    ----------
    loaded
        The networks.
    values, valid
        (T, B, y, x) and (T, y, x), the guides.
    prior
        (T, y, x) weights of temporal interpolation.
    alpha
        Share of the networks.
    want_weights
        Whether to give the weights too.

    Returns
    -------
    image, spread, weights
        (B, y, x) image; (B, y, x) standard deviation over the networks; (T, B, y, x) weights or None.
    """
    t, b = values.shape[:2]
    shape = values.shape[2:]
    n = math.prod(shape)
    flat, ok, w0 = values.reshape(t, b, n), valid.reshape(t, n), prior.reshape(t, n)
    image, spread = weighted_sum(prior, values).reshape(b, n), np.empty((b, n), np.float32)
    weights = np.empty((t, b, n), np.float32) if want_weights else None
    for start in range(0, n, CHUNK):
        part = slice(start, min(start + CHUNK, n))
        now = np.ascontiguousarray(w0[:, part])
        each = loaded.predict(flat[:, :, part], ok[:, part], now)
        image[:, part] += np.float32(alpha) * (each.mean(axis=0) - image[:, part])
        spread[:, part] = np.float32(alpha) * each.std(axis=0)
        if weights is not None:
            w = loaded.weights(flat[:, :, part], ok[:, part], now)
            weights[:, :, part] = now[:, None] + np.float32(alpha) * (w - now[:, None])
    full = None if weights is None else weights.reshape(t, b, *shape)
    return image.reshape(b, *shape), spread.reshape(b, *shape), full
