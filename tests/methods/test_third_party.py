"""A method that another package announces: the one that the documentation shows."""

import pickle
import sys
import types
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from sitsfuse.core.site import group
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods import find_method, make_method, method_names, registry
from tests.helpers import scenes

SOURCE = '''
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from sitsfuse.core.site import group
from sitsfuse.methods.base import result


@dataclass(frozen=True)
class Nearest:
    """The guide nearest in time."""

    name: ClassVar[str] = "nearest"
    paper: ClassVar[str] = "none"
    min_guides: ClassVar[int] = 1

    def halo(self, ratio):
        return 0

    def study(self, site):
        return NearestStudy(group(site, "guide")["time"].values)


@dataclass(frozen=True)
class NearestStudy:
    guides: np.ndarray

    def fit(self, date):
        near = self.guides[[np.argmin(np.abs(self.guides - date))]]
        return NearestPredictor(near, near[:0])


@dataclass(frozen=True)
class NearestPredictor:
    guides: np.ndarray  # dates of the guides that a tile must hold
    targets: np.ndarray  # dates of the LR images that it must hold
    choices: dict = field(default_factory=dict)  # what was chosen, for the provenance

    def __call__(self, tile):
        values, valid = tile.guide_arrays()
        return result(tile, values[0], valid[0], np.zeros_like(values[0]), valid[0])
'''
"""A package with a method of its own: the guide nearest in time."""


@pytest.fixture
def announced(monkeypatch):
    """A method of another package, as a module that an entry point names."""
    module = types.ModuleType("mypackage")
    monkeypatch.setitem(sys.modules, "mypackage", module)
    exec(SOURCE, module.__dict__)
    entry = EntryPoint("nearest", "mypackage:Nearest", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == registry.GROUP else [])
    return module


def test_it_is_known_by_name(announced):
    assert "nearest" in method_names()
    assert find_method("nearest") is announced.Nearest


@pytest.mark.parametrize("tile", [17, 64])
def test_it_is_run_like_any_other(announced, tile):
    tree = scenes.site(guides=(0, 12, 30), targets=(0, 7, 14, 33))
    out = fuse(tree, method="nearest", tile=tile)
    guide = group(tree, "guide")
    for image, nearest in zip(out["reflectance"].values, (0, 1, 1, 2), strict=True):
        wanted = np.where(guide["valid"].values[nearest], guide["reflectance"].values[nearest], np.nan)
        np.testing.assert_array_equal(image, wanted)


def test_its_study_travels(announced):
    study = pickle.loads(pickle.dumps(make_method("nearest").study(scenes.site(guides=(0, 12, 30)))))
    assert study.fit(np.datetime64(scenes.day(14))).guides == np.datetime64(scenes.day(12))
