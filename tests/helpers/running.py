"""What a run of the command line leaves."""

from typing import NamedTuple


class Done(NamedTuple):
    """Exit code and what was printed."""

    code: int
    out: str
    err: str
