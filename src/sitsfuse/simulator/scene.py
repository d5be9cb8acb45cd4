"""A scene: the land on any day, and what two sensors see of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox

from ..core.arrays import BoolArray, FloatArray
from ..core.grid import Axis, GridPair
from ..operators.matrices import down_matrix, separable
from ..operators.updown import down
from .clouds import Clouds, covers, draw_clouds, overcast
from .config import SimulationConfig
from .land.covers import BANDS
from .land.lands import LANDS
from .land.landscape import Landscape, decode
from .land.phenology import Weather, appear, draw_weather
from .noise import stream

ORIGIN = (360000.0, 4836000.0)
"""Upper left corner of the scene in EPSG:32631 (near Toulouse)."""
BRIGHT = 0.2
"""Reflectance at which the noise that grows with the signal equals the noise in the dark."""
ROWS = 256
"""Rows rendered at a time."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Renders images: every method is a pure function of the configuration and an image's number."""

    config: SimulationConfig
    """The options."""
    landscape: Landscape
    """The land."""
    weather: Weather
    """The rains."""

    def __reduce__(self) -> tuple[Callable[[SimulationConfig], Scene], tuple[SimulationConfig]]:
        """Travel as the options alone: the land is made anew, once per process, where it arrives."""
        return make_scene, (self.config,)

    @cached_property
    def pair(self) -> GridPair:
        """The grids of the two sensors."""
        c = self.config
        hr = GeoBox((c.size, c.size), Affine(c.pixel, 0, ORIGIN[0], 0, -c.pixel, ORIGIN[1]), "EPSG:32631")
        dy, dx = c.grid_offset
        rows, cols = (int((c.size - o) / c.ratio + 1e-6) for o in (dy, dx))
        lr = GeoBox((rows, cols), hr.affine * Affine.translation(dx, dy) * Affine.scale(c.ratio), hr.crs)
        return GridPair(hr, lr)

    @cached_property
    def guide_shift(self) -> npt.NDArray[np.float64]:
        """(guide, 2) displacement (y, x) of what a guide shows, in HR pixels, towards higher rows and columns."""
        return self.config.guide_shift * stream(self.config.seed, "guide shift").standard_normal(
            (self.config.guides, 2)
        )

    @cached_property
    def target_shift(self) -> npt.NDArray[np.float64]:
        """(target, 2) displacement (y, x) of what an LR image shows, in HR pixels."""
        c = self.config
        return c.ratio * c.target_shift * stream(c.seed, "target shift").standard_normal((c.targets, 2))

    @cached_property
    def calibration(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(target, band) gains and offsets of the LR images: ``seen = gain * true + offset``."""
        rng = stream(self.config.seed, "calibration")

        def draw(std: float) -> npt.NDArray[np.float64]:
            lasting = rng.standard_normal(len(BANDS))
            return std * (lasting + 0.5 * rng.standard_normal((self.config.targets, len(BANDS))))

        return 1 + draw(self.config.gain), draw(self.config.offset)

    def truth(self, day: int, shift: tuple[float, float] = (0.0, 0.0)) -> FloatArray:
        """(band, y, x) float32: the land on a day after the start, through the HR sensor's PSF.

        What is seen is displaced by ``shift`` (y, x) HR pixels; beyond the scene its edge is repeated.
        """
        c, land = self.config, self.landscape
        today = _day_of_year(c.start) + day
        look = appear(land.units, self.weather, today)
        n = c.size
        whole = [round(s) for s in shift]
        rows, cols = (
            down_matrix(Axis(1.0, round(w - s, 6), n, n), c.guide_mtf) for s, w in zip(shift, whole, strict=True)
        )
        from_rows, from_cols = (np.clip(np.arange(n) - w, 0, n - 1) for w in whole)
        out = np.empty((len(BANDS), n, n), np.float32)
        for start in range(0, n, ROWS):
            part = slice(start, start + ROWS)
            unit, rough = land.unit[part], decode(land.rough[part])
            growth = look.slope[unit]
            growth *= decode(land.delay[part])
            growth += look.vigour[unit] * decode(land.vigour[part])
            for k in range(len(BANDS)):
                out[k, part] = look.base[k][unit]
                out[k, part] += look.green[k][unit] * growth
                out[k, part] += look.rough[k][unit] * rough
            if land.relief is not None:
                land.relief.dress(out[:, part], part, self.weather, today, rough, land.units.trees[unit])
        np.maximum(out, 0.003, out=out)
        for k in range(len(BANDS)):
            plane = out[k] if whole == [0, 0] else out[k][from_rows[:, None], from_cols]
            out[k] = separable(plane, rows, cols)
        return out

    def guide(self, index: int) -> FloatArray:
        """(band, y, x) float32: a guide, with clouds and noise."""
        c = self.config
        shift = self.guide_shift[index]
        image = self.truth(c.guide_days[index], (shift[0], shift[1]))
        self._veil(image, "guide", index)
        return self._noisy(image, "guide", index, c.guide_noise)

    def target(self, index: int) -> FloatArray:
        """(band, y, x) float32: an LR image, with clouds and noise."""
        c, shift = self.config, self.target_shift[index]
        image = self.truth(c.target_days[index], (shift[0], shift[1]))
        if self._one_sky:
            self._veil(image, "target", index)
        seen, _ = down(image, np.ones(image.shape[1:], bool), self.pair, c.target_mtf)
        gain, offset = (a[index].astype(np.float32)[:, None, None] for a in self.calibration)
        seen *= gain
        seen += offset
        if not self._one_sky:
            self._veil(seen, "target", index)
        return self._noisy(seen, "target", index, c.target_noise)

    def guide_valid(self, index: int) -> BoolArray:
        """(y, x) bool: the mask of a guide."""
        return self._clear("guide", index)

    def target_valid(self, index: int) -> BoolArray:
        """(y, x) bool: the mask of an LR image."""
        clear = self._clear("target", index)
        if not self._one_sky:
            return clear
        # Only the mask is wanted: the values do not matter.
        return down(np.zeros((1, *clear.shape), np.float32), clear, self.pair, self.config.target_mtf)[1]

    def reference(self, index: int) -> FloatArray:
        """(band, y, x) float32: the true HR image at an LR image's date."""
        return self.truth(self.config.target_days[index])

    def all_valid(self, index: int) -> BoolArray:
        """(y, x) bool: the mask of a reference."""
        return np.ones((self.config.size, self.config.size), bool)

    @cached_property
    def _covers(self) -> dict[str, Any]:
        c = self.config
        return {
            "guide": covers(c.seed, "guide", c.guides, c.cloud_cover),
            "target": covers(c.seed, "target", c.targets, c.cloud_cover),
        }

    @property
    def _one_sky(self) -> bool:
        """Whether the LR clouds are drawn on the HR grid and seen through the LR sensor, whatever the ratio."""
        return self.config.landscape != "farmland"

    def _cloud_grid(self, role: str) -> tuple[GeoBox, float]:
        """The grid that a role's clouds are drawn on, and its pixel size in metres."""
        c = self.config
        return (self.pair.hr, c.pixel) if role == "guide" or self._one_sky else (self.pair.lr, c.pixel * c.ratio)

    def _clouds(self, role: str, index: int) -> Clouds | None:
        c = self.config
        box, pixel = self._cloud_grid(role)
        day = (c.guide_days if role == "guide" else c.target_days)[index] + _day_of_year(c.start)
        shape = (box.shape[0], box.shape[1])
        return draw_clouds(c.seed, role, day, shape, pixel, self._covers[role][index], c.missed_clouds)

    def _clear(self, role: str, index: int) -> BoolArray:
        clouds = self._clouds(role, index)
        return np.ones(self._cloud_grid(role)[0].shape, bool) if clouds is None else clouds.clear

    def _veil(self, image: FloatArray, role: str, index: int) -> None:
        """Put the clouds over an image, in place."""
        clouds = self._clouds(role, index)
        if clouds is not None:
            overcast(image, clouds)

    def _noisy(self, image: FloatArray, role: str, index: int, noise: float) -> FloatArray:
        """The image with noise, in place."""
        if noise > 0:
            rng = stream(self.config.seed, role, index, "noise")
            for band in image:
                band += noise * np.sqrt(1 + (band / BRIGHT) ** 2) * rng.standard_normal(band.shape, dtype=np.float32)
        return image


@lru_cache(maxsize=1)
def make_scene(config: SimulationConfig) -> Scene:
    """Build the land of a configuration; the last one is kept."""
    last = _day_of_year(config.start) + config.guide_days[-1]
    land = _land(config.landscape, config.size, config.pixel, config.seed)
    return Scene(config, land, draw_weather(config.seed, last, LANDS[config.landscape].rains))


@lru_cache(maxsize=1)
def _land(name: str, size: int, pixel: float, seed: int) -> Landscape:
    """The land alone: the same for scenes that differ in their sensors."""
    return LANDS[name].build(size, pixel, seed)


def _day_of_year(start: str) -> int:
    day = np.datetime64(start, "D")
    return int((day - day.astype("datetime64[Y]").astype("datetime64[D]")).astype(int))
