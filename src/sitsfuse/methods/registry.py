"""The fusion methods by name: the package's own, and those of other packages."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from ..core.options import build
from ..errors import InputError
from .base import Method

GROUP = "sitsfuse.methods"
"""Entry points of this group announce the methods of other packages."""

METHODS: dict[str, str | type[Any]] = {
    "temporal": "temporal:Temporal",
    "spatial": "spatial:Spatial",
    "difference": "difference:Difference",
    "efast": "efast:EFAST",
    "starfm": "starfm:STARFM",
    "estarfm": "estarfm:ESTARFM",
    "fitfc": "fitfc:FitFC",
    "fsdaf": "fsdaf:FSDAF",
    "vipstf": "vipstf:VIPSTF",
    "robot": "robot:ROBOT",
    "carn": "carn:CARN",
    "ddi": "ddi:DDI",
    "carn+ddi": "carn_ddi:CARNDDI",
}
"""The methods that come with the package: a class, or the module here that is imported when the method is asked for."""


def method_names() -> list[str]:
    """Names of all methods, without importing any."""
    return list(dict.fromkeys([*METHODS, *(entry.name for entry in entry_points(group=GROUP))]))


def find_method(name: str) -> type[Any]:
    """The class of a method.

    Raises
    ------
    InputError
        If no method has that name; the message lists the known ones.
    """
    known = METHODS.get(name)
    if known is None:
        for entry in entry_points(group=GROUP):
            if entry.name == name:
                found: type[Any] = entry.load()
                return found
        raise InputError(f"method {name!r}", "is unknown", f"choose one of {', '.join(sorted(method_names()))}")
    if isinstance(known, str):
        module, _, attribute = known.partition(":")
        known = getattr(importlib.import_module(f".{module}", __package__), attribute)
    cls: type[Any] = known
    return cls


def known_methods() -> dict[str, type[Any]]:
    """All methods by name; imports them all."""
    return {name: find_method(name) for name in method_names()}


def make_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """Build a method from its name and its options.

    Parameters
    ----------
    name
        A name of `method_names`.
    options
        Values for the method's fields, as :func:`sitsfuse.core.options.build` takes them.

    Raises
    ------
    InputError
        On an unknown name or option, listing the known ones, or a value that does not fit.
    """
    method: Method = build(find_method(name), options or {}, f"method {name!r}", "options")
    return method
