"""Pages that tell what was done and how well: one file each, which needs no network and runs no script."""

from .dates import draw_timeline, timeline
from .prepare import prepare_page

__all__ = ["draw_timeline", "prepare_page", "timeline"]
