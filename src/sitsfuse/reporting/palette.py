"""How methods are drawn: always alike, told apart by colour, marker and dashes, also without seeing red or green."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from ..drawing.theme import THEME

if TYPE_CHECKING:
    from matplotlib.axes import Axes


LINES: Mapping[str, tuple[str, str]] = {
    "line1": ("#0a66b0", "#5cb2f2"),
    "line2": ("#c9510c", "#ff9a55"),
    "line3": ("#00865f", "#3fd3a6"),
    "line4": ("#2a3138", "#dfe3e5"),
    "line5": ("#b04a8c", "#eba6d2"),
    "line6": ("#7a6412", "#dcc25a"),
    "line7": ("#6f5bb5", "#b5a5f2"),
    "line8": ("#6c7881", "#98a3ab"),
}
"""Colours of methods in light and in dark mode, after the palette of Okabe and Ito (2008)."""
PALETTE: Mapping[str, tuple[str, str]] = {**THEME, **LINES}
"""All colours of a page with methods."""

Dash = Literal["-"] | tuple[int, tuple[float, ...]]
SOLID: Dash = "-"
DASHED: Dash = (0, (5.0, 2.0))
DOTTED: Dash = (0, (1.2, 1.6))
MIXED: Dash = (0, (6.0, 2.0, 1.2, 2.0))


@dataclass(frozen=True)
class Style:
    """How a method is drawn."""

    ink: str
    """Name of its colour."""
    marker: str
    dash: Dash = SOLID
    strong: bool = False
    """Whether it stands out."""

    @property
    def colour(self) -> str:
        """Its colour in light mode."""
        return PALETTE[self.ink][0]

    @property
    def width(self) -> float:
        """Of its line, in points."""
        return 1.7 if self.strong else 0.8


STRONG = {
    "ddi": Style("line1", "o", SOLID, True),
    "carn": Style("line2", "s", SOLID, True),
    "starfm": Style("line3", "^", SOLID, True),
    "temporal": Style("line4", "D", DASHED, True),
    "spatial": Style("line5", "v", DOTTED, True),
}
"""The methods of the Sentinel-HR study."""
OTHERS = (
    Style("line7", "P", DASHED),
    Style("line6", "X", DASHED),
    Style("line8", "p", DASHED),
    Style("line1", "<", MIXED),
    Style("line3", ">", MIXED),
    Style("line2", "d", MIXED),
    Style("line7", "*", SOLID),
    Style("line6", "h", SOLID),
    Style("line8", "8", SOLID),
    Style("line5", "H", MIXED),
)
"""All others, in this order; beyond their number they begin again."""


def styles(methods: Sequence[str]) -> dict[str, Style]:
    """A style per method, the same whatever others there are of those that stand out."""
    rest = [m for m in methods if m not in STRONG]
    return {m: STRONG.get(m) or OTHERS[rest.index(m) % len(OTHERS)] for m in methods}


def swatch(style: Style) -> str:
    """A bit of line with its marker, as SVG for a page's key."""
    from matplotlib.markers import MarkerStyle

    marker = MarkerStyle(style.marker)
    path = marker.get_path().transformed(marker.get_transform())
    parts = []
    size = 8.0 if style.strong else 7.0
    for points, code in path.iter_segments(curves=True, simplify=False):
        numbers = [f"{15 + size * x:.1f} {6 - size * y:.1f}" for x, y in points.reshape(-1, 2)]
        parts.append({1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}[int(code)] + ("" if code == 79 else " ".join(numbers)))
    dash = "" if isinstance(style.dash, str) else " ".join(f"{d * style.width:.1f}" for d in style.dash[1])
    line = f'stroke-width="{style.width}"' + (f' stroke-dasharray="{dash}"' if dash else "")
    ink = escape(f"var(--{style.ink})")
    return (
        f'<svg class="swatch" viewBox="0 0 30 12" aria-hidden="true"><path d="M0 6H30" stroke="{ink}" {line}/>'
        f'<path d="{"".join(parts)}" fill="{ink}"/></svg>'
    )


def draw_key(axes: Axes, methods: Mapping[str, Style], **options: Any) -> None:
    """The methods' key in a figure of its own; see ``Axes.legend`` for the options."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=s.colour, marker=s.marker, markersize=5, linestyle=s.dash, linewidth=s.width, label=m)
        for m, s in methods.items()
    ]
    axes.set_axis_off()
    axes.legend(handles=handles, frameon=False, **options)
