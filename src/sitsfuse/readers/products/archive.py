"""A product as a folder, a .zip or a .tar: its files by name, without unpacking."""

from __future__ import annotations

import functools
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree

from ...errors import InputError
from ..damage import check_file, outside


@dataclass(frozen=True)
class Archive:
    """The files of a product.

    Raises
    ------
    InputError
        If an archive cannot be read, or there is nothing at the path.
    """

    path: Path
    """A folder, or a .zip or .tar that holds one (or its files directly)."""
    names: tuple[str, ...]
    """Paths of the files below it, with slashes, sorted."""

    @classmethod
    def of(cls, path: str | Path) -> Archive:
        """List the files of a folder, .zip or .tar."""
        path = Path(path)
        if path.is_dir():
            with outside(path, "cannot be read"):
                return cls(path, _shown(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()))
        check_file(path)
        with outside(path, f"is truncated or no {path.suffix[1:]} file", "download it again"):
            if path.suffix.lower() == ".tar":
                with tarfile.open(path) as members:
                    return cls(path, _shown(m.name for m in members if m.isfile()))
            with zipfile.ZipFile(path) as archive:
                return cls(path, _shown(n for n in archive.namelist() if not n.endswith("/")))

    def find(self, pattern: str) -> str | None:
        """The first file whose last parts match a pattern such as ``MASKS/*_CLM_R1.tif``; None without one.

        The pattern has as many parts as it wants compared; the case of the letters matters.
        """
        depth = pattern.count("/") + 1
        for name in self.names:
            if fnmatchcase("/".join(name.split("/")[-depth:]), pattern):
                return name
        return None

    def need(self, pattern: str, what: str) -> str:
        """Like :meth:`find`, but a missing file is an InputError that says ``what`` it is."""
        name = self.find(pattern)
        if name is None:
            raise InputError(self.path, f"has no {what} ({pattern})", "download the product again, whole")
        return name

    def gdal(self, name: str) -> str:
        """The file as GDAL opens it."""
        kind = "tar" if self.path.suffix.lower() == ".tar" else "zip"
        return f"/vsi{kind}/{{{self.path}}}/{name}" if self.path.is_file() else str(self.path / name)

    def label(self, name: str) -> str:
        """The file as a user finds it."""
        return f"{self.path}/{name}"

    def read(self, name: str) -> bytes:
        """The whole of a small file."""
        with outside(self.label(name), "cannot be read", "download the product again"):
            if self.path.is_dir():
                return (self.path / name).read_bytes()
            if self.path.suffix.lower() == ".tar":
                with tarfile.open(self.path) as members:
                    found = members.extractfile(name)
                    return found.read() if found else b""
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(name)

    def xml(self, name: str) -> ElementTree.Element:
        """The root of a metadata file."""
        try:
            # Entities that expand without end are refused by expat itself; external ones are never fetched.
            return ElementTree.fromstring(self.read(name))  # noqa: S314
        except ElementTree.ParseError as error:
            raise InputError(self.label(name), f"is not valid XML ({error})", "download the product again") from error


def _shown(names: Iterable[str]) -> tuple[str, ...]:
    """The names, sorted, without hidden files and what macOS adds."""
    parts = ((name, name.removeprefix("./").split("/")) for name in names)
    return tuple(sorted(n for n, p in parts if not any(part.startswith(".") for part in p) and "__MACOSX" not in p))


def verify(path: str, where: object) -> None:
    """Raise InputError unless a file that GDAL opens in a .zip has the checksum that the archive has for it.

    GDAL itself does not look. Every file is looked at once per process.
    """
    if not path.startswith("/vsizip/{"):
        return
    archive, _, name = path.removeprefix("/vsizip/{").partition("}/")
    with outside(where, "is truncated or no zip file", "download it again"):
        stat = Path(archive).stat()
    _verify(archive, name, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=65536)
def _verify(archive: str, name: str, _mtime: int, _size: int) -> None:
    with (
        outside(f"{archive}/{name}", "is damaged", "download the product again"),
        zipfile.ZipFile(archive) as members,
        members.open(name) as member,
    ):
        while member.read(2**20):
            pass
