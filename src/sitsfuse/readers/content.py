"""Marks of the contents of files: cheap, and another one as soon as a file is replaced by another of the same name.

A mark is made of sizes and of samples of the bytes, not of times: a file that was copied or touched keeps it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

SAMPLE = 4096
"""Bytes that are looked at in one place."""
PLACES = 16
"""Places of a file that are looked at, evenly spread, its first and last bytes among them."""


def mark(files: Iterable[Path], places: int = PLACES) -> str:
    """A mark of the contents of files, in their order: 16 hexadecimal digits.

    Files up to `SAMPLE` · ``places`` bytes are looked at as a whole. What is missing has a mark, too.

    Parameters
    ----------
    files
        Files, or folders, which stand for all files in them.
    places
        Places of each file that are looked at.
    """
    found = hashlib.blake2b(digest_size=8)
    for path in files:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            with contextlib.suppress(OSError):  # whoever reads it says what is wrong with it
                _look(found, file, places)
            found.update(b"|")
    return found.hexdigest()


def _look(found: hashlib.blake2b, file: Path, places: int) -> None:
    with file.open("rb", buffering=0) as source:
        size = source.seek(0, 2)
        found.update(str(size).encode())
        whole = size <= SAMPLE * places
        for start in [0] if whole else np.linspace(0, size - SAMPLE, places).astype(int).tolist():
            source.seek(start)
            found.update(source.read(size if whole else SAMPLE))


def store_marks(path: Path, arrays: Sequence[str], times: int, step: int) -> list[str]:
    """(time,) marks of the images of a Zarr group, from the heads and the ends of their chunks.

    Parameters
    ----------
    path
        The group.
    arrays
        Its variables, with time as their first dimension.
    times
        Number of images.
    step
        Images that a file holds.
    """
    out = []
    for first in range(0, times, step):
        files: list[Path] = []
        for name in arrays:
            files.append(path / name / "zarr.json")
            folder = path / name / "c"
            # Version 2 of the format has all chunks in one folder.
            chunks = (
                (folder / str(first // step)).rglob("*")
                if folder.is_dir()
                else (path / name).glob(f"{first // step}.*")
            )
            files += sorted(p for p in chunks if p.is_file())
        out += [mark(files, 2)] * min(step, times - first)
    return out


def array_mark(values: npt.NDArray[np.generic]) -> str:
    """A mark of an array in memory: its shape, and every nth of its numbers."""
    step = max(1, values.size // (SAMPLE * PLACES))
    found = hashlib.blake2b(f"{values.shape} {values.dtype}".encode(), digest_size=8)
    found.update(np.ascontiguousarray(values.reshape(-1)[::step]).tobytes())
    return found.hexdigest()
