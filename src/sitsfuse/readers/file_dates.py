"""Dates in the names of files."""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np

from ..errors import InputError

_DEFAULT_DATE = r"(?<!\d)(?P<date>\d{4}-\d{2}-\d{2}|\d{8})(?!\d)"
_DIRECTIVES = {"Y": r"\d{4}", "j": r"\d{3}", "b": r"[^\W\d_]{3}", "B": r"[^\W\d_]+", "f": r"\d{1,6}"}
_DIRECTIVES |= dict.fromkeys("ymdHMS", r"\d{2}")


class DateFinder:
    """Finds dates in names.

    Parameters
    ----------
    pattern
        A `strptime` format, a regular expression with named groups, or None for YYYYMMDD or YYYY-MM-DD.

    Raises
    ------
    InputError
        If the pattern finds no date.
    """

    def __init__(self, pattern: str | None) -> None:
        self.given = pattern
        self.compiled = _compiled(pattern)

    def __call__(self, text: str) -> np.datetime64 | None:
        """The first date in a name, or None."""
        return _date(text, self.compiled, self.given)


def _compiled(date_pattern: str | None) -> re.Pattern[str]:
    """The regular expression of a date pattern, which finds a strptime format as the group ``date``."""
    if date_pattern is None:
        return re.compile(_DEFAULT_DATE)
    if "%" in date_pattern:
        pieces = re.split(r"(%.?)", date_pattern)
        unknown = [p for p in pieces[1::2] if p != "%%" and p[1:] not in _DIRECTIVES]
        if unknown:
            raise InputError("`date_pattern`", f"{date_pattern!r} holds {unknown[0]}", "use %Y %y %m %d %j %b %H %M %S")
        body = "".join((_DIRECTIVES.get(p[1:], "%") if i % 2 else re.escape(p)) for i, p in enumerate(pieces))
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
