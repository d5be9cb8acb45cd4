"""A product as a folder, a .zip or a .tar: its files by name, without unpacking."""

from __future__ import annotations

import tarfile
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree

from ...errors import InputError


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
            return cls(path, tuple(sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())))
        try:
            if path.suffix.lower() == ".tar":
                with tarfile.open(path) as members:
                    return cls(path, tuple(sorted(m.name for m in members if m.isfile())))
            with zipfile.ZipFile(path) as archive:
                return cls(path, tuple(sorted(n for n in archive.namelist() if not n.endswith("/"))))
        except FileNotFoundError:
            raise InputError(path, "does not exist", "check the path") from None
        except (zipfile.BadZipFile, tarfile.TarError, OSError) as error:
            raise InputError(path, f"is truncated or no {path.suffix[1:]} file", "download it again") from error

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
        try:
            if self.path.is_dir():
                return (self.path / name).read_bytes()
            if self.path.suffix.lower() == ".tar":
                with tarfile.open(self.path) as members:
                    found = members.extractfile(name)
                    return found.read() if found else b""
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(name)
        except (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError, KeyError) as error:
            raise InputError(self.label(name), "cannot be read", "download the product again") from error

    def xml(self, name: str) -> ElementTree.Element:
        """The root of a metadata file."""
        try:
            # Entities that expand without end are refused by expat itself; external ones are never fetched.
            return ElementTree.fromstring(self.read(name))  # noqa: S314
        except ElementTree.ParseError as error:
            raise InputError(self.label(name), f"is not valid XML ({error})", "download the product again") from error
