"""What all writers share: refusals of the file system as one line, temporary names, and values as JSON."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr.errors
from rasterio.errors import RasterioError

from ..errors import InputError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into an InputError that names the path."""
    try:
        yield
    except (OSError, RasterioError, zarr.errors.BaseZarrError) as error:
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or ["?"])[0][:160]
        raise InputError(
            path, f"cannot be written ({reason})", "check the path, its permissions and the free space"
        ) from error


def beside(path: Path, suffix: str) -> Path:
    """A hidden temporary name in the same folder, hence on the same disk."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.{suffix}")


def jsonable(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes as JSON can hold them."""
    return {str(k): plain(v) for k, v in attrs.items()}


def plain(value: Any) -> Any:
    """A value as JSON can hold it: NumPy values as Python's; dates, paths and NaN as text."""
    if isinstance(value, np.datetime64):
        return str(value)
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return jsonable(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)
