"""Series between grids: eager equals the array operators, lazy equals eager to the last bit."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfuse.core.checks import check
from sitsfuse.core.grid import GridPair
from sitsfuse.core.series import geobox, make_series, mtf
from sitsfuse.errors import InputError
from sitsfuse.operators import series as operator
from sitsfuse.operators.series import degrade
from sitsfuse.operators.updown import down

HR = GeoBox((101, 87), Affine(5, 0, 1000, 0, -5, 9000), "EPSG:32631")
GRIDS = {
    "unaligned": GeoBox((24, 19), Affine(23.3, 0, 1007, 0, -23.3, 8991), "EPSG:32631"),
    "ratio 2.5": GeoBox((40, 34), Affine(12.5, 0, 1000, 0, -12.5, 9000), "EPSG:32631"),
    "larger": GeoBox((50, 50), Affine(50 / 3, 0, 800, 0, -50 / 3, 9200), "EPSG:32631"),
    "within": GeoBox((8, 5), Affine(25, 0, 1101, 0, -25, 8899), "EPSG:32631"),
}
CHUNKS = [
    {"time": 1, "band": 1, "y": 17, "x": 53},
    {"time": 2, "y": 100, "x": 29},
    {"time": 3, "y": 200, "x": 200},
    {"time": 1, "y": (3, 5)},
]


def series(box, seed=0):
    rng = np.random.default_rng(seed)
    valid = np.ones((3, *box.shape), bool)
    for k in (0, 2):
        for _ in range(3):
            y, x = (int(rng.integers(0, n)) for n in box.shape)
            valid[k, y : y + 5, x : x + 7] = False
    values = rng.random((3, 2, *box.shape)).astype(np.float32)
    values[~np.broadcast_to(valid[:, None], values.shape)] = np.nan
    dates = ["2020-01-01", "2020-01-05", "2020-01-09"]
    out = make_series(values, valid, dates, ["red", "nir"], box, {"sensor": "a sensor", "mtf": 0.25})
    gain = (("time", "band"), np.arange(6.0).reshape(3, 2))
    return out.assign_coords(platform=("time", ["A", "B", "A"]), gain=gain)


def chunked(s, chunks):
    if isinstance(chunks.get("y"), tuple):  # uneven ones
        n = s.sizes["y"]
        chunks = {**chunks, "y": (3, 5, n - 8)}
    return s.chunk(chunks)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(operator, "CHUNK", 37)


@pytest.mark.parametrize("lr", GRIDS.values(), ids=GRIDS)
def test_eager_equals_the_operators_on_arrays(lr):
    pair = GridPair(HR, lr)
    low = degrade(series(HR), lr, [0.2, 0.4])
    values, valid = down(series(HR).reflectance.values, series(HR).valid.values, pair, [0.2, 0.4])
    np.testing.assert_array_equal(low.reflectance.values, values)
    np.testing.assert_array_equal(low.valid.values, valid)
    check(low)
    assert geobox(low) == lr
    for name in ("time", "band", "platform", "gain"):
        np.testing.assert_array_equal(low[name].values, series(HR)[name].values)
    assert low.attrs["sensor"] == "a sensor"
    assert mtf(low) == [0.2, 0.4]


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("lr", GRIDS.values(), ids=GRIDS)
def test_lazy_equals_eager(lr, chunks):
    lazy = degrade(chunked(series(HR), chunks), lr, [0.2, 0.4])
    assert lazy.chunks["time"]  # raises where variables are cut differently
    xr.testing.assert_identical(lazy.compute(), degrade(series(HR), lr, [0.2, 0.4]))


@pytest.mark.parametrize("valid_chunks", [None, {"time": 2, "y": 9}])
def test_variables_may_be_chunked_unlike(valid_chunks):
    s = series(HR)
    mask = s.valid if valid_chunks is None else s.valid.chunk(valid_chunks)
    mixed = s.assign(reflectance=s.reflectance.chunk(time=1, band=1, y=20), valid=mask)
    xr.testing.assert_identical(degrade(mixed, GRIDS["within"]).compute(), degrade(s, GRIDS["within"]))


def test_a_chunk_reads_only_the_window_that_it_needs():
    read = set()

    def noted(block, block_info=None):
        read.add(block_info[0]["chunk-location"][2:])
        return block

    s = series(HR).chunk(time=3, y=20, x=20)
    s = s.assign(reflectance=s.reflectance.copy(data=s.reflectance.data.map_blocks(noted, dtype=np.float32)))
    lazy = degrade(s, GRIDS["ratio 2.5"])
    assert not read
    lazy.reflectance[:, :, :2, :2].compute(scheduler="synchronous")
    # Chunks of 14 x 14 LR pixels; the last one's PSF reaches from its centre, 33.75, to 37.5: the second input chunk.
    assert read == {(y, x) for y in range(2) for x in range(2)}
    read.clear()
    lazy.reflectance[:, :, -1:, :].compute(scheduler="synchronous")
    assert {y for y, _ in read} == {3, 4, 5}  # rows from 71.25 - 3.7 on


def test_degraded_with_the_default_mtf():
    assert mtf(degrade(series(HR), GRIDS["within"])) == [0.3, 0.3]
    assert mtf(degrade(series(HR), GRIDS["within"], 0.1)) == [0.1, 0.1]


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="3 values for 2 bands"):
        degrade(series(HR), GRIDS["within"], [0.1, 0.2, 0.3])
    with pytest.raises(InputError, match="not larger"):
        degrade(series(GRIDS["within"]), HR)
