"""Styles that QGIS applies when it opens a raster: a file of the same name, ending in .qml.

QGIS shows the first three bands as red, green and blue, whatever a file says of them, unless such a style tells
otherwise. A style also holds the day of the image, by which QGIS's temporal controller shows it.

Tried with QGIS 3.22, whose form it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as Xml

import numpy as np
import numpy.typing as npt
from rasterio import DatasetReader

from ..core.arrays import FloatArray
from ..drawing.stretch import COLOURS

LOOKED_AT = 512
"""Side to which an image is thinned out before its values are looked at: an overview is read, not the image."""
ENDS = (2.0, 98.0)
"""Percentiles of the values that become the darkest and the brightest."""
RAMP = ("#000004", "#51127c", "#b73779", "#fc8961", "#fcfdbf")
"""Colours of uncertainties, from none to the largest (magma)."""
MASK_INKS = ("#f0f0f000", "#404040ff", "#e69f0090", "#56b4e990")
"""Colours of the codes of a mask: what is valid shows the image beneath, filled pixels half of it."""


def image_style(source: DatasetReader, time: np.datetime64) -> str:
    """The style of an image: true colours, else false colours, else its first band in grey; stretched by its values.

    Parameters
    ----------
    source
        The open image, its bands named by their descriptions.
    time
        When it was taken.
    """
    names = [str(d) for d in source.descriptions]
    shown = next(([names.index(n) + 1 for n in c] for c in COLOURS if set(c) <= set(names)), None)
    if shown is None:
        renderer = Xml.Element("rasterrenderer", type="singlebandgray", grayBand="1", opacity="1", alphaBand="-1")
        renderer.set("gradient", "BlackToWhite")
        _stretch(renderer, "contrastEnhancement", *_ends(_values(source, 1)))
    else:
        red, green, blue = map(str, shown)
        renderer = Xml.Element("rasterrenderer", type="multibandcolor", redBand=red, greenBand=green, blueBand=blue)
        renderer.set("opacity", "1")
        renderer.set("alphaBand", "-1")
        for colour, index in zip(("red", "green", "blue"), shown, strict=True):
            _stretch(renderer, f"{colour}ContrastEnhancement", *_ends(_values(source, index)))
    return _document(renderer, time)


def uncertainty_style(source: DatasetReader, time: np.datetime64) -> str:
    """The style of uncertainties: the first band from dark (none) to bright."""
    high = _ends(_values(source, 1))[1]
    renderer = Xml.Element("rasterrenderer", type="singlebandpseudocolor", band="1", opacity="1", alphaBand="-1")
    renderer.set("classificationMin", "0")
    renderer.set("classificationMax", f"{high:.6g}")
    shader = Xml.SubElement(Xml.SubElement(renderer, "rastershader"), "colorrampshader")
    for name, value in {"colorRampType": "INTERPOLATED", "classificationMode": "1", "clip": "0"}.items():
        shader.set(name, value)
    shader.set("minimumValue", "0")
    shader.set("maximumValue", f"{high:.6g}")
    for k, ink in enumerate(RAMP):
        value = f"{high * k / (len(RAMP) - 1):.4g}"
        Xml.SubElement(shader, "item", value=value, label=value, color=ink, alpha="255")
    return _document(renderer, time)


def mask_style(codes: Sequence[str], time: np.datetime64) -> str:
    """The style of a mask whose codes, from 0, are called so; valid pixels are transparent."""
    renderer = Xml.Element("rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1")
    palette = Xml.SubElement(renderer, "colorPalette")
    for code, (label, ink) in enumerate(zip(codes, MASK_INKS, strict=True)):
        alpha = str(int(ink[7:], 16))
        Xml.SubElement(palette, "paletteEntry", value=str(code), label=label, color=ink[:7], alpha=alpha)
    return _document(renderer, time)


def categories(codes: Sequence[str]) -> str:
    """What GDAL keeps beside a raster (``.aux.xml``) to name the numbers of its first band, from 0."""
    root = Xml.Element("PAMDataset")
    names = Xml.SubElement(Xml.SubElement(root, "PAMRasterBand", band="1"), "CategoryNames")
    for code in codes:
        Xml.SubElement(names, "Category").text = code
    Xml.indent(root)
    return Xml.tostring(root, "unicode") + "\n"


def _values(source: DatasetReader, band: int) -> FloatArray:
    """(n,) the valid values of a thinned-out band, with its scale applied."""
    step = max(max(source.shape) / LOOKED_AT, 1)
    raw = source.read(band, out_shape=tuple(max(1, int(n / step)) for n in source.shape), masked=True)
    values = np.ma.filled(raw.astype(np.float32), np.nan)
    kept = values[np.isfinite(values)] * source.scales[band - 1] + source.offsets[band - 1]
    return np.asarray(kept, np.float32)


def _ends(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    low, high = np.percentile(values, ENDS) if values.size else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-6))


def _stretch(renderer: Xml.Element, name: str, low: float, high: float) -> None:
    part = Xml.SubElement(renderer, name)
    texts = {"minValue": f"{low:.6g}", "maxValue": f"{high:.6g}", "algorithm": "StretchToMinimumMaximum"}
    for key, value in texts.items():
        Xml.SubElement(part, key).text = value


def _document(renderer: Xml.Element, time: np.datetime64) -> str:
    day = str(time.astype("datetime64[D]"))
    root = Xml.Element("qgis", version="3.22.0", styleCategories="AllStyleCategories")
    temporal = Xml.SubElement(root, "temporal", mode="0", enabled="1", fetchMode="0")
    span = Xml.SubElement(temporal, "fixedRange")
    Xml.SubElement(span, "start").text = f"{day}T00:00:00Z"
    Xml.SubElement(span, "end").text = f"{day}T23:59:59Z"
    pipe = Xml.SubElement(root, "pipe")
    pipe.append(renderer)
    Xml.indent(root)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + Xml.tostring(root, "unicode") + "\n"
