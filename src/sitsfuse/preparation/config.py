"""The configuration of a preparation: a TOML file, checked field by field."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import InputError
from ..radiometry.learning import SENSIBLE
from ..readers.products.flags import FLAGS, USABLE
from ..readers.reading import REFLECTANCE
from ..runtime.files import read_toml

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Bounds = tuple[float, float, float, float]


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] >= limits[1]:
        raise ValueError("the first must be less than the second")
    return limits


class _Table(BaseModel):
    """A table of the file: an unknown key is an error, not an oversight."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Series(_Table):
    """Where a series lies and how to read it."""

    path: Path
    """A folder of products or GeoTIFFs, or a Zarr store; relative to the configuration file."""
    bands: tuple[str, ...] | dict[str, str | int] | None = None
    """Names of the bands to read, or for GeoTIFFs {name: description or index}; by default those that both have."""
    date_pattern: str | None = None
    """Where the date stands in names of files."""
    band_pattern: str | None = None
    """Where the band stands in names of files that hold one each: ``*_{band}_10m``."""
    mask_pattern: str | None = None
    """Which files are masks: ``*_SCL.tif``."""
    mask_band: str | int | None = None
    """Which band is the mask, of the mask file or else of the image itself."""
    clear: tuple[int, ...] | None = None
    """Numbers of a mask that mean clear."""
    cloudy: tuple[int, ...] | None = None
    """Or numbers that do not."""
    mask_bits: tuple[int, ...] | None = None
    """Or bits, from 0, any of which makes a pixel invalid."""
    scale: float | None = None
    """Reflectance per number, whatever the files say."""
    offset: float | None = None
    """Reflectance of the number 0, whatever the files say."""
    quantity: str = REFLECTANCE
    """What the numbers are."""
    same_day: Literal["mosaic", "clearest"] | None = None
    """What to do with several images of one day."""
    mtf: float | tuple[float, ...] | None = None
    """MTF at Nyquist, one for all bands or one each; by default as known of the sensor or the series, else 0.3."""
    usable: tuple[str, ...] = USABLE
    """Flags of pixels that are valid nonetheless."""
    dilation: Annotated[float, Field(ge=0)] | None = None
    """Metres by which clouds and their shadows are widened; by default what suits the format."""
    search: dict[str, Any] | None = None
    """Where to find the products: see `sitsfuse search`."""

    @model_validator(mode="after")
    def _known_flags(self) -> Series:
        unknown = [f for f in self.usable if f not in FLAGS]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not a flag; choose among {', '.join(FLAGS)}")
        return self


class Target(Series):
    """The LR series, and what it is to become."""

    degrade: Positive | None = None
    """Pixel size to degrade the images to, in metres; by default they stay as they are."""
    fit_mtf: bool = True
    """Whether the MTF of the images, where none is given, is that on which they and the guides agree, if they do."""


class Grid(_Table):
    """The HR grid of the site; by default that of the guides, where the target covers it."""

    bounds: Bounds | None = None
    """Left, bottom, right, top in the guides' CRS."""


class Selection(_Table):
    """Which images become guides, targets and references."""

    mode: Literal["production", "benchmark"] = "production"
    """production: all images, no references; benchmark: guides by revisit, the other HR images become references."""
    revisit: Positive = 20.0
    """Days between guides."""
    guides: Annotated[int, Field(ge=2)] | None = None
    """Number of guides; by default what suits the revisit."""
    targets: Annotated[int, Field(ge=1)] | None = None
    """Number of targets that is expected: another one is reported."""
    max_days: Positive = 1.0
    """A target is less than this number of days from its reference."""
    start: date | None = None
    """First date."""
    end: date | None = None
    """Last date."""
    min_clear_hr: Share = 0.05
    """Least clear share of an HR image."""
    min_clear_lr: Share = 0.05
    """Least clear share of an LR image."""


class Registration(_Table):
    """How images are co-registered."""

    model: Literal["shift", "affine", "local", "none"] = "shift"
    """One shift per image, an affine or a smooth local displacement, or nothing."""
    bands: tuple[str, ...] | None = None
    """Bands to look at; by default red and nir where they are, else the first two."""
    reference: date | None = None
    """HR date that all others are registered to; by default the clearest guide."""
    within: bool = True
    """Whether HR images are registered to one another."""
    between: bool = True
    """Whether LR images are registered to the HR ones."""


class Harmonization(_Table):
    """How LR reflectances are brought to those of the HR sensor."""

    mode: Literal["pooled", "per-date", "mixing", "none"] = "pooled"
    """One line per band for the whole series, one per date, every HR band from all LR bands, or nothing."""
    max_days: Annotated[float, Field(ge=0)] = 1.0
    """A guide at most this number of days from an LR image is compared with it as it is."""
    around_days: Annotated[float, Field(ge=0)] = 30.0
    """Where there is none, the guides before and after are, if they are at most this number of days away."""
    judge: bool = True
    """Whether only what gains on dates left out is applied; else what is found is."""
    gains: Annotated[tuple[Positive, Positive], AfterValidator(_rising)] = SENSIBLE
    """Least and largest gain that is applied."""


class PrepareConfig(_Table):
    """A site to prepare."""

    guide: Series
    """The HR series."""
    target: Target
    """The LR series."""
    reference: Series | None = None
    """HR images to compare with, if they lie apart; they are never guides."""
    name: str | None = None
    """Of the site; by default that of the output."""
    landscape: str | None = None
    """In a few words."""
    location: str | None = None
    """In a few words."""
    grid: Grid = Grid()
    """The HR grid."""
    selection: Selection = Selection()
    """The images."""
    registration: Registration = Registration()
    """Co-registration."""
    harmonization: Harmonization = Harmonization()
    """Radiometry."""
    mask_missed_clouds: bool = False
    """Whether what a guide shows and neither the other guides nor the LR series do (a cloud that its mask misses) is
    masked; else it is only told."""
    on_error: Literal["skip", "stop"] = "skip"
    """Whether an image that cannot be used is left out, with a word, or ends the run."""


def read_config(path: str | Path) -> PrepareConfig:
    """Read and check a configuration.

    Raises
    ------
    InputError
        If the file cannot be read, or naming the first field that is wrong.
    """
    path = Path(path)
    config = make_config(read_toml(path, "give a TOML file"), path)
    return config.model_copy(update=_placed(config, path.parent))


def make_config(content: dict[str, Any], where: object = None) -> PrepareConfig:
    """Check the content of a configuration, whose place, if it has one, errors name.

    Raises
    ------
    InputError
        Naming the first field that is wrong.
    """
    try:
        return PrepareConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        known = _known(first["loc"]) if first["type"] == "extra_forbidden" else None
        message = "is unknown" if known else first["msg"].removeprefix("Value error, ")
        mend = known or "correct it; see docs/prepare.md"
        if where is None:
            raise InputError(f"`{field}`", message, mend) from None
        raise InputError(where, f"{field} is unknown" if known else f"{field}: {message}", mend) from None


def changed(config: PrepareConfig, changes: Mapping[str, Any]) -> PrepareConfig:
    """A configuration with some fields changed, given as {"table.field": value}; None changes nothing.

    Raises
    ------
    InputError
        If a value makes no sense.
    """
    content = config.model_dump(exclude_unset=True)
    for place, value in changes.items():
        if value is not None:
            *tables, field = place.split(".")
            inner = content
            for table in tables:
                inner = inner.setdefault(table, {})
            inner[field] = value
    return make_config(content)


def _known(loc: tuple[int | str, ...]) -> str:
    """What could have been meant by an unknown key."""
    table: type[_Table] = PrepareConfig
    tables: dict[str, type[_Table]] = {
        "guide": Series,
        "target": Target,
        "reference": Series,
        "grid": Grid,
        "selection": Selection,
    }
    tables |= {"registration": Registration, "harmonization": Harmonization}
    if len(loc) > 1 and str(loc[0]) in tables:
        table = tables[str(loc[0])]
    return f"choose among {', '.join(table.model_fields)}"


def _placed(config: PrepareConfig, folder: Path) -> dict[str, Any]:
    """The series with their paths relative to the configuration file."""
    found = {}
    for role in ("guide", "target", "reference"):
        series = getattr(config, role)
        if series is not None:
            found[role] = series.model_copy(update={"path": folder / series.path})
    return found
