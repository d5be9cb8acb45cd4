"""What a benchmark or a study was asked for, as types, and as the JSON that lies in ``benchmark.json``."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..runtime.files import jsonable
from ..version import __version__


def _held(cls: type, found: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON says of the fields of a class, lists as tuples; what it lacks has the field's default."""
    held = {f.name: found[f.name] for f in fields(cls) if found.get(f.name) is not None}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in held.items()}


@dataclass(frozen=True)
class PlannedTarget:
    """What is predicted of one LR series of a site; days as YYYY-MM-DD."""

    ratio: float = float("nan")
    """LR pixel size over HR pixel size; NaN if it is not known."""
    dates: tuple[str, ...] = ()
    """Days that are predicted."""
    references: Mapping[str, str] = field(default_factory=dict)
    """The day of the reference that judges, by predicted day."""
    lr_dates: tuple[str, ...] = ()
    """Days of all LR images."""
    impossible: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Why a day cannot be predicted, by protocol and day."""

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> PlannedTarget:
        """From what :meth:`Configuration.to_json` made of it."""
        held = _held(cls, found)
        return cls(**held | {"ratio": float(held.get("ratio", "nan"))})  # JSON has no NaN: it comes as text

    def allows(self, protocol: str, date: str) -> bool:
        """Whether a day can be predicted under a protocol."""
        return date not in self.impossible.get(protocol, {})

    def reference_of(self, date: str) -> str:
        """The day of the reference that judges a predicted day: the same, where nothing else is said."""
        return self.references.get(date, date)


@dataclass(frozen=True)
class PlannedSite:
    """A site as it is used; days as YYYY-MM-DD."""

    path: str = ""
    title: str = ""
    landscape: str = ""
    location: str = ""
    bands: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    """Rows and columns, HR; empty if they are not known."""
    guides: tuple[str, ...] = ()
    """Days of the guides."""
    shown: tuple[str, ...] = ()
    """Days of which a window is kept to be looked at."""
    targets: Mapping[str, PlannedTarget] = field(default_factory=dict)
    """LR series by name."""
    reading: Mapping[str, Any] = field(default_factory=dict)
    """How its files are read: options of :func:`sitsfuse.open_series`, as JSON holds them."""
    target_reading: Mapping[str, Any] = field(default_factory=dict)
    """Further ones for the LR series alone."""

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> PlannedSite:
        """From what :meth:`Configuration.to_json` made of it."""
        targets = {str(n): PlannedTarget.from_json(t) for n, t in (found.get("targets") or {}).items()}
        return cls(**_held(cls, found) | {"targets": targets})


@dataclass(frozen=True)
class PlannedStudy:
    """What makes a study of a benchmark."""

    kind: str
    seeds: int
    """How many times what is random is drawn."""
    bases: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    """Of which site a derived one is, and at which level, by its name."""
    levels: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Sizes of the disturbance by variant, the undisturbed first."""

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> PlannedStudy:
        """From what :meth:`Configuration.to_json` made of it."""
        bases = {str(n): (str(of), float(level)) for n, (of, level) in (found.get("bases") or {}).items()}
        levels = {str(n): tuple(map(float, held)) for n, held in (found.get("levels") or {}).items()}
        return cls(str(found["kind"]), int(found["seeds"]), bases, levels)


@dataclass(frozen=True)
class Configuration:
    """All that a benchmark was asked for."""

    max_days: float = 1.0
    """Days by which a reference may differ from the LR image that it judges."""
    tile: int = 0
    """Side of a tile, in HR pixels."""
    sites: Mapping[str, PlannedSite] = field(default_factory=dict)
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """All options of methods, by name."""
    protocols: tuple[str, ...] = ()
    study: PlannedStudy | None = None
    """None: a benchmark."""
    version: str = __version__
    made: str = field(default_factory=lambda: datetime.datetime.now().astimezone().isoformat(timespec="seconds"))
    """When the first run over the folder began."""

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Configuration:
        """From what :meth:`to_json` made of it; what is lacking has its default."""
        sites = {str(n): PlannedSite.from_json(s or {}) for n, s in (found.get("sites") or {}).items()}
        methods = {str(n): options or {} for n, options in (found.get("methods") or {}).items()}
        told = {name: str(found.get(name) or "") for name in ("version", "made")}
        return cls(
            max_days=float(found.get("max_days", 1.0)),
            tile=int(found.get("tile", 0)),
            sites=sites,
            methods=methods,
            protocols=tuple(found.get("protocols") or ()),
            study=PlannedStudy.from_json(found["study"]) if found.get("study") else None,
            **told,
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        found = jsonable(asdict(self))
        head = ("version", "made", "max_days", "tile")
        held = {name: found[name] for name in (*head, *found) if name != "study"}
        return held | {"study": found["study"]} if self.study else held

    def site(self, name: str) -> PlannedSite:
        """What is known of a site; nothing of one that is not among those asked for."""
        return self.sites.get(name, PlannedSite())
