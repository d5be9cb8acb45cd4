"""The errors that a user can mend: one line that names the place, what is wrong there and what to do."""

from __future__ import annotations


class InputError(Exception):
    """Bad usage or bad input.

    Parameters
    ----------
    where
        The file, folder, series or option at fault.
    problem
        What is wrong with it.
    mend
        What the user can do about it.
    """

    def __init__(self, where: object, problem: str, mend: str) -> None:
        super().__init__(where, problem, mend)
        self.where, self.problem, self.mend = where, problem, mend

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}; {self.mend}"


def missing_extra(extra: str, module: str) -> InputError:
    """Error for an optional dependency that is not installed."""
    return InputError(module, "is not installed", f'install it with: pip install "sitsfuse[{extra}]"')
