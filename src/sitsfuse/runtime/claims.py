"""How a command takes its output folder: only a free one or one of its own, by one run at a time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import InputError
from .files import STATE, plain, read_json, writing

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]

ANEW = "choose another output or `overwrite=True`"
"""What to do about an output of another configuration."""


@dataclass(frozen=True)
class Kind:
    """A kind of output: how to know it and what it is made of."""

    made_by: str
    """The command in words: `` `sitsfuse fuse` ``."""
    recorded: Callable[[Path], Mapping[str, Any] | None]
    """What an output records of its configuration; None where there is none of this kind."""
    clear: Callable[[Path], None]
    """Removes what the command makes, and nothing else; last what tells that it is an output."""
    shared: bool = False
    """Whether other files may lie in an output that is cleared."""
    passing: Collection[str] = (STATE,)
    """Names that a run leaves that was killed before it had recorded its configuration."""
    ignored: Collection[str] = ()
    """Keys of the record that may differ."""


@contextlib.contextmanager
def claim(
    folder: Path,
    kind: Kind,
    record: Mapping[str, Any],
    overwrite: bool,
    inputs: Iterable[str | Path] = (),
) -> Iterator[bool]:
    """Take an output folder for a run, and let no other run have it until the end.

    Parameters
    ----------
    folder
        The output: a folder or a Zarr store, there or not.
    kind
        What it is.
    record
        The configuration that an earlier run must share to be resumed; it is compared as JSON.
    overwrite
        Whether to clear an output of another configuration; what is not an output of this kind stays in any case.
    inputs
        Paths that the run reads: none of them may be the output or lie in it.

    Yields
    ------
    bool
        Whether an earlier run is resumed.

    Raises
    ------
    InputError
        If the folder is an input or not ours, holds another configuration, or another run is writing it.
    """
    check_apart(folder, inputs)
    with locked(folder):
        there = check_ours(folder, kind, overwrite)
        if there is None or overwrite:
            if there is not None:
                kind.clear(folder)
                _check_clear(folder, kind)
            yield False
        else:
            check_same(folder, there, record, kind.ignored)
            yield True


def check_ours(folder: Path, kind: Kind, overwrite: bool) -> Mapping[str, Any] | None:
    """What an output there records; None at a free place; an empty record if it is damaged and will be overwritten.

    Raises
    ------
    InputError
        If something else is there.
    """
    try:
        there = kind.recorded(folder)
    except OSError as error:
        raise InputError(folder, f"cannot be read ({error.strerror or error})", "choose another output") from error
    except ValueError as error:
        if overwrite:
            return {}
        raise InputError(folder, "holds a damaged configuration", "start anew with `overwrite=True`") from error
    except InputError:
        if overwrite:
            return {}
        raise
    if there is None and (what := _foreign(folder, kind)):
        raise InputError(folder, f"{what} and is not an output of {kind.made_by}", "choose another output")
    return there


def check_apart(folder: Path, inputs: Iterable[str | Path]) -> None:
    """Raise :class:`InputError` if an output is an input, or holds one."""
    place = folder.resolve()
    for one in inputs:
        path = Path(one).resolve()
        if place == path:
            raise InputError(folder, "is an input of this run", "choose another output")
        if place in path.parents:
            raise InputError(folder, f"holds {one}, an input of this run", "choose another output")


def check_same(
    folder: Path, there: Mapping[str, Any], wanted: Mapping[str, Any], ignored: Collection[str] = ()
) -> None:
    """Raise :class:`InputError` that names the first key, however deep, in which two configurations differ."""
    found = difference(there, json.loads(json.dumps(plain(wanted))), ignored)
    if found is not None:
        key, ours, theirs = found
        raise InputError(
            folder,
            f"holds the output of another configuration ({key} is {_short(ours)} there and {_short(theirs)} here)",
            ANEW,
        )


def difference(
    there: Mapping[str, Any], wanted: Mapping[str, Any], ignored: Collection[str] = ()
) -> tuple[str, Any, Any] | None:
    """The first key in which two mappings differ, with both values; a key within a mapping as ``key.inner``."""
    for key in (k for k in {**wanted, **there} if k not in ignored):
        ours, theirs = there.get(key), wanted.get(key)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            if inner := difference(ours, theirs):
                return f"{key}.{inner[0]}", *inner[1:]
        elif ours != theirs:
            return key, ours, theirs
    return None


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


def _check_clear(folder: Path, kind: Kind) -> None:
    if not kind.shared and (what := _foreign(folder, kind)):
        raise InputError(folder, f"{what}, which is not of the output", "move it elsewhere")


def _foreign(folder: Path, kind: Kind) -> str:
    """What lies at a place that no run of this kind has left, in words; nothing if it is free."""
    with writing(folder):
        if not folder.exists():
            return ""
        if not folder.is_dir():
            return "is a file"
        others = sorted(p.name for p in folder.iterdir() if p.name not in kind.passing)
    return f"holds {others[0]}" if others else ""


def read_record(path: Path) -> Mapping[str, Any] | None:
    """A record in a JSON file; None where there is none.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    if not path.is_file():
        return None
    found = json.loads(path.read_text())
    if not isinstance(found, dict):
        raise ValueError(path)  # noqa: TRY004
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
