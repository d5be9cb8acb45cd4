"""What a preparation has found and written so far, so that a killed run goes on where it was.

All of it is small JSON files in the site's hidden folder. A file that is there is whole; what it says holds as long as
the configuration and the images are the same, which :func:`begin` makes sure of.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr

from ..core.series import UNFINISHED
from ..runtime.claims import Kind, claim, read_record
from ..runtime.files import STATE, read_json, write_json, writing


@dataclass(frozen=True)
class State:
    """The records of a site."""

    site: Path

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.site / STATE

    def _place(self, kind: str, name: str) -> Path:
        # Names of products may be long or hold slashes.
        short = hashlib.sha256(name.encode()).hexdigest()[:16]
        return self.folder / kind / f"{short}.json"

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """What was put there, or nothing."""
        return read_json(self._place(kind, name))

    def put(self, kind: str, name: str, record: dict[str, Any]) -> None:
        """Write a record down."""
        write_json(self._place(kind, name), record)


@contextmanager
def begin(
    site: Path, fixed: Mapping[str, Any], attrs: Mapping[str, Any], overwrite: bool, inputs: Iterable[Path]
) -> Iterator[State]:
    """Make or reopen the site, and keep other runs out of it.

    Parameters
    ----------
    site
        The Zarr store.
    fixed
        All that the result depends on: the configuration and the images.
    attrs
        Attributes of a new site.
    overwrite
        Whether to replace a site of another configuration; what `prepare` has not made stays.
    inputs
        Paths that are read, of which none may be the site.

    Raises
    ------
    InputError
        If the place is taken, see :func:`~sitsfuse.runtime.claims.claim`.
    """
    with claim(site, SITE, fixed, overwrite, inputs) as resumed:
        # First, lest a run that is killed in between leaves a store that is nobody's.
        if not resumed:
            write_json(site / MARKER, fixed)
        if not (site / "zarr.json").is_file():
            with writing(site):
                zarr.create_group(site, attributes={**attrs, UNFINISHED: "sitsfuse prepare"}, zarr_format=3)
        yield State(site)


def _clear(site: Path) -> None:
    """Remove a site; last what tells whose the rest is."""
    with writing(site):
        for name in (*PARTS, "prepare.json", "prepare.html", "zarr.json", STATE):
            place = site / name
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)


PARTS = ("guide", "target", "reference")
"""Groups of a site."""
MARKER = f"{STATE}/run.json"
"""What tells that `prepare` has made a site, and of what."""
SITE = Kind("`sitsfuse prepare`", lambda site: read_record(site / MARKER), _clear, shared=True)
