"""CARN, single-image super-resolution: the details of an LR image from a network trained on other images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from ..core.arrays import BoolArray, FloatArray, Times
from ..core.grid import GridPair
from ..core.options import Natural, need, settle
from ..core.site import SiteLayout
from ..errors import InputError
from ..operators.deviation import local_deviation
from ..operators.residual import residual_halo
from ..operators.updown import up
from ..superresolution.card import read_card, shipped_model, shipped_models
from ..superresolution.correction import ITERATIONS, corrected, lr_reach
from ..superresolution.model import RUNTIMES, Model, load_model
from .base import Tile, result
from .shared.rehearsal import Rehearsed


@dataclass(frozen=True)
class CARN(Rehearsed):
    """Super-resolution of the target alone, by a network that was trained on other images: no guide is read.

    ``P = C_p↑ + details``, the details from a cascading residual network, which gives them on the LR grid divided by
    an integer; cubic interpolation with aligned pixel areas carries them to the HR grid. Then the residual ``C_p - P↓``
    is added. The network comes with the package (for a few bands and factors), from `sitsfuse train carn`, or as an
    ONNX model with a card of one's own.

    References
    ----------
    Ahn, Kang, Sohn, Fast, accurate, and lightweight super-resolution with cascading residual network, ECCV 2018;
    used for Sentinel-2 by Michel, Vinasco-Salinas, Inglada, Hagolle, SEN2VENµS, a dataset for the training of
    Sentinel-2 super-resolution algorithms, Data 7(7), 2022. Subtracting the local mean and the residual correction
    are ours.
    """

    name: ClassVar[str] = "carn"
    paper: ClassVar[str] = "Ahn et al. 2018"
    min_guides: ClassVar[int] = 0

    model: str = ""
    """Folder of a model; empty: the package's own for these bands and this factor."""
    iterations: Natural = ITERATIONS
    """Residual corrections; 0 leaves the network's image as it is."""
    runtime: str = "auto"
    """torch, onnx (onnxruntime), or auto: torch where it can."""
    device: str = "auto"
    """cpu, cuda, or auto: a GPU if there is one."""

    def __post_init__(self) -> None:
        settle(self)
        need(self.runtime in RUNTIMES, self, "runtime", f"choose among {', '.join(RUNTIMES)}")

    def halo(self, ratio: float) -> int:
        """The reach of the network and of the residual corrections."""
        # Which of the package's own it will be, the bands tell later on.
        cards = [read_card(self.model)] if self.model else shipped_models(ratio).values()
        reach = max((lr_reach(card) for card in cards), default=0)
        return math.ceil(reach * ratio) + self.iterations * residual_halo(ratio)

    def examine(self, site: xr.DataTree, found: Sequence[Any]) -> CARNPlain:
        """Load the model and see that it fits the site.

        Raises
        ------
        InputError
            If there is no model for the site's bands and ratio, it is damaged, or what runs it is missing.
        """
        layout = SiteLayout.of(site)
        folder = find_model(self.model, list(layout.bands), layout.ratio)
        model = load_model(folder, self.runtime, self.device)
        return CARNPlain(model, model.card.place(list(layout.bands), layout.ratio, folder), layout.mtf, self.iterations)


@dataclass(frozen=True)
class CARNPlain:
    """The model; see `CARNPredictor`."""

    model: Model
    order: tuple[int, ...]
    mtf: tuple[float, ...]
    iterations: int

    def prepare(self, date: np.datetime64, target: xr.Dataset) -> CARNPredictor:
        """Nothing to learn."""
        times = target["time"].values
        none, when = np.empty(0, times.dtype), np.array([date], times.dtype)
        return CARNPredictor(none, when, self.model, self.order, self.mtf, self.iterations)


@dataclass(frozen=True)
class CARNPredictor:
    """Super-resolves the target of a tile."""

    guides: Times
    targets: Times
    model: Model
    order: tuple[int, ...]
    """Position of each of the network's bands in the image."""
    mtf: tuple[float, ...]
    """MTF at Nyquist of the LR sensor, per band."""
    iterations: int
    """Residual corrections."""

    @property
    def choices(self) -> Mapping[str, Any]:
        """The model, so that it can be told from others of its name."""
        card = self.model.card
        return {"model": card.name, "training_data": card.training_data, "sha256": self.model.digest}

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`."""
        image, ok = self.image(tile)
        values, valid = tile.target_arrays()
        return result(tile, image, ok, self.uncertainty(values, valid, tile.grids))

    def image(self, tile: Tile) -> tuple[FloatArray, BoolArray]:
        """(B, y, x) the corrected image, 0 where invalid, and (y, x) where it is valid."""
        return self.at_hr(*tile.target_arrays(), tile.grids)

    def at_hr(self, values: FloatArray, valid: BoolArray, grids: GridPair) -> tuple[FloatArray, BoolArray]:
        """The same of any LR image of these bands."""
        return corrected(self.model, values, valid, grids, self.order, self.mtf, self.iterations)

    def uncertainty(self, values: FloatArray, valid: BoolArray, grids: GridPair) -> FloatArray:
        """(B, y, x): one standard deviation of the error, as large as the card says where the LR image is as rough."""
        spread, _ = up(local_deviation(values, valid), valid, grids)
        spread = np.maximum(np.nan_to_num(spread), 0)
        errors = self.model.card.errors
        if errors is None:
            return spread
        out = np.empty_like(spread)
        for k, slope, floor in zip(self.order, errors.slope, errors.floor, strict=True):
            out[k] = np.hypot(slope * spread[k], floor)
        return out


def find_model(model: str, bands: list[str], ratio: float) -> Path:
    """The folder of a model: the one asked for, else the package's own for these bands and this factor.

    Raises
    ------
    InputError
        If none is asked for and the package has none.
    """
    if model:
        return Path(model)
    found = shipped_model(bands, ratio)
    if found is None:
        raise InputError(
            "carn",
            f"comes with no model for {', '.join(bands)} and a factor of {ratio:g}",
            "train one on the site's guides, sitsfuse train carn SITE -o MODEL, and give it as `model`",
        )
    return found
