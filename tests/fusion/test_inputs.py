"""What a later run sees of its inputs: replaced, touched, taken away, added."""

import os
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import rasterio
import zarr

from sitsfuse.core.series import CONTENT
from sitsfuse.core.site import group
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.fusion.inputs import Changes, inputs_of
from sitsfuse.methods.registry import make_method
from sitsfuse.methods.temporal import Temporal, TemporalPredictor
from sitsfuse.readers import open_series, open_site
from sitsfuse.readers.content import PLACES, SAMPLE, mark
from sitsfuse.writers import write_geotiffs, write_series, write_site
from tests.helpers import scenes

DATE = scenes.day(14)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A site as folders of GeoTIFFs and as a Zarr store; its LR series begins before the first guide."""
    folder = tmp_path_factory.mktemp("inputs")
    tree = scenes.site(seed=1)
    for role in ("guide", "target"):
        write_geotiffs(tree[role].to_dataset(), folder / "tif" / role)
    write_site(tree, folder / "s.zarr")
    return folder


@pytest.fixture(params=["tif", "s.zarr"])
def place(request, stored, tmp_path):
    return shutil.copytree(stored / request.param, tmp_path / request.param)


def run(place, out, **more):
    given = {"method": "temporal", "tile": 32, "workers": 1, "dates": [DATE], "keep_all_guides": True, "format": "cog"}
    fuse(place, out, **given | more)
    return out


def decisions(place, out, **more):
    found = []
    run(place, out, on_decision=lambda d: found.append((str(d.time)[:10], d.act, d.why)), **more)
    return found


def replace(place, role="guide", k=0):
    """Another image of the same name, of the same form and size."""
    if place.suffix == ".zarr":
        array = zarr.open_group(place / role, mode="r+")["reflectance"]
        array[k] = array[k] * np.float32(0.5)
        return
    file = sorted(p for p in (place / role).glob("*.tif") if "mask" not in p.name)[k]
    with rasterio.open(file, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as image:
        image.write(image.read() // 2)


def test_a_replaced_image_is_noticed_and_its_dates_made_anew_on_request(place, tmp_path):
    out = run(place, tmp_path / "out")
    before = open_series(out)["reflectance"].values
    replace(place)
    with pytest.raises(InputError, match=r"other inputs: guide 2020-05-01.* has changed; give renew") as error:
        run(place, out)
    assert "\n" not in str(error.value)
    run(place, out, renew=True)
    found = open_series(out)["reflectance"].values
    assert not np.array_equal(found, before)
    anew = fuse(place, method="temporal", dates=[DATE], keep_all_guides=True)
    np.testing.assert_array_equal(found, anew["reflectance"].values)


def test_an_image_that_was_touched_or_copied_is_the_same(place, tmp_path):
    before = inputs_of(open_site(place), make_method("temporal"))
    assert all(before["guide"].values())
    assert all(before["target"].values())
    for file in place.rglob("*"):
        os.utime(file, (1, 1))
    moved = shutil.copytree(place, tmp_path / f"moved{place.suffix}")
    for again in (place, moved):
        assert inputs_of(open_site(again), make_method("temporal")) == before


def test_a_replaced_model_is_noticed(tmp_path):
    model = scenes.write_network(tmp_path / "model", ["red", "nir"], 5.0)
    method = make_method("carn", {"model": str(model)})
    site = scenes.site()
    before = inputs_of(site, method)
    assert before == inputs_of(site, method)
    scenes.write_network(tmp_path / "model", ["red", "nir"], 5.0, seed=1)
    assert str(Changes.between(before, inputs_of(site, method))) == f"option model {model} has changed"


def test_samples_see_what_moves_or_grows(tmp_path):
    file = tmp_path / "a"
    data = np.random.default_rng(0).integers(0, 255, 4 * SAMPLE * PLACES, np.uint8).tobytes()
    marks = set()
    for content in (b"", data, data[:-1], data[1:] + b"0", b"0" + data[1:], data[:-1] + b"0", b"0" + data[:-1]):
        file.write_bytes(content)
        marks.add(mark([file]))
    assert len(marks) == 7
    assert mark([tmp_path]) == mark([file]), "a folder stands for its files"


def test_marks_stay_with_the_files(stored, tmp_path):
    """They tell of what was read, not of what was written."""
    series = open_series(stored / "tif" / "guide")
    write_series(series, tmp_path / "copy")
    assert CONTENT not in zarr.open_group(tmp_path / "copy", mode="r")


def test_changes_in_words():
    before = {"guide": {"2019-05-01": "a", "2019-06-01": "b"}, "target": {"2019-05-02": "c"}}
    now = {"guide": {"2019-05-01": "x", "2019-07-01": "d"}, "target": {"2019-05-02": "c", "2019-05-03": "e"}}
    found = Changes.between(before, now)
    assert (found.replaced, found.gone) == (("guide 2019-05-01",), ("guide 2019-06-01",))
    assert str(found) == (
        "guide 2019-05-01 has changed, guide 2019-06-01 is gone, guide 2019-07-01 (and 1 more) is new"
    )
    assert not Changes.between(now, now)


# --- what is added


def part(tree, role, days):
    return scenes.change(tree, **{role: lambda s: s.sel(time=s["time"].isin(np.array(days, "datetime64[ns]")))})


def test_a_new_lr_image_adds_its_date_alone(tmp_path):
    whole = scenes.site(seed=1)
    times = whole["target"]["time"].values
    out = run(part(whole, "target", times[:-1]), tmp_path / "out", dates=None, method="temporal")
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("*.tif")}
    acts = decisions(whole, out, dates=None)
    assert [a[1] for a in acts] == ["keep"] * (len(times) - 1) + ["predict"]
    run(whole, out, dates=None)
    after = {p.name: p.stat().st_mtime_ns for p in out.glob("*.tif")}
    assert {n: t for n, t in after.items() if n in before} == before
    assert len(after) == len(before) + 3


@dataclass(frozen=True)
class Nearby(Temporal):
    """Interpolates between the guides within 12 days, and learns nothing."""

    def study(self, site):
        return NearbyStudy(group(site, "guide")["time"].values)


@dataclass(frozen=True)
class NearbyStudy:
    guides: Any

    def fit(self, date):
        near = self.guides[np.abs(self.guides - date) <= np.timedelta64(12, "D")]
        return TemporalPredictor(near, near[:0], date)


@pytest.mark.parametrize(("method", "kept"), [(Nearby(), 2), ("temporal", 0)])
def test_a_new_guide_changes_the_dates_that_it_can_change(tmp_path, method, kept):
    whole = scenes.site(seed=1, guides=(0, 10, 20, 30, 40), targets=(5, 14, 38))
    few = part(whole, "guide", whole["guide"]["time"].values[:-1])
    given = {"method": method, "dates": None, "format": "zarr"}
    out = run(few, tmp_path / "out", **given)
    acts = decisions(whole, out, **given)
    assert [a[1] for a in acts] == ["keep"] * kept + ["predict anew"] * (3 - kept)
    assert acts[-1][2] == "guide 2020-06-10 is new"
    run(whole, out, **given)
    assert [a[1] for a in decisions(whole, out, **given)] == ["keep"] * 3
    anew = fuse(whole, method=method, keep_all_guides=True)
    found = open_series(out)
    for name in ("reflectance", "uncertainty"):
        np.testing.assert_array_equal(found[name].values, anew[name].values)


def test_explaining_does_nothing(stored, tmp_path, cli):
    out = tmp_path / "out"
    words = ["fuse", stored / "s.zarr", "-o", out, "--method", "temporal", "--dates", DATE, "--tile", "32", "-q"]
    assert cli(*words, "--explain") == (0, "2020-05-15  predict: there is no output yet\n", "")
    assert not out.exists()
    assert cli(*words).code == 0
    assert cli(*words, "--explain") == (0, "2020-05-15  keep: no input has changed\n", "")
