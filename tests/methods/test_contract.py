"""What every fusion method promises, whatever it computes."""

import dataclasses
import pickle
from itertools import pairwise

import numpy as np
import pytest

from sitsfuse.core.grid import GridPair
from sitsfuse.core.loading import read
from sitsfuse.core.series import geobox
from sitsfuse.core.site import group, pair_of
from sitsfuse.core.tiling import tile_window
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods import METHODS, Tile, find_method, make_method
from sitsfuse.operators.updown import down
from sitsfuse.runtime.memo import Memo
from tests.helpers import scenes

pytestmark = [pytest.mark.filterwarnings("error", "ignore::PendingDeprecationWarning"), pytest.mark.spread]

ALL = sorted(METHODS)
GUIDED = [name for name in ALL if find_method(name).min_guides]
# Where no guide is valid, carn+ddi has the target super-resolved.
BY_GUIDES_ALONE = [name for name in GUIDED if name != "carn+ddi"]
LINEAR_IN_TIME = ("temporal", "difference", "ddi", "carn+ddi")
# Methods that read no guide see what the target sees and nothing else.
BY_TARGET_ALONE = [name for name in ALL if name not in GUIDED]
TARGETED = [name for name in ALL if name not in ("temporal", "spatial")]
GRIDS = {
    "x5": {},
    "x2.5": {"ratio": 2.5},
    "x1.5 shifted": {"ratio": 1.5, "offset": (1.3, -0.4), "n": 50},
    "x5 shifted": {"ratio": 5.0, "offset": (-2.3, 1.7), "n": 62},
    "x4 on a part": {"ratio": 4.0, "offset": (0.0, 33.0), "n": 64},
    "x5/3": {"ratio": 5 / 3, "n": 66},
}
SMALL = ("x5 shifted", "x1.5 shifted", "x4 on a part")
"""Grids that are cut into small tiles, too."""
ONE = [scenes.day(14)]


def run(tree, name, *, dates=ONE, **options):
    given = {k: options.pop(k) for k in ("tile", "weights", "workers") if k in options}
    return fuse(tree, method=name, options={**scenes.quick(name, tree), **options}, dates=dates, **given)


def assert_same(a, b, atol=0.0):
    assert set(a.data_vars) == set(b.data_vars)
    for name in a.data_vars:
        if a[name].dtype == bool or not atol:
            np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=name)
        else:
            np.testing.assert_allclose(a[name].values, b[name].values, rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", ALL)
def test_tiled_is_whole(name, grid):
    tree = scenes.site(**GRIDS[grid], seed=2)
    whole = run(tree, name, tile=4096)
    assert whole["valid"].values.any()
    # A tile of these networks needs more than such small images hold; their own tests cut larger ones.
    for tile in (17, 32) if grid in SMALL and not name.startswith("carn") else (32,):
        assert_same(run(tree, name, tile=tile), whole, atol=1e-6)


@pytest.mark.parametrize("mtf", [0.19, 0.1])
@pytest.mark.parametrize("name", [name for name in TARGETED if not name.startswith("carn")])
def test_tiled_is_whole_under_a_blurry_sensor(name, mtf):
    tree = scenes.site(n=150, ratio=5, mtf=mtf, cloudy=0.3, seed=4)
    assert_same(run(tree, name, tile=32), run(tree, name, tile=4096), atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_lazy_is_eager(name):
    tree = scenes.site(seed=3)
    # A date that the target has, and one that it lacks.
    dates = [scenes.day(14), scenes.day(20)]
    assert_same(run(scenes.chunked(tree), name, dates=dates, tile=32), run(tree, name, dates=dates, tile=32))


@pytest.mark.parametrize("wild", [np.nan, 1e6, -1e6])
@pytest.mark.parametrize("name", ALL)
def test_invalid_pixels_never_leak(name, wild):
    tree = scenes.site(seed=5)
    poisoned = scenes.change(tree, guide=lambda s: scenes.poison(s, wild), target=lambda s: scenes.poison(s, wild))
    dates = [scenes.day(14), scenes.day(20)]
    assert_same(run(poisoned, name, dates=dates), run(tree, name, dates=dates))


@pytest.mark.parametrize("name", ALL)
def test_what_is_not_a_number_is_not_valid(name):
    tree = scenes.site(seed=5)

    def spoil(declare_valid):
        def change(series):
            values, valid = series["reflectance"].values.copy(), series["valid"].values.copy()
            values[:, 0, 3:6, 4:9] = np.nan  # one band is enough
            valid[:, 3:6, 4:9] = declare_valid
            return series.assign(reflectance=(series["reflectance"].dims, values), valid=(series["valid"].dims, valid))

        return change

    lying, honest = (scenes.change(tree, guide=spoil(v), target=spoil(v)) for v in (True, False))
    assert_same(run(lying, name), run(honest, name))


@pytest.mark.parametrize("name", ALL)
def test_a_constant_scene_stays_constant(name):
    levels = np.array([0.12, 0.34], np.float32)[:, None, None]

    def flat(series):
        even = series.assign(reflectance=series["reflectance"] * 0 + levels)
        return scenes.poison(even, 1e6)

    out = run(scenes.change(scenes.site(seed=6), guide=flat, target=flat), name)
    keep = np.broadcast_to(out["valid"].values[:, None], out["reflectance"].shape)
    wanted = np.broadcast_to(levels, out["reflectance"].shape)
    assert keep.any()
    np.testing.assert_allclose(out["reflectance"].values[keep], wanted[keep], rtol=0, atol=2e-6)


def misfit(tree, out):
    """Root mean square of P↓ − C, in the middle of the image."""
    pair = pair_of(tree)
    image = out.isel(time=0)
    low, ok = down(image["reflectance"].values, image["valid"].values, pair)
    target = group(tree, "target").sel(time=out["time"].values[0])
    difference = (low - target["reflectance"].values)[:, 2:-2, 2:-2]
    assert ok[2:-2, 2:-2].all()
    return float(np.sqrt((difference**2).mean()))


@pytest.mark.parametrize(
    ("name", "options"),
    [("difference", {"anchor": "guides"}), ("ddi", {"strength": 1.0}), ("carn+ddi", {"strength": 1.0})],
)
def test_degrading_the_prediction_gives_the_target(name, options):
    # What the target shows beyond the guides: sharp parcels, then a smooth haze that LR pixels can resolve.
    tree = scenes.site(n=80, cloudy=0.0, seed=7, guides=(0, 40))
    before, after = misfit(tree, run(tree, "temporal")), misfit(tree, run(tree, name, **options))
    assert before > 0.01
    assert after < 0.65 * before
    haze = (0.03 * np.sin(np.linspace(0, 3, 16))[:, None] * np.cos(np.linspace(0, 3, 16))).astype(np.float32)
    hazy = scenes.change(
        scenes.site(n=80, cloudy=0.0, targets=(0, 14, 20)),
        guide=lambda s: s.assign(reflectance=s["reflectance"] * 0 + s["reflectance"][2]),
        target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + s["reflectance"][2] + haze),
    )
    assert misfit(hazy, run(hazy, "temporal")) > 0.01
    assert misfit(hazy, run(hazy, name, **options)) < 0.0005


def test_iterations_tighten_the_match_with_the_target():
    tree = scenes.site(n=80, cloudy=0.0, noise=0.01, seed=7)
    errors = [misfit(tree, run(tree, "ddi", strength=1.0, iterations=i)) for i in (0, 1, 2, 4)]
    assert all(later < 0.75 * earlier for earlier, later in pairwise(errors)), errors


@pytest.mark.parametrize("name", BY_GUIDES_ALONE)
def test_a_pixel_without_any_guide_is_invalid(name):
    tree = scenes.site(seed=8)
    gap = np.zeros((60, 60), bool)
    gap[20:31, 7:19] = True
    holed = scenes.change(tree, guide=lambda s: s.assign(valid=s["valid"] & ~gap))
    out = run(holed, name, weights=name == "ddi")
    any_guide = group(holed, "guide")["valid"].values.any(axis=0)
    assert not any_guide[gap].any()
    np.testing.assert_array_equal(out["valid"].values[0], any_guide)
    if name == "ddi":
        assert not out["weight"].values[0][..., gap].any()


@pytest.mark.parametrize("name", GUIDED)
def test_without_a_clear_target_the_guides_fill(name):
    tree = scenes.site(seed=9)
    blind = scenes.change(
        tree, target=lambda s: s.assign(valid=s["valid"] & False, reflectance=s["reflectance"] * np.float32(np.nan))
    )
    out = run(blind, name)
    np.testing.assert_array_equal(out["filled"].values, out["valid"].values)
    np.testing.assert_array_equal(out["valid"].values[0], group(tree, "guide")["valid"].values.any(axis=0))
    # Whatever their weights: between the least and the largest of the clear guides.
    guide = group(tree, "guide")
    clear = guide["reflectance"].where(guide["valid"])
    assert (out["reflectance"] >= clear.min("time") - 1e-6).where(out["valid"], True).all()
    assert (out["reflectance"] <= clear.max("time") + 1e-6).where(out["valid"], True).all()
    if name in LINEAR_IN_TIME:
        np.testing.assert_allclose(
            out["reflectance"].values, run(tree, "temporal")["reflectance"].values, rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("name", BY_TARGET_ALONE)
def test_without_guides_and_a_clear_target_there_is_nothing(name):
    tree = scenes.change(scenes.site(seed=9), target=lambda s: s.assign(valid=s["valid"] & False))
    out = run(tree, name)
    assert not out["valid"].values.any()
    assert not out["filled"].values.any()
    assert np.isnan(out["reflectance"].values).all()
    assert np.isnan(out["uncertainty"].values).all()


@pytest.mark.parametrize("name", TARGETED)
def test_filled_is_where_the_target_is_cloudy(name):
    tree = scenes.site(seed=10, guides=(0, 10, 20, 30))
    out = run(tree, name)
    clear = group(tree, "target").sel(time=np.datetime64(ONE[0]))["valid"].values.repeat(5, 0).repeat(5, 1)
    filled, valid = out["filled"].values[0], out["valid"].values[0]
    assert not (filled & ~valid).any()
    assert filled[~clear & valid].all()
    # A clear LR pixel is of no use where its footprint lacks guides; where all guides are there it counts.
    whole = group(tree, "guide")["valid"].values.all(axis=0)
    safe = whole.copy()
    for shift in (*range(-12, 0), *range(1, 13)):
        safe &= np.roll(whole, shift, 0) & np.roll(whole, shift, 1)
    assert not filled[clear & safe].any()


@pytest.mark.parametrize("name", ALL)
def test_nan_exactly_where_invalid_and_uncertainty_is_a_standard_deviation(name):
    tree = scenes.site(seed=11, guides=(0, 30), cloudy=0.6, offset=(4.0, -1.0))
    out = run(tree, name, dates=[scenes.day(5), scenes.day(20)])
    valid = np.broadcast_to(out["valid"].values[:, None], out["reflectance"].shape)
    assert valid.any()
    assert not valid.all()
    np.testing.assert_array_equal(np.isnan(out["reflectance"].values), ~valid)
    np.testing.assert_array_equal(np.isfinite(out["uncertainty"].values), valid)
    assert (out["uncertainty"].values[valid] >= 0).all()
    assert out["reflectance"].dtype == out["uncertainty"].dtype == np.float32
    assert out["valid"].dtype == out["filled"].dtype == bool


@pytest.mark.parametrize("name", ALL)
def test_the_predictor_survives_pickling(name):
    tree = scenes.site(seed=12)
    pair = pair_of(tree)
    method = make_method(name, scenes.quick(name, tree))
    predictor = method.study(tree).fit(np.datetime64(ONE[0]))
    window = tile_window(pair, (slice(10, 40), slice(5, 50)), method.halo(pair.ratio))
    guide, target = group(tree, "guide"), group(tree, "target")
    tile = Tile(
        read(guide, window.block, predictor.guides),
        read(target, window.lr, predictor.targets),
        pair.crop(window.block, window.lr),
    )
    fresh = pickle.loads(pickle.dumps(predictor))
    first = predictor(tile)
    used = pickle.loads(pickle.dumps(predictor))
    for other in (fresh, used):
        assert_same(other(tile), first)
        assert other.choices == predictor.choices
    assert GridPair(geobox(first), pair.lr).hr == tile.grids.hr


def tile_for(tree, method, predictor):
    pair = pair_of(tree)
    window = tile_window(pair, (slice(10, 40), slice(5, 50)), method.halo(pair.ratio))
    guide, target = group(tree, "guide"), group(tree, "target")
    images = read(guide, window.block, predictor.guides), read(target, window.lr, predictor.targets)
    return Tile(*images, pair.crop(window.block, window.lr))


@pytest.mark.parametrize("name", ALL)
def test_a_study_serves_many_dates_as_a_fresh_one_serves_each(name):
    """Whether or not it has been used before, and wherever it has been."""
    tree = scenes.site(seed=12, targets=(0, 5, 14, 33))
    method = make_method(name, scenes.quick(name, tree))
    study = method.study(tree)
    # A date that a guide has too, two that it has not, one that the target lacks.
    dates = [np.datetime64(scenes.day(d), "ns") for d in (0, 14, 33, 20)]
    fresh = [method.study(tree).fit(date) for date in dates]
    used = [study.fit(date) for date in dates]
    travelled = pickle.loads(pickle.dumps(study))
    for date, one, other in zip(dates, fresh, used, strict=True):
        tile = tile_for(tree, method, one)
        wanted = one(tile)
        for predictor in (other, study.fit(date), travelled.fit(date)):
            np.testing.assert_array_equal(predictor.guides, one.guides)
            np.testing.assert_array_equal(predictor.targets, one.targets)
            assert predictor.choices == one.choices
            assert_same(predictor(tile), wanted)


@pytest.mark.parametrize("name", ALL)
def test_a_tile_predicted_for_many_dates_is_that_of_each_date(name):
    """Tiles of several dates in the same place share what they make of the guides."""
    tree = scenes.site(seed=12, guides=(0, 13, 20, 34), targets=(0, 5, 14, 33))
    method = make_method(name, scenes.quick(name, tree))
    study = method.study(tree)
    memo = Memo()
    for day in (14, 0, 33, 20):
        predictor = study.fit(np.datetime64(scenes.day(day), "ns"))
        tile = tile_for(tree, method, predictor)
        assert_same(predictor(dataclasses.replace(tile, memo=memo)), predictor(tile))


@pytest.mark.parametrize("name", ALL)
def test_a_predictor_does_not_change_its_tile(name):
    tree = scenes.site(seed=12)
    before = {n: group(tree, n).copy(deep=True) for n in tree.children}
    run(tree, name)
    for n, series in before.items():
        assert series.identical(group(tree, n)), n


def test_two_guides_of_one_day_are_both_read():
    tree = scenes.site(guides=(0, 20), targets=(0, 10, 20), cloudy=0.0)
    times = group(tree, "guide")["time"].values
    hour = np.timedelta64(1, "h")
    twice = scenes.change(
        tree, guide=lambda s: s.assign_coords(time=np.array([times[0], times[0] + 10 * hour], "datetime64[ns]"))
    )
    out = run(twice, "temporal", dates=[scenes.day(20)])
    np.testing.assert_array_equal(out["reflectance"].values[0], group(tree, "guide")["reflectance"].values[1])
