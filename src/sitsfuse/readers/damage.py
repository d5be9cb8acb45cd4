"""Where bytes come from outside: whatever goes wrong there is an InputError that names the place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError

AGAIN = "copy or download it again"


@contextmanager
def outside(where: object, what: str = "is damaged", mend: str = AGAIN) -> Iterator[None]:
    """Turn any failure to understand foreign bytes into an InputError.

    Keep what is inside small: a mistake of the program would be blamed on the file as well.

    Parameters
    ----------
    where
        The file or folder, as the user knows it.
    what, mend
        What is wrong if nothing better is known, and what to do.

    Raises
    ------
    InputError
        For every exception, with its first line; one that is an InputError already passes.
    """
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(where, "cannot be read: permission denied", "allow reading it (chmod)") from error
    except Exception as error:
        raise InputError(where, f"{what} ({first_line(error)})", mend) from error


def check_file(path: Path, where: object = None) -> None:
    """Raise InputError unless a path is a regular file that may be read: a pipe would be waited for without end."""
    place = path if where is None else where
    with outside(place, "cannot be read"):
        if not path.exists():
            what = "is a broken link" if path.is_symlink() else "does not exist"
            raise InputError(place, what, "check the path")
        if not path.is_file():
            kind = "folder" if path.is_dir() else "pipe or device"
            raise InputError(place, f"is a {kind}, not a file", "move it away or give a file")
        with path.open("rb"):
            pass


def first_line(error: BaseException, longest: int = 120) -> str:
    """What an exception says, in short."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:longest] or type(error).__name__
