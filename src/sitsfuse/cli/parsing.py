"""Texts from the command line, as values."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """Split ``name=value`` texts; ``option`` names them in errors."""
    out = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InputError(option, f"{text!r} is not name=value", "write e.g. name=value")
        out[name.strip()] = value.strip()
    return out


def names(text: str | None) -> list[str] | None:
    """Names with commas between them; None where nothing is given."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def numbers(text: str, option: str) -> list[float]:
    """Numbers with commas between them."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(option, f"{text!r} is not a number", "write e.g. 0.3 or 0.3,0.28") from error
