"""Tiny archives in the layout of SEN2VENµS, version 1 (tensors) and 2 (GeoTIFFs)."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

PAIRS = {"b2b3b4b8": (10, 5), "b5b6b7b8a": (20, 5)}
"""Groups of bands, and the pixel sizes (metres) that they come in."""
ALONE = {"b11b12": (20,)}
"""What version 2 has of Sentinel-2 only."""
SITES = {"NARYN": (("43TFG", "2019-07-25"),)}
GROUND = 80.0
"""Width of a patch, in metres."""

Sites = Mapping[str, Iterable[tuple[str, str]]]


def make_v1(folder: Path, sites: Sites = SITES, *, count: int = 3, index: bool = True, seed: int = 0) -> Path:
    """Write sites as version 1 has them: a tensor per tile, date, group and pixel size.

    Parameters
    ----------
    folder
        Gets one folder per site.
    sites
        (tile, date) of each.
    count
        Patches per date.
    index
        Whether to write ``index.csv``.
    seed
        Of the numbers, see :func:`numbers`.
    """
    import torch

    for site, dates in sites.items():
        place = Path(folder) / site
        place.mkdir(parents=True)
        padded = (site if len(site) == 8 else f"{site}_C").ljust(8, "_")[:8]
        rows = []
        for tile, date in dates:
            row = {
                "venus_product_id": f"VENUS-XS_{date.replace('-', '')}-060233-000_L2A_{site}_D_V2-2",
                "sentinel2_product_id": f"SENTINEL2A_{date.replace('-', '')}-055725-884_L2A_T{tile}_D_V2-2",
            }
            stem = f"{padded}_{tile}_{date}"
            for group, pixels in PAIRS.items():
                for pixel in sorted(pixels):
                    name = f"{stem}_{pixel:02d}m_{group.replace('b5b6b7b8a', 'b4b5b6b8a')}.pt"
                    row[f"tensor_{pixel:02d}m_{group}"] = name
                    stored = np.stack([numbers((site, tile, date, k), group, pixel, seed) for k in range(count)])
                    torch.save(torch.from_numpy(stored), place / name)
            row |= {"s2_tile": tile, "vns_site": padded, "date": date, "venus_zenith_angle": "5.010906"}
            rows.append(row | {"patches_gpkg": f"{stem}_patches.gpkg", "nb_patches": str(count)})
        if index:
            write_index(place, rows)
    return Path(folder)


def make_v2(
    folder: Path,
    sites: Sites = SITES,
    *,
    patches: Iterable[int] = (0, 2, 11),
    index: bool = True,
    zipped: bool = True,
    nodata: int | None = None,
    dtype: str = "int16",
    seed: int = 0,
) -> Path:
    """Write sites as version 2 has them: a GeoTIFF per patch, in a .zip per tile, date, group and pixel size.

    Parameters
    ----------
    folder, sites, index, seed
        As for :func:`make_v1`.
    patches
        Numbers of the patches, which stand for places.
    zipped
        Whether the GeoTIFFs are left in their .zip, or lie in ``DATE/GROUP/PIXEL`` instead.
    nodata
        What the GeoTIFFs declare.
    dtype
        What they store.
    """
    for site, dates in sites.items():
        place = Path(folder) / site
        place.mkdir(parents=True)
        rows: list[dict[str, str]] = []
        for tile, date in dates:
            new = [{"": str(len(rows) + k)} for k, _ in enumerate(patches)]
            for group, pixel in ((g, p) for g, pixels in (PAIRS | ALONE).items() for p in pixels):
                archive = f"{site}_{date}_{tile}_{group}_{pixel:02d}m.zip"
                for row, patch in zip(new, patches, strict=True):
                    inner = f"{group}/{pixel:02d}m/{site}_{patch}_{date}_{tile}_{group}_{pixel:02d}m.tif"
                    row[f"{group}_{pixel:02d}m"] = f"{archive}/{inner}"
                    path = place / date / inner
                    path.parent.mkdir(parents=True, exist_ok=True)
                    stored = numbers((site, tile, date, patch), group, pixel, seed).astype(dtype)
                    header = {"driver": "GTiff", "count": len(stored), "dtype": dtype, "nodata": nodata}
                    at = Affine(pixel, 0, 600000 + patch * GROUND, 0, -pixel, 4900000)
                    size = {"height": stored.shape[1], "width": stored.shape[2]}
                    with rasterio.open(path, "w", **header, **size, crs="EPSG:32643", transform=at) as out:
                        out.write(stored)
                if zipped:
                    tifs = sorted(path.parent.glob(f"*_{tile}_*.tif"))
                    with zipfile.ZipFile(place / archive, "w", zipfile.ZIP_DEFLATED) as out:
                        for tif in tifs:
                            out.write(tif, tif.relative_to(place / date))
                    for tif in tifs:
                        tif.unlink()
            rows += new
        if index:
            write_index(place, rows)
    return Path(folder)


def numbers(patch: tuple[object, ...], group: str, pixel: int, seed: int = 0) -> np.ndarray:
    """Random numbers (band, y, x), int16 from -200 to 9000, that depend on the arguments alone."""
    size = round(GROUND / pixel)
    rng = np.random.default_rng([seed, *repr((*patch, group, pixel)).encode()])
    return rng.integers(-200, 9000, (2 if group == "b11b12" else 4, size, size)).astype(np.int16)


def write_index(place: Path, rows: list[dict[str, str]]) -> None:
    """Write ``index.csv``."""
    with (place / "index.csv").open("w", newline="", encoding="utf-8") as out:
        table = csv.DictWriter(out, list(rows[0]), delimiter="\t")
        table.writeheader()
        table.writerows(rows)
