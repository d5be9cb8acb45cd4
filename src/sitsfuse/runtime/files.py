"""Files that are there as a whole or not at all."""

from __future__ import annotations

import json
import math
import tomllib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr.errors
from rasterio.errors import RasterioError

from ..errors import InputError

STATE = ".sitsfuse"
"""Folder in the output that holds what a later run needs to resume."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes ``path`` at the end: what has its final name is complete.

    Raises
    ------
    InputError
        If the file system refuses.
    """
    draft = beside(path, path.suffix.removeprefix(".") or "part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield draft
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


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
        return plain(str(value))
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return jsonable(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, str):
        # Paths that are not UTF-8 hold what no text file can.
        return value.encode("utf-8", "backslashreplace").decode()
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def write_json(path: Path, value: Any) -> None:
    """Write a small file so that it is there whole or not at all.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    draft = path.with_name(path.name + ".part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(value))
        draft.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """What a small file holds; nothing if it is missing or damaged."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_toml(path: Path, mend: str) -> dict[str, Any]:
    """What a TOML file of the user's holds.

    Parameters
    ----------
    path
        The file.
    mend
        What to do where it cannot be read at all.

    Raises
    ------
    InputError
        If it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, "cannot be read", mend) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(path, f"is not valid TOML ({error})", "mend that line") from error
