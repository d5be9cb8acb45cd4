"""Where stores are written: a place is free, or holds a store that may be replaced; nothing else is ever deleted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError
from ..runtime.files import beside, read_json, writing


def check_place(path: Path, overwrite: bool) -> None:
    """Make sure that a place is free or may be cleared: only what is empty or a Zarr store is ever deleted."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise InputError(path, "exists", "choose another place or `overwrite=True`")
    if not (path / "zarr.json").is_file():
        raise InputError(path, "is not a Zarr store and is not deleted", "choose another place or remove it yourself")
    with writing(path):
        foreign = sorted(p.name for p in path.iterdir() if not _is_ours(p))
    if foreign:
        what = f"holds {foreign[0]}, which is not of a series or a site, and is not deleted"
        raise InputError(path, what, "choose another place, or move it elsewhere")


def _is_ours(place: Path) -> bool:
    """Whether something in a store is what is written here: metadata, an array, or a series of a site."""
    if place.name == "zarr.json":
        return True
    role = place.name in ("guide", "reference") or place.name.startswith("target")
    return (place / "zarr.json").is_file() and (role or read_json(place / "zarr.json").get("node_type") == "array")


def clear_place(path: Path) -> None:
    """Delete what is at a place that has passed :func:`check_place`."""
    if path.exists():
        with writing(path):
            shutil.rmtree(path)


@contextmanager
def replacing(path: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary place that takes the place of ``path`` when all is written, and vanishes otherwise."""
    check_place(path, overwrite)
    draft = beside(path, "draft")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        clear_place(path)
        with writing(path):
            draft.replace(path)
    except InputError as error:
        if str(error.where).startswith(str(draft)):
            where = str(error.where).replace(str(draft), str(path), 1)
            raise InputError(where, error.problem, error.mend) from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
