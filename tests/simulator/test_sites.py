"""The landscapes beside farmland, and the six simulated sites: what they promise of land, dates, sky and truth."""

import sys

import numpy as np
import pytest

from sitsfuse.cli.main import main
from sitsfuse.core.checks import check
from sitsfuse.core.series import geobox
from sitsfuse.core.site import pair_of
from sitsfuse.errors import InputError
from sitsfuse.operators.updown import down, up
from sitsfuse.readers import open_site
from sitsfuse.simulator import SITES, SimulationConfig, scene, simulate, simulate_site
from sitsfuse.simulator.land import farmed, landscape, plains, wild
from sitsfuse.simulator.land.covers import COVER, COVERS
from sitsfuse.simulator.land.lands import LANDS
from sitsfuse.simulator.land.parcels import draw_districts
from sitsfuse.simulator.land.phenology import Weather, draw_weather, greening
from sitsfuse.simulator.land.relief import SKY, Relief, snow_line, sun_direction
from sitsfuse.simulator.land.towns import draw_town
from sitsfuse.simulator.scene import make_scene
from sitsfuse.writers import write_site

PERFECT = {
    "cloud_cover": 0.0, "guide_noise": 0.0, "target_noise": 0.0, "gain": 0.0, "offset": 0.0,
    "guide_shift": 0.0, "target_shift": 0.0,
}  # fmt: skip
NEW = [name for name in LANDS if name != "farmland"]
TALK = {
    "sudoe-4": ("France", "mountains", 10, 14, "2019-07", "2020-01"),
    "mad-ambo": ("Madagascar", "desert", 17, 39, "2018-11", "2020-01"),
    "fr-lq1": ("France", "mixed", 9, 27, "2020-04", "2020-10"),
    "fr-bil": ("France", "agricultural, urban", 12, 16, "2020-03", "2020-11"),
    "arm": ("USA", "agricultural", 16, 23, "2019-03", "2020-01"),
    "esgisb-2": ("France", "agricultural, urban", 10, 14, "2018-11", "2019-05"),
}
"""The table of Michel et al. (2022): location, landscape, guides, targets, first and last month."""
DRY = Weather(np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros((0, 3), np.float32))


def values(site, role):
    return site[role]["reflectance"].values


def ndvi(image):
    return (image[..., 3, :, :] - image[..., 2, :, :]) / (image[..., 3, :, :] + image[..., 2, :, :])


def of_site(name, **changes):
    """The scene of one of the six, as it is without changes."""
    config = SITES[name].config
    return make_scene(SimulationConfig(**{**config.__dict__, **changes}))


def covers(land):
    """Share of the pixels by name of the cover."""
    count = np.bincount(land.units.cover[land.unit].ravel(), minlength=len(COVERS))
    return {c.name: n / land.unit.size for c, n in zip(COVERS, count, strict=True)}


# Every landscape


@pytest.mark.parametrize("name", NEW)
def test_landscape_keeps_the_promises_of_the_simulator(name):
    options = {"landscape": name, "size": 100, "guides": 3, "targets": 2, "guide_revisit": 90, "seed": 1}
    site, lazy = simulate(**options), simulate(**options, lazy=True)
    assert site.attrs["landscape"] == f"simulated {name}"
    for role in ("guide", "target", "reference"):
        series = check(site[role].to_dataset(), role)
        assert lazy[role]["reflectance"].chunks is not None
        assert lazy[role].to_dataset().compute().identical(series)
        assert np.isfinite(series["reflectance"].values).all()
    truth = values(site, "reference")
    assert truth.min() > 0
    assert truth.max() < 1
    # The land is drawn from its options alone.
    scene.make_scene.cache_clear()
    scene._land.cache_clear()
    assert simulate(**options)["guide"].to_dataset().identical(site["guide"].to_dataset())
    other = values(simulate(**options | {"seed": 2}), "reference")
    assert np.abs(other - truth).mean() > 0.005


@pytest.mark.parametrize("name", NEW)
def test_blocks_of_rows_make_the_whole(name, monkeypatch):
    config = SimulationConfig(landscape=name, size=100, guides=2, targets=1, start="2019-12-01")
    whole = make_scene(config)
    expected = whole.truth(3)
    for module, rows in ((landscape, 23), (farmed, 31), (plains, 31), (wild, 31), (scene, 17)):
        monkeypatch.setattr(module, "ROWS", rows)
    scene._land.cache_clear()
    scene.make_scene.cache_clear()
    parts = make_scene(config)
    np.testing.assert_array_equal(parts.landscape.unit, whole.landscape.unit)
    np.testing.assert_array_equal(parts.truth(3), expected)


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("ratio", [2.5, 5.0])
def test_perfect_target_is_the_degraded_truth(name, ratio):
    site = simulate(landscape=name, size=60, guides=2, targets=1, guide_revisit=60, ratio=ratio, **PERFECT)
    truth = values(site, "reference")
    expected, _ = down(truth, np.ones((1, 60, 60), bool), pair_of(site), 0.3)
    np.testing.assert_allclose(values(site, "target"), expected, rtol=1e-5)
    assert site["target"]["valid"].values.all()


@pytest.mark.parametrize(("name", "lost"), [("mountains", 0.006), ("desert", 0.006), ("mixed", 0.008),
                                            ("urban", 0.02), ("agricultural", 0.004)])  # fmt: skip
def test_a_ratio_of_5_loses_texture(name, lost):
    """Standard deviation of what bicubic interpolation does not bring back, in red."""
    site = simulate(landscape=name, size=120, guides=2, targets=1, guide_revisit=60, **PERFECT)
    truth, pair = values(site, "reference"), pair_of(site)
    back, _ = up(values(site, "target"), np.ones((1, *pair.lr.shape), bool), pair)
    assert (truth - back)[0, 2, 10:-10, 10:-10].std() > lost


@pytest.mark.parametrize("name", NEW)
def test_smallest_and_coarse_scenes(name):
    for options in ({"size": 16, "ratio": 2.0}, {"size": 40, "pixel": 30.0}):
        site = simulate(landscape=name, guides=2, targets=1, **options)
        assert np.isfinite(values(site, "guide")).all()


def test_sky_does_not_depend_on_the_ratio():
    config = {"landscape": "mixed", "size": 120, "guides": 4, "targets": 6, "cloud_cover": 0.4}
    fine, coarse = (simulate(**config, ratio=r)["target"]["valid"].values for r in (2.5, 5.0))
    whole = fine.reshape(6, 24, 2, 24, 2).all(axis=(2, 4))
    assert 0.1 < coarse.mean() < 0.9
    # A coarse pixel is clear only where all below it is: but for the tails of the PSF the reverse holds, too.
    assert (coarse & ~whole).mean() < 0.005
    assert (whole & ~coarse).mean() < 0.1


# Mountains


def test_sun_against_the_rotation_of_the_sky():
    for latitude in (-25.0, 43.0, 70.0):
        for day in (0, 80, 171, 354):
            east, north, height = sun_direction(day, latitude)
            declination = np.radians(23.45 * np.sin(2 * np.pi * (day - 80) / 365))
            hour, phi = np.radians(-22.5), np.radians(latitude)
            # Axes: the equator's meridian, east, the pole.
            sun = np.array(
                [np.cos(declination) * np.cos(hour), -np.cos(declination) * np.sin(hour), np.sin(declination)]
            )
            axes = [[0, 1, 0], [-np.sin(phi), 0, np.cos(phi)], [np.cos(phi), 0, np.sin(phi)]]
            np.testing.assert_allclose([east, north, height], np.array(axes) @ sun, atol=1e-12)
    # Half past ten: the sun is in the south-east of France, in the north-east of Madagascar.
    assert sun_direction(354, 43.0)[1] < 0 < sun_direction(354, 43.0)[0]
    assert sun_direction(171, -25.0)[1] > 0 < sun_direction(171, -25.0)[0]


def test_slopes_are_lit_as_the_c_correction_has_it():
    rng = np.random.default_rng(0)
    height = rng.normal(0, 3, (9, 11)).astype(np.float32)
    relief = Relief(height, float(height.max()), 5.0, 43.0, snowy=False)
    image = np.full((4, 9, 11), 0.2, np.float32)
    relief.dress(image, slice(0, 9), DRY, 20.0, np.zeros((9, 11), np.float32), np.zeros((9, 11), bool))
    sun = np.array(sun_direction(20.0, 43.0))
    for y in range(1, 8):
        for x in range(1, 10):
            along = np.array([10.0, 0, height[y, x + 1] - height[y, x - 1]])
            upwards = np.array([0, 10.0, height[y - 1, x] - height[y + 1, x]])
            normal = np.cross(along, upwards)
            cosine = max(normal @ sun / np.linalg.norm(normal), 0)
            expected = [0.2 * (cosine + c) / (sun[2] + c) for c in SKY]
            np.testing.assert_allclose(image[:, y, x], expected, rtol=1e-5)


def test_flat_land_is_lit_as_it_was():
    relief = Relief(np.ones((5, 6), np.float32), 1.0, 5.0, 43.0, snowy=False)
    image = np.full((4, 5, 6), 0.3, np.float32)
    relief.dress(image, slice(0, 5), DRY, 100.0, np.zeros((5, 6), np.float32), np.zeros((5, 6), bool))
    np.testing.assert_allclose(image, 0.3, rtol=1e-6)


def test_snow_line_moves_with_the_season_and_falls():
    lines = [snow_line(DRY, day) for day in (40, 120, 222, 300, 355)]
    assert lines[0] < 0.1
    assert lines[2] > 1.1
    assert lines[0] < lines[1] < lines[2] > lines[3] > lines[4] > lines[0]
    fall = Weather(np.array([345.0], np.float32), np.array([1.0], np.float32), np.zeros((1, 3), np.float32))
    assert snow_line(fall, 344.0) == snow_line(DRY, 344.0)
    assert snow_line(fall, 346.0) < snow_line(DRY, 346.0) - 0.1
    assert snow_line(fall, 375.0) > snow_line(DRY, 375.0) - 0.01


def test_mountains_have_belts_and_snow_above_a_line():
    land = of_site("sudoe-4", size=200, seed=4, targets=1)
    share = covers(land.landscape)
    assert share["evergreen"] + share["deciduous"] > 0.15
    assert share["alpine meadow"] + share["heath"] > 0.1
    assert share["rock"] + share["scree"] > 0.05
    height = land.landscape.relief.height
    cover = land.landscape.units.cover[land.landscape.unit]
    belts = [np.median(height[np.isin(cover, [COVER[n] for n in names])]) for names in
             (("grass",), ("evergreen", "deciduous"), ("alpine meadow",), ("rock",))]  # fmt: skip
    assert belts == sorted(belts)

    def snow(day):
        return land.truth(day)[2] > 0.45

    summer, autumn, winter = snow(30), snow(140), snow(180)
    assert summer.mean() < 0.001
    assert 0.1 < autumn.mean() < winter.mean()
    assert np.median(height[autumn]) > np.median(height[~autumn]) + 50
    white = land.truth(180)[:, winter]
    assert white[2].mean() > 0.6
    assert abs(np.median((white[3] - white[2]) / (white[3] + white[2]))) < 0.08
    assert np.median(ndvi(land.truth(30))) > 0.5


# Desert, towns, plains


def test_desert_is_bare_and_greens_after_the_rains():
    land = of_site("mad-ambo", size=160, targets=1)
    days = np.arange(0, 417, 26)
    index = np.stack([ndvi(land.truth(int(d))) for d in days])
    assert index.mean() < 0.22
    assert np.quantile(index, 0.99) < 0.5
    assert index.min() > -0.05
    # Day 0 is in mid-November; it rains until the end of March.
    wet, dry = index[(days > 50) & (days < 130)].mean(0), index[(days > 240) & (days < 340)].mean(0)
    assert wet.mean() > dry.mean() + 0.01
    cover = land.landscape.units.cover[land.landscape.unit]
    assert (wet - dry)[cover == COVER["thornbush"]].mean() > 0.08
    assert {"sand", "gravel", "wadi bed"} <= {name for name, share in covers(land.landscape).items() if share > 0.01}


def test_rains_keep_to_their_season():
    weather = draw_weather(3, 3650, (320, 85))
    day = weather.day % 365
    assert ((day >= 320) | (day <= 85)).mean() > 0.8
    # As often as elsewhere, in season.
    everywhere = draw_weather(3, 3650)
    assert set(weather.day) <= set(everywhere.day)
    assert len(weather.day) == pytest.approx(0.4 * len(everywhere.day), rel=0.2)
    one = Weather(np.array([10.0], np.float32), np.array([1.0], np.float32), np.zeros((1, 3), np.float32))
    green = [greening(one, np.zeros((1, 2), np.float32), day)[0] for day in (9, 10, 20, 30, 60, 175)]
    assert green[0] == green[1] == 0
    assert green[2] < green[3] > green[4] > green[5]
    assert green[3] == pytest.approx(1 - np.exp(-0.35))


def test_towns_have_streets_gardens_and_roofs_of_many_brightnesses():
    town = of_site("fr-bil", size=240, targets=1)
    share = covers(town.landscape)
    roofs = ("tile roof", "grey roof", "metal roof", "flat roof", "dark roof")
    assert 0.05 < sum(share[n] for n in roofs) < 0.25
    assert share["road"] > 0.04
    assert share["garden"] + share["lawn"] > 0.08
    assert sum(share[n] for n in ("wheat", "maize", "rapeseed", "barley", "sunflower", "grass")) > 0.2
    red = town.truth(60)[2]
    roof = np.isin(town.landscape.units.cover, [COVER[n] for n in roofs])[town.landscape.unit]
    assert np.quantile(red[roof], 0.05) < 0.12
    assert np.quantile(red[roof], 0.95) > 0.3
    fields = of_site("fr-bil", size=240, targets=1, landscape="farmland").truth(60)[2]
    assert (red > 0.3).mean() > 5 * (fields > 0.3).mean()


def test_town_takes_its_share():
    town = draw_town(3, 200, 5.0, draw_districts(3, 1000.0), 0.4, 0)
    assert (town.built > 0).mean() == pytest.approx(0.4, abs=0.01)
    assert (town.built == 2).mean() == pytest.approx(0.12, abs=0.01)
    assert len(town.cover) == len(set(range(len(town.cover))))


def test_plains_have_round_and_square_fields_and_little_wood():
    share = covers(of_site("arm", size=400, targets=1).landscape)
    assert sum(share[n] for n in plains.CROPS) > 0.9
    assert share["hedge"] + share["garden"] < 0.03
    # A pivot is a circle, around which the corners are one more field.
    side = np.linspace(-plains.QUARTER / 2, plains.QUARTER / 2, 201)
    u, v = np.meshgrid(side, side)
    one = np.zeros(u.shape, int)
    field, _ = plains._field(one, np.zeros(u.shape), u, v)
    assert (field != plains.FIELDS - 1).mean() == pytest.approx(np.pi * 0.49**2, abs=0.01)
    field, _ = plains._field(one + 1, np.zeros(u.shape), u, v)
    assert (field != plains.FIELDS - 1).mean() == pytest.approx(4 * np.pi * 0.24**2, abs=0.01)
    assert set(np.unique(field)) == {0, 1, 2, 3, 4}


# The six sites


def test_sites_are_those_of_the_talk():
    assert list(SITES) == list(TALK)
    assert len({site.config.seed for site in SITES.values()}) == 6
    for name, (location, land, guides, targets, first, last) in TALK.items():
        site = SITES[name]
        assert (site.name, site.location, site.landscape) == (f"simulated {name.upper()}", location, land)
        c = site.config
        assert (c.guides, c.targets) == (guides, targets)
        start = np.datetime64(c.start, "D")
        dates = {role: start + np.array(days) for role, days in (("guide", c.guide_days), ("target", c.target_days))}
        for days in dates.values():
            assert str(days[0])[:7] == first
            assert str(days[-1])[:7] == last
        assert not set(dates["guide"]) & set(dates["target"])
        # Guides about every 20 days, LR images over the whole period.
        assert 18 <= c.guide_revisit <= 26
        assert np.diff(dates["target"]).astype(int).max() <= 25
    clouds = {name: site.config.cloud_cover for name, site in SITES.items()}
    assert min(clouds, key=clouds.get) == "mad-ambo"


def test_site_has_a_target_per_ratio_under_one_sky():
    site = simulate_site("FR-LQ1", size=100, targets=4)
    assert set(site.children) == {"guide", "target_x5", "target_x2.5", "reference"}
    assert site.attrs == {"name": "simulated FR-LQ1", "landscape": "mixed", "location": "France"}
    assert site["guide"].sizes["time"] == 9
    fine, coarse = site["target_x2.5"], site["target_x5"]
    for other in (coarse, site["reference"]):
        np.testing.assert_array_equal(fine["time"], other["time"])
    np.testing.assert_array_equal(fine["gain"], coarse["gain"])
    np.testing.assert_allclose(2 * fine["shift_x"], coarse["shift_x"])
    assert (geobox(fine.to_dataset()).resolution.x, geobox(coarse.to_dataset()).resolution.x) == (12.5, 25)
    # What a site of one ratio shows.
    config = SITES["fr-lq1"].config
    alone = simulate(config, size=100, targets=4, ratio=2.5)
    assert alone["target"].to_dataset().identical(fine.to_dataset())
    np.testing.assert_array_equal(values(alone, "guide"), values(site, "guide"))
    np.testing.assert_array_equal(values(alone, "reference"), values(site, "reference"))


def test_fewer_targets_span_the_period():
    site = simulate_site("mad-ambo", size=20, targets=5, ratio=2.0, guides=17)
    assert set(site.children) == {"guide", "target_x2", "reference"}
    gaps = np.diff(site["reference"]["time"].values) / np.timedelta64(1, "D")
    assert len(gaps) == 4
    assert gaps.min() > 90
    assert str(site["reference"]["time"].values[0])[:7] == "2018-11"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("atlantis", {}, ["atlantis", "sudoe-4", "esgisb-2"]),
        ("arm", {"ratios": ()}, ["ratios"]),
        ("arm", {"targets": 500}, ["targets", "free"]),
        ("arm", {"colour": "red"}, ["colour", "cloud_cover"]),
    ],
)
def test_bad_sites(name, options, words):
    with pytest.raises(InputError) as caught:
        simulate_site(name, **options)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_site_on_disk_and_back(tmp_path):
    site = simulate_site("arm", size=40, targets=2)
    write_site(site, tmp_path / "arm.zarr")
    for ratio, name in ((5.0, "target_x5"), (2.5, "target_x2.5")):
        back = open_site(tmp_path / "arm.zarr", target=name)
        assert back.attrs == {**site.attrs, "ratio": ratio}
        np.testing.assert_array_equal(values(back, "target"), values(site, name))
        np.testing.assert_array_equal(values(back, "guide"), values(site, "guide"))


def test_command(monkeypatch, capsys, tmp_path):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["sitsfuse", "simulate", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, capsys.readouterr()

    out = str(tmp_path / "site.zarr")
    assert run("--like", "SUDOE-4", "--size", "40", "--targets", "2", "-o", out)[0] == 0
    assert open_site(out, target="target_x5").attrs["name"] == "simulated SUDOE-4"
    code, (_, err) = run("--like", "atlantis", "-o", out)
    assert code == 2
    assert "mad-ambo" in err
    other = str(tmp_path / "desert.zarr")
    assert run("--set", "landscape=desert", "--size", "40", "--guides", "2", "--targets", "1", "-o", other)[0] == 0
    assert open_site(other).attrs["landscape"] == "simulated desert"
