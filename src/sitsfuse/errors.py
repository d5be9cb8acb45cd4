"""The errors that a user can mend: one line that names the place, what is wrong there and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Container

PARAMETER = re.compile(r"`([a-z_][a-z0-9_.]*)(?:=([^`]*))?`")
"""A parameter in a message, alone or with a value."""


class InputError(Exception):
    """Bad usage or bad input.

    A parameter stands between single backticks in the texts, as it is called in Python, alone or with a value
    (tile=512). The command line shows its own name of it instead.

    Parameters
    ----------
    where
        The file, folder, series or parameter at fault.
    problem
        What is wrong with it.
    mend
        What the user can do about it.
    """

    def __init__(self, where: object, problem: str, mend: str) -> None:
        super().__init__(where, problem, mend)
        self.where, self.problem, self.mend = where, problem, mend

    def __str__(self) -> str:
        return f"{_plain(self.where)}: {self.advice}"

    @property
    def advice(self) -> str:
        """What is wrong and what to do, without the place."""
        return f"{shortened(_plain(self.problem))}; {shortened(_plain(self.mend))}"

    def within(self, prefix: str, names: Container[str]) -> InputError:
        """The same error where these parameters are called ``prefix.name``."""
        return self.naming(lambda name, value: _as_is(f"{prefix}.{name}" if name in names else name, value))

    def naming(self, name: Callable[[str, str | None], str]) -> InputError:
        """The same error with its parameters as ``name`` gives them, of a name and a value or None."""

        def named(text: object) -> object:
            # A path is never a parameter, whatever its letters.
            return PARAMETER.sub(lambda m: name(m[1], m[2]), text) if isinstance(text, str) else text

        return InputError(named(self.where), str(named(self.problem)), str(named(self.mend)))


def _as_is(name: str, value: str | None) -> str:
    return f"`{name}`" if value is None else f"`{name}={value}`"


def _plain(text: object) -> str:
    return PARAMETER.sub(lambda m: m[0].strip("`"), text) if isinstance(text, str) else str(text)


LONGEST = 600
"""Characters of a part of a message: names in foreign files can be of any length."""


def shortened(text: str) -> str:
    """A text, its middle left out where it is longer than a message should be."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


def missing_extra(extra: str, module: str) -> InputError:
    """Error for an optional dependency that is not installed."""
    return InputError(module, "is not installed", f'install it with: pip install "sitsfuse[{extra}]"')
