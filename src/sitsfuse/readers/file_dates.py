"""Dates in the names of files."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import numpy as np

from ..errors import InputError

# Not rioxarray: it decodes with one scale and one offset per file, while ours may differ by band.


COMPANIONS = ("_mask", "_uncertainty", "_weights")
"""Endings of the files that belong to an image and are none themselves."""

_DEFAULT_DATE = r"(?<!\d)(?P<date>\d{4}-\d{2}-\d{2}|\d{8})(?!\d)"
DIRECTIVES = {"Y": r"\d{4}", "j": r"\d{3}", "b": r"[^\W\d_]{3}", "B": r"[^\W\d_]+", "f": r"\d{1,6}"}


def dated_files(folder: Path, date_pattern: str | None) -> list[tuple[np.datetime64, Path, Path | None, Path | None]]:
    """Date, image, mask and uncertainty of each image in a folder, sorted by date."""
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(folder, what, "give a folder with one GeoTIFF per date")
    files = [
        p for p in sorted(folder.iterdir()) if p.suffix.lower() in (".tif", ".tiff") and not p.name.startswith(".")
    ]
    by_stem = {p.stem.lower(): p for p in files}
    images = [p for p in files if not p.stem.lower().endswith(COMPANIONS)]
    if not images:
        raise InputError(
            folder, "holds no GeoTIFF", "give a folder with one *.tif per date (YYYYMMDD in its name), or of products"
        )
    pattern = _compiled(date_pattern)
    found: dict[np.datetime64, Path] = {}
    for path in images:
        date = _date(path.stem, pattern, date_pattern)
        if date is None:
            wanted = f"matching {date_pattern!r}" if date_pattern else "(YYYYMMDD or YYYY-MM-DD)"
            raise InputError(
                path, f"has no date {wanted} in its name", "rename it, move it away or give `date_pattern`"
            )
        if date in found:
            raise InputError(
                path,
                f"has the same date as {found[date].name} ({str(date)[:10]})",
                "keep one file per date, with all its bands",
            )
        found[date] = path

    def beside(image: Path, kind: str) -> Path | None:
        return by_stem.get(f"{image.stem.lower()}{kind}")

    dates = sorted(found)
    return [(d, found[d], beside(found[d], "_mask"), beside(found[d], "_uncertainty")) for d in dates]


def _compiled(date_pattern: str | None) -> re.Pattern[str]:
    """The regular expression of a date pattern, which finds a strptime format as the group ``date``."""
    if date_pattern is None:
        return re.compile(_DEFAULT_DATE)
    if "%" in date_pattern:
        pieces = re.split(r"(%.?)", date_pattern)
        unknown = [p for p in pieces[1::2] if p != "%%" and p[1:] not in DIRECTIVES]
        if unknown:
            raise InputError("`date_pattern`", f"{date_pattern!r} holds {unknown[0]}", "use %Y %y %m %d %j %b %H %M %S")
        body = "".join((DIRECTIVES.get(p[1:], "%") if i % 2 else re.escape(p)) for i, p in enumerate(pieces))
        directives = set(pieces[1::2])
        month_and_day = "%d" in directives and directives & {"%m", "%b", "%B"}
        if not (directives & {"%Y", "%y"} and ("%j" in directives or month_and_day)):
            raise InputError(
                "`date_pattern`", f"{date_pattern!r} gives no full date", "add %Y and %j, or %Y, %m and %d"
            )
        return re.compile(rf"(?<!\d)(?P<date>{body})(?!\d)")
    try:
        pattern = re.compile(date_pattern)
    except re.error as error:
        raise InputError(
            "`date_pattern`", f"{date_pattern!r} is not a regular expression ({error})", "mend it or use e.g. %Y%j"
        ) from None
    groups = set(pattern.groupindex)
    if not (groups >= {"year", "month", "day"} or "date" in groups):
        raise InputError(
            "`date_pattern`",
            f"{date_pattern!r} has no groups (?P<year>…), (?P<month>…) and (?P<day>…), nor one (?P<date>…)",
            "name them so, or use a strptime format such as %Y%j",
        )
    return pattern


def _date(stem: str, pattern: re.Pattern[str], given: str | None) -> np.datetime64 | None:
    """The first date in a name."""
    for match in pattern.finditer(stem):
        parts = match.groupdict()
        if given and "%" in given:
            text, layout = parts["date"], given
        elif parts.get("year"):
            text, layout = "-".join(parts[p] or "" for p in ("year", "month", "day")), "%Y-%m-%d"
        else:
            text, layout = (parts["date"] or "").replace("-", ""), "%Y%m%d"
        try:
            date = datetime.strptime(text, layout)
        except ValueError:
            continue
        if 1900 <= date.year < 2200:
            return np.datetime64(date, "ns")
    return None
