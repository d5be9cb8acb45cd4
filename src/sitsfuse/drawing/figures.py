"""What every figure shares: plain axes, axes of dates, saving."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, missing_extra
from ..runtime.files import replacing
from .theme import FONT, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def require_matplotlib() -> type[Figure]:
    """The class of figures; raises :class:`InputError` that names the extra if matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("report", "matplotlib (needed by figures)") from error
    return Figure


def plain(axes: Axes, size: float = FONT, *, left: bool = True) -> None:
    """Axes with thin lines below and at the left, and type of a size, in the theme's colours."""
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set(color=colour("rule"), linewidth=0.8, visible=side == "bottom" or (left and side == "left"))
    axes.tick_params(
        color=colour("rule"), labelcolor=colour("muted"), labelsize=size, length=3, width=0.8, left=left, pad=3
    )
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=colour("muted"), fontsize=size)


def date_axis(axes: Axes, ticks: int) -> None:
    """An axis of days since 1970 labelled with at most so many dates."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=ticks)  # type: ignore[no-untyped-call]
    formatter = ConciseDateFormatter(  # type: ignore[no-untyped-call]
        locator,
        formats=["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S"],
        zero_formats=["", "%Y", "%b", "%d %b", "%H:%M", "%H:%M"],
        offset_formats=["", "%Y", "%Y", "%Y", "%Y", "%Y"],
    )
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(formatter)
    axes.xaxis.get_offset_text().set(color=colour("muted"), fontsize=FONT)


def save(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a figure to a file of the type that its suffix tells; the same figure makes the same SVG."""
    import matplotlib as mpl

    about = {"Date": None} if path.suffix.lower() == ".svg" else None
    salt = mpl.rc_context({"svg.hashsalt": path.stem})
    with salt, replacing(path) as draft, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        try:
            figure.savefig(draft, dpi=dpi, facecolor=colour("paper"), metadata=about)
        except ValueError as error:
            raise InputError(path, f"is not a known kind of picture ({error})", "name it .png, .pdf or .svg") from error
