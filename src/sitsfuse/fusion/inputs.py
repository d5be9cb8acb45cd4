"""What a run reads: marks of the contents of its images and its model, by which a later run sees what has changed."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.base import tokenize

from ..core.arrays import Times
from ..core.series import CONTENT
from ..core.site import group
from ..methods import Method, Predictor
from ..readers.content import array_mark, mark

Inputs = Mapping[str, Mapping[str, str]]
"""By role (guide, target, option), the mark of each input by its name."""


def inputs_of(site: xr.DataTree, method: Method) -> dict[str, dict[str, str]]:
    """Everything that a run reads: the images of a site, and the files and folders that a method's options name."""
    options = {f.name: getattr(method, f.name) for f in dataclasses.fields(method)}  # type: ignore[arg-type]
    paths = {name: Path(value) for name, value in options.items() if isinstance(value, str) and value}
    return {
        **{role: images(group(site, role)) for role in ("guide", "target")},
        "option": {f"{name} {path}": mark([path]) for name, path in paths.items() if path.exists()},
    }


def images(series: xr.Dataset) -> dict[str, str]:
    """The marks of the images of a series, by name."""
    return dict(zip(names(series), _marks(series), strict=True))


def names(series: xr.Dataset) -> list[str]:
    """What the images of a series are called: their times, and their products or files where known."""
    times = [_when(t) for t in series["time"].values]
    if "product" not in series.coords:
        return times
    return [f"{t} {p}" for t, p in zip(times, series["product"].values, strict=True)]


def _when(time: np.datetime64) -> str:
    return str(time)[:19].removesuffix("T00:00:00")


def _marks(series: xr.Dataset) -> list[str]:
    if CONTENT in series.coords:
        return [str(m) for m in series[CONTENT].values]
    parts = [series["reflectance"], series["valid"]]
    if any(part.chunks is not None for part in parts):
        return [""] * series.sizes["time"]  # lazy and of unknown origin: only its name is known
    return [
        hashlib.blake2b("".join(array_mark(p.values[i]) for p in parts).encode(), digest_size=8).hexdigest()
        for i in range(series.sizes["time"])
    ]


@dataclasses.dataclass(frozen=True)
class Changes:
    """In what the inputs of a run differ from those of an earlier one; names of images, with their roles."""

    replaced: tuple[str, ...]
    """Of the same name and another content."""
    gone: tuple[str, ...]
    added: tuple[str, ...]

    @classmethod
    def between(cls, before: Inputs, now: Inputs) -> Changes:
        """Those from one record to another."""
        old, new = _flat(before), _flat(now)
        return cls(
            tuple(name for name in old if name in new and old[name] != new[name]),
            tuple(name for name in old if name not in new),
            tuple(name for name in new if name not in old),
        )

    def __bool__(self) -> bool:
        return bool(self.replaced or self.gone or self.added)

    def __str__(self) -> str:
        parts = {"has changed": self.replaced, "is gone": self.gone, "is new": self.added}
        return ", ".join(f"{_some(names)} {what}" for what, names in parts.items() if names)


def _flat(inputs: Inputs) -> dict[str, str]:
    return {f"{role} {name}": found for role, known in inputs.items() for name, found in known.items()}


def _some(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} (and {len(names) - 1} more)"


def screened(inputs: Inputs, wrong: npt.NDArray[np.bool_] | None) -> Inputs:
    """The inputs as a run uses them: of guides, ``wrong`` (time, y, x) is left out on the LR grid."""
    if wrong is None:
        return inputs
    marks = {
        name: found if not bad.any() else f"{found}-{array_mark(np.packbits(bad))}"
        for (name, found), bad in zip(inputs["guide"].items(), wrong, strict=True)
    }
    return {**inputs, "guide": marks}


def made_of(inputs: Inputs, predictor: Predictor) -> dict[str, Any]:
    """What the images of a date are made of, so that another run can tell whether it would make the same.

    Parameters
    ----------
    inputs
        Of the run.
    predictor
        Of the date: a pure function of itself and of the images that it reads.
    """
    return {
        "all": whole(inputs),
        "guide": _of(inputs["guide"], predictor.guides),
        "target": _of(inputs["target"], predictor.targets),
        "option": dict(inputs["option"]),
        "learnt": tokenize(predictor),
    }


def whole(inputs: Inputs) -> str:
    """One mark of all inputs."""
    text = repr(sorted(_flat(inputs).items())).encode("utf-8", "backslashreplace")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Why a date is made of something else than before, in words; nothing if it is not."""
    roles = ("guide", "target", "option")
    known = {role: dict(before.get(role, {})) for role in roles}
    if changes := Changes.between(known, {role: now[role] for role in roles}):
        return str(changes)
    return "" if before.get("learnt") == now["learnt"] else "what the method learns of the site is another"


def _of(known: Mapping[str, str], times: Times) -> dict[str, str]:
    """The images of some times; all of them, if one is interpolated between them."""
    wanted = {_when(t) for t in times}
    if wanted - {name.partition(" ")[0] for name in known}:
        return dict(known)
    return {name: found for name, found in known.items() if name.partition(" ")[0] in wanted}
