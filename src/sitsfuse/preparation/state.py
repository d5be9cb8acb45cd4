"""What a preparation has found and written so far, so that a killed run goes on where it was.

All of it is small JSON files in the site's hidden folder. A file that is there is whole; what it says holds as long as
the configuration and the images are the same, which :func:`begin` makes sure of.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr

from ..errors import InputError
from ..runtime.files import STATE, read_json, write_json, writing


@dataclass(frozen=True)
class State:
    """The records of a site."""

    site: Path

    def _place(self, kind: str, name: str) -> Path:
        # Names of products may be long or hold slashes.
        short = hashlib.sha256(name.encode()).hexdigest()[:16]
        return self.site / STATE / kind / f"{short}.json"

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """What was put there, or nothing."""
        return read_json(self._place(kind, name))

    def put(self, kind: str, name: str, record: dict[str, Any]) -> None:
        """Write a record down."""
        write_json(self._place(kind, name), record)


def begin(site: Path, fixed: dict[str, Any], attrs: dict[str, Any], overwrite: bool) -> State:
    """Make or reopen the site.

    Parameters
    ----------
    site
        The Zarr store.
    fixed
        All that the result depends on: the configuration and the images.
    attrs
        Attributes of a new site.
    overwrite
        Whether to replace what is there.

    Raises
    ------
    InputError
        If something else is there, or a site of another configuration and ``overwrite`` is false.
    """
    state = State(site)
    marker = site / STATE / "run.json"
    there = read_json(marker)
    busy = site.exists() and (not site.is_dir() or any(site.iterdir()))
    if busy and not there and not (site / "zarr.json").is_file():
        raise InputError(site, "exists and is not a site", "choose another place or remove it yourself")
    if busy and not overwrite:
        if not there:
            raise InputError(
                site, "exists and was not made by `sitsfuse prepare`", "choose another place or `overwrite=True`"
            )
        changed = [k for k in sorted({*there, *fixed}) if there.get(k) != fixed.get(k)]
        if not changed:
            return state
        raise InputError(
            site,
            f"was prepared with another {', '.join(changed)}",
            "choose another place or start anew with `overwrite=True`",
        )
    with writing(site):
        if site.exists():
            shutil.rmtree(site)
        site.mkdir(parents=True)
        zarr.create_group(site, attributes=attrs, zarr_format=3)
    write_json(marker, fixed)
    return state
