"""Pages: one file each, which needs no network."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from ..errors import missing_extra
from ..runtime.files import replacing
from .text import number, pair, percent, printable
from .theme import THEME

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure


_CREDITS: Any = {"Date": None, "Creator": None, "Format": None, "Type": None}
"""What matplotlib would otherwise tell about itself in each figure, and in each picture."""
_CREDIT: Any = {"Software": None}


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


def write_page(path: Path, package: str, template: str, context: Mapping[str, Any]) -> None:
    """Fill a template of a package and write it, without characters that no page may hold.

    Raises
    ------
    InputError
        If jinja2 is missing, or the file cannot be written.
    """
    text = printable(_environment(package).get_template(template).render(**{"theme": THEME, **context}))
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="\n")


def _environment(package: str) -> Environment:
    try:
        from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise missing_extra("report", "jinja2 (needed by pages)") from error
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(__package__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, pair=pair, percent=percent)
    return environment
