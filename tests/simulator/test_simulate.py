"""The simulator: what it promises of its truth, its sensors, its clouds and its land."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle

import numpy as np
import pytest

from sitsfuse import simulator as package
from sitsfuse.core.checks import check
from sitsfuse.core.series import geobox
from sitsfuse.core.site import group, pair_of
from sitsfuse.errors import InputError
from sitsfuse.operators.matrices import psf_sigma
from sitsfuse.operators.updown import down
from sitsfuse.simulator import SimulationConfig, simulate
from sitsfuse.simulator.clouds import MOST, covers
from sitsfuse.simulator.land.covers import COVER, COVERS
from sitsfuse.simulator.land.phenology import Weather, appear, draw_units, draw_weather, moisture
from sitsfuse.simulator.scene import make_scene

PERFECT = {
    "cloud_cover": 0.0, "guide_noise": 0.0, "target_noise": 0.0, "gain": 0.0, "offset": 0.0,
    "guide_shift": 0.0, "target_shift": 0.0,
}  # fmt: skip
SMALL = {"size": 96, "guides": 4, "targets": 3}


@pytest.fixture(scope="module")
def default():
    return simulate(size=180)


def values(site, role):
    return group(site, role)["reflectance"].values


def valid(site, role):
    return group(site, role)["valid"].values


def ndvi(image):
    return (image[..., 3, :, :] - image[..., 2, :, :]) / (image[..., 3, :, :] + image[..., 2, :, :])


# The site


def test_default_site_follows_the_data_model(default):
    for role in ("guide", "target", "reference"):
        series = check(group(default, role), role)
        assert list(series["band"].values) == ["blue", "green", "red", "nir"]
        assert np.isfinite(series["reflectance"].values).all()
        assert set(series.attrs) >= {"sensor", "mtf", "history", "provenance"}
    assert default.attrs["ratio"] == 5
    assert geobox(group(default, "reference")) == geobox(group(default, "guide"))
    assert geobox(group(default, "guide")).crs.epsg == 32631
    config = json.loads(group(default, "guide").attrs["provenance"])["simulation"]
    assert SimulationConfig(**config) == SimulationConfig(size=180)


def test_reference_is_valid_everywhere_at_the_targets_dates(default):
    assert valid(default, "reference").all()
    np.testing.assert_array_equal(group(default, "reference")["time"], group(default, "target")["time"])


def test_dates():
    config = SimulationConfig()
    assert config.guide_days == list(range(0, 241, 20))
    assert len(config.target_days) == 12
    assert not set(config.target_days) & set(config.guide_days)
    assert all(d % 5 == 0 and 0 < d < 240 for d in config.target_days)
    gaps = np.diff([0, *config.target_days, 240])
    assert gaps.max() <= 25
    # Every distance to the next guide occurs.
    assert {d % 20 for d in config.target_days} == {5, 10, 15}
    assert SimulationConfig(targets=36).target_days == config.possible_target_days
    assert len(set(SimulationConfig(targets=35).target_days)) == 35
    assert len(SimulationConfig(targets=1).target_days) == 1


def test_deterministic():
    first = simulate(**SMALL)
    make_scene.cache_clear()
    package.scene._land.cache_clear()
    second = simulate(**SMALL)
    for role in ("guide", "target", "reference"):
        assert group(first, role).identical(group(second, role))


def test_seeds_differ():
    assert np.abs(values(simulate(**SMALL), "reference") - values(simulate(**SMALL, seed=1), "reference")).mean() > 0.01


def test_lazy_gives_the_same_numbers():
    eager, lazy = simulate(**SMALL, ratio=2.5), simulate(**SMALL, ratio=2.5, lazy=True)
    for role in ("guide", "target", "reference"):
        series = group(lazy, role)
        assert series["reflectance"].chunks is not None
        assert series["reflectance"].chunks[0] == (1,) * series.sizes["time"]
        assert all(len(c) == 1 for c in series["reflectance"].chunks[1:])
        assert group(eager, role)["reflectance"].chunks is None
        assert series.compute().identical(group(eager, role))


def test_large_scenes_are_lazy(monkeypatch):
    monkeypatch.setattr(package.series, "LARGEST_EAGER", 64)
    assert group(simulate(**SMALL), "guide")["valid"].chunks is not None


def test_scene_travels_as_its_options():
    scene = make_scene(SimulationConfig(**SMALL))
    packed = pickle.dumps(scene)
    assert len(packed) < 2000
    make_scene.cache_clear()
    np.testing.assert_array_equal(pickle.loads(packed).guide(1), scene.guide(1))


def test_land_does_not_depend_on_the_sensors():
    one = simulate(**SMALL, ratio=2.0, cloud_cover=0.6, target_noise=0.01)
    other = simulate(**SMALL, ratio=6.0, cloud_cover=0.0)
    np.testing.assert_array_equal(values(one, "reference"), values(other, "reference"))


def test_farmland_stays_as_it_is():
    """Networks were trained on these images and figures rest on them: sums of an earlier version's values."""
    site = simulate(size=96, guides=4, targets=3, seed=5, start="2019-05-02", cloud_cover=0.4)
    expected = {
        "guide": (-0.00635412570906826, [0.125878515, 0.148471003, 0.153907876, 0.311215049], 22349),
        "target": (-0.05748554884569206, [0.067096896, 0.091916264, 0.098093226, 0.271503908], 656),
        "reference": (-0.009088455419301408, [0.049938007, 0.079299917, 0.084161179, 0.276921036], 27648),
    }
    for role, (mixed, means, clear) in expected.items():
        image = values(site, role).astype(float)
        # A sum that also changes where values trade places.
        assert image.ravel() @ np.cos(0.7 * np.arange(image.size)) / np.sqrt(image.size) == pytest.approx(
            mixed, abs=2e-6
        )
        np.testing.assert_allclose(image.mean((0, 2, 3)), means, atol=2e-8)
        assert valid(site, role).sum() == clear


# The sensors


@pytest.mark.parametrize("ratio", [1.5, 2.5, 3.0, 5.0, 8.0, 16.0])
@pytest.mark.parametrize("grid_offset", [(0.0, 0.0), (1.3, -0.5)])
def test_perfect_target_is_the_degraded_reference(ratio, grid_offset):
    site = simulate(**SMALL, **PERFECT, ratio=ratio, grid_offset=grid_offset, target_mtf=0.2)
    pair = pair_of(site)
    assert pair.ratio == pytest.approx(ratio)
    assert (pair.y.offset, pair.x.offset) == pytest.approx(grid_offset)
    expected, _ = down(values(site, "reference"), valid(site, "reference"), pair, 0.2)
    np.testing.assert_allclose(values(site, "target"), expected, rtol=1e-5)
    assert valid(site, "target").all()


def test_perfect_guide_is_the_land_through_the_psf():
    """Against a plain sum over the PSF, integrated over pixels, in the interior."""
    mtf = 0.2
    scene = make_scene(SimulationConfig(**SMALL, **PERFECT, guide_mtf=mtf))
    sharp = make_scene(SimulationConfig(**SMALL, **PERFECT, guide_mtf=0.999)).guide(2)
    sigma = psf_sigma(mtf)
    reach = 4
    steps = np.arange(-reach, reach + 1)

    def cumulative(t):
        return 0.5 * (1 + math.erf(t / sigma / math.sqrt(2)))

    kernel = np.array([cumulative(s + 0.5) - cumulative(s - 0.5) for s in steps])
    expected = np.zeros((4, 96 - 2 * reach, 96 - 2 * reach))
    for a, wa in zip(steps, kernel, strict=True):
        for b, wb in zip(steps, kernel, strict=True):
            expected += wa * wb * sharp[:, reach + a : 96 - reach + a, reach + b : 96 - reach + b]
    # ↓ cuts the PSF at three standard deviations.
    np.testing.assert_allclose(scene.guide(2)[:, reach:-reach, reach:-reach], expected, atol=2e-3)


def test_noise_and_calibration_of_the_target():
    quiet = simulate(size=240, **PERFECT, ratio=2.5, guides=3, targets=2)
    noisy = simulate(size=240, **{**PERFECT, "target_noise": 0.004}, ratio=2.5, guides=3, targets=2)
    excess = (values(noisy, "target") - values(quiet, "target")).std()
    signal = values(quiet, "target")
    assert excess == pytest.approx(0.004 * np.sqrt(1 + np.mean((signal / 0.2) ** 2)), rel=0.03)
    biased = group(
        simulate(size=240, **{**PERFECT, "gain": 0.05, "offset": 0.01}, ratio=2.5, guides=3, targets=2), "target"
    )
    gain, offset = (biased[n].values[:, :, None, None] for n in ("gain", "offset"))
    assert 0.01 < np.abs(gain - 1).mean() < 0.15
    np.testing.assert_allclose(biased["reflectance"].values, gain * signal + offset, atol=1e-6)


@pytest.mark.parametrize("role", ["guide", "target"])
def test_shift_moves_what_an_image_shows_by_whole_pixels(role):
    """A displacement of exactly (2, -3) HR pixels, against an undisplaced image read elsewhere."""
    config = SimulationConfig(**SMALL, **PERFECT, ratio=2.0)
    still, moved = make_scene(config), dataclasses.replace(make_scene(config))
    shift = np.tile([2.0, -4.0], (4, 1))
    moved.__dict__[f"{role}_shift"] = shift
    a, b = (getattr(s, role)(1) for s in (still, moved))
    dy, dx = (2, -4) if role == "guide" else (1, -2)
    np.testing.assert_allclose(b[:, 12:-12, 12:-12], np.roll(a, (dy, dx), (1, 2))[:, 12:-12, 12:-12], atol=1e-6)


def test_shift_coordinates_are_metres_on_the_map():
    config = SimulationConfig(**SMALL, **{**PERFECT, "guide_shift": 0.4}, pixel=10.0)
    scene, site = make_scene(config), simulate(config)
    guide = group(site, "guide")
    np.testing.assert_allclose(guide["shift_x"], 10 * scene.guide_shift[:, 1])
    np.testing.assert_allclose(guide["shift_y"], -10 * scene.guide_shift[:, 0])
    assert np.abs(guide["shift_x"].values).max() > 1
    # To first order, what is displaced by s changes by -s · gradient.
    still = simulate(config, guide_shift=0.0)
    change = (guide["reflectance"] - group(still, "guide")["reflectance"]).values
    gradient_y, gradient_x = np.gradient(values(still, "guide"), 10.0, axis=(2, 3))
    expected = -(
        guide["shift_x"].values[:, None, None, None] * gradient_x
        - guide["shift_y"].values[:, None, None, None] * gradient_y
    )
    for i in range(4):
        slope = (change[i] * expected[i]).sum() / (expected[i] ** 2).sum()
        assert slope == pytest.approx(1, abs=0.35)


def test_large_shifts_leave_no_holes():
    site = simulate(**SMALL, **{**PERFECT, "guide_shift": 2.0, "target_shift": 2.0})
    assert values(site, "guide").min() > 0.002
    assert values(site, "target").min() > 0.002


# The clouds


@pytest.mark.parametrize("cover", [0.1, 0.3, 0.6])
def test_cloud_cover(cover):
    site = simulate(size=140, cloud_cover=cover, missed_clouds=0.0)
    for role in ("guide", "target"):
        masked = 1 - valid(site, role).mean(axis=(1, 2))
        assert masked.mean() == pytest.approx(cover, abs=0.03)
        assert masked.min() < cover / 2
        assert masked.max() > min(1.4 * cover, 0.8)
        assert masked.max() <= MOST + 0.02


def test_covers_are_never_out_of_range():
    for mean in (0.0, 1e-4, 0.05, 0.3, 0.75):
        for count in (1, 2, 13, 100):
            share = covers(0, "guide", count, mean)
            assert share.min() >= 0
            assert share.max() <= MOST
            assert share.mean() == pytest.approx(mean, rel=0.02, abs=1e-12)


def test_clouds_hide_bright_values_and_shadows_dark_ones():
    options = {**PERFECT, "missed_clouds": 0.0}
    clear = simulate(size=200, guides=6, targets=6, **options)
    cloudy = simulate(size=200, guides=6, targets=6, **{**options, "cloud_cover": 0.4})
    for role in ("guide", "target"):
        seen, true, ok = values(cloudy, role), values(clear, role), valid(cloudy, role)
        mask = np.broadcast_to(ok[:, None], seen.shape)
        # A mask that misses nothing leaves exactly the cloudless values.
        np.testing.assert_array_equal(seen[mask], true[mask])
        hidden = (seen - true)[:, 0][~ok]
        assert (hidden > 0.2).mean() > 0.1
        assert (hidden < -0.005).mean() > 0.05


def test_missed_clouds():
    share = 0.1
    options = {**PERFECT, "cloud_cover": 0.4}
    clear = values(simulate(size=200, guides=6, targets=6, **PERFECT), "guide")
    site = simulate(size=200, guides=6, targets=6, **options, missed_clouds=share)
    ok = valid(site, "guide")
    # In blue, a cloud brightens and a shadow darkens.
    cloudy = (values(site, "guide") - clear)[:, 0] > 1e-3
    assert (cloudy & ok).sum() / cloudy.sum() == pytest.approx(share, abs=0.05)
    assert (cloudy & ok).any()
    assert np.abs((values(site, "guide") - clear)[:, 0][ok]).max() > 0.05


# The land


def test_reflectances_are_plausible(default):
    image = values(default, "reference")
    assert image.min() > 0
    assert image.max() < 0.8
    mean = image.mean(axis=(0, 2, 3))
    assert np.all((mean > [0.03, 0.05, 0.05, 0.2]) & (mean < [0.09, 0.12, 0.16, 0.4]))
    index = ndvi(image)
    assert np.quantile(index, 0.98) > 0.75
    assert np.quantile(index, 0.05) < 0.3
    # Neighbours resemble each other, far pixels do not: there are parcels.
    nir = image[3, 3] - image[3, 3].mean()
    assert (nir[:, 1:] * nir[:, :-1]).mean() > 0.8 * nir.var()
    assert abs((nir[:, 100:] * nir[:, :-100]).mean()) < 0.5 * nir.var()


def test_harvests_are_abrupt():
    """Somewhere, NDVI falls by more than 0.4 within ten days, between two guides, over a parcel's area."""
    site = simulate(size=300, seed=2, **PERFECT, targets=36, lazy=True)
    reference = group(site, "reference")
    index = ndvi(reference["reflectance"].values)
    days = (reference["time"].values - reference["time"].values[0]) / np.timedelta64(1, "D")
    step = np.diff(index, axis=0)[np.diff(days) <= 10]
    # 1 ha is 400 pixels of 5 m.
    assert (step < -0.4).sum(axis=(1, 2)).max() > 400


def one_of(name, count=200):
    cover = np.full(count, COVER[name], np.uint8)
    return draw_units(3, cover, np.zeros((count, 2), np.float32))


def unit_ndvi(units, weather, day):
    base = appear(units, weather, day).base
    return (base[3] - base[2]) / (base[3] + base[2])


@pytest.mark.parametrize(
    ("name", "green", "not_green"),
    [("wheat", 135, 250), ("rapeseed", 120, 215), ("maize", 215, 100), ("sunflower", 186, 110), ("deciduous", 200, 30)],
)
def test_seasons(name, green, not_green):
    units, weather = one_of(name), draw_weather(0, 365)
    assert np.median(unit_ndvi(units, weather, green)) > 0.75
    assert np.median(unit_ndvi(units, weather, not_green)) < 0.5


def test_evergreen_and_water_have_no_season():
    weather = draw_weather(0, 365)
    for name, low, high in (("evergreen", 0.6, 0.9), ("water", -0.7, -0.1)):
        for day in (20, 110, 200, 290):
            assert low < np.median(unit_ndvi(one_of(name), weather, day)) < high


def test_year_ends_where_the_next_begins():
    for cover in COVERS:
        units, weather = one_of(cover.name, 50), draw_weather(0, 400)
        before, after = appear(units, weather, 364.9).base, appear(units, weather, 365.1).base
        assert np.abs(after - before).max() < 0.06, cover.name


def test_without_rain_harvests_and_cuts_nothing_jumps():
    dry = Weather(np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros((0, 3), np.float32))
    cover = np.repeat(np.arange(len(COVERS), dtype=np.uint8), 30)
    units = draw_units(3, cover, np.zeros((cover.size, 2), np.float32))
    for day in range(5, 360, 3):
        today, tomorrow = appear(units, dry, day).base, appear(units, dry, day + 1).base
        eventful = np.zeros(cover.size, bool)
        for event in (units.harvest, units.plough, *units.mown.T):
            eventful |= (event > day) & (event <= day + 1)
        # The steepest logistic, of six days, turns a contrast of 0.3 by at most 0.3 / (4 × 6) a day, and then the dry.
        assert np.abs(tomorrow - today)[:, ~eventful].max() < 0.025, day


def test_grass_is_mown_and_grows_again():
    units, weather = one_of("grass"), draw_weather(0, 365)
    first = units.mown[:, 0]
    i = int(np.flatnonzero(first < 140)[0])
    before, after, later = (unit_ndvi(units, weather, first[i] + d)[i] for d in (-1, 1, 24))
    assert before - after > 0.15
    assert later > after + 0.1


def test_rain_darkens_the_soil_and_differs_from_place_to_place():
    weather = draw_weather(0, 365)
    rain = int(np.argmax(weather.depth))
    day = float(weather.day[rain])
    place = np.stack([np.linspace(0, 27, 50), np.zeros(50)], -1).astype(np.float32)
    wet, dry = moisture(weather, place, day + 0.1), moisture(weather, place, day - 0.1)
    assert np.all(wet >= dry)
    assert wet.max() <= 1
    assert np.ptp(wet) > 0.05
    units = one_of("road")
    assert appear(units, weather, day + 0.1).base.mean() < appear(units, weather, day - 0.1).base.mean()


def test_weather_does_not_depend_on_the_length_of_the_series():
    short, long = draw_weather(5, 200), draw_weather(5, 700)
    np.testing.assert_array_equal(short.day, long.day[: len(short.day)])


def test_parcels_have_1_to_10_hectares():
    land = make_scene(SimulationConfig(size=500, guides=2, targets=1)).landscape
    crops = [i for i, c in enumerate(COVERS) if c.share > 0 and c.name != "woodlot"]
    inner = land.unit[100:-100, 100:-100]
    unit, count = np.unique(inner, return_counts=True)
    fields = np.isin(land.units.cover[unit], crops)
    hectares = count[fields] * 25 / 1e4
    # The mean weighted by area: where a pixel of farmland lies.
    assert 1 < (hectares**2).sum() / hectares.sum() < 10
    names = {COVERS[c].name for c in np.unique(land.units.cover)}
    assert {"wheat", "maize", "grass", "road", "track", "hedge", "water"} <= names
    assert 0.5 < count[fields].sum() / count.sum() <= 0.99


def test_landscape_is_lean():
    land = make_scene(SimulationConfig(size=300, guides=2, targets=1)).landscape
    images = (land.unit, land.rough, land.vigour, land.delay)
    assert sum(a.nbytes for a in images) <= 8 * land.unit.size


# The options


@pytest.mark.parametrize(
    "change",
    [
        {"landscape": "moon"},
        {"size": 8}, {"ratio": 1.0}, {"ratio": 0.5}, {"ratio": float("nan")}, {"size": 40, "ratio": 16.0}, {"seed": -1},
        {"pixel": 0}, {"start": "spring"}, {"start": "NaT"}, {"guides": 1}, {"guide_revisit": 0}, {"targets": 0},
        {"targets": 37}, {"target_revisit": 20}, {"cloud_cover": 1.0}, {"cloud_cover": -0.1}, {"missed_clouds": 2.0},
        {"guide_mtf": 0.0}, {"target_mtf": 1.0}, {"guide_noise": -1.0}, {"gain": -0.1}, {"target_shift": float("inf")},
        {"grid_offset": (-4.0, 0.0)}, {"grid_offset": (0.0, 590.0)}, {"grid_offset": (1.0,)}, {"colour": "red"},
    ],
)  # fmt: skip
def test_bad_options(change):
    with pytest.raises(InputError) as caught:
        simulate(**change)
    assert "\n" not in str(caught.value)
    assert str(caught.value).split(":")[0] in {*change, "ratio", "targets"}


def test_options_from_a_file():
    assert hash(SimulationConfig(grid_offset=[1, 2])) == hash(SimulationConfig(grid_offset=(1.0, 2.0)))
