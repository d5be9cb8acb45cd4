"""Folders of products: which formats lie there, and a lazy series of them."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.base import tokenize
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from ...core.checks import check
from ...core.series import CONTENT, make_series
from ...errors import InputError
from ..content import mark
from ..damage import outside
from ..raster import Stack
from .flags import FLAG_ATTRS, USABLE
from .parts import merged
from .product import Product

FORMATS = ("muscate", "safe", "landsat", "planet", "stac")
"""Modules beside this one, each with ``is_product(path)`` and ``read_products(path)``."""


def find_products(path: str | Path) -> list[tuple[Path, str]]:
    """Products at a path: itself, or what lies directly in the folder, with the name of its format.

    Judged by names, and by the content of .json files; no raster is opened.
    """
    path = Path(path)
    with outside(path, "cannot be read"):
        return _find(path)


def _find(path: Path) -> list[tuple[Path, str]]:
    if not path.exists():
        return []
    places = [path]
    if path.is_dir() and not any(_reader(f).is_product(path) for f in FORMATS):
        places = sorted(p for p in path.iterdir() if not p.name.startswith("."))
    found = []
    for place in places:
        name = next((f for f in FORMATS if _reader(f).is_product(place)), None)
        if name is not None:
            found.append((place, name))
    return found


def items_of(source: Any) -> list[Any] | None:
    """STAC items in memory: a list or collection of pystac's items, or of dictionaries; None for anything else."""
    if isinstance(source, str | Path | Mapping | xr.Dataset | xr.DataArray | xr.DataTree) or not hasattr(
        source, "__iter__"
    ):
        return None
    items = list(source)
    told = [item.get("type") if isinstance(item, dict) else hasattr(item, "assets") for item in items]
    return items if items and all(t in ("Feature", True) for t in told) else None


def read_products(path: str | Path | list[Any]) -> tuple[list[Product], list[InputError]]:
    """Products of a folder or of STAC items, by time, and what is wrong with those that cannot be read.

    Raises
    ------
    InputError
        If there is no product.
    """
    if isinstance(path, list):
        stac = _reader("stac")
        return merged(sorted(stac.read_items(path), key=lambda p: p.time)), []
    found = find_products(path)
    if not found:
        what = "does not exist" if not Path(path).exists() else "holds no product"
        formats = "Theia/MUSCATE, SAFE, Landsat Collection 2, PlanetScope or STAC items"
        raise InputError(path, what, f"give a folder of {formats}")
    products: list[Product] = []
    problems = []
    for place, name in found:
        try:
            with outside(place, "has metadata that cannot be understood", "download it again"):
                products += _reader(name).read_products(place)
        except InputError as error:
            problems.append(error)
    return merged(sorted(products, key=lambda p: p.time)), problems


def common_bands(products: Sequence[Product]) -> list[str]:
    """Common names of the bands that all products have, in the order of the first."""
    return [b.name for b in products[0].bands if all(any(b.name == o.name for o in p.bands) for p in products)]


def common_grid(products: Sequence[Product], bands: Sequence[str]) -> GeoBox:
    """The grid that most products have for the finest of some bands; of several, that of the earliest product."""
    boxes = [p.box(bands) for p in products]
    return max(boxes, key=boxes.count)


def products_series(
    path: str | Path | list[Any],
    *,
    bands: Sequence[str] | Mapping[str, str] | None = None,
    usable: Sequence[str] = USABLE,
    dilation: float | None = None,
    chunk: int = 1024,
) -> xr.Dataset:
    """Open a folder of products as a lazy series on the grid that most of them have.

    Parameters
    ----------
    path
        A folder of products of one sensor, one product, or STAC items.
    bands
        Common or native names, or {name: common or native name}; by default all that all products have.
    usable, dilation
        Which flags leave a pixel valid, and metres by which clouds are widened: see
        :meth:`~sitsfuse.readers.products.product.Product.read`.
    chunk
        Side of a dask chunk, in pixels.

    Returns
    -------
    xarray.Dataset
        Lazy, with ``flags`` (CF) beside ``reflectance`` and ``valid``, and the coordinates ``product`` and
        ``platform`` (time).

    Raises
    ------
    InputError
        If a product cannot be read, two are of one day or bands are missing.
    """
    products, problems = read_products(path)
    where = "items" if isinstance(path, list) else path
    if problems:
        raise problems[0]
    names = common_bands(products) if bands is None else [str(b) for b in _values(bands)]
    if not names:
        raise InputError(where, "holds products without a band in common", "give the sensors folders of their own")
    box = common_grid(products, names)
    days = [p.time.astype("datetime64[D]") for p in products]
    for one, other in itertools.pairwise(range(len(days))):
        if days[one] == days[other]:
            raise InputError(
                products[other].path, f"is of the same day as {products[one].path.name}", "keep one product per date"
            )
    images = tuple(_OnGrid(p, tuple(names), box, tuple(usable), dilation) for p in products)
    rows, cols = box.shape
    token = tokenize(images, [_changed(path) for p in products for path in p.paths], chunk)
    parts = {
        "values": (np.dtype(np.float32), (len(names), rows, cols)),
        "valid": (np.dtype(bool), (rows, cols)),
        "flags": (np.dtype(np.uint8), (rows, cols)),
    }
    lazy = {name: Stack(images, name, *spec).lazy(chunk, f"product-{name}-{token}") for name, spec in parts.items()}
    shown = list(bands) if isinstance(bands, Mapping) else [products[0].band(n).name for n in names]
    sensors = sorted({p.sensor for p in products})
    attrs: dict[str, Any] = {"sensor": ", ".join(sensors)}
    if notes := [f"{p.id}: {note}" for p in products for note in p.notes]:
        attrs["notes"] = notes
    series = make_series(lazy["values"], lazy["valid"], [p.time for p in products], shown, box, attrs)
    series["flags"] = (("time", "y", "x"), lazy["flags"], FLAG_ATTRS | {"grid_mapping": "spatial_ref"})
    labels = {
        "product": [p.id for p in products],
        "platform": [p.platform for p in products],
        CONTENT: [mark(_files(p, names)) for p in products],
    }
    text = np.dtypes.StringDType()
    return check(series.assign_coords({n: ("time", np.array(v, dtype=text)) for n, v in labels.items()}), where)


def _changed(path: Path) -> int:
    """When a file was changed; items in memory have none."""
    return path.stat().st_mtime_ns if path.exists() else 0


def _files(product: Product, bands: Sequence[str]) -> list[Path]:
    """The files on this machine that an image comes from, its metadata among them."""
    used = [*(product.band(name).path for name in bands), *(mask.path for mask in product.masks)]
    local = [Path(path) for path in dict.fromkeys(used) if "://" not in path and not path.startswith("/vsi")]
    own = [file for path in product.paths for file in (sorted(path.glob("*")) if path.is_dir() else [path])]
    return [file for file in dict.fromkeys([*own, *local]) if file.is_file()]


@dataclass(frozen=True)
class _OnGrid:
    """A product as an image of a series."""

    product: Product
    bands: tuple[str, ...]
    box: GeoBox
    usable: tuple[str, ...]
    dilation: float | None

    def _read(self, window: Window) -> tuple[Any, Any, Any]:
        rows, cols = window.toslices()
        return self.product.read(self.bands, self.box[rows, cols], usable=self.usable, dilation=self.dilation)

    def values(self, window: Window) -> npt.NDArray[np.float32]:
        """(band, y, x)."""
        return np.asarray(self._read(window)[0])

    def valid(self, window: Window) -> npt.NDArray[np.bool_]:
        """(y, x)."""
        return np.asarray(self._read(window)[1])

    def flags(self, window: Window) -> npt.NDArray[np.uint8]:
        """(y, x)."""
        return np.asarray(self._read(window)[2])


def _values(bands: Sequence[str] | Mapping[str, str]) -> Iterable[str]:
    return bands.values() if isinstance(bands, Mapping) else bands


def _reader(name: str) -> ModuleType:
    return importlib.import_module(f".{name}", __package__)
