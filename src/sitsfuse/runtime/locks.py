"""The lock of an output: one run at a time writes it, and a run that was killed holds nobody up."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import InputError
from .files import STATE, read_json, writing

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of an output: a hidden file beside it that names its owner.

    Raises
    ------
    InputError
        If another run holds it. The lock of a process that has gone does not count.
    """
    path = lock_of(folder)
    with writing(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _acquired(folder, path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(handle)


def lock_of(folder: Path) -> Path:
    """Where the lock of an output lies."""
    place = folder.resolve()
    if place.is_dir() and not os.access(place.parent, os.W_OK):
        return place / STATE / "lock"
    return place.with_name(f".{place.name}.lock")


def _acquired(folder: Path, path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            free = _hold(handle)
            owner = _owner(path)
            _check_free(folder, path, owner, free)
            # Its last owner may have removed the file since it was opened.
            if path.exists() and os.fstat(handle).st_ino == path.stat().st_ino:
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps(_me()).encode(), 0)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _hold(handle: int) -> bool | None:
    """Whether the system gives us the lock, which it takes away from processes that end; None if it knows no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def _me() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "machine": _machine(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _machine() -> str:
    """The running system: containers differ in their host names, and process numbers start anew with each boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _owner(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except OSError:
        return {}


def _gone(owner: Mapping[str, Any], certain: bool) -> bool:
    """Whether the owner of a lock has ended; ``certain`` where the system would hold the lock of one that runs here."""
    if not owner:
        return True
    same = owner.get("machine") == _machine()
    if not same and owner.get("host") != socket.gethostname():
        return False
    return certain or not same or not _alive(owner.get("pid"))


def _alive(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, TypeError, ValueError):
        return False
    except OSError:
        return True
    return True


def _check_free(folder: Path, path: Path, owner: Mapping[str, Any], held: bool | None) -> None:
    if held is not False and _gone(owner, certain=held is True):
        return
    since = str(owner.get("since", "?")).replace("T", " ").removesuffix("+00:00")
    who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}, since {since} UTC"
    mend = f"wait for its end or choose another output; if it has ended, remove {path}"
    raise InputError(folder, f"is being written by another run ({who})", mend)
