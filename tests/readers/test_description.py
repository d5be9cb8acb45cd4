"""What `describe` finds: the figures by hand, and every kind of fault that it is there to find."""

from __future__ import annotations

import re
import shutil

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfuse.core.series import make_series
from sitsfuse.errors import InputError
from sitsfuse.readers import description, open_series, open_site
from sitsfuse.readers.description import describe
from sitsfuse.readers.description.text import SeriesInfo, SiteInfo
from sitsfuse.writers import write_series, write_site


def _series(values, days, valid=None) -> xr.Dataset:
    values = np.asarray(values, np.float32)
    valid = np.ones((values.shape[0], *values.shape[2:]), bool) if valid is None else valid
    box = GeoBox(values.shape[2:], Affine(10, 0, 5e5, 0, -10, 4e6), "EPSG:32631")
    times = np.datetime64("2020-01-01") + np.asarray(days)
    return make_series(values, valid, times, [f"b{i}" for i in range(values.shape[1])], box)


def _noise(*shape) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float32)


def test_figures_of_a_series():
    values = np.linspace(0, 1, 2 * 2 * 50 * 40, dtype=np.float32).reshape(2, 2, 50, 40)
    valid = np.ones((2, 50, 40), bool)
    valid[1, :5] = False
    series = _series(values, [0, 10], valid)
    series.attrs |= {"sensor": "toy", "mtf": [0.2, 0.4]}
    series["uncertainty"] = series.reflectance
    found = describe(series)
    assert isinstance(found, SeriesInfo)
    assert found.dates == ("2020-01-01", "2020-01-11")
    assert found.bands == ("b0", "b1")
    assert (found.size, found.pixel, found.crs) == ((50, 40), (10, 10), "EPSG:32631")
    assert found.extent == (5e5, 4e6 - 500, 5e5 + 400, 4e6)
    assert (found.sensor, found.mtf, found.extras) == ("toy", (0.2, 0.4), ("uncertainty",))
    assert found.valid == (1.0, 0.9)
    assert not found.sampled
    for i in range(2):
        expected = np.percentile(values[:, i].transpose(0, 1, 2)[valid], (1, 99))
        np.testing.assert_allclose(found.ranges[i], expected, atol=0.002)
    assert found.warnings == ()
    text = found.format()
    for piece in ("2, 2020-01-01 to 2020-01-11", "b0, b1", "50 rows × 40 columns of 10 × 10", "EPSG:32631", "toy"):
        assert piece in text
    assert "2020-01-11 90 %" in text


def test_shares_are_not_rounded_to_all_or_nothing():
    valid = np.ones((2, 50, 40), bool)
    valid[0, 0, 0] = False
    valid[1] = False
    valid[1, 0, 0] = True
    text = describe(_series(_noise(2, 1, 50, 40), [0, 10], valid)).format()
    assert "2020-01-01 99 %" in text
    assert "2020-01-11 1 %" in text


READ: list[int] = []


class Lazy:
    """Counts the pixels that are read (at the top of the module: dask pickles it, and its counter must not be)."""

    shape, ndim, dtype = (1, 1, 200, 300), 4, np.dtype(np.float32)

    def __getitem__(self, key):
        part = np.broadcast_to(np.float32(0.5), self.shape)[key]
        READ.append(part.size)
        return part


def test_a_large_image_is_sampled(monkeypatch):
    monkeypatch.setattr(description, "WHOLE", 1000)
    monkeypatch.setattr(description, "SIDE", 16)
    valid = np.zeros((1, 200, 300), bool)
    valid[:, :, :150] = True
    READ.clear()
    series = _series(_noise(1, 1, 200, 300), [0], valid)
    lazy = da.from_array(Lazy(), (1, 1, 200, 300), meta=np.empty((0,) * 4, np.float32))
    series["reflectance"] = (series.reflectance.dims, lazy)
    found = describe(series)
    assert found.sampled
    assert found.valid == (0.5,)
    assert sum(READ) == 16 * 16 * 16
    assert found.ranges == ((0.5, 0.5),)
    assert "(sample)" in found.format()


def _half_valid() -> xr.Dataset:
    valid = np.ones((2, 9, 9), bool)
    valid[1] = False
    return _series(_noise(2, 1, 9, 9), [0, 9], valid)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (_half_valid, "no valid pixel on 2020-01-10"),
        (lambda: _series(_noise(2, 1, 9, 9), [0, 61]), "no valid image for 61 days, 2020-01-01 to 2020-03-02"),
        (lambda: _series(_noise(1, 1, 9, 9).repeat(2, 0), [0, 9]), "01-01 and 2020-01-10 hold the same image"),
        (
            lambda: _series(_noise(2, 1, 9, 9), np.array([0, 5], "timedelta64[h]")),
            "two images within 5 h of each other on 2020-01-01",
        ),
        (
            lambda: _series(np.rint(_noise(1, 1, 9, 9) * 4000), [0]),
            r"b0: whole numbers up to 3\d\d\d look like unscaled integers; give `scale=0.0001`",
        ),
        (lambda: _series(np.rint(_noise(1, 2, 9, 9) * 4000), [0]), "^b0, b1: whole numbers"),
        (lambda: _series(_noise(1, 1, 9, 9) + 290, [0]), "b0: values up to 29[01].* are not reflectance"),
    ],
)
def test_faults_of_a_series(make, match):
    series = make()
    (warning,) = describe(series).warnings
    assert re.search(match, warning)
    assert "! " in describe(series).format()


def test_what_is_no_fault():
    # NDVI below zero, a constant scene on all dates, 60 days, references far apart.
    assert describe(_series(_noise(2, 1, 9, 9) * 2 - 1, [0, 60])).warnings == ()
    assert describe(_series(np.full((2, 1, 9, 9), 0.2), [0, 5])).warnings == ()


def test_site(site_folder, tmp_path):
    found = describe(site_folder)
    assert isinstance(found, SiteInfo)
    assert list(found.series) == ["guide", "target", "reference"]
    assert found.ratios == {"target": 5.0}
    assert found.warnings == ()
    assert found.notes == ()
    assert found.series["guide"].valid == (1.0, 0.75, 1.0)
    assert found.series["guide"].kind == "GeoTIFF"
    text = found.format()
    assert "5 (target)" in text
    assert str(site_folder / "reference") in text
    write_site(open_site(site_folder), tmp_path / "s.zarr")
    stored = describe(tmp_path / "s.zarr")
    assert stored.attrs == {"name": "site"}
    assert stored.series["guide"].kind == "Zarr"
    opened = describe(open_site(site_folder))
    for name, part in found.series.items():
        assert part.ranges == stored.series[name].ranges == opened.series[name].ranges
        assert part.valid == stored.series[name].valid == opened.series[name].valid


def test_broken_parts_do_not_hide_the_rest(site_folder):
    (site_folder / "target" / "20200606.tif").write_bytes(b"x")
    found = describe(site_folder)
    assert list(found.series) == ["guide", "reference"]
    (warning,) = found.warnings
    assert warning.startswith("target: ")
    assert "20200606.tif: cannot be read" in warning
    assert "20200606.tif" in found.format()


def test_an_unreadable_date_does_not_hide_the_rest(site_folder, tif):
    noise = np.random.default_rng(0).integers(0, 9999, (2, 20, 20)).astype(np.int16)
    path = tif(site_folder / "guide" / "20200601.tif", noise, ["red", "nir"], scales=[1e-4] * 2, compress="deflate")
    whole = path.read_bytes()
    middle = whole.index(b"\x78", 300)  # in the compressed pixels: the header stays whole
    path.write_bytes(whole[:middle] + bytes(500) + whole[middle + 500 :])
    guide = describe(site_folder).series["guide"]
    assert np.isnan(guide.valid[0])
    assert guide.valid[1:] == (0.75, 1.0)
    assert any("20200601.tif: cannot be read" in w for w in guide.warnings)
    assert "2020-06-01 unreadable" in guide.format()


def test_faults_of_a_site(site_folder, tif):
    values = np.random.default_rng(0).integers(0, 4000, (2, 4, 4)).astype(np.int16)
    for path in (site_folder / "guide").glob("2020*1.tif"):
        if "20200611" not in path.name:
            path.unlink()
    for day in (1, 6, 11, 16, 21):
        name, scales = f"202006{day:02}.tif", [1e-4] * 2
        tif(
            site_folder / "target" / name,
            values + day,
            ["red", "swir16"],
            pixel=50.0,
            origin=(5e5 + 3, 4e6),
            scales=scales,
        )
        tif(site_folder / "target_other" / name, values + day, ["nir", "red"], pixel=5.0, scales=scales)
    tif(site_folder / "reference" / "20200616.tif", values, ["red", "nir"], scales=[1e-4] * 2)
    found = describe(site_folder)
    text = " | ".join(found.warnings)
    assert "a single guide" in text
    assert "target: has no band nir of the guide's (it has red, swir16)" in text
    assert "target_other: pixels (5) are not larger than the guide's (10)" in text
    assert "reference: lies on another grid than the guide" in text
    assert len(found.warnings) == 4
    notes = " | ".join(found.notes)
    assert "target: grids are not aligned: its origin lies at x 0.3, y 0 guide pixels" in notes
    assert "target: 4 of 5 dates lie before the first or after the last guide" in notes


def test_missing_roles(site_folder, tmp_path):
    shutil.rmtree(site_folder / "target")
    assert describe(site_folder).warnings == ("has no target",)
    with pytest.raises(InputError, match="does not exist"):
        describe(tmp_path / "nowhere")
    write_series(open_series(site_folder / "guide"), tmp_path / "g.zarr")
    assert describe(tmp_path / "g.zarr").kind == "Zarr"


@pytest.mark.real
def test_real_site(real_data):
    found = describe(real_data / "s2_l8_belgium")
    assert found.ratios == {"target": pytest.approx(1.5)}
    assert any("x -0.75, y -1.25" in n for n in found.notes)
    assert found.warnings == ()
    assert len(found.series["guide"].dates) == 22
