"""Super-resolution models on disk: a folder with a card (TOML), weights (safetensors) and the same network as ONNX.

Nothing in such a folder is ever executed: the card and the weights are data, and an ONNX graph is run by a runtime
that knows its operators. A card without an architecture stands for an ONNX model made elsewhere.
"""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy import ndimage

from ..core.arrays import BoolArray, FloatArray
from ..errors import InputError, missing_extra
from ..runtime.files import plain, writing

CARD, WEIGHTS, ONNX = "card.toml", "weights.safetensors", "model.onnx"
"""Names of the files in a model's folder."""
SHIPPED = Path(__file__).with_name("models")
"""The models that come with the package, one folder each."""
FACTOR_TOLERANCE = 0.01
"""Relative difference of a model's factor and a site's ratio that is still the same."""
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class _Table(BaseModel):
    """A table of the card: an unknown key is an error, not an oversight."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Architecture(_Table):
    """What a CARN is made of."""

    bands: Annotated[int, Field(ge=1)]
    """Number of bands in and out."""
    grid: Annotated[int, Field(ge=1)]
    """Pixels of the output per LR pixel along each axis."""
    features: Annotated[int, Field(ge=4)] = 64
    """Channels of the network's body."""
    groups: Annotated[int, Field(ge=1)] = 4
    """Groups of its 3 × 3 convolutions."""
    tail: Annotated[int, Field(ge=1)] = 16
    """Channels at HR, before the last convolution."""

    @model_validator(mode="after")
    def _divisible(self) -> Architecture:
        if self.features % self.groups or self.tail * self.grid**2 % self.groups:
            raise ValueError(f"features and tail × grid² must be multiples of groups ({self.groups})")
        return self


class Normalisation(_Table):
    """What the network sees of an image: ``(reflectance - mean) / scale``. Its output is scaled back alike."""

    scale: tuple[Positive, ...]
    """Per band, in reflectance."""
    mean: tuple[float, ...] = ()
    """Per band, in reflectance; without it, the mean of the valid pixels around each pixel."""
    context: Annotated[int, Field(ge=0)] = 0
    """LR pixels on each side that belong to that local mean."""

    @model_validator(mode="after")
    def _one_mean(self) -> Normalisation:
        if bool(self.mean) == bool(self.context):
            raise ValueError("needs either a mean per band or a context of at least 1")
        return self

    def apply(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        """The network's input, (B, y, x) float32 without unit; 0, the mean, where invalid.

        Parameters
        ----------
        values
            (B, y, x) reflectance of an LR image; read only where valid.
        valid
            (y, x).
        """
        clean = np.where(valid, values, np.float32(0))
        if self.context:
            side = 2 * self.context + 1
            # In float64 and from 0 outside: a tile then has the means of the whole image.
            total = ndimage.uniform_filter(clean.astype(np.float64), side, axes=(-2, -1), mode="constant")
            share = ndimage.uniform_filter(valid.astype(np.float64), side, mode="constant")
            mean = total / np.maximum(share, 0.5 / side**2)
        else:
            mean = np.array(self.mean)[:, None, None]
        scale = np.array(self.scale)[:, None, None]
        return np.where(valid, (clean - mean) / scale, 0).astype(np.float32)


class ErrorModel(_Table):
    """``variance of the error = slope² · (local standard deviation of the LR image)² + floor²``, band by band."""

    slope: tuple[NotNegative, ...]
    """Without unit."""
    floor: tuple[NotNegative, ...]
    """In reflectance."""


class Card(_Table):
    """What a user must know of a model before trusting it, and the software before running it."""

    name: str
    """Of the model."""
    bands: tuple[str, ...]
    """Common names of the bands, in the order of the network's channels."""
    factor: Annotated[float, Field(gt=1)]
    """LR pixel size over HR pixel size."""
    grid: Annotated[int, Field(ge=1)]
    """Pixels of the network's output per LR pixel along each axis, at least the factor."""
    halo: Annotated[int, Field(ge=0)]
    """LR pixels on each side that an output pixel depends on, the context of a local mean among them."""
    output: Literal["details", "image"]
    """Whether the network gives the details to add to bicubic interpolation, or the whole image."""
    normalisation: Normalisation
    """Of inputs and outputs."""
    training_data: str
    """What it was trained on, in a sentence."""
    licence: str
    """Under which it may be used."""
    created: datetime.date | None = None
    """Day of the training."""
    errors: ErrorModel | None = None
    """Size of its errors, from images that it was not trained on."""
    architecture: Architecture | None = None
    """Of a network of this package; without it the folder needs an ONNX model."""
    metrics: dict[str, Any] = {}
    """Scores on images that it was not trained on, and what these were."""
    training: dict[str, Any] = {}
    """How it was trained: every option."""

    @model_validator(mode="after")
    def _one_per_band(self) -> Card:
        if not self.bands or len(set(self.bands)) < len(self.bands):
            raise ValueError("bands must be named, each once")
        lists = {"normalisation.scale": self.normalisation.scale}
        if self.normalisation.mean:
            lists["normalisation.mean"] = self.normalisation.mean
        if self.errors is not None:
            lists |= {"errors.slope": self.errors.slope, "errors.floor": self.errors.floor}
        for name, values in lists.items():
            if len(values) != len(self.bands):
                raise ValueError(f"{name} has {len(values)} values for {len(self.bands)} bands")
        shape = self.architecture
        if shape is not None and (shape.bands, shape.grid) != (len(self.bands), self.grid):
            raise ValueError("architecture.bands and architecture.grid must agree with bands and grid")
        if self.output == "image" and self.normalisation.context:
            raise ValueError("output: a local mean is taken away from the input, so it can only be details")
        if self.halo < self.normalisation.context:
            raise ValueError(f"halo {self.halo} is less than the context of {self.normalisation.context}")
        if self.grid < self.factor - 1e-6:
            raise ValueError(f"grid {self.grid} is less than the factor {self.factor:g}")
        return self

    def fits(self, ratio: float) -> bool:
        """Whether the model's factor is a site's ratio."""
        return abs(ratio / self.factor - 1) <= FACTOR_TOLERANCE

    def place(self, bands: list[str], ratio: float, where: object) -> tuple[int, ...]:
        """Position of each of the network's bands among a site's.

        Raises
        ------
        InputError
            If the model is for other bands or another factor.
        """
        if sorted(bands) != sorted(self.bands):
            raise InputError(
                where,
                f"is a model for the bands {', '.join(self.bands)}, and the images have {', '.join(bands)}",
                "choose another model, or train one: sitsfuse train carn SITE -o MODEL",
            )
        if not self.fits(ratio):
            raise InputError(
                where,
                f"is a model for a factor of {self.factor:g}, and that of the images is {ratio:g}",
                "choose another model, or train one: sitsfuse train carn SITE -o MODEL",
            )
        return tuple(bands.index(b) for b in self.bands)

    def reflectance(self, output: FloatArray) -> FloatArray:
        """The network's output (B, y, x), scaled back: details, or the image with its mean."""
        scaled = output * np.array(self.normalisation.scale, np.float32)[:, None, None]
        if self.output == "details":
            return scaled
        return scaled + np.array(self.normalisation.mean, np.float32)[:, None, None]


def read_card(folder: str | Path) -> Card:
    """Read and check the card of a model.

    Raises
    ------
    InputError
        If there is none, or it is not what a card should be.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        raise InputError(folder, f"is not a model: it has no {CARD}", "give a folder that `sitsfuse train carn` wrote")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(path, f"cannot be read ({one_line(error)})", "mend it, or train the model anew") from error
    try:
        return Card.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the card"
        problem = "is unknown" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise InputError(path, f"{field}: {problem}", "mend it; see docs/superresolution.md") from None


def write_card(card: Card, folder: Path) -> None:
    """Write a card into a model's folder, whole or not at all.

    Raises
    ------
    InputError
        If it cannot be written, or tomli-w is missing.
    """
    try:
        import tomli_w
    except ImportError as error:
        raise missing_extra("torch", "tomli-w (needed to write a model's card)") from error
    content = card.model_dump(exclude_none=True, exclude={"created"})
    text = tomli_w.dumps(plain(content) | ({} if card.created is None else {"created": card.created}))
    draft = folder / (CARD + ".part")
    with writing(folder / CARD):
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(folder / CARD)


def shipped_models(factor: float) -> dict[Path, Card]:
    """The package's own models for a factor: folders and cards."""
    cards = {path.parent: read_card(path.parent) for path in sorted(SHIPPED.glob(f"*/{CARD}"))}
    return {folder: card for folder, card in cards.items() if card.fits(factor)}


def shipped_model(bands: list[str], factor: float) -> Path | None:
    """The package's own model for these bands, in any order, and this factor; None if there is none."""
    found = shipped_models(factor).items()
    return next((folder for folder, card in found if sorted(card.bands) == sorted(bands)), None)


def one_line(error: Exception) -> str:
    """What an exception says, short enough for an `InputError`: of a long text its beginning and its end."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:60]} … {text[-130:]}"
