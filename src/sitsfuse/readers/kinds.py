"""What a series is read from, and which options that has a use for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from ..errors import InputError
from .products import find_products
from .reading import Reading
from .zarr import is_zarr

FIELDS = tuple(field.name for field in dataclasses.fields(Reading))
"""All options for reading."""


class Kind(Enum):
    """A kind of source: what it is in words, and the options that reading it takes."""

    SERIES = "is an open series", ()
    ZARR = "is a Zarr store, whose dates and bands have their names", ("scale", "offset", "quantity")
    PRODUCTS = "holds products, which tell their dates and bands", ("bands", "usable", "dilation", "chunk", "quantity")
    GEOTIFFS = "holds GeoTIFFs", tuple(name for name in FIELDS if name not in ("usable", "dilation"))

    def __init__(self, words: str, options: tuple[str, ...]) -> None:
        self.words, self.options = words, options

    def usable(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the options that it has a use for."""
        return {name: value for name, value in options.items() if name in self.options}


def kind_of(source: Any) -> Kind:
    """What a source is; whether it can be read is another question."""
    if not isinstance(source, str | Path):
        return Kind.PRODUCTS if isinstance(source, list) else Kind.SERIES
    if is_zarr(source):
        return Kind.ZARR
    path = Path(source)
    return Kind.PRODUCTS if path.exists() and find_products(path) else Kind.GEOTIFFS


def shared_options(given: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of options for several series, by role those that each has a use for.

    Raises
    ------
    InputError
        For an option that none has a use for.
    """
    kinds = {role: kind_of(source) for role, source in given.items()}
    for name in options:
        if not any(name in kind.options for kind in kinds.values()):
            role, kind = next(iter(kinds.items()))
            check_usable(given[role] if kind is not Kind.SERIES else role, {name: None}, kind)
    return {role: kind.usable(options) for role, kind in kinds.items()}


def check_usable(where: object, options: Mapping[str, Any], kind: Kind) -> None:
    """Raise :class:`InputError` for the first option that the kind of source has no use for, with those that it has."""
    for name in options:
        if name not in kind.options:
            known = f", or give {' or '.join(f'`{o}`' for o in kind.options)}" if kind.options else ""
            raise InputError(where, f"{kind.words}: `{name}` is of no use", f"drop `{name}`{known}")
