"""The fusion methods: one file or folder each, found by name in `registry`.

A method of one's own is a frozen dataclass with the attributes of `base.Method`, announced by an entry point of the
group ``sitsfuse.methods``.
"""

from .base import Method, Predictor, Study, Tile
from .registry import METHODS, find_method, known_methods, make_method, method_names

__all__ = [
    "METHODS",
    "Method",
    "Predictor",
    "Study",
    "Tile",
    "find_method",
    "known_methods",
    "make_method",
    "method_names",
]
