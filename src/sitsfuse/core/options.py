"""Options as fields of a dataclass: names, types, bounds, defaults and descriptions all stand there, once.

A field's type may carry bounds (``Annotated[int, Field(ge=1)]``, as pydantic has them); the docstring under it
describes it. Values may come as text (from the command line) or as lists (from JSON).
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import os
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ..errors import InputError

T = TypeVar("T")

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
MTF = Annotated[float, Field(gt=0, lt=1)]

_WORDS = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid string": "a text",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "more than",
}
"""Words of pydantic, and ours."""


@dataclass(frozen=True)
class Parameter:
    """An option."""

    name: str
    default: Any
    text: str
    """What it means."""


def parameters(cls: type[Any]) -> list[Parameter]:
    """The options that a dataclass has, in order."""
    docs: dict[str, str] = {}
    for one in reversed(cls.__mro__):  # one may extend another
        docs |= _field_docs(one)
    return [Parameter(f.name, f.default, docs.get(f.name, "")) for f in dataclasses.fields(cls)]


def build(cls: type[T], values: Mapping[str, Any], of: str, prefix: str = "") -> T:
    """Make a dataclass of its options.

    Parameters
    ----------
    cls
        The dataclass.
    values
        Its fields by name; text and lists are converted to the field's type.
    of
        What has these options, for errors.
    prefix
        The parameter in Python that they are given in, for errors.

    Raises
    ------
    InputError
        On an unknown option, listing the known ones, or a value that does not fit.
    """
    hashable: Any = cls
    adapters = _adapters(hashable)
    try:
        check_names(values, adapters, of)
        return cls(**{name: _fitted(adapters[name], value, name) for name, value in values.items()})
    except ValueError as error:  # of a method from elsewhere
        raise InputError(of, str(error), "see `sitsfuse methods`") from error
    except InputError as error:
        raise error.within(prefix, adapters.keys() | values.keys()) if prefix else error from None


def check_names(given: Iterable[str], known: Iterable[str], of: str) -> None:
    """Raise :class:`InputError` for the first option that is not known, with those that are."""
    names = list(known)
    for name in given:
        if name not in names:
            mend = f"choose among {', '.join(names)}" if names else "it has none"
            raise InputError(f"`{name}`", f"is not an option of {of}", mend)


def altered(config: T, changes: Mapping[str, Any], of: str) -> T:
    """A dataclass with some of its options changed, as :func:`build` makes it."""
    names = [f.name for f in dataclasses.fields(config)]  # type: ignore[arg-type]
    return build(type(config), {n: getattr(config, n) for n in names} | dict(changes), of)


def settle(config: object) -> None:
    """Check all fields of a frozen dataclass, and bring them to their types; for its ``__post_init__``.

    Raises
    ------
    InputError
        Naming the first field that is wrong.
    """
    kind: Any = type(config)
    for name, adapter in _adapters(kind).items():
        object.__setattr__(config, name, _fitted(adapter, getattr(config, name), name))


def need(good: bool, config: object, name: str, mend: str) -> None:
    """Raise :class:`InputError` about a field unless all is good, for what bounds cannot say."""
    if not good:
        raise InputError(f"`{name}`", f"{getattr(config, name)!r} is not usable", mend)


@functools.cache
def _adapters(cls: type[Any]) -> dict[str, tuple[TypeAdapter[Any], Any]]:
    hints = get_type_hints(cls, include_extras=True)
    how = ConfigDict(arbitrary_types_allowed=True)
    return {f.name: (_adapter(hints[f.name], how), hints[f.name]) for f in dataclasses.fields(cls)}


def _adapter(hint: Any, how: ConfigDict) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint, config=how)
    except Exception:  # a dataclass or model has a configuration of its own
        return TypeAdapter(hint)


def _fitted(adapter: tuple[TypeAdapter[Any], Any], value: Any, name: str) -> Any:
    kind, hint = adapter
    try:
        return kind.validate_python(_python(value, hint))
    except ValidationError as error:
        raise InputError(f"`{name}`", f"{value!r} is not usable", f"give {_wanted(error, hint)}") from error


def _wanted(error: ValidationError, hint: Any) -> str:
    """What pydantic expects, in our words."""
    first = error.errors()[0]
    if first["type"] in ("missing", "too_long", "too_short"):
        return f"{len(get_args(hint))} values"
    reason = re.sub(r"^(Value error, )?(Input should be )?", "", first["msg"]).split(", unable")[0]
    for theirs, ours in _WORDS.items():
        reason = reason.replace(theirs, ours)
    return reason


def _python(value: Any, hint: Any) -> Any:
    """A value as pydantic takes it: text of several parts as a list, NumPy's numbers and paths as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike) and hint is str:
        return os.fspath(value)
    if isinstance(value, str) and any(get_origin(kind) is tuple for kind in (hint, *get_args(hint))):
        return [part.strip() for part in re.split(r"[|,]", value)] if value else []
    return value


def _field_docs(cls: type[Any]) -> dict[str, str]:
    """The docstring under each field, read from the source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError):
        return {}
    body = tree.body[0].body  # type: ignore[attr-defined]
    docs = {}
    for here, following in pairwise(body):
        if (
            isinstance(here, ast.AnnAssign)
            and isinstance(here.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            docs[here.target.id] = " ".join(str(following.value.value).split())
    return docs
