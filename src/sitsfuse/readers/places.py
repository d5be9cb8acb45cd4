"""Places that no folder on a disk is."""

from __future__ import annotations

import os
import re

from ..errors import InputError

ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+[^/]")
"""The beginning of an address, also where pathlib has taken a slash from it."""
ARCHIVES = ("/vsizip", "/vsitar", "/vsi7z", "/vsirar", "/vsigzip")
"""What GDAL calls the inside of an archive."""


def check_listable(path: str | os.PathLike[str]) -> None:
    """Raise InputError for an address or a place of GDAL's: their files cannot be listed here."""
    text = os.fspath(path)
    if os.path.lexists(text):  # a folder may be called anything
        return
    if text.startswith(ARCHIVES):
        raise InputError(text, "lies in an archive, whose files are not listed", "unpack it and give the folder")
    address = ADDRESS.match(text)
    if address or text.startswith("/vsi"):
        whole = text if "://" in text or not address else text.replace(":/", "://", 1)
        mend = "give STAC items, as a search finds them (sitsfuse.search, or a folder of their JSON), or download it"
        raise InputError(whole, "is not on this machine, where alone folders are listed", mend)
