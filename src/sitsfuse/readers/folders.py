"""What lies in a folder of images: per date its images, its mask and its uncertainty, and what is left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from ..errors import InputError
from .damage import check_file, outside
from .file_dates import DateFinder
from .meanings import known_kind
from .opening import DRIVERS, is_raster, opened
from .reading import Reading

COMPANIONS = ("_mask", "_uncertainty", "_weights")
"""Endings of the files that belong to an image and are none themselves."""
MASK_FOLDERS = ("mask", "masks")
"""Folders beside the images that hold their masks."""
MUST_HAVE_DATE = (".tif", ".tiff")
"""Endings of files that are meant as images, whatever else lies there."""
SEPARATORS = re.compile(r"[_\-. ]+")


@dataclass(frozen=True)
class Dated:
    """The files of one date."""

    time: np.datetime64
    images: tuple[Path, ...]
    """Several where each holds a band, or a part of the scene."""
    bands: tuple[str, ...] | None = None
    """The band that each holds; None where each holds all."""
    masks: tuple[Path | None, ...] = ()
    """One per image, or one for all."""
    uncertainty: Path | None = None


@dataclass(frozen=True)
class Listing:
    """The files of a folder."""

    dates: tuple[Dated, ...]
    notes: tuple[str, ...] = field(default=())
    """What is left out or matched in an unusual way."""


def list_folder(folder: Path, reading: Reading) -> Listing:
    """Find the images of a folder, by date.

    Raises
    ------
    InputError
        If there is no image, one has no date, or two are of one date and nothing says what to do with them.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(folder, what, "give a folder with one GeoTIFF per date")
    files = _rasters(folder)
    masks, others = _masks(folder, files, reading)
    images = [p for p in others if not p.stem.lower().endswith(COMPANIONS)]
    if not images:
        raise InputError(
            folder, "holds no GeoTIFF", "give a folder with one *.tif per date (YYYYMMDD in its name), or of products"
        )
    finder = DateFinder(reading.date_pattern)
    notes: list[str] = []
    by_date: dict[np.datetime64, list[Path]] = {}
    for path in images:
        date = _date_of(path, folder, finder)
        if date is not None:
            by_date.setdefault(date, []).append(path)
        elif path.suffix.lower() in MUST_HAVE_DATE:
            wanted = f"matching {reading.date_pattern!r}" if reading.date_pattern else "(YYYYMMDD or YYYY-MM-DD)"
            mend = "rename it, move it away or give `date_pattern`"
            raise InputError(path, f"has no date {wanted} in its name", mend)
        else:
            notes.append(f"left out: {path.relative_to(folder)}, which has no date in its name")
    if not by_date:
        raise InputError(folder, "holds no image with a date in its name", "rename them or give `date_pattern`")
    grouped = _grouped(folder, by_date, reading, notes)
    companions = {p.stem.lower(): p for p in others if p.stem.lower().endswith("_uncertainty")}
    return Listing(tuple(_joined(folder, grouped, masks, companions, finder, reading, notes)), tuple(notes))


def _rasters(folder: Path) -> list[Path]:
    """The rasters in a folder, or, if it holds none, in the folders in it; hidden ones left out."""

    def inside(place: Path) -> list[Path]:
        with outside(place, "cannot be read"):
            return [p for p in sorted(place.iterdir()) if not p.name.startswith(".")]

    def usable(paths: Iterable[Path]) -> list[Path]:
        found = [p for p in paths if is_raster(p) and not p.is_dir()]
        for path in found:
            check_file(path)
        # .img and its kin are images only with a header beside them, which ENVI and EHdr have and HFA needs not.
        return [p for p in found if p.suffix.lower() not in (".dat", ".bsq", ".bil", ".bip") or _has_header(p)]

    entries = inside(folder)
    files = usable(entries)
    folders = [p for p in entries if p.is_dir()]
    if any(not _is_companion(p) for p in files):
        return files + [q for p in folders if p.name.lower() in MASK_FOLDERS for q in usable(inside(p))]
    return files + [q for p in folders for q in usable(inside(p))]


def _has_header(path: Path) -> bool:
    return any(p.is_file() for p in (path.with_suffix(".hdr"), path.with_name(path.name + ".hdr")))


def _is_companion(path: Path) -> bool:
    return path.stem.lower().endswith(COMPANIONS)


def _masks(folder: Path, files: Sequence[Path], reading: Reading) -> tuple[list[Path], list[Path]]:
    """The masks among the files, and the others."""
    pattern = reading.mask_pattern
    if pattern is not None:
        masks = [p for p in files if fnmatch(p.name, pattern) or fnmatch(p.relative_to(folder).as_posix(), pattern)]
        if not masks:
            raise InputError(folder, f"holds no file whose name matches {pattern!r}", "correct `mask_pattern`")
    else:
        masks = [
            p
            for p in files
            if p.stem.lower().endswith("_mask") or known_kind(p.stem) or p.parent.name.lower() in MASK_FOLDERS
        ]
    return masks, [p for p in files if p not in masks]


def _date_of(path: Path, folder: Path, finder: DateFinder) -> np.datetime64 | None:
    """The date in a file's name, else in that of its folder."""
    date = finder(path.stem)
    return finder(path.parent.name) if date is None and path.parent != folder else date


def _grouped(
    folder: Path, by_date: Mapping[np.datetime64, list[Path]], reading: Reading, notes: list[str]
) -> dict[np.datetime64, tuple[tuple[Path, ...], tuple[str, ...] | None]]:
    """The images of each date and, where each holds one band, the names of these."""
    if reading.band_pattern is not None:
        named = {date: _by_pattern(paths, reading.band_pattern) for date, paths in by_date.items()}
        left_out = sum(len(paths) - len(named[date]) for date, paths in by_date.items())
        if left_out:
            notes.append(f"left out: {left_out} files whose names do not match `band_pattern`")
        named = {date: bands for date, bands in named.items() if bands}
        if not named:
            what = f"holds no file whose name matches the band pattern {reading.band_pattern!r}"
            raise InputError(folder, what, "correct `band_pattern`")
        return _all_alike(folder, named)
    several = {date: paths for date, paths in by_date.items() if len(paths) > 1}
    if several and reading.same_day is None:
        named_ = _by_names(by_date)
        if named_ is None:
            date, paths = next(iter(several.items()))
            raise InputError(
                paths[1],
                f"has the same date as {paths[0].name} ({str(date)[:10]})",
                "keep one file per date, with all its bands; give `band_pattern` where a file holds one band, "
                "`mask_pattern` for masks, or `same_day=mosaic`",
            )
        notes.append(f"one band per file, named by what differs: {', '.join(next(iter(named_.values())))}")
        return _all_alike(folder, named_)
    return {date: (tuple(paths), None) for date, paths in by_date.items()}


def _by_pattern(paths: Sequence[Path], pattern: str) -> dict[str, Path]:
    """The file of each band, by a pattern of names."""
    if "{band}" in pattern:
        plain = pattern.removesuffix(".tif")
        pieces = [".*".join(map(re.escape, piece.split("*"))) for piece in plain.split("{band}", 1)]
        body = rf"{pieces[0]}(?P<band>[A-Za-z0-9]+){pieces[1]}"
        compiled = re.compile(body if plain != pattern or "*" in pattern else f".*{body}")
    else:
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise InputError(
                "`band_pattern`", f"is not a regular expression ({error})", "write e.g. *_{band}"
            ) from None
        if "band" not in compiled.groupindex:
            raise InputError("`band_pattern`", f"{pattern!r} has no {{band}}", "write e.g. *_{band} or (?P<band>B\\d+)")
    found: dict[str, Path] = {}
    for path in paths:
        match = compiled.fullmatch(path.stem) if "{band}" in pattern else compiled.search(path.stem)
        if match is None:
            continue
        name = match["band"]
        if name in found:
            raise InputError(path, f"is of the same date and band as {found[name].name}", "keep one of them")
        found[name] = path
    return found


def _by_names(by_date: Mapping[np.datetime64, list[Path]]) -> dict[np.datetime64, dict[str, Path]] | None:
    """The file of each band, by the one part of the names that differs; None where that does not tell."""
    found: dict[np.datetime64, dict[str, Path]] = {}
    for date, paths in by_date.items():
        parts = [SEPARATORS.split(p.stem) for p in paths]
        if len(paths) < 2 or len({len(p) for p in parts}) != 1:
            return None
        differing = [k for k in range(len(parts[0])) if len({p[k] for p in parts}) > 1]
        if len(differing) != 1:
            return None
        found[date] = {p[differing[0]]: path for p, path in zip(parts, paths, strict=True)}
        if len(found[date]) < len(paths):
            return None
    if len({frozenset(bands) for bands in found.values()}) != 1:
        return None
    for path in next(iter(found.values())).values():
        with opened(path) as source:
            if source.count != 1:
                return None
    return found


def _all_alike(
    folder: Path, named: Mapping[np.datetime64, dict[str, Path]]
) -> dict[np.datetime64, tuple[tuple[Path, ...], tuple[str, ...] | None]]:
    """Files and bands of each date, in one order; a band that a date lacks is an InputError."""
    first = next(iter(named.values()))
    order = list(dict.fromkeys(name for bands in named.values() for name in bands))
    out: dict[np.datetime64, tuple[tuple[Path, ...], tuple[str, ...] | None]] = {}
    for date, bands in named.items():
        for name in order:
            if name not in bands:
                other = first.get(name)
                like = f" (such as {other.name})" if other else ""
                raise InputError(folder, f"has no file of band {name}{like} on {str(date)[:10]}", "add or remove it")
        out[date] = (tuple(bands[name] for name in order), tuple(order))
    return out


def _joined(
    folder: Path,
    grouped: Mapping[np.datetime64, tuple[tuple[Path, ...], tuple[str, ...] | None]],
    masks: Sequence[Path],
    uncertainties: Mapping[str, Path],
    finder: DateFinder,
    reading: Reading,
    notes: list[str],
) -> list[Dated]:
    """Images with their masks and uncertainties."""
    by_stem = {p.stem.lower(): p for p in masks if p.parent == folder}
    used: set[Path] = set()
    by_date: dict[np.datetime64, list[Path]] = {}
    stems = {p.stem.lower() for paths, _ in grouped.values() for p in paths}
    for mask in masks:
        if mask.parent == folder and mask.stem.lower().removesuffix("_mask") in stems:
            continue
        date = _date_of(mask, folder, finder)
        if date is not None:
            by_date.setdefault(date, []).append(mask)
    out, matched = [], 0
    for date in sorted(grouped):
        paths, bands = grouped[date]
        own = [by_stem.get(f"{p.stem.lower()}_mask") if reading.mask_pattern is None else None for p in paths]
        if bands is None and any(own):
            chosen: tuple[Path | None, ...] = tuple(own)
        else:
            dated = by_date.get(date, [])
            if len(dated) > 1:
                what = f"and {dated[0].name} are masks of one date ({str(date)[:10]})"
                raise InputError(dated[1], what, "keep one of them, or choose with `mask_pattern`")
            if dated and len(paths) > 1 and bands is None:
                raise InputError(dated[0], "is the only mask of several images of its date", "give each image its own")
            chosen = (dated[0],) if dated else ()
            matched += bool(dated) and reading.mask_pattern is None
        used |= {m for m in chosen if m}
        unsure = uncertainties.get(f"{paths[0].stem.lower()}_uncertainty") if len(paths) == 1 else None
        out.append(Dated(date, paths, bands, chosen, unsure))
    lost = [p for p in masks if p not in used]
    if lost:
        notes.append(f"left out: {_named(lost, folder)}: mask{'s' * (len(lost) > 1)} without an image")
    bare = [str(d.time)[:10] for d in out if not any(d.masks)]
    # Beside images of the same name, masks are often there for the cloudy dates alone.
    if bare and (matched or reading.mask_pattern is not None):
        notes.append(f"without a mask: {', '.join(bare[:6])}{' …' * (len(bare) > 6)}")
    if matched:
        notes.append(f"masks matched by their dates: {_named(sorted(used), folder)}")
    there = [d for d in out if d.uncertainty]
    if there and len(there) < len(out):
        notes.append(f"left out: uncertainties, which only {len(there)} of {len(out)} dates have")
    return out


def _named(paths: Sequence[Path], folder: Path) -> str:
    shown = ", ".join(p.relative_to(folder).as_posix() for p in paths[:3])
    return shown + f" and {len(paths) - 3} more" * (len(paths) > 3)


def unread(folder: Path) -> list[str]:
    """Names of files that GDAL could take for images and that no reader opens."""
    from rasterio.drivers import raster_driver_extensions

    plain = {".png", ".jpg", ".jpeg", ".gif", ".xml", ".kml", ".kmz", ".pdf", ".hdr", ".map", ".txt", ".bmp", ".webp"}
    others = {f".{e}" for e in raster_driver_extensions()} - set(DRIVERS) - plain
    return [p.name for p in sorted(folder.iterdir()) if p.suffix.lower() in others and not p.name.startswith(".")]
