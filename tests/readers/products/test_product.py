"""Pixels of a product on any grid: decoded, masked, without displacement, the same in windows as in the whole."""

import pickle

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from sitsfuse.core.displacement import Displacement
from sitsfuse.errors import InputError
from sitsfuse.readers.products.flags import FLAG_ATTRS, FLAGS, MaskFile, Rule
from sitsfuse.readers.products.product import BandFile, Product, grid_of

LEFT, TOP = 600000.0, 4900020.0
CLOUD, SHADOW, NODATA = FLAGS["cloud"], FLAGS["cloud_shadow"], FLAGS["nodata"]
CLOUDS = (Rule("cloud", values=(9,)), Rule("cloud_shadow", values=(3,)), Rule("snow", values=(11,)))


def grid(shape, pixel=10.0, left=LEFT, top=TOP, crs="EPSG:32631"):
    return GeoBox(shape, Affine(pixel, 0, left, 0, -pixel, top), crs)


def centres(box):
    """Map coordinates of the pixels."""
    y, x = np.mgrid[: box.shape[0], : box.shape[1]] + 0.5
    return box.affine * (x, y)


def smooth(x, y):
    """A scene that a grid of 10 m shows well: waves of 120 m and more."""
    return 0.3 + 0.1 * np.sin(2 * np.pi * (x - LEFT) / 130) * np.cos(2 * np.pi * (TOP - y) / 120)


@pytest.fixture
def product(tmp_path, tif):
    """Makes a product of arrays by the names of bands and masks: numbers, or numbers and their grid."""

    def make(bands, masks=(), *, rules=CLOUDS, dilation=0.0, **options):
        def place(name, item):
            numbers, box = item if isinstance(item, tuple) else (item, None)
            numbers = np.asarray(numbers)
            box = box or grid(numbers.shape)
            path = tif(tmp_path / f"{name}.tif", numbers[None], crs=str(box.crs), transform=box.affine)
            return str(path), box

        found = tuple(
            BandFile(name, f"B{k}", *place(name, item), **{"scale": 1e-4, "nodata": (-10000,)} | options)
            for k, (name, item) in enumerate(bands.items(), 1)
        )
        placed = [place(f"mask{k}", item) for k, item in enumerate(masks)]
        read = tuple(MaskFile(path, box, rules) for path, box in placed)
        time = np.datetime64("2020-06-01", "ns")
        return Product(tmp_path, "P", "test", "sentinel2", "S2A", time, found, read, dilation=dilation)

    return make


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(1, 9000, shape).astype(np.int16)


def test_numbers_on_their_own_grid_are_not_touched(product):
    red, nir = noise((9, 7)), noise((9, 7), 1)
    red[2, 3] = nir[5, 1] = -10000
    one = product({"red": red, "nir": nir}, scale=2e-4, offset=-0.1)
    values, valid, flags = one.read(["nir", "B1"], grid((9, 7)))
    truth = np.stack([nir, red]) * 2e-4 - 0.1
    np.testing.assert_allclose(values[:, valid], truth[:, valid].astype(np.float32), rtol=0, atol=1e-7)
    assert values.dtype == np.float32
    assert flags.dtype == np.uint8
    # One band's nodata are those of all: a pixel is valid as a whole.
    assert (valid == ((red != -10000) & (nir != -10000))).all()
    assert np.isnan(values[:, ~valid]).all()
    assert (flags == np.where(valid, 0, NODATA)).all()


def test_numbers_with_a_meaning(product):
    numbers = np.array([[1.0, np.nan, np.inf, -1.0, 7.0, 8.0]], np.float32).repeat(3, 0)
    one = product({"red": numbers}, scale=1.0, nodata=(-1.0, np.nan), saturated=(7.0, 9.0))
    values, valid, flags = one.read(["red"], grid((3, 6)))
    assert valid[0].tolist() == [True, False, False, False, False, True]
    assert flags[0].tolist() == [0, 1, 1, 1, FLAGS["saturated"], 0]
    assert one.read(["red"], grid((3, 6)), usable=["saturated"])[1][0].tolist() == [
        True,
        False,
        False,
        False,
        True,
        True,
    ]
    assert values[0, 0, 5] == 8


def test_flags_are_as_cf_wants_them():
    assert FLAG_ATTRS["flag_masks"] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert FLAG_ATTRS["flag_meanings"].split() == list(FLAGS)  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_rules_of_masks(product, dtype):
    numbers = np.array([[0, 1, 2, 3, 4, 5, 9, 127]], dtype).repeat(2, 0)
    rules = (
        Rule("water", bits=1),
        Rule("snow", bits=4 | 8),
        Rule("cloud", values=(9, 2)),
        Rule("saturated", nonzero=True),
    )
    one = product({"red": noise((2, 8))}, [numbers], rules=rules)
    _, _, flags = one.read(["red"], grid((2, 8)))
    for name, truth in {
        "water": numbers % 2 == 1,
        "snow": (numbers & 12) != 0,
        "cloud": np.isin(numbers, [2, 9]),
        "saturated": numbers != 0,
    }.items():
        assert (((flags & FLAGS[name]) != 0) == truth).all(), name


def test_what_is_usable(product):
    numbers = np.array([[4, 9, 3, 11]], np.uint8)
    image = np.array([[5, 5, 5, 5]], np.int16)
    one = product({"red": image}, [numbers])
    box = grid((1, 4))
    assert one.read(["red"], box)[1].tolist() == [[True, False, False, True]]
    assert one.read(["red"], box, usable=())[1].tolist() == [[True, False, False, False]]
    assert one.read(["red"], box, usable=("cloud", "snow"))[1].tolist() == [[True, True, False, True]]
    with pytest.raises(InputError, match="'clouds' is not a flag"):
        one.read(["red"], box, usable=("clouds",))
    # What was not seen is never usable.
    one = product({"red": image - 10005})
    assert not one.read(["red"], box, usable=tuple(FLAGS))[1].any()


def widened(hit, pixel, reach):
    """Pixels within reach of a hit, by trying all pairs."""
    at = np.argwhere(hit)
    everywhere = np.argwhere(np.ones_like(hit))
    far = np.linalg.norm(everywhere[:, None] - at[None], axis=2).min(1, initial=np.inf) * pixel
    return (far <= reach).reshape(hit.shape)


@pytest.mark.parametrize("reach", [0, 10, 15, 60, 1000])
def test_clouds_and_shadows_are_widened(product, reach):
    # A mask of 20 m that begins and ends elsewhere than the band, so that its pixels do not fit those of the band.
    mask = np.full((12, 14), 4, np.uint8)
    mask[2, 3], mask[8:10, 9], mask[5, 5] = 9, 3, 11
    one = product({"red": noise((20, 22))}, [(mask, grid(mask.shape, 20, LEFT - 25, TOP + 25))])
    row, col = np.mgrid[:20, :22]
    fine = mask[(row * 10 + 5 + 25) // 20, (col * 10 + 5 + 25) // 20]
    cloud, shadow = (widened(fine == n, 10, reach) for n in (9, 3))
    _, valid, flags = one.read(["red"], grid((20, 22)), dilation=reach)
    assert (((flags & CLOUD) != 0) == cloud).all()
    assert (((flags & SHADOW) != 0) == shadow).all()
    # Snow is not widened.
    assert (((flags & FLAGS["snow"]) != 0) == (fine == 11)).all()
    assert (valid == ~(cloud | shadow)).all()


def test_the_product_says_how_far_clouds_are_widened(product):
    mask = np.zeros((1, 30), np.uint8)
    mask[0, 15] = 9
    one = product({"red": noise((1, 30))}, [mask], dilation=30)
    assert (~one.read(["red"], grid((1, 30)))[1]).sum() == 7
    assert (~one.read(["red"], grid((1, 30)), dilation=0)[1]).sum() == 1


def test_clouds_beyond_a_window_reach_into_it(product):
    mask = np.zeros((90, 90), np.uint8)
    mask[20, 20] = 9
    one = product({"red": noise((90, 90))}, [mask], dilation=450)
    whole = one.read(["red"], grid((90, 90)))[1]
    window = (slice(60, 70), slice(15, 25))
    assert (one.read(["red"], grid((90, 90))[window])[1] == whole[window]).all()
    assert not whole[window].all()


@pytest.mark.parametrize("aside", [(5.0, 0.0), (0.0, -5.0), (5.0, 5.0), (2.5, -3.0)])
def test_grids_that_lie_aside(product, aside):
    source = grid((60, 50))
    one = product({"red": smooth(*centres(source)).astype(np.float32)}, scale=1.0)
    box = grid((40, 30), 10, LEFT + 100 + aside[0], TOP - 100 + aside[1])
    values, valid, flags = one.read(["red"], box)
    assert valid.all()
    assert not flags.any()
    np.testing.assert_allclose(values[0], smooth(*centres(box)), atol=2e-4)


def test_invalid_pixels_do_not_leak(product):
    source = grid((40, 40))
    image = smooth(*centres(source)).astype(np.float32)
    results = []
    for poison in (np.nan, 1e6):
        image[12:15, 20] = poison
        one = product({"red": image}, [np.where(image == poison, 9, 0).astype(np.uint8)], scale=1.0)
        results.append(one.read(["red"], grid((30, 30), 10, LEFT + 55, TOP - 55)))
    for values, valid, _ in results:
        # Centres lie on the corners of the image's pixels: all four around one count.
        bad = np.zeros((30, 30), bool)
        bad[12 - 6 : 15 - 5, 20 - 6 : 20 - 5 + 1] = True
        bad[12 - 6 : 15 - 5, 20 - 4 :] = False
        assert (valid == ~bad).all()
        np.testing.assert_allclose(
            values[0][valid], smooth(*centres(grid((30, 30), 10, LEFT + 55, TOP - 55)))[valid], atol=0.02
        )
    np.testing.assert_array_equal(results[0][0], results[1][0])


@pytest.mark.parametrize(
    "displacement",
    [
        Displacement.shift(3.7, -12.2),
        Displacement.shift(-30, 20),
        Displacement(((4.0, -6.0), (8.0, 2.0)), ((-3.0, 5.0), (1.0, 0.0)), (LEFT, TOP - 600, LEFT + 600, TOP)),
    ],
)
@pytest.mark.parametrize("aside", [0.0, 5.0])
def test_displacements_are_taken_out(product, displacement, aside):
    # What belongs at p is seen at p + d(p): the image shows the scene there. Solved for p by iteration.
    source = grid((70, 70))
    x, y = centres(source)
    px, py = x, y
    for _ in range(20):
        dx, dy = displacement.at(px, py)
        px, py = x - dx, y - dy
    mask = np.zeros((70, 70), np.uint8)
    mask[30:34, 40:45] = 9
    one = product({"red": smooth(px, py).astype(np.float32)}, [mask], scale=1.0)
    box = grid((50, 50), 10, LEFT + 100 + aside, TOP - 100 + aside)
    values, valid, flags = one.read(["red"], box, displacement)
    # Masks go along with the image.
    bx, by = centres(box)
    dx, dy = displacement.at(bx, by)
    col, row = ~source.affine * (bx + dx, by + dy)
    inside = (row > 30.01) & (row < 33.99) & (col > 40.01) & (col < 44.99)
    outside = (row < 29.99) | (row > 34.01) | (col < 39.99) | (col > 45.01)
    assert inside.any()
    assert ((flags & CLOUD) != 0)[inside].all()
    assert not flags[outside].any()
    # Beside what is masked, a cubic spline leans on values that are filled in.
    away = outside & ((row < 25) | (row > 39) | (col < 35) | (col > 50))
    truth = smooth(*centres(box))
    assert valid[away].all()
    np.testing.assert_allclose(values[0][away], truth[away], atol=2e-4)
    np.testing.assert_allclose(values[0][valid], truth[valid], atol=0.01)


@pytest.mark.parametrize("aside", [0.0, 5.0])
@pytest.mark.parametrize("mtf", [0.2, 0.4])
def test_large_pixels_see_through_the_psf(product, aside, mtf):
    # A wave of period T keeps mtf ** (2 * pixel / T) ** 2 of its height under a gaussian PSF.
    source = grid((200, 200), 5)
    period = 150.0

    def wave(x):
        return np.sin(2 * np.pi * (x - LEFT) / period)

    image = wave(centres(source)[0]).astype(np.float32)
    mask = np.zeros((200, 200), np.uint8)
    mask[90, 95] = 9
    one = product({"red": (image, source)}, [(mask, source)], scale=1.0)
    box = grid((60, 60), 15, LEFT + 30 + aside, TOP - 30 + aside)
    values, valid, _ = one.read(["red"], box, mtf=mtf)
    height = mtf ** ((2 * 15 / period) ** 2)
    inner = (slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(
        values[0][inner][valid[inner]], height * wave(centres(box)[0])[inner][valid[inner]], atol=0.01
    )
    # One cloudy pixel takes more than 1 % of the PSF of the large pixels around it, no further.
    bx, by = centres(box)
    far = np.hypot(bx - (LEFT + 95.5 * 5), by - (TOP - 90.5 * 5))
    assert not valid[far < 10].any()
    assert valid[far > 45].all()


def test_bands_may_have_their_own_mtf(product):
    one = product({"red": noise((60, 60)), "nir": noise((60, 60), 1)})
    box = grid((16, 16), 30, LEFT + 60, TOP - 60)
    both = one.read(["red", "nir"], box, mtf=[0.1, 0.4])[0]
    np.testing.assert_array_equal(both[0], one.read(["red"], box, mtf=0.1)[0][0])
    np.testing.assert_array_equal(both[1], one.read(["nir"], box, mtf=0.4)[0][0])


def test_another_crs(product):
    source = grid((80, 80))
    one = product({"red": smooth(*centres(source)).astype(np.float32)}, scale=1.0)
    to_32632 = Transformer.from_crs("EPSG:32631", "EPSG:32632", always_xy=True)
    left, top = to_32632.transform(LEFT + 300, TOP - 300)
    box = grid((30, 30), 10, round(left), round(top), "EPSG:32632")
    values, valid, _ = one.read(["red"], box)
    x, y = to_32632.transform(*centres(box), direction="INVERSE")
    assert valid.all()
    np.testing.assert_allclose(values[0], smooth(x, y), atol=2e-4)


FIELD = Displacement(((4.0, -6.0), (8.0, 2.0)), ((-3.0, 5.0), (1.0, 0.0)), (LEFT, TOP - 900, LEFT + 900, TOP))
CASES = {
    "own grid": ({}, Displacement()),
    "half a pixel": ({"left": LEFT + 5, "top": TOP - 5}, Displacement()),
    "shift": ({}, Displacement.shift(3.3, -21.0)),
    "field": ({}, FIELD),
    "larger": ({"pixel": 15.0, "shape": (60, 60)}, Displacement.shift(2.0, 2.0)),
    "larger, field": ({"pixel": 25.0, "shape": (36, 36)}, FIELD),
    "smaller": ({"pixel": 5.0, "shape": (180, 180)}, Displacement()),
}


@pytest.mark.parametrize("case", CASES)
def test_windows_equal_the_whole(product, case):
    options, displacement = CASES[case]
    rng = np.random.default_rng(3)
    red, nir = noise((90, 90)), noise((45, 45), 1)
    red[rng.random((90, 90)) < 0.02] = -10000
    mask = rng.choice(np.array([4, 4, 4, 9, 3, 11], np.uint8), (45, 45), p=[0.5, 0.3, 0.18, 0.005, 0.005, 0.01])
    half = grid((45, 45), 20)
    one = product({"red": red, "nir": (nir, half)}, [(mask, half)], dilation=25)
    box = grid(**{"shape": (90, 90)} | options)
    values, valid, flags = one.read(["red", "nir"], box, displacement)
    assert 0.1 < valid.mean() < 0.95

    @settings(max_examples=8)
    @given(st.data())
    def check(data):
        window = ()
        for n in box.shape:
            start = data.draw(st.integers(0, n - 1))
            window += (slice(start, data.draw(st.integers(start + 1, n))),)
        part = one.read(["red", "nir"], box[window], displacement)
        np.testing.assert_array_equal(part[1], valid[window])
        np.testing.assert_array_equal(part[2], flags[window])
        np.testing.assert_allclose(part[0], values[(slice(None), *window)], atol=2e-5)

    check()


def test_beyond_the_image(product):
    image = noise((20, 20))
    one = product({"red": image}, [np.zeros((20, 20), np.uint8)], dilation=60)
    for left in (LEFT - 5000, LEFT - 300, LEFT + 200):
        values, valid, flags = one.read(["red"], grid((6, 5), 10, left))
        assert values.shape == (1, 6, 5)
        assert not valid.any()
        assert np.isnan(values).all()
        assert (flags == NODATA).all()
    # Half in, half out.
    values, valid, flags = one.read(["red"], grid((20, 10), 10, LEFT - 50))
    assert (valid == (np.arange(10) >= 5)).all()
    np.testing.assert_allclose(values[0, :, 5:], image[:, :5] * 1e-4, rtol=1e-6)
    assert (flags[:, :5] == NODATA).all()


def test_a_mask_smaller_than_the_image(product):
    # Nothing is known beyond it.
    one = product({"red": noise((10, 10))}, [np.full((5, 10), 9, np.uint8)])
    assert (one.read(["red"], grid((10, 10)))[1] == (np.arange(10) >= 5)[:, None]).all()


def test_bands_are_found_by_both_names(product):
    one = product({"red": noise((6, 6)), "nir": (noise((3, 3)), grid((3, 3), 20))})
    assert one.band("B2") == one.band("nir")
    assert one.box(["nir"]) == grid((3, 3), 20)
    assert one.box(["nir", "red"]) == grid((6, 6))
    with pytest.raises(InputError, match=r"has no band blue \(it has red \(B1\), nir \(B2\)\)"):
        one.read(["red", "blue"], grid((6, 6)))


def test_damaged_files_are_named(product, tmp_path):
    one = product({"red": noise((50, 50))})
    file = tmp_path / "red.tif"
    file.write_bytes(file.read_bytes()[:800])
    with pytest.raises(InputError, match=r"red.tif: cannot be read"):
        one.read(["red"], grid((50, 50)))
    file.unlink()
    with pytest.raises(InputError, match="does not exist"):
        one.read(["red"], grid((50, 50)))


def test_grids_of_files(tif, tmp_path):
    path = tif(tmp_path / "a.tif", noise((1, 4, 5)))
    assert grid_of(str(path), path) == grid((4, 5), left=500000.0, top=4000000.0)
    path = tif(tmp_path / "b.tif", noise((1, 4, 5)), crs=None, transform=Affine.identity())
    with pytest.raises(InputError, match=r"b.tif: has no CRS or geotransform"):
        grid_of(str(path), path)


def test_overview(product):
    image = noise((120, 120))
    image[:, :60] = -10000
    mask = np.zeros((60, 60), np.uint8)
    mask[:30] = 9
    one = product({"red": image}, [(mask, grid((60, 60), 20))])
    there, valid = one.overview("red", grid((12, 14), 100))
    seen = np.arange(14) * 100 + 50
    assert (there == ((seen > 600) & (seen < 1200))).all()
    assert (valid == (there & (np.arange(12) >= 6)[:, None])).all()
    assert (one.overview("red", grid((12, 14), 100), usable=["cloud"])[1] == there).all()


def test_products_travel_to_workers(product):
    one = product({"red": noise((20, 20))}, [np.zeros((20, 20), np.uint8)])
    values, valid, flags = pickle.loads(pickle.dumps(one)).read(["red"], grid((20, 20)))
    np.testing.assert_array_equal(values, one.read(["red"], grid((20, 20)))[0])
    assert valid.all()
    assert not flags.any()
