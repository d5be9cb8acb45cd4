"""Disturbances do what they say, by as much as they say, and nothing else."""

import numpy as np
import pytest
import xarray as xr

import sitsfuse
from sitsfuse.core.dates import days
from sitsfuse.errors import InputError
from sitsfuse.studies.disturbances import VARIANTS, Disturbance
from sitsfuse.studies.fields import cloudy, shifted, smooth_field

TOUCHES = {"revisit": "guide", "registration": None, "radiometry": "target", "clouds": None, "noise": None}


@pytest.fixture(scope="module")
def site():
    return sitsfuse.simulate(size=60, guides=9, targets=4, guide_revisit=10, target_revisit=3, seed=3, cloud_cover=0.1)


def values(site, role):
    return site[role]["reflectance"].values


@pytest.mark.parametrize("name", VARIANTS)
def test_one_series_changes_and_the_base_changes_nothing(site, name):
    variant = VARIANTS[name]
    before = {role: values(site, role).copy() for role in site.children}
    same = Disturbance(name, variant.base, 3)(site)
    level = 20 if name == "random" else variant.levels[-1]
    changed, again, other = (Disturbance(name, level, seed)(site) for seed in (1, 1, 2))
    differs = []
    for role in site.children:
        np.testing.assert_array_equal(values(same, role), before[role])
        np.testing.assert_array_equal(values(site, role), before[role])  # its input stays as it is
        np.testing.assert_array_equal(values(changed, role), values(again, role))
        if not np.array_equal(values(changed, role), before[role], equal_nan=True):
            differs.append(role)
            assert not changed[role]["reflectance"].attrs.keys() ^ site[role]["reflectance"].attrs.keys()
    assert len(differs) == 1
    assert differs != ["reference"]
    role = differs[0]
    unlike = values(other, role).shape != values(changed, role).shape
    signs = name in ("gain", "offset")  # of two directions, two seeds may share one
    assert unlike or signs or not np.array_equal(values(other, role), values(changed, role), equal_nan=True)
    assert Disturbance.parse(str(Disturbance(name, level, 1))) == Disturbance(name, level, 1)


def test_guides_come_as_often_as_asked(site):
    guides = Disturbance("regular", 30, 0)(site)["guide"]["time"].values
    gaps = np.diff(days(guides, guides[0]))
    assert np.abs(gaps - 30).max() <= 10
    assert set(guides) <= set(site["guide"]["time"].values)
    assert len(Disturbance("random", 20, 0)(site)["guide"]["time"]) == 5
    left = Disturbance("season", 45, 0)(site)["guide"]["time"].values
    assert np.diff(days(left, left[0])).max() >= 45


def test_images_move_by_as_much_as_told():
    """A smooth wave that lies elsewhere is known in closed form."""
    y, x = np.mgrid[:40, :50].astype(float)

    def wave(rows, cols):
        return np.stack([np.sin((y - rows) / 5) + np.cos((x - cols) / 4)]).astype(np.float32)

    moved, valid = shifted(wave(0, 0), np.ones((40, 50), bool), 0.3, -0.7)
    assert valid.all()
    assert np.abs(moved - wave(0.3, -0.7))[:, 3:-3, 3:-3].max() < 2e-3
    hole = np.ones((40, 50), bool)
    hole[20, 20] = False
    moved, valid = shifted(wave(0, 0), hole, 1.0, 2.0)
    assert np.argwhere(~valid).tolist() == [[21, 22]]
    assert np.isnan(moved[:, 21, 22]).all()


@pytest.mark.parametrize("name", ["between", "between-dates", "within"])
def test_displacements_have_their_size(name, monkeypatch):
    seen = []
    monkeypatch.setattr("sitsfuse.studies.disturbances.shifted", lambda v, ok, dy, dx: seen.append((dy, dx)) or (v, ok))
    site = sitsfuse.simulate(size=60, guides=4, targets=3)
    Disturbance(name, 0.5, 1)(site)
    np.testing.assert_allclose(np.hypot(*np.transpose(seen)), 0.5)
    assert len({round(dy, 6) for dy, _ in seen}) == (1 if name == "between" else len(seen))


def test_radiometry_and_noise_have_their_size(site):
    low = values(site, "target")
    factor = values(Disturbance("gain", 0.05, 0)(site), "target") / low
    assert np.abs(np.abs(factor - 1) - 0.05).max() < 1e-5
    assert np.ptp(factor) < 1e-5
    added = values(Disturbance("offset", 0.01, 0)(site), "target") - low
    assert np.abs(np.abs(added) - 0.01).max() < 1e-6
    field = values(Disturbance("field", 0.01, 0)(site), "target") - low
    assert field.std() == pytest.approx(0.01, rel=1e-3)
    assert np.ptp(field, axis=(0, 1)).max() < 1e-6  # of all dates and bands alike
    noise = values(Disturbance("noise-guides", 0.01, 0)(site), "guide") - values(site, "guide")
    assert noise.std() == pytest.approx(0.01, rel=0.02)


def test_clouds_cover_their_share(site):
    for name, role in (("masked-guides", "guide"), ("masked-targets", "target")):
        before, after = site[role]["valid"].values, Disturbance(name, 0.4, 0)(site)[role]["valid"].values
        kept = (after & before).sum() / before.sum()
        assert kept == pytest.approx(0.6, abs=0.1)
        assert not (after & ~before).any()
    missed = Disturbance("missed-guides", 0.1, 0)(site)["guide"]
    np.testing.assert_array_equal(missed["valid"].values, site["guide"]["valid"].values)
    bright = missed["reflectance"].values != values(site, "guide")
    assert bright.any(axis=1).mean() == pytest.approx(0.1, abs=0.01)
    assert missed["reflectance"].values[bright].mean() == pytest.approx(0.62, abs=0.02)
    rng = np.random.default_rng(0)
    assert [cloudy((20, 30), share, rng).mean() for share in (0, 0.25, 1)] == [0, 0.25, 1]
    field = smooth_field((50, 50), rng)
    assert (field.mean(), field.std()) == pytest.approx((0, 1))
    assert np.abs(np.diff(field, axis=0)).max() < 0.5


def test_levels_of_a_seed_share_their_pattern(site):
    one, two = (
        values(Disturbance("field", level, 5)(site), "target") - values(site, "target") for level in (0.002, 0.01)
    )
    np.testing.assert_allclose(5 * one, two, atol=1e-5)


def test_what_is_unknown():
    with pytest.raises(InputError, match="choose among regular"):
        Disturbance.parse("magic:3#1")
    assert isinstance(sitsfuse.simulate(size=40, guides=2, targets=1), xr.DataTree)
