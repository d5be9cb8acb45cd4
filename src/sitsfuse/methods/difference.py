"""Difference interpolation: the guides interpolated in time, corrected by what the target shows at LR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from ..core.arrays import Times
from ..core.dates import days
from ..core.options import Count, need, settle
from ..core.series import mtf
from ..core.site import group
from ..core.timeline import temporal_weights
from ..operators.residual import correct, residual_halo, scene_halo, spread_residual
from ..operators.updown import up_mask
from .base import Tile, result
from .shared.anchor import Anchor, learn
from .shared.in_time import temporal_spread, weighted_sum
from .shared.rehearsal import Rehearsed


@dataclass(frozen=True)
class Difference(Rehearsed):
    """Guides, linear in time, corrected by what the target shows: ``P = sum w F + (C - sum w F↓)↑``.

    Interpolating ``F_k - C_k↑`` linearly in time and adding ``C_p↑`` is the same, because ↑ is linear; written this
    way it also holds where guides have clouds, whose weights then differ from pixel to pixel. Where the target is
    cloudy the correction is carried in from around and fades to 0.

    References
    ----------
    Luo, Guan, Peng, STAIR: a generic and fully-automated method to fuse multiple sources of optical satellite data,
    Remote Sensing of Environment 214, 2018.
    """

    name: ClassVar[str] = "difference"
    paper: ClassVar[str] = "Luo et al. 2018 (STAIR-like)"
    min_guides: ClassVar[int] = 2

    anchor: str = "auto"
    """auto: a bias that the two sensors provably have is taken off, and what is no scene is not added; guides: the
    residual against the degraded guides as it is."""

    iterations: Count = 2
    """Residual corrections; the second one tightens the match with the target. Between sensors that show other details
    it is one, with anchor=auto."""

    def __post_init__(self) -> None:
        settle(self)
        need(self.anchor in ("auto", "guides"), self, "anchor", "choose auto or guides")

    def halo(self, ratio: float) -> int:
        """The reach of a residual correction."""
        return self.iterations * residual_halo(ratio) + scene_halo(ratio)

    def examine(self, site: xr.DataTree, found: Sequence[Any]) -> DifferencePlain:
        """Learn what the two sensors lastingly see otherwise."""
        guide, target = group(site, "guide"), group(site, "target")
        anchor = learn(site) if self.anchor == "auto" else Anchor.plain(guide.sizes["band"])
        iterations = 1 if anchor.differ else self.iterations
        return DifferencePlain(guide["time"].values, tuple(mtf(target)), anchor, iterations)


@dataclass(frozen=True)
class DifferencePlain:
    """Predicts any date alike."""

    guides: Times
    mtf: tuple[float, ...]
    anchor: Anchor
    iterations: int

    def prepare(self, date: np.datetime64, target: xr.Dataset) -> DifferencePredictor:
        """Nothing more to learn."""
        when = np.array([date], self.guides.dtype)
        return DifferencePredictor(self.guides, when, self.mtf, self.anchor, self.iterations)


@dataclass(frozen=True)
class DifferencePredictor:
    """Interpolates the guides of a tile and corrects them by the target."""

    guides: Times
    targets: Times
    mtf: tuple[float, ...]
    anchor: Anchor
    """What is taken off the target before the residual, and the noise of what remains."""
    iterations: int = 1

    @property
    def choices(self) -> Mapping[str, Any]:
        """Anchor of the residual per band, and its noise."""
        return self.anchor.choices

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`."""
        values, valid = tile.guide_arrays()
        target, clear = tile.target_arrays()
        offsets = days(self.guides, self.targets[0])
        weights = temporal_weights(valid, offsets)
        any_valid = np.asarray(valid.any(axis=0), bool)
        prior = weighted_sum(weights, values)
        whole = (1.0,) * len(prior)
        target = target - self.anchor.bias(self.targets[0], tile.grids.lr)
        image, misfit, known = correct(
            prior, any_valid, target, clear, tile.grids, self.mtf, whole, self.iterations, self.anchor.noise
        )
        seen = up_mask(known, tile.grids)
        uncertainty = np.abs(spread_residual(np.abs(misfit), known, tile.grids))
        if not seen.all():
            here = ~seen
            uncertainty[:, here] = temporal_spread(values[:, :, here], valid[:, here], weights[:, here], offsets)
        return result(tile, image, any_valid, uncertainty, ~seen)
