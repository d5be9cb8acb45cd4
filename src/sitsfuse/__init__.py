"""Fuse sparse sharp and dense coarse satellite image time series.

>>> import sitsfuse
>>> site = sitsfuse.simulate(size=60, guides=3, targets=2)
>>> fused = sitsfuse.fuse(site, method="difference")
>>> dict(fused.sizes)
{'time': 2, 'band': 4, 'y': 60, 'x': 60}
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .benchmarking import benchmark
    from .catalogue.search import search
    from .demonstration import demo
    from .errors import InputError
    from .evaluation import evaluate
    from .fusion.fuse import fuse
    from .preparation import prepare
    from .readers import open_pair, open_series, open_site, open_target, series
    from .readers.description import describe
    from .reporting import report
    from .reporting.view import view
    from .runtime.versions import show_versions
    from .simulator import simulate
    from .studies import study
    from .superresolution.training import train


_WHERE = {
    "benchmark": "benchmarking",
    "demo": "demonstration",
    "fuse": "fusion.fuse",
    "InputError": "errors",
    "evaluate": "evaluation",
    "describe": "readers.description",
    "prepare": "preparation",
    "report": "reporting",
    "search": "catalogue.search",
    "open_pair": "readers",
    "open_series": "readers",
    "open_site": "readers",
    "open_target": "readers",
    "series": "readers",
    "show_versions": "runtime.versions",
    "simulate": "simulator",
    "study": "studies",
    "train": "superresolution.training",
    "view": "reporting.view",
}

__all__ = [
    "InputError",
    "__version__",
    "benchmark",
    "demo",
    "describe",
    "evaluate",
    "fuse",
    "open_pair",
    "open_series",
    "open_site",
    "open_target",
    "prepare",
    "report",
    "search",
    "series",
    "show_versions",
    "simulate",
    "study",
    "train",
    "view",
]


def __getattr__(name: str) -> Any:
    # Imported when used: the whole takes seconds, and `sitsfuse --help` should not.
    if name in _WHERE:
        value = getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
        globals()[name] = value
        if name != "InputError":
            _register()
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _register() -> None:
    """Let xarray know ``series.sitsfuse``."""
    importlib.import_module(".drawing.accessor", __name__)


if "xarray" in sys.modules:  # else with the first function that is used: xarray takes half a second
    _register()


def __dir__() -> list[str]:
    return sorted(__all__)
