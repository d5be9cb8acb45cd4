"""What a preparation reads: the images of a folder of products or of a series, one by one and on any grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from ..core.arrays import FloatArray
from ..core.displacement import STAY, Displacement
from ..core.sensors import find_sensor, pairing
from ..core.series import DEFAULT_MTF, mtf
from ..errors import InputError
from ..readers import open_series
from ..readers.products import common_bands, find_products, read_products
from ..readers.reading import Reading
from .config import Series
from .image import Image, Pixels, ProductImage, SeriesImage

OVERVIEW = 256
"""Largest side of the overviews from which shares of clear pixels are counted, in pixels."""

STRIP = 1024
"""Rows that are read at once."""


@dataclass(frozen=True)
class Source:
    """The images of one role, and what they have in common."""

    where: Path
    images: tuple[Image, ...]
    """By time."""
    bands: tuple[str, ...]
    """Names of the bands that all images have."""
    sensor: str
    """Of most images; empty if unknown."""
    mtfs: Mapping[str, float]
    """MTF at Nyquist per band: as configured, else as known of the sensor, else the default."""
    sensor_mtfs: Mapping[str, float]
    """The same, whatever is configured."""
    problems: tuple[InputError, ...] = ()
    """Images that cannot be used."""
    recipes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Bands that are made of others: {nir: {rededge3: 0.5, nir08: 0.5}}."""

    def grid(self, bands: Sequence[str]) -> GeoBox:
        """The grid that most images have."""
        parts = self.parts(bands)
        boxes = [image.box(parts) for image in self.images]
        return max(boxes, key=boxes.count)

    def parts(self, bands: Sequence[str]) -> list[str]:
        """The bands to read for some wanted ones."""
        return list(dict.fromkeys(part for b in bands for part in self.recipes.get(b, {b: 1.0})))

    def part_mtfs(self, bands: Sequence[str], mtf: Sequence[float]) -> list[float]:
        """MTF of each of the :meth:`parts` of some bands, from those of the bands (or one for all)."""
        each = list(mtf) * len(bands) if len(mtf) == 1 else mtf
        of_part = {p: m for b, m in zip(bands, each, strict=True) for p in self.parts([b])}
        return [of_part[p] for p in self.parts(bands)]

    def mix(self, values: FloatArray, bands: Sequence[str]) -> FloatArray:
        """(band, …) wanted bands from the (part, …) bands that they are made of."""
        parts = self.parts(bands)
        if parts == list(bands):
            return values
        mixed = np.zeros((len(bands), *values.shape[1:]), np.float32)
        for out, b in zip(mixed, bands, strict=True):
            for part, weight in self.recipes.get(b, {b: 1.0}).items():
                out += np.float32(weight) * values[parts.index(part)]
        return mixed

    def read(
        self, image: Image, bands: Sequence[str], box: GeoBox, moved: Displacement = STAY, mtf: Sequence[float] = (0.3,)
    ) -> Pixels:
        """Pixels of some bands, those made of others included.

        Parameters
        ----------
        image
            One of the images.
        bands
            Names of the wanted bands.
        box, moved
            The grid, and the displacement to take out.
        mtf
            MTF at Nyquist of a sensor with the pixels of ``box``, per band (or one for all), used where they grow.
        """
        if box.shape[0] > STRIP:
            # What reading needs beside its result grows with what is read at once.
            out = np.empty((len(bands), *box.shape), np.float32)
            ok, found = np.empty(box.shape, bool), np.empty(box.shape, np.uint8)
            for start in range(0, box.shape[0], STRIP):
                rows = slice(start, min(start + STRIP, box.shape[0]))
                out[:, rows], ok[rows], found[rows] = self.read(image, bands, box[rows, :], moved, mtf)
            return out, ok, found
        values, valid, flags = image.read(self.parts(bands), box, moved, self.part_mtfs(bands, mtf))
        return self.mix(values, bands), valid, flags

    def shares(self, image: Image, bands: Sequence[str], box: GeoBox) -> tuple[float, float]:
        """Share of a grid with data, and share that is clear, from an overview."""
        step = max(1.0, max(box.shape) / OVERVIEW)
        rows, cols = (max(1, round(n / step)) for n in box.shape)
        scale = Affine.scale(box.shape[1] / cols, box.shape[0] / rows)
        there, valid = image.overview(self.parts(bands), GeoBox((rows, cols), box.affine * scale, box.crs))
        return float(there.mean()), float(valid.mean())


def open_source(config: Series) -> Source:
    """The images of a configured series.

    Raises
    ------
    InputError
        If there is none.
    """
    if not find_products(config.path):
        # Flags and dilation are of products alone; bands need not be a mapping.
        told = [f.name for f in dataclasses.fields(Reading) if f.name not in ("bands", "usable", "dilation", "chunk")]
        # Only what was said: a Zarr store has a use for few of them.
        usual = {name: Series.model_fields[name].default for name in told}
        options: dict[str, Any] = {n: v for n, default in usual.items() if (v := getattr(config, n)) != default}
        if isinstance(config.bands, dict):
            options["bands"] = config.bands
        series = open_series(config.path, **options)
        names = tuple(str(b) for b in series["band"].values)
        images: tuple[Image, ...] = tuple(SeriesImage(series, i, config.path) for i in range(series.sizes["time"]))
        known = dict(zip(names, mtf(series), strict=True))
        return Source(config.path, images, names, str(series.attrs.get("sensor", "")), *_mtfs(config, names, known))
    if isinstance(config.bands, dict):
        raise InputError(config.path, "holds products, whose bands have names", "give bands as a list of names")
    products, problems = read_products(config.path)
    if not products:
        raise problems[0]
    images = tuple(ProductImage(p, config.usable, config.dilation) for p in products)
    names = tuple(common_bands(products))
    sensors = [p.sensor for p in products]
    sensor = max(sensors, key=sensors.count)
    known = {b.common: b.mtf for b in find_sensor(sensor).bands} if sensor else {}
    return Source(config.path, images, names, sensor, *_mtfs(config, names, known), problems=tuple(problems))


def _mtfs(
    config: Series, names: Sequence[str], known: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """MTF per band, with and without what is configured."""
    own = {n: known.get(n, DEFAULT_MTF) for n in names}
    if config.mtf is None:
        return own, own
    if isinstance(config.mtf, float):
        return dict.fromkeys(names, config.mtf), own
    wanted = list(config.bands) if config.bands else list(names)
    if len(wanted) != len(config.mtf):
        raise InputError(config.path, f"has {len(config.mtf)} MTF values for {len(wanted)} bands", "give one each")
    return own | dict(zip(wanted, config.mtf, strict=True)), own


def match(guide: Source, target: Source, wanted: Sequence[str] | None) -> tuple[Source, Source, list[str]]:
    """The two sources with bands of the same names, and these.

    Parameters
    ----------
    guide, target
        The HR and the LR images.
    wanted
        Names of the bands, or None for all that both have.

    Raises
    ------
    InputError
        If they have no band in common, or lack a wanted one.
    """
    if guide.sensor != target.sensor and guide.sensor and target.sensor:
        guide = _with_recipes(guide, target)
    hr = [*guide.bands, *(b for b in guide.recipes if b not in guide.bands)]
    both = [b for b in target.bands if b in hr]
    bands = both if wanted is None else list(wanted)
    for name in bands:
        for source, have in ((guide, hr), (target, list(target.bands))):
            if name not in have:
                raise InputError(source.where, f"has no band {name} (it has {', '.join(have)})", "choose other bands")
    if not bands:
        raise InputError(
            target.where,
            f"has bands {', '.join(target.bands)} and the guides {', '.join(hr)}: none in common",
            "name the bands of both alike, e.g. with bands = {red = 3}",
        )
    return guide, target, bands


def _with_recipes(guide: Source, target: Source) -> Source:
    """The HR source with the bands that its sensor makes of several for the LR sensor's."""
    try:
        pairs = pairing(find_sensor(guide.sensor), find_sensor(target.sensor))
    except InputError:  # a sensor without a table: bands go by their names
        return guide
    own = {b.name: b.common for b in find_sensor(guide.sensor).bands}
    recipes = {}
    for pair in pairs:
        parts = [own[n] for n in pair.hr]
        if parts != [pair.common] and all(p in guide.bands for p in parts):
            recipes[pair.common] = dict.fromkeys(parts, 1 / len(parts))
    return replace(guide, recipes=recipes)
