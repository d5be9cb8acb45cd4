"""SEN2VENµS: same-day patches of Venµs (HR) and Sentinel-2 (LR), to train super-resolution with; pairs, not series.

Both versions are read, as far as they are unpacked: folders of sites, each with an ``index.csv`` (tab-separated).

- Version 1 has one .pt file (an int16 tensor of patches) per date, group of bands and pixel size:
  ``SITE_TILE_DATE_05m_b2b3b4b8.pt``.
- Version 2 has one GeoTIFF per patch, ``SITE_PATCH_DATE_TILE_b2b3b4b8_05m.tif``, in one .zip per date, group and pixel
  size, which need not be unpacked.

References
----------
J. Michel, J. Vinasco-Salinas, J. Inglada, O. Hagolle, "SEN2VENµS, a dataset for the training of Sentinel-2
super-resolution algorithms", Data 7(7), 96, 2022.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...core.sensors import SENSORS
from ...errors import InputError
from ...readers.products.archive import Archive
from .patches import AGAIN, Patches, label, shape_of

INDEX = "index.csv"
MISNAMED = {"b4b5b6b8a": "b5b6b7b8a"}
"""What version 1 calls a group, and the bands that it holds."""
DEPTH = 5
"""How many folders deep patches lie: site, the site once more, date, group, pixel size."""

_DATE, _TILE = r"(?P<date>\d{4}-[01]\d-[0-3]\d)", r"T?(?P<tile>\d\d[A-Z]{3})"
_GROUP, _PIXEL = r"(?P<group>(?:b\d+a?)+)", r"(?P<pixel>\d+)m"
PATCHES = (
    rf"(?P<site>.+)_{_TILE}_{_DATE}_{_PIXEL}_{_GROUP}\.pt",
    rf"(?P<site>.+)_(?P<patch>\d+)_{_DATE}_{_TILE}_{_GROUP}_{_PIXEL}\.tif",
)
"""Names of files of patches, in version 1 and 2."""
ZIPS = (rf".+_{_DATE}_{_TILE}_{_GROUP}_{_PIXEL}\.zip",)
COLUMNS = rf"tensor_{_PIXEL}_{_GROUP}", rf"{_GROUP}_{_PIXEL}"
"""Names of the columns of the index that tell files, in version 1 and 2."""
PADDING = r"(_C)?_*$"
"""What fills the names of sites up to eight letters in version 1: NARYN_C_, ALSACE_C."""

Kind = tuple[str, float]
"""Kind of files: group of bands and pixel size in metres."""


def is_sen2venus(path: str | Path) -> bool:
    """Whether a folder holds patches of SEN2VENµS, or sites that do, by names alone."""
    return any(_match(PATCHES + ZIPS, name) for _, names in _folders(Path(path)) for name in names)


def open_sen2venus(path: str | Path, bands: str = "b2b3b4b8") -> list[Patches]:
    """Open the patches of a group of bands; only the heads of the files are read.

    Parameters
    ----------
    path
        The folder of the sites, or that of one site. Where it has an ``index.csv``, this tells which files count,
        elsewhere all do.
    bands
        ``b2b3b4b8`` (10 m to 5 m) or ``b5b6b7b8a`` (20 m to 5 m), which version 1 calls ``b4b5b6b8a``.

    Returns
    -------
    list of Patches
        By site, date and tile.

    Raises
    ------
    InputError
        If there are no such patches, naming the groups that there are; if files are missing, damaged or do not go
        with their partners; if an index lacks its columns.
    """
    path = Path(path)
    group = MISNAMED.get(bands, bands)
    kinds: set[Kind] = set()
    files: dict[str, str] = {}
    for index, there in _found(path, group, kinds).items():
        files |= there if index is None else _indexed(index, there, group, kinds)
    if not kinds:
        what = "holds no patches of SEN2VENµS" if path.exists() else "does not exist"
        raise InputError(path, what, "give the folder with its unpacked sites")
    # Bands that Venµs does not have come as LR alone.
    pixels = {g: sorted(pixel for other, pixel in kinds if other == g) for g, _ in kinds}
    whole = sorted(g for g in pixels if len(pixels[g]) > 1)
    if group not in whole or not files:
        mend = f"choose among {', '.join(whole)}" if whole else "download the files of both pixel sizes"
        raise InputError(path, f"has no HR and LR patches of {bands}", mend)
    return _pairs(files, group, pixels[group][0], pixels[group][-1])


def split_sites(
    patches: Sequence[Patches], seed: int = 0, validation: float = 0.15, test: float = 0.15
) -> dict[str, list[Patches]]:
    """Split patches for training by site: the dates of a site show the same ground.

    Parameters
    ----------
    patches
        In any order, which does not matter.
    seed
        Of the random choice.
    validation, test
        Share of the sites, 0–1; at least one site each, none where it is 0.

    Returns
    -------
    dict
        ``train``, ``validation`` and ``test``, each by site, date and tile.

    Raises
    ------
    InputError
        If there are fewer sites than parts.
    """
    shares = {"validation": validation, "test": test}
    if min(shares.values()) < 0 or sum(shares.values()) >= 1:
        what = f"{validation:g} and {test:g} of the sites leave none for training"
        raise InputError("validation, test", what, "give shares from 0 on, together below 1")
    sites = sorted({p.site for p in patches})
    parts = ["train", *(part for part, share in shares.items() if share)]
    if len(sites) < len(parts):
        what = f"{len(sites)} ({', '.join(sites) or 'none'}) cannot be split into {', '.join(parts)}"
        raise InputError("sites of SEN2VENµS", what, "add sites, or set the share for validation or test to 0")
    sizes = {part: max(1, round(share * len(sites))) if share else 0 for part, share in shares.items()}
    while sum(sizes.values()) >= len(sites):
        sizes[max(sizes, key=lambda part: sizes[part])] -= 1
    chosen = np.split(np.random.default_rng(seed).permutation(sites), np.cumsum(list(sizes.values())))
    part_of = {site: part for part, here in zip((*sizes, "train"), chosen, strict=True) for site in here}
    ordered = sorted(patches, key=lambda p: (p.site, p.date, p.tile))
    return {part: [p for p in ordered if part_of[p.site] == part] for part in ("train", "validation", "test")}


def _found(path: Path, group: str, kinds: set[Kind]) -> dict[Path | None, dict[str, str]]:
    """Files of a group by the index that they belong to: names, and how GDAL or torch opens them.

    Which kinds of files there are without an index is added to ``kinds``.
    """
    indices: dict[Path, Path | None] = {}
    found: dict[Path | None, dict[str, str]] = {}
    for folder, names in _folders(path):
        index = indices[folder] = folder / INDEX if INDEX in names else indices.get(folder.parent)
        there = found.setdefault(index, {})
        for name in names:
            kind = _kind(_match(PATCHES + ZIPS, name))
            if kind and index is None:
                kinds.add(kind)
            if kind and kind[0] == group and name.endswith(".zip"):
                archive = Archive.of(folder / name)
                there |= {member.rpartition("/")[2]: archive.gdal(member) for member in archive.names}
            elif kind and kind[0] == group:
                there[name] = str(folder / name)
    return found


def _indexed(index: Path, there: Mapping[str, str], group: str, kinds: set[Kind]) -> dict[str, str]:
    """The files of a group that an index names; its kinds of files are added to ``kinds``."""
    import pandas as pd

    try:
        table = pd.read_csv(index, sep="\t", dtype=str)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise InputError(index, "is not a tab-separated table", AGAIN) from error
    columns = {column: kind for column in table.columns if (kind := _kind(_match(COLUMNS, column)))}
    if not columns:
        what = "lacks the columns of patches (tensor_05m_b2b3b4b8 and so on, or b2b3b4b8_05m)"
        raise InputError(index, what, f"{AGAIN}, or remove it to go by the names of the files")
    kinds.update(columns.values())
    cells = [cell for column, kind in columns.items() if kind[0] == group for cell in table[column].dropna()]
    # Version 2 names members of a .zip, which may have been unpacked to wherever: names are unique.
    named = [cell.rpartition("/")[2] for cell in cells]
    lost = [name for name in named if name not in there]
    if lost:
        what = f"names {len(lost)} files that are not there or named otherwise, such as {lost[0]}"
        raise InputError(index, what, "download or unpack them, too, or remove the index to go by the files there are")
    return {name: there[name] for name in named}


def _pairs(files: Mapping[str, str], group: str, fine: float, coarse: float) -> list[Patches]:
    """HR and LR files put together."""
    found: dict[tuple[str, ...], dict[float, dict[int, str]]] = {}
    for name, where in files.items():
        if match := _match(PATCHES, name):
            parts = match.groupdict()
            key = re.sub(PADDING, "", parts["site"]), parts["date"], parts["tile"], name.rpartition(".")[2]
            found.setdefault(key, {}).setdefault(float(parts["pixel"]), {})[int(parts.get("patch", 0))] = where
    bands = tuple(SENSORS["sentinel2"].band(b.upper()).common for b in re.findall(r"b\d+a?", group))
    return [_pair(key[:3], sizes, fine, coarse, bands) for key, sizes in sorted(found.items())]


def _pair(
    key: tuple[str, ...], sizes: Mapping[float, Mapping[int, str]], fine: float, coarse: float, bands: tuple[str, ...]
) -> Patches:
    """HR and LR files of one site, date and tile, which are checked to go with each other."""
    site, date, tile = key
    pair = sizes.get(fine, {}), sizes.get(coarse, {})
    for here, others, pixel in ((*pair, coarse), (*pair[::-1], fine)):
        for patch in sorted(set(here) - set(others)):
            raise InputError(label(here[patch]), f"has no partner of {pixel:g} m", "download or unpack that, too")
    hr, lr = (tuple(files[patch] for patch in sorted(files)) for files in pair)
    where = label(hr[0])
    shape, partner = shape_of(hr), shape_of(lr)
    if shape[0] != partner[0]:
        raise InputError(where, f"holds {shape[0]} patches, its partner of {coarse:g} m {partner[0]}", AGAIN)
    if (len(bands), *shape[2:]) != (shape[1], *(n * coarse / fine for n in partner[2:])) or shape[1] != partner[1]:
        what = f"(band, y, x) {shape[1:]} at {fine:g} m and {partner[1:]} at {coarse:g} m"
        raise InputError(where, f"has {what} for {len(bands)} bands", AGAIN)
    return Patches(site, tile, np.datetime64(date), bands, fine, coarse, shape[0], (partner[2], partner[3]), hr, lr)


def _folders(path: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder and those below it in which patches may lie, with the names of their files."""
    for root, folders, names in os.walk(path, followlinks=True):
        if len(Path(root).relative_to(path).parts) >= DEPTH or "zarr.json" in names:
            folders.clear()
        folders.sort()
        yield Path(root), sorted(n for n in names if not n.startswith("."))


def _match(patterns: Sequence[str], name: str) -> re.Match[str] | None:
    """What a name tells by the first pattern that it follows."""
    return next((match for pattern in patterns if (match := re.fullmatch(pattern, name))), None)


def _kind(match: re.Match[str] | None) -> Kind | None:
    """What kind of files a name stands for."""
    return (MISNAMED.get(match["group"], match["group"]), float(match["pixel"])) if match else None
