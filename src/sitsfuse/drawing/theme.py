"""The colours and the font of pages and figures, light and dark."""

from __future__ import annotations

from collections.abc import Mapping

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
FONT = 8.5
"""Size of the type in figures, in points."""


def colour(name: str) -> str:
    """A colour of the theme, as it is in light mode."""
    return THEME[name][0]
