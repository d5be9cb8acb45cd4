"""Raster files that stay open for a while.

A tile of a series reads the same files for values and for validity, and its neighbour reads them again. While a file
is open GDAL keeps the blocks that it has decoded (in its own cache, 5 % of the memory or ``GDAL_CACHEMAX``): so a block
is decoded once, and not for every window that touches it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import rasterio

MOST = 64
"""Files that a thread keeps open."""

Key = tuple[str, int, int, int]


class _Kept(threading.local):
    """The open files of a thread, the least recently used first: a dataset is not for several threads."""

    def __init__(self) -> None:
        self.files: OrderedDict[Key, rasterio.DatasetReader] = OrderedDict()


_kept = _Kept()


def kept(path: Path, open_file: Callable[[], rasterio.DatasetReader]) -> rasterio.DatasetReader:
    """An open file, that of an earlier call in this thread if nobody has touched it since; not to be closed."""
    stat = path.stat()
    key = str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino
    found = _kept.files.get(key)
    if found is None:
        drop(path)
        found = _kept.files[key] = open_file()
        while len(_kept.files) > MOST:
            _kept.files.popitem(last=False)[1].close()
    _kept.files.move_to_end(key)
    return found


def drop(path: Path) -> None:
    """Close a file of this thread: what cannot be read should not stay."""
    for key in [k for k in _kept.files if k[0] == str(path)]:
        _kept.files.pop(key).close()
