"""What parameters of the Python functions are called on the command line, for its errors."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperCommand

from ..errors import PARAMETER, InputError
from .reading import OPTIONS as READING

OPTIONS = {
    "options": "set",
    **{f"target_options.{name}": f"target_{name}" for name in READING},
    "guide.bands": "bands",
    "target.degrade": "degrade",
    "selection.mode": "mode",
    "selection.revisit": "revisit",
    "selection.max_days": "max_days",
    "registration.model": "register",
    "harmonization.mode": "harmonize",
}
"""Parameters that the command line calls otherwise; all others have one name in both."""


class Command(TyperCommand):
    """A command whose errors name its own options."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            flags = {_field(p.name): max(p.opts, key=len) for p in self.params if isinstance(p, typer.core.TyperOption)}

            def name(parameter: str, value: str | None) -> str:
                short = parameter.removeprefix("options.")
                flag = flags.get(OPTIONS.get(short, short))
                if flag is None:
                    shown = short if value is None else f"{short}={value}"
                    return f"--set {shown}" if "set" in flags else shown
                return flag if value is None or value == "True" else f"{flag} {value.strip(chr(34))}"

            raise error.naming(name) from error


def as_options(text: str) -> str:
    """A text in which parameters for reading are called as the command line calls them."""

    def option(match: re.Match[str]) -> str:
        name, value = match[1].replace("target_options.", "target_"), match[2]
        if name.removeprefix("target_") not in READING:
            return match[0]
        return f"--{name.replace('_', '-')}" + ("" if value is None else f" {value}")

    return PARAMETER.sub(option, text)


def _field(name: str | None) -> str:
    """The parameter's name, without the underscore that keeps it from Python's own."""
    return (name or "").rstrip("_")
