"""How a command takes its output folder: only a free one or one of its own, by one run at a time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from .files import STATE, plain, writing
from .locks import locked

ANEW = "choose another output or `overwrite=True`"
"""What to do about an output of another configuration."""


@dataclass(frozen=True)
class Kind:
    """A kind of output: how to know it and what it is made of."""

    made_by: str
    """The command in words: `` `sitsfuse fuse` ``."""
    recorded: Callable[[Path], Mapping[str, Any] | None]
    """What an output records of its configuration: an empty record where it is begun and has none yet, None where there
    is no output of this kind."""
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
        elif not there:  # nothing to compare with
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
    if folder.is_file():
        raise InputError(folder, f"is a file and is not an output of {kind.made_by}", "choose another output")
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
    """Raise :class:`InputError` if an output is an address, is an input, or holds one."""
    first = folder.parts[0] if folder.parts else ""
    if len(first) > 2 and first.endswith(":") and not Path(first).exists():
        raise InputError(folder, "is an address, and outputs are written to disks", "give a folder and upload it")
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


def _check_clear(folder: Path, kind: Kind) -> None:
    if not kind.shared and (what := _foreign(folder, kind)):
        raise InputError(folder, f"{what}, which is not of the output", "move it elsewhere")


def _foreign(folder: Path, kind: Kind) -> str:
    """What lies at a place that no run of this kind has left, in words; nothing if it is free."""
    with writing(folder):
        if not folder.exists():
            return ""
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
