"""What runs: for those who report a fault."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys

LIBRARIES = (
    *(
        "sitsfuse",
        "numpy",
        "scipy",
        "xarray",
        "dask",
        "distributed",
        "zarr",
        "numcodecs",
        "rasterio",
        "pyproj",
        "odc-geo",
    ),
    *("odc-stac", "pystac", "numba", "torch", "onnxruntime", "pandas", "pyarrow", "pydantic", "typer", "matplotlib"),
    *("eodag",),
)
"""Packages by their names in the index."""


def show_versions() -> None:
    """Print the versions of Python, the system, GDAL and the libraries in use."""
    print("\n".join(f"{name:<14}{version}" for name, version in versions().items()))


def versions() -> dict[str, str]:
    """Versions by name; ``not installed`` for what is missing."""
    found = {"python": sys.version.split()[0], "system": f"{platform.platform()}, {os.cpu_count()} cores"}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    import rasterio

    return found | {"GDAL": str(rasterio.__gdal_version__)}
