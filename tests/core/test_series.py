"""The data model: what it refuses, and how series are joined."""

import pickle

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfuse.core.checks import check, check_same_grid, match_bands
from sitsfuse.core.dates import days, index_of
from sitsfuse.core.series import geobox, make_series, mtf, with_date
from sitsfuse.core.site import SiteLayout, group, make_site, pair_of, target_alone
from sitsfuse.core.timeline import interpolate
from sitsfuse.errors import InputError

HR = GeoBox((20, 24), Affine(10, 0, 500_000, 0, -10, 4_000_000), "EPSG:32631")
LR = GeoBox((8, 10), Affine(25, 0, 500_000, 0, -25, 4_000_000), "EPSG:32631")
DATES = np.array(["2021-03-01", "2021-03-11", "2021-03-21"], "datetime64[ns]")
BANDS = ["red", "nir"]


def series(box=HR, dates=DATES, bands=BANDS, seed=0, **attrs):
    rng = np.random.default_rng(seed)
    values = rng.random((len(dates), len(bands), *box.shape)).astype(np.float32)
    valid = rng.random((len(dates), *box.shape)) < 0.7
    return make_series(values, valid, dates, bands, box, attrs)


def test_a_series_has_the_conventions():
    s = series(mtf=[0.2, 0.3], sensor="S2")
    assert check(s) is s
    assert s.reflectance.dims == ("time", "band", "y", "x")
    assert s.valid.dims == ("time", "y", "x")
    assert geobox(s) == HR
    assert s.x.values[0] == 500_005
    assert s.y.values[0] == 3_999_995
    assert s.reflectance.attrs["grid_mapping"] == "spatial_ref"
    assert s.attrs == {"mtf": [0.2, 0.3], "sensor": "S2"}
    assert [str(b) for b in s.band.values] == BANDS
    assert "grid" in str(s.spatial_ref.attrs.keys()).lower() or s.odc.crs.epsg == 32631


def test_a_lazy_series_stays_lazy():
    lazy = make_series(da.zeros((3, 2, 20, 24), dtype=np.float32), da.ones((3, 20, 24), dtype=bool), DATES, BANDS, HR)
    assert check(lazy).chunks


def test_mtf_is_per_band_and_has_a_default():
    assert mtf(series()) == [0.3, 0.3]
    assert mtf(series(mtf=0.2)) == [0.2, 0.2]
    assert mtf(series(mtf=[0.1, 0.4])) == [0.1, 0.4]


def repeated_date():
    return series(dates=DATES[[0, 1, 1]])


def unsorted():
    return series().isel(time=[1, 0, 2])


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda: series().drop_vars("valid"), "no variable 'valid'"),
        (lambda: series().drop_vars("reflectance"), "no variable 'reflectance'"),
        (lambda: series().transpose("band", "time", "y", "x"), "transpose"),
        (lambda: series().astype(np.float64), "float64"),
        (lambda: series().assign(valid=series().valid.astype("u1")), "uint8"),
        (lambda: series().drop_vars("time"), "no coordinate 'time'"),
        (lambda: series().drop_vars("band"), "no coordinate 'band'"),
        (lambda: series().isel(time=[]), "no time"),
        (lambda: series().isel(band=[]), "no band"),
        (repeated_date, "two images of 2021-03-11"),
        (unsorted, "not sorted"),
        (lambda: series(bands=["red", "red"]), "twice"),
        (lambda: series(mtf=[0.3]), "1 MTF values for 2 bands"),
        (lambda: series(mtf=1.5), "outside"),
        (lambda: series().drop_vars(["x", "y"]), "no coordinate 'y'"),
        (lambda: series().isel(x=[]), "no x"),
        (lambda: series().isel(x=[0, 1, 5]), "grid"),
        (lambda: series().isel(y=[0, 1, 5, 6]), "grid"),
    ],
)
def test_what_breaks_the_conventions_is_refused(broken, message):
    with pytest.raises(InputError, match=message) as caught:
        check(broken(), "guide.zarr")
    assert "\n" not in str(caught.value)


def test_bands_are_put_in_order_with_their_mtf():
    s = series(bands=["nir", "green", "red"], mtf=[0.1, 0.2, 0.3])
    out = match_bands(s, series(), "target")
    assert [str(b) for b in out.band.values] == ["red", "nir"]
    np.testing.assert_array_equal(out.reflectance.values, s.reflectance.values[:, [2, 0]])
    assert out.attrs["mtf"] == [0.3, 0.1]
    assert s.attrs["mtf"] == [0.1, 0.2, 0.3]
    with pytest.raises(InputError, match=r"red.*but the guide has red, swir16"):
        match_bands(s, series(bands=["red", "swir16"]))


def test_a_site_joins_series():
    reference = series(seed=2, bands=["nir", "red"])
    site = make_site(series(), series(LR, bands=["nir", "red"]), reference, name="Alpilles")
    assert set(site.children) == {"guide", "target", "reference"}
    assert site.attrs == {"name": "Alpilles", "ratio": 2.5}
    for name in site.children:
        assert [str(b) for b in group(site, name).band.values] == BANDS
    np.testing.assert_array_equal(
        group(site, "reference").reflectance.sel(band="nir").values, reference.reflectance.values[:, 0]
    )
    assert pair_of(site).ratio == 2.5
    assert geobox(group(site, "target")) == LR
    with pytest.raises(InputError, match="no series 'swath'"):
        group(site, "swath")


def test_the_layout_of_a_site_is_what_its_series_say():
    site = make_site(series(), series(LR, mtf=[0.2, 0.4]))
    guide, target = site["guide"], site["target"]
    known = pickle.loads(pickle.dumps(SiteLayout.of(site)))
    assert known.grids == pair_of(site)
    assert known.ratio == abs(float(target["x"][1] - target["x"][0]) / float(guide["x"][1] - guide["x"][0]))
    assert known.bands == tuple(guide["band"].values)
    assert known.mtf == (0.2, 0.4)
    np.testing.assert_array_equal(known.guides, guide["time"].values)
    np.testing.assert_array_equal(known.targets, target["time"].values)


def test_a_site_refuses_series_that_do_not_fit():
    with pytest.raises(InputError, match="not larger"):
        make_site(series(), series())
    with pytest.raises(InputError, match="bands"):
        make_site(series(), series(LR, bands=["blue", "nir"]))
    with pytest.raises(InputError, match="reference"):
        make_site(series(), series(LR), series().drop_vars("valid"))


def test_the_image_of_a_day_is_found_whatever_the_hour():
    s = series(dates=DATES + np.timedelta64(10, "h"))
    assert index_of(s, np.datetime64("2021-03-11")) == 1
    assert index_of(s, np.datetime64("2021-03-12")) is None
    assert with_date(s, np.datetime64("2021-03-11")) is s


@pytest.mark.parametrize("date", ["2021-02-20", "2021-03-04", "2021-03-30"])
def test_a_missing_date_is_interpolated_in_its_place(date):
    s = series(mtf=0.2).assign_coords(platform=("time", ["a", "b", "a"]))
    date = np.datetime64(date, "ns")
    out = with_date(s, date)
    check(out)
    k = index_of(out, date)
    assert out.sizes["time"] == 4
    assert out.attrs == s.attrs
    want, ok = interpolate(s.reflectance.values, s.valid.values, days(DATES, date))
    np.testing.assert_array_equal(out.valid.values[k], ok)
    np.testing.assert_allclose(out.reflectance.values[k], want, rtol=1e-6)
    others = out.isel(time=[i for i in range(4) if i != k])
    np.testing.assert_array_equal(others.reflectance.values, s.reflectance.values)
    np.testing.assert_array_equal(others.valid.values, s.valid.values)
    assert geobox(out) == HR


@pytest.mark.parametrize("chunks", [{"time": 1, "y": 7, "x": 24}, {"time": 2, "band": 1, "x": 5}])
def test_a_missing_date_is_interpolated_lazily_with_the_same_numbers(chunks):
    s = series()
    date = np.datetime64("2021-03-17")
    lazy = with_date(s.chunk(chunks), date)
    assert lazy.chunks
    xr.testing.assert_identical(lazy.compute(), with_date(s, date))


def test_a_missing_date_is_interpolated_where_the_variables_are_chunked_unlike():
    s = series()
    date = np.datetime64("2021-03-17")
    mixed = s.assign(reflectance=s.reflectance.chunk(time=1, y=7), valid=s.valid.chunk(time=2, y=5))
    xr.testing.assert_identical(with_date(mixed, date).compute(), with_date(s, date))


def test_series_on_two_grids_are_told_apart():
    check_same_grid(series(), series(seed=1), "reference")
    with pytest.raises(InputError, match="reference: lies on another grid"):
        check_same_grid(series(), series(LR), "reference")


@pytest.mark.parametrize(("factor", "shape"), [(2.5, (20, 25)), (5.0, (40, 50)), (1.4, (11, 14))])
def test_a_target_alone_has_a_finer_grid_and_no_guide(factor, shape):
    target = series(LR)
    site = target_alone(target, factor)
    assert group(site, "guide").sizes["time"] == 0
    assert group(site, "guide")["band"].values.tolist() == BANDS
    box = pair_of(site).hr
    assert tuple(box.shape) == shape
    assert box.crs == LR.crs
    assert (box.affine.c, box.affine.f) == (LR.affine.c, LR.affine.f)
    assert box.affine.a == pytest.approx(25 / factor)
    assert pair_of(site).ratio == pytest.approx(factor)
    xr.testing.assert_identical(group(site, "target"), target)


@pytest.mark.parametrize("factor", [1.0, 0.5, float("inf"), float("nan")])
def test_a_target_alone_wants_a_factor_above_1(factor):
    with pytest.raises(InputError, match=r"factor: .* is not above 1"):
        target_alone(series(LR), factor)
