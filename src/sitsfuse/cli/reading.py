"""Options for reading files of other makers, the same on every command, with a twin for the target."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from ..errors import InputError
from .options import FOREIGN
from .parsing import pairs

TWINS = "Files of other makers: the target, where it differs"

OPTIONS: dict[str, tuple[type, str]] = {
    "date_pattern": (
        str,
        "Where the date stands in file names: a strptime format such as A%Y%j, or a regular expression with the groups "
        "year, month and day. Default: YYYYMMDD or YYYY-MM-DD.",
    ),
    "bands": (
        str,
        "Names for bands, given by index or description: blue=1,green=2 or red=B4,nir=B8. Others are left out.",
    ),
    "band_pattern": (
        str,
        "Where the band stands in the names of files that hold one each: *_{band}_10m, or a regular expression with "
        "the group band. Default: the part of the names that differs.",
    ),
    "mask_pattern": (str, "Which files are masks, of the images of their date: *_SCL.tif. Default: NAME_mask.tif."),
    "mask_band": (str, "Which band is the mask, by name or number: of the mask file or, without one, of the image."),
    "clear": (str, "Numbers of the mask that mean clear: 4,5,6,7. Default: 0; SCL, QA_PIXEL and UDM2 are known."),
    "cloudy": (str, "Instead, numbers that do not: 3,8,9,10."),
    "mask_bits": (str, "Instead, bits (from 0) any of which makes a pixel invalid: 1,2,3."),
    "scale": (float, "Reflectance per number, whatever the files say: 0.0001."),
    "offset": (float, "Reflectance of the number 0, whatever the files say."),
    "quantity": (str, "What the numbers are, if not reflectance: temperature, NDVI …"),
    "same_day": (str, "Several images of one day: mosaic (the first that is clear counts) or clearest."),
}
"""Type and help of each, by the name of the field of :class:`~sitsfuse.readers.reading.Reading`."""


@dataclass(frozen=True)
class How:
    """How to read: options by the names of the fields of :class:`~sitsfuse.readers.reading.Reading`."""

    all: dict[str, Any] = field(default_factory=dict)
    """For every series."""
    target: dict[str, Any] = field(default_factory=dict)
    """For the target alone, on top of those for all."""


def reads(*, twins: bool = True, but: tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options for reading; it takes them as ``how``, a :class:`How`.

    Parameters
    ----------
    twins
        Whether the command has a target beside other series.
    but
        Options that the command has itself.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        kept = [p for name, p in own.parameters.items() if name != "how"]
        extra = [_parameter(name, "") for name in OPTIONS if name not in but]
        extra += [_parameter(name, "target_") for name in OPTIONS if twins]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            texts = {p.name: given.pop(p.name) for p in extra}
            command(**given, how=_how(texts))

        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*kept, *extra]]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        del run.__wrapped__
        return run

    return decorate


def _parameter(name: str, prefix: str) -> inspect.Parameter:
    kind, text = OPTIONS[name]
    flag = f"--{prefix}{name}".replace("_", "-")
    shown = f"--{name} for the target.".replace("_", "-") if prefix else text
    option = typer.Option(flag, help=shown, rich_help_panel=TWINS if prefix else FOREIGN)
    annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
    return inspect.Parameter(prefix + name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _how(texts: dict[str, Any]) -> How:
    common = {name: text for name, text in texts.items() if not name.startswith("target_") and text is not None}
    own = {n.removeprefix("target_"): t for n, t in texts.items() if n.startswith("target_") and t is not None}
    return How(
        {name: value_of(name, text, "--") for name, text in common.items()},
        {name: value_of(name, text, "--target-") for name, text in own.items()},
    )


def value_of(name: str, text: Any, dashes: str) -> Any:
    """The value of an option from its text."""
    option = dashes + name.replace("_", "-")
    if name == "bands":
        named = pairs(text.split(","), option)
        return {name: int(v) if v.isdecimal() else v for name, v in named.items()}
    if name in ("clear", "cloudy", "mask_bits"):
        try:
            return tuple(int(part) for part in text.split(","))
        except ValueError:
            raise InputError(option, f"{text!r} is not whole numbers", "write e.g. 4,5,6,7") from None
    return text
