"""What a fusion method is: `study` once per site, `fit` once per date, then a pure predictor called tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import xarray as xr

from ..core.arrays import BoolArray, FloatArray, Times
from ..core.grid import GridPair, Window
from ..core.series import make_series
from ..runtime.memo import Memo

T = TypeVar("T")


@dataclass(frozen=True)
class Tile:
    """A piece of a site, in memory: an HR block with its halo and the LR pixels around it."""

    guide: xr.Dataset
    """HR series of the block: the predictor's `guides`, in its order."""
    target: xr.Dataset
    """LR series of the LR window: the predictor's `targets`, in its order."""
    grids: GridPair
    """Grids of the block and the LR window."""
    diagnostics: frozenset[str] = field(default_factory=frozenset)
    """Diagnostics that are asked for, e.g. ``weight``."""
    core: Window = (slice(None), slice(None))
    """Rows and columns of the block that will be kept: what a method makes of the others has no meaning."""
    memo: Memo = field(default_factory=Memo, compare=False)
    """Shared by the tiles of several dates that lie in the same place; see `once`."""

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What ``make`` gives, made for the first of several dates that are predicted here and kept for the others.

        For what depends on the guides, on the LR images of their dates and on the method's parameters alone.
        """
        return self.memo((name, self.guide["time"].values.tobytes()), make)

    @property
    def wanted(self) -> BoolArray:
        """(y, x) bool, the core: costly methods spare themselves the rest."""
        out = np.zeros(self.grids.hr.shape, bool)
        out[self.core] = True
        return out

    def guide_arrays(self) -> tuple[FloatArray, BoolArray]:
        """(time, band, y, x) reflectance and (time, y, x) valid of the guides."""
        return self.guide["reflectance"].values, self.guide["valid"].values

    def target_arrays(self, index: int = 0) -> tuple[FloatArray, BoolArray]:
        """(band, y, x) reflectance and (y, x) valid of one target image."""
        image = self.target.isel(time=index)
        return image["reflectance"].values, image["valid"].values


class Predictor(Protocol):
    """Predicts one date, tile by tile. Pure and pickleable: it travels to a cluster's workers."""

    @property
    def guides(self) -> Times:
        """Dates of the guides that a tile must hold."""
        ...

    @property
    def targets(self) -> Times:
        """Dates of the target images that a tile must hold."""
        ...

    @property
    def choices(self) -> Mapping[str, Any]:
        """What the method chose for this date, for the provenance (JSON-safe)."""
        ...

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict the block's HR grid, at least its core.

        Returns
        -------
        xarray.Dataset
            ``reflectance(band, y, x)`` float32, NaN where invalid; ``valid(y, x)`` bool; ``uncertainty(band, y, x)``
            float32, one standard deviation of the error in reflectance, such that 90 % of the errors lie within 1.645
            of it; ``filled(y, x)`` bool, valid without a clear
            target pixel; and the diagnostics that the tile asks for.
        """
        ...


class Study(Protocol):
    """What a method knows of a site before it knows the date: made once per run, used for all its dates.

    It holds what depends on the guides and the LR series alone, in memory that does not grow with the site, beside the
    (lazy) series themselves where a date needs to look at them. It can be pickled: it travels to a cluster's workers,
    once to each.
    """

    def fit(self, date: np.datetime64) -> Predictor:
        """Prepare the prediction of one date; where the target series lacks it, `read` interpolates."""
        ...


class Method(Protocol):
    """A frozen dataclass: its fields are the method's parameters."""

    name: ClassVar[str]
    """Name in the registry and on the command line."""
    paper: ClassVar[str]
    """Where the method comes from."""
    min_guides: ClassVar[int]
    """Fewest guides that the method can work with."""

    def halo(self, ratio: float) -> int:
        """HR pixels of context that a tile needs on each side, for a ratio."""
        ...

    def study(self, site: xr.DataTree) -> Study:
        """Learn what no date changes; see :class:`Study`."""
        ...


def result(
    tile: Tile,
    reflectance: FloatArray,
    valid: BoolArray,
    uncertainty: FloatArray,
    filled: BoolArray | None = None,
    **diagnostics: xr.DataArray,
) -> xr.Dataset:
    """A predictor's answer on a tile's HR grid; invalid pixels become NaN.

    Parameters
    ----------
    tile
        The tile that was predicted.
    reflectance, uncertainty
        (band, y, x) float32.
    valid, filled
        (y, x) bool.
    **diagnostics
        Further variables.
    """
    keep = valid[None]
    bands = [str(b) for b in (tile.guide if tile.guide.sizes.get("time") else tile.target)["band"].values]
    stack = make_series(
        np.where(keep, reflectance, np.float32(np.nan))[None],
        valid[None],
        [np.datetime64("1970-01-01")],
        bands,
        tile.grids.hr,
    )
    out = stack.isel(time=0, drop=True)
    out["uncertainty"] = ("band", "y", "x"), np.where(keep, uncertainty, np.float32(np.nan)).astype(np.float32)
    out["filled"] = ("y", "x"), np.zeros_like(valid) if filled is None else filled & valid
    return out.assign(diagnostics)
