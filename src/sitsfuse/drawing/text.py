"""Numbers and words as pages print them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

MISSING = "–"
"""What stands for an unknown number."""
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]")
"""Characters that no page may hold, and those that turn the direction of the text around them."""


def printable(value: Any) -> Any:
    """The same, with what no page may hold in texts, at any depth, replaced by "�"."""
    if isinstance(value, str):
        return _UNPRINTABLE.sub("�", value)
    if isinstance(value, Mapping):
        return {printable(str(k)): printable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [printable(v) for v in value]
    return value


def finite(value: Any) -> float | None:
    """A number, or None for whatever is none: None, NaN, a text."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def number(value: Any, digits: int = 0, *, sign: bool = False, unit: str = "") -> str:
    """A number with a fixed count of digits behind the point, or "–" where it is unknown."""
    known = finite(value)
    if known is None:
        return MISSING
    text = f"{known:{'+' if sign else ''},.{digits}f}"
    if not text.strip("+-0.,"):
        text = text.lstrip("+-")  # -0.00 is 0.00
    return text.replace("-", "−") + (f" {unit}" if unit else "")


def percent(value: Any, digits: int = 0, *, sign: bool = False) -> str:
    """A share of 1 in percent."""
    known = finite(value)
    return MISSING if known is None else number(100 * known, digits, sign=sign, unit="%")


def pair(values: Any, digits: int = 0, *, sign: bool = True, unit: str = "") -> str:
    """Two numbers, or "–" where neither is known."""
    known = values if isinstance(values, list | tuple) and len(values) == 2 else (None, None)
    texts = [number(v, digits, sign=sign) for v in known]
    return MISSING if texts == [MISSING, MISSING] else ", ".join(texts) + (f" {unit}" if unit else "")


def counted(count: int, one: str, many: str = "") -> str:
    """How many there are of something."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
