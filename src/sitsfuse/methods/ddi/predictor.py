"""DDI of one date, applied tile by tile."""

from __future__ import annotations

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
from ..shared.anchor import Anchor
from ..shared.calibration import local_square
from ..shared.in_time import temporal_spread, weighted_sum
from .closed import Closed

if TYPE_CHECKING:
    from .network import Ensemble, LoadedEnsemble


@dataclass(frozen=True)
class Learnt:
    """What was learnt for a date."""

    closed: Closed
    clear_model: FloatArray
    """(B, 3): variance of the error under a clear target from spread², local residual² and a constant."""
    cloudy_model: FloatArray
    """(B, 3): the same where no residual is known (its second column is 0)."""
    ensemble: Ensemble | None = None
    """Networks beside the closed form."""
    share: float = 0.0
    """Share that they have in the prediction."""
    device: str = "cpu"

    @cached_property
    def loaded(self) -> LoadedEnsemble | None:
        """The networks, ready to predict."""
        return None if self.ensemble is None else self.ensemble.to(self.device)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "loaded"}


@dataclass(frozen=True)
class DDIPredictor:
    """Predicts one date; where nothing could be learnt it is difference interpolation."""

    guides: Times
    targets: Times
    mtf: tuple[float, ...]
    iterations: int
    strength: tuple[float, ...]
    """Strength of the residual correction, per band."""
    anchor: Anchor | None = None
    """What is taken off the target before the residual, and the noise of what remains."""
    learnt: Learnt | None = None
    chosen: Mapping[str, Any] | None = None

    @property
    def choices(self) -> Mapping[str, Any]:
        """Penalty, networks and strengths, with the held-out errors that chose them."""
        return self.chosen or {"head": None, "note": "too few clear target pixels to learn from"}

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`. Diagnostic ``weight``: (guide_time, band, y, x) float32."""
        values, valid = tile.guide_arrays()
        target, clear = tile.target_arrays()
        image, spread = self._before(values, valid)
        any_valid = np.asarray(valid.any(axis=0))
        noise = None
        if self.anchor is not None:
            target = target - self.anchor.bias(self.targets[0], tile.grids.lr)
            noise = self.anchor.noise
        image, misfit, known = correct(
            image, any_valid, target, clear, tile.grids, self.mtf, self.strength, self.iterations, noise
        )
        seen = up_mask(known, tile.grids)
        deviation = self._uncertainty(spread, misfit, known, seen, tile)
        extra = {}
        if "weight" in tile.diagnostics:
            names = ("guide_time", "band", "y", "x")
            weights = self._weights(values, valid)
            extra["weight"] = xr.DataArray(weights, dims=names, coords={"guide_time": self.guides})
        return result(tile, image, any_valid, deviation, ~seen, **extra)

    def _before(self, values: FloatArray, valid: BoolArray) -> tuple[FloatArray, FloatArray]:
        """(B, y, x) the image before the residual correction, and its standard deviation."""
        offsets = days(self.guides, self.targets[0])
        if self.learnt is None:
            prior = temporal_weights(valid, offsets)
            return weighted_sum(prior, values), temporal_spread(values, valid, prior, offsets)
        closed, share = self.learnt.closed, np.float32(self.learnt.share)
        image, posterior = closed.at_hr(values, valid, offsets, 1 - self.learnt.share)
        scale = closed.standard.scale[:, None, None]
        spread = (1 - share) * scale * posterior
        if self.learnt.loaded is not None:
            more, scatter = self.learnt.loaded.departure(values, valid)
            # The same bounds as for the closed form.
            image += share * np.clip(more, scale * closed.least[:, None, None], scale * closed.most[:, None, None])
            spread = np.hypot(spread, share * scatter)
        return image, spread

    def _weights(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        """(T, B, y, x) weight of each guide."""
        offsets = days(self.guides, self.targets[0])
        if self.learnt is None:
            return np.repeat(temporal_weights(valid, offsets)[:, None], values.shape[1], axis=1)
        weights = self.learnt.closed.weights(values, valid, offsets)
        if self.learnt.loaded is not None:
            prior = temporal_weights(valid, offsets)[:, None]
            weights = prior + np.float32(1 - self.learnt.share) * (weights - prior)
            weights += np.float32(self.learnt.share) * self.learnt.loaded.weights(values, valid)
        return weights

    def _uncertainty(
        self, spread: FloatArray, misfit: FloatArray, known: BoolArray, seen: BoolArray, tile: Tile
    ) -> FloatArray:
        """One standard deviation of the error, from the models that the held-out pixels calibrated."""
        if self.learnt is None:
            local = np.abs(spread_residual(np.abs(misfit), known, tile.grids))
            return np.where(seen, local, spread)
        square = spread_residual(local_square(misfit, known), known, tile.grids)
        inputs = (spread**2, np.clip(square, 0, None), np.float32(1))
        total = np.zeros_like(spread)
        for i, part in enumerate(inputs):
            clear, cloudy = (m[:, i, None, None] for m in (self.learnt.clear_model, self.learnt.cloudy_model))
            total += np.where(seen, clear, cloudy) * part
        return np.sqrt(total)
