"""Series to disk, in the two forms that `readers` reads; what has its final name is complete."""

from .common import read_json, write_json, writing
from .geotiff import write_cog, write_geotiffs
from .zarr import consolidate, create_series, write_region, write_series, write_site

__all__ = [
    "consolidate",
    "create_series",
    "read_json",
    "write_cog",
    "write_geotiffs",
    "write_json",
    "write_region",
    "write_series",
    "write_site",
    "writing",
]
