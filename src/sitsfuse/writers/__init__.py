"""Series to disk, in the two forms that `readers` reads; what has its final name is complete."""

from __future__ import annotations

from .geotiff import write_cog, write_geotiffs
from .stores import write_series, write_site
from .zarr import consolidate, create_series, finish, write_region

__all__ = [
    "consolidate",
    "create_series",
    "finish",
    "write_cog",
    "write_geotiffs",
    "write_region",
    "write_series",
    "write_site",
]
