"""The pictures of a page, kept beside it as files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..drawing.figures import save
from ..drawing.html import inline
from ..drawing.text import printable
from .palette import PALETTE, Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Album:
    """Where figures go: into the page and to files."""

    folder: Path
    styles: Mapping[str, Style]

    def keep(self, figure: Figure, name: str) -> None:
        """Write a figure as PNG and SVG."""
        # A site's name is a file's name, but a method's or protocol's may be anything.
        stem = re.sub(r"[^\w.-]+", "-", name)
        for suffix in ("png", "svg"):
            save(figure, self.folder / f"{stem}.{suffix}")

    def show(self, figure: Figure, name: str, about: str, *, keep: bool = False) -> str:
        """A figure for the page, kept on request."""
        if keep:
            self.keep(figure, name)
        return inline(figure, re.sub(r"\W+", "-", name), printable(about), palette=PALETTE)
