"""Objects of other libraries become series: the right numbers, or one line that says what is missing."""

from __future__ import annotations

import datetime

import dask.array
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import sitsfuse
from sitsfuse.errors import InputError
from sitsfuse.readers import open_series
from sitsfuse.readers.objects import series

RNG = np.random.default_rng(2)
BOX = GeoBox((6, 5), Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32631")
TIMES = np.array(["2020-01-01", "2020-01-11", "2020-01-21"], "datetime64[ns]")
VALUES = RNG.uniform(0.02, 0.5, (3, 2, 6, 5))
DN = np.rint(VALUES * 1e4).astype(np.int16)
SCL = RNG.integers(3, 10, (3, 6, 5)).astype(np.uint8)


def array(values=VALUES, dims=("time", "band", "y", "x"), **coords):
    own = {k: v for k, v in ({"time": TIMES, "band": ["red", "nir"]} | coords).items() if k in dims}
    return xr.DataArray(values, dims=dims, coords=dict(xr_coords(BOX)) | own)


def bare():
    plain = {"time": TIMES, "y": np.arange(6.0), "x": np.arange(5.0)}
    return xr.DataArray(VALUES, dims=("time", "band", "y", "x"), coords=plain)


def test_float64_with_nan():
    holes = VALUES.copy()
    holes[1, 0, 2, 3] = np.nan
    made = series(array(holes))
    assert made.reflectance.dtype == np.float32
    np.testing.assert_allclose(made.reflectance.values, holes, rtol=1e-6)
    np.testing.assert_array_equal(made.valid.values, np.isfinite(holes).all(1))
    assert made.odc.geobox == BOX


@pytest.mark.parametrize("order", [("x", "y", "band", "time"), ("band", "time", "y", "x")])
def test_dimensions_in_any_order_and_dates_unsorted(order):
    made = series(array().isel(time=[2, 0, 1]).transpose(*order))
    np.testing.assert_allclose(made.reflectance.values, VALUES, rtol=1e-6)


def test_variables_per_band_as_odc_stac_loads_them():
    data = xr.Dataset({n: array(DN[:, k], ("time", "y", "x")) for k, n in enumerate(("red", "nir"))})
    data = data.assign(SCL=array(SCL, ("time", "y", "x")))
    for name in ("red", "nir"):
        data[name].attrs["nodata"] = int(DN[0, 0, 0, 0])
    made = series(data, "SCL", scale=1e-4, clear=(4, 5, 6, 7))
    assert [str(b) for b in made.band.values] == ["red", "nir"]
    gone = (DN[0, 0, 0, 0] == DN).any(1)
    np.testing.assert_array_equal(made.valid.values, np.isin(SCL, (4, 5, 6, 7)) & ~gone)
    truth = np.where(DN[0, 0, 0, 0] == DN, np.nan, DN * 1e-4)
    np.testing.assert_allclose(made.reflectance.values, truth, rtol=1e-6)
    assert series(data, "SCL", bands=["nir"], cloudy=3).sizes["band"] == 1


def test_variables_packed_in_their_own_ways():
    red, nir = (array(DN[:, k], ("time", "y", "x")) for k in (0, 1))
    red.attrs |= {"scale_factor": 1e-4, "add_offset": -0.1}
    nir.attrs |= {"scale_factor": 2e-4, "_FillValue": -1}
    made = series(xr.Dataset({"red": red, "nir": nir}))
    np.testing.assert_allclose(made.reflectance.values[:, 0], DN[:, 0] * 1e-4 - 0.1, atol=1e-6)
    np.testing.assert_allclose(made.reflectance.values[:, 1], DN[:, 1] * 2e-4, atol=1e-6)


def test_one_image_as_rioxarray_opens_it():
    one = array(DN[0], ("band", "y", "x"), band=[1, 2])
    one.attrs |= {"long_name": ("red", "nir"), "scale_factor": 1e-4, "add_offset": 0.0, "_FillValue": -1}
    made = series(one, times=datetime.datetime(2020, 1, 1))
    assert [str(b) for b in made.band.values] == ["red", "nir"]
    np.testing.assert_allclose(made.reflectance.values[0], DN[0] * 1e-4, rtol=1e-6)


def test_numpy_with_a_geobox_and_lazy_arrays():
    made = series(VALUES, times=["2020-01-01", "2020-01-11", "2020-01-21"], bands=["a", "b"], geobox=BOX)
    np.testing.assert_allclose(made.reflectance.values, VALUES, rtol=1e-6)
    lazy = series(dask.array.from_array(DN, chunks=(1, 2, 6, 5)), SCL, clear=4, times=TIMES, geobox=BOX, scale=1e-4)
    assert lazy.reflectance.chunks is not None
    np.testing.assert_array_equal(lazy.valid.values, SCL == 4)


def test_a_series_passes_and_longitudes_are_x():
    made = series(array())
    xr.testing.assert_identical(series(made), made)
    world = GeoBox((6, 5), Affine(0.1, 0, 3, 0, -0.1, 45), "EPSG:4326")
    coords = dict(xr_coords(world)) | {"time": TIMES}
    made = series(xr.DataArray(VALUES, dims=("time", "band", "latitude", "longitude"), coords=coords))
    assert made.odc.geobox == world
    assert dict(made.sizes) == {"time": 3, "band": 2, "y": 6, "x": 5}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: series(3), "data: is a int, not images"),
        (lambda: series(None), "data: is a NoneType, not images"),
        (lambda: series("guide/"), "data: is a str, not images"),
        (lambda: series(VALUES), "data: is an array without dates and grid"),
        (lambda: series(VALUES[0], times=TIMES, geobox=BOX), r"of shape \(2, 6, 5\), not images"),
        (lambda: series(bare()), "data: has no grid with a CRS"),
        (lambda: series(array().drop_vars("time")), "data: has no dates"),
        (lambda: series(array().rename(x="column")), "data: has dimensions .* and no x"),
        (lambda: series(array(), SCL), "valid: is uint8, of which nothing says what is clear"),
        (lambda: series(array(), SCL[:2] == 4), "valid: has the shape"),
        (lambda: series(xr.Dataset(), "SCL"), "'SCL' is not a variable"),
        (lambda: series(xr.Dataset({"a": ("t", [1])})), "has no variable with y and x"),
        (lambda: series(array(), maks=1), "option 'maks': is unknown"),
        (lambda: series(array().isel(time=[0, 0])), "has two images of 2020-01-01"),
        (lambda: series(array().astype(str)), "not numbers"),
        (lambda: open_series(3), "is a int"),
        (lambda: open_series(array()), "sitsfuse.series"),
        (lambda: open_series(xr.Dataset({"red": ("time", [1.0])})), "sitsfuse.series"),
        (lambda: sitsfuse.fuse(3), "is a int"),
        (lambda: sitsfuse.fuse(series(array())), "give a site, or a guide and a target"),
    ],
)
def test_wrong_objects_are_one_line(make, message):
    with pytest.raises(InputError, match=message):
        make()
