"""The form of an output, which its name must not deny."""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError

FORMS = ("cog", "zarr")
FILES = (".tif", ".tiff", ".vrt", ".nc", ".jp2", ".png", ".csv", ".parquet")
"""Endings of what is one file, which no output is."""


def form_of(out: str | Path | None, wanted: str | None) -> str:
    """Cog or zarr, as asked for, else as the output's name says.

    Raises
    ------
    InputError
        If the form is unknown, the name says otherwise or is an address.
    """
    if wanted is not None and wanted not in FORMS:
        raise InputError("`format`", f"{wanted!r} is unknown", "choose cog or zarr")
    if out is None:
        return wanted or "cog"
    if "://" in str(out):
        raise InputError(out, "is an address, not a folder", "give a folder on this machine")
    path = Path(out)
    if path.suffix.lower() in FILES:
        raise InputError(path, "is named like a file, but outputs are folders of one image per date", "name a folder")
    named = "zarr" if path.suffix.lower() == ".zarr" else "cog"
    if wanted == "cog" and named == "zarr":
        raise InputError(path, "is named like a Zarr store, but `format` is cog", "drop `format` or name it otherwise")
    return wanted or named
