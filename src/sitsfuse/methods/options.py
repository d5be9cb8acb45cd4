"""Methods by name, with their parameters given as text or numbers."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, get_args, get_type_hints

from ..errors import InputError
from .base import Method
from .registry import find_method


def make_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """Build a method from its name and its parameters.

    Parameters
    ----------
    name
        A name of `method_names`.
    options
        Values for the method's fields; text (as it comes from the command line) is converted to the field's type, and
        so are lists (as they come from JSON).

    Raises
    ------
    InputError
        On an unknown name or parameter, listing the known ones, or a value that does not fit.
    """
    cls = find_method(name)
    hints = get_type_hints(cls)
    fields = {f.name: hints[f.name] for f in dataclasses.fields(cls)}
    values = {}
    for key, value in (options or {}).items():
        if key not in fields:
            known = ", ".join(fields) or "none"
            raise InputError(f"option {key!r}", f"is not one of {name}'s", f"its options are: {known}")
        values[key] = _convert(value, fields[key], f"option {key!r}")
    try:
        method: Method = cls(**values)
    except ValueError as error:
        raise InputError(f"method {name!r}", str(error), "see `sitsfuse methods`") from error
    return method


def parameters(cls: type[Any]) -> list[tuple[str, Any, str]]:
    """Name, default and description of a method's parameters, in order."""
    docs: dict[str, str] = {}
    for one in reversed(cls.__mro__):  # a method may extend another
        docs |= _field_docs(one)
    return [(f.name, f.default, docs.get(f.name, "")) for f in dataclasses.fields(cls)]


def _convert(value: Any, kind: Any, where: str) -> Any:
    if isinstance(value, list):  # as JSON gives tuples
        return tuple(value)
    if not isinstance(value, str) or kind is str:
        return value
    try:
        if kind is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value.lower()]
        if kind in (int, float):
            return kind(value)
        if (args := get_args(kind)) and args[-1] is Ellipsis:  # tuple[X, ...]
            return tuple(_convert(part, args[0], where) for part in re.split(r"[|,]", value))
    except (KeyError, ValueError) as error:
        raise InputError(where, f"cannot be {value!r}", "see `sitsfuse methods` for its type") from error
    return value


def _field_docs(cls: type[Any]) -> dict[str, str]:
    """The docstring under each field, read from the source."""
    import ast
    import textwrap

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
