"""Compiled functions: the one place that knows numba, and that tells when it compiles."""

from __future__ import annotations

import logging
from typing import Any

from numba import njit as njit
from numba.core import event

LOGGER = "sitsfuse.compiling"
"""Who tells that functions are compiled, which takes seconds, once per machine and version."""


class _Compiling(event.Listener):
    """Tells once per process; what comes from numba's cache is not compiled."""

    told = False

    def on_start(self, event: Any) -> None:
        """Tell, if nothing was told yet."""
        if not self.told:
            self.told = True
            logging.getLogger(LOGGER).info("compiling for this machine, once: some seconds")

    def on_end(self, event: Any) -> None:
        """Nothing more to tell."""


event.register("numba:compile", _Compiling())  # type: ignore[no-untyped-call]
