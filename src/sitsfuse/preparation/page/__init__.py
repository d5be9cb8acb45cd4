"""Pages that tell what was done and how well: one file each, which needs no network and runs no script."""

from __future__ import annotations

from .page import prepare_page
from .timeline import draw_timeline, timeline

__all__ = ["draw_timeline", "prepare_page", "timeline"]
