"""Curves of a study: a measure of every method against the size of a disturbance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...benchmarking.measures import Measure
from ...drawing.figures import plain, require_matplotlib
from ...drawing.theme import FONT, colour
from ...studies.curves import Curve, Verdict
from ..charts import FAR, axis_label
from ..palette import Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = (3.9, 2.7)
"""Width and height, in inches."""


def curve_figure(
    curves: Sequence[Curve],
    verdicts: Sequence[Verdict],
    styles: Mapping[str, Style],
    measure: Measure,
    unit: str,
) -> Figure:
    """A line per method with its 95 % interval, and a ring where it passes the limit of its measure.

    A method whose undisturbed error is far worse than the others' may leave the axes.
    """
    figure = require_matplotlib()(figsize=SIZE)
    axes = figure.add_axes((0.155, 0.16, 0.82, 0.81))
    plain(axes, FONT - 0.5)
    order = list(styles)
    shown: list[np.ndarray] = []
    base = np.array([1 - c.means[0] if measure.higher else c.means[0] for c in curves])
    limit = FAR * np.sort(base)[(base.size - 1) // 2]
    for curve, begins in zip(curves, base, strict=True):
        style = styles[curve.method]
        at = np.argsort(curve.levels)
        x = curve.levels[at]
        look: dict[str, Any] = {"color": style.colour, "linestyle": style.dash, "linewidth": max(style.width, 1.2)}
        axes.plot(
            x, curve.means[at], marker=style.marker, markersize=3.5, markeredgewidth=0, zorder=3,
            gid=f"way{order.index(curve.method)}", label=curve.method, **look,
        )  # fmt: skip
        if curve.ends is not None:
            low, high = (end[at] for end in curve.ends)
            axes.fill_between(x, low, high, color=style.colour, alpha=0.13, linewidth=0, zorder=1)
        if begins <= limit:
            shown.append(curve.means)
        for found in verdicts:
            if found.method == curve.method and np.isfinite(found.level):
                height = np.interp(found.level, x, curve.means[at])
                axes.plot(
                    found.level,
                    height,
                    "o",
                    markersize=8,
                    markerfacecolor="none",
                    markeredgecolor=style.colour,
                    zorder=4,
                )
    values = np.concatenate(shown or [c.means for c in curves])
    pad = 0.08 * float(np.ptp(values)) or 0.05 * abs(float(values.max())) or 1.0
    axes.set_ylim(
        float(values.min()) - pad if measure.higher else min(0.0, float(values.min())), float(values.max()) + pad
    )
    axes.grid(color=colour("rule"), linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel(unit, labelpad=2)
    axes.set_ylabel(axis_label(measure), labelpad=2)
    return figure
