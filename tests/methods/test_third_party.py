"""A method that another package announces: the one that the documentation shows."""

import pickle
import re
import sys
import types
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from sitsfuse.core.site import group
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods import find_method, make_method, method_names, registry
from tests.helpers import scenes

DOCS = Path(__file__).parents[2] / "docs" / "methods.md"


@pytest.fixture
def announced(monkeypatch):
    """The method of the documentation, as a module that an entry point names."""
    section = DOCS.read_text(encoding="utf-8").split("## A method of your own")[1]
    module = types.ModuleType("mypackage")
    monkeypatch.setitem(sys.modules, "mypackage", module)
    exec(re.search(r"```python\n(.*?)```", section, re.S)[1], module.__dict__)
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
