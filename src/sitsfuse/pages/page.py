"""What pages share: the colours of light and dark, figures and pictures inside the page, numbers as text, writing."""

from __future__ import annotations

import base64
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from ..errors import InputError, missing_extra
from ..writers.common import beside, writing

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

THEME: Mapping[str, tuple[str, str]] = {
    "paper": ("#fcfcfb", "#15181b"),
    "panel": ("#f2f3f1", "#1e2226"),
    "ink": ("#1d2329", "#e6e8e9"),
    "muted": ("#5a646d", "#a2abb2"),
    "rule": ("#d5d9db", "#3a4147"),
    "guide": ("#1f69ad", "#6fb3ea"),
    "target": ("#b04d15", "#f0975c"),
    "reference": ("#27784a", "#6cc893"),
    "good": ("#4c5b68", "#b3bfc8"),
    "doubtful": ("#966000", "#e8b04a"),
    "failed": ("#c22f3a", "#ff8087"),
}
"""Colours in light and in dark mode. Figures are drawn in the light ones; in a page both follow the reader's mode."""
MISSING = "–"
"""What stands for an unknown number."""
FONT = 8.5
"""Size of the type in figures, in points."""
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]")
"""Characters that no page may hold, and those that turn the direction of the text around them."""
_CREDITS: Any = {"Date": None, "Creator": None, "Format": None, "Type": None}
"""What matplotlib would otherwise tell about itself in each figure, and in each picture."""
_CREDIT: Any = {"Software": None}


def colour(name: str) -> str:
    """A colour of the theme, as it is in light mode."""
    return THEME[name][0]


# --- text ------------------------------------------------------------------------------------------------------


def printable(value: Any) -> Any:
    """The same, with what no page may hold in texts, at any depth, replaced by "�"."""
    if isinstance(value, str):
        return _UNPRINTABLE.sub("�", value)
    if isinstance(value, Mapping):
        return {printable(str(k)): printable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [printable(v) for v in value]
    return value


def finite(value: Any) -> float | None:
    """A number, or None for whatever is none: None, NaN, a text."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def number(value: Any, digits: int = 0, *, sign: bool = False, unit: str = "") -> str:
    """A number with a fixed count of digits behind the point, or "–" where it is unknown."""
    known = finite(value)
    if known is None:
        return MISSING
    text = f"{known:{'+' if sign else ''},.{digits}f}"
    if not text.strip("+-0.,"):
        text = text.lstrip("+-")  # -0.00 is 0.00
    return text.replace("-", "−") + (f" {unit}" if unit else "")


def percent(value: Any, digits: int = 0, *, sign: bool = False) -> str:
    """A share of 1 in percent."""
    known = finite(value)
    return MISSING if known is None else number(100 * known, digits, sign=sign, unit="%")


def pair(values: Any, digits: int = 0, *, sign: bool = True, unit: str = "") -> str:
    """Two numbers, or "–" where neither is known."""
    known = values if isinstance(values, list | tuple) and len(values) == 2 else (None, None)
    texts = [number(v, digits, sign=sign) for v in known]
    return MISSING if texts == [MISSING, MISSING] else ", ".join(texts) + (f" {unit}" if unit else "")


def counted(count: int, one: str, many: str = "") -> str:
    """How many there are of something."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


# --- figures ---------------------------------------------------------------------------------------------------


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


def inline(
    figure: Figure,
    name: str,
    about: str,
    tips: Mapping[str, Sequence[str]] | None = None,
    palette: Mapping[str, tuple[str, str]] = THEME,
) -> str:
    """A figure as SVG to stand in a page: it takes the page's type and follows its mode.

    Parameters
    ----------
    figure
        Drawn in colours of the palette; others stay as they are.
    name
        Unique in the page: what the figure's own names begin with.
    about
        What is to be read out in place of the figure.
    tips
        For collections of markers, by their ``gid``: a text per marker, shown where the pointer rests.
    palette
        Colours that the page has variables of.
    """
    import matplotlib as mpl

    buffer = io.BytesIO()
    # Texts stay texts; the salt makes the same page of the same figures.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's machine has its own type
        figure.savefig(buffer, format="svg", facecolor="none", edgecolor="none", metadata=_CREDITS)
    root = ElementTree.fromstring(buffer.getvalue())  # noqa: S314 (matplotlib wrote it)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in ("metadata", "style"):
                parent.remove(child)
    _add_tips(root, tips or {})
    for element in root.iter():
        # Two figures of one page must not share a name.
        attributes = {key.rpartition("}")[2]: _themed(text, palette) for key, text in element.attrib.items()}
        if "id" in attributes:
            attributes["id"] = f"{name}-{attributes['id']}"
        element.attrib.clear()
        element.attrib.update({k: re.sub(r"(url\(#|^#)(?=[\w-])", rf"\g<1>{name}-", v) for k, v in attributes.items()})
    for gone in ("width", "height", "version"):
        root.attrib.pop(gone, None)
    root.attrib.update({"role": "img", "aria-label": about})
    return ElementTree.tostring(root, encoding="unicode")


def _themed(text: str, palette: Mapping[str, tuple[str, str]]) -> str:
    """Colours of the palette become the page's variables."""
    names = {light: name for name, (light, _) in palette.items()}
    return re.sub("#[0-9a-f]{6}", lambda m: f"var(--{names[m[0]]})" if m[0] in names else m[0], text)


def _add_tips(root: ElementTree.Element, tips: Mapping[str, Sequence[str]]) -> None:
    for group in root.iter("g"):
        texts = tips.get(group.get("id", ""))
        if not texts:
            continue
        markers = [m for part in group for m in ([part] if part.tag != "g" else part) if m.tag in ("use", "path")]
        for marker, text in zip(markers, texts, strict=True):
            ElementTree.SubElement(marker, "title").text = text


def picture(colours: npt.NDArray[np.float32]) -> str:
    """A picture (y, x, 3 or 4), values 0–1, as the address that stands for it in a page (PNG)."""
    from matplotlib import image

    buffer = io.BytesIO()
    image.imsave(buffer, np.ascontiguousarray(colours), format="png", metadata=_CREDIT)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


# --- files -----------------------------------------------------------------------------------------------------


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


def save(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a figure to a file of the type that its suffix tells."""
    with replacing(path) as draft, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        try:
            figure.savefig(draft, dpi=dpi, facecolor=colour("paper"))
        except ValueError as error:
            raise InputError(
                path, f"is no kind of picture that is known ({error})", "name it .png, .pdf or .svg"
            ) from error


def write_page(path: Path, template: str, context: Mapping[str, Any]) -> None:
    """Fill a template and write it, without characters that no page may hold.

    Raises
    ------
    InputError
        If jinja2 is missing, or the file cannot be written.
    """
    text = printable(_environment().get_template(template).render(**{"theme": THEME, **context}))
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="\n")


def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise missing_extra("report", "jinja2 (needed by pages)") from error
    environment = Environment(
        loader=PackageLoader("sitsfuse.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, pair=pair, percent=percent)
    return environment
