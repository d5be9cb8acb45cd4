"""Things that are made once and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Memo:
    """Keeps what it was asked to make, by key; of several threads that ask at once, one makes it and the others wait.

    Pickling keeps what is there.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, Any] = {}
        self._locks: dict[Hashable, threading.RLock] = {}
        self._lock = threading.Lock()

    def __call__(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made for the key; made now if there is nothing."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.RLock())
        with lock:
            if key not in self._kept:
                self._kept[key] = make()
            found: T = self._kept[key]
            return found

    def __len__(self) -> int:
        return len(self._kept)

    def __getstate__(self) -> dict[Hashable, Any]:
        return dict(self._kept)

    def __setstate__(self, kept: dict[Hashable, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self._kept = kept
