"""Where a residual is anchored: a bias that stays in place is taken off, and nothing where sensors agree."""

import pickle

import numpy as np
import pytest
from scipy import ndimage

from sitsfuse.core.series import geobox
from sitsfuse.core.site import SiteLayout, group, pair_of
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods.shared.anchor import learn
from sitsfuse.methods.shared.disagreement import Disagreement
from sitsfuse.methods.shared.level import believed_level
from sitsfuse.operators.coarse import Coarse
from sitsfuse.operators.residual import SPLIT
from tests.helpers import scenes

DAYS = tuple(range(0, 120, 20))
LR_DAYS = tuple(sorted({*DAYS[:-1], *range(5, 100, 10)}))


def site(**changes):
    return scenes.site(n=120, guides=DAYS, targets=LR_DAYS, **({"cloudy": 0.1, "noise": 0.001} | changes))


def pattern(shape, seed=5):
    """(B, y, x) what another sensor sees otherwise, always: a level and a pattern in details."""
    rng = np.random.default_rng(seed)
    return (0.02 + 0.03 * ndimage.gaussian_filter(rng.normal(0, 1, shape), (0, 0.6, 0.6))).astype(np.float32)


def biased(tree):
    bias = pattern(group(tree, "target")["reflectance"].shape[1:])
    return scenes.change(tree, target=lambda s: s.assign(reflectance=s["reflectance"] + bias)), bias


def error(tree, **options):
    """RMSE of difference interpolation on the dates in the middle."""
    days = [scenes.day(d) for d in LR_DAYS if d not in DAYS][1:-1:3]
    made = fuse(tree, method="difference", dates=days, options=options)
    truth = group(tree, "reference").sel(time=made["time"])["reflectance"].values
    return float(np.sqrt(np.nanmean((made["reflectance"].values - truth) ** 2)))


def test_nothing_is_taken_off_where_the_sensors_agree():
    found = learn(site())
    assert set(found.kinds) == {"guides"}
    assert not found.bias(np.datetime64("2020-05-11"), geobox(group(site(), "target"))).any()
    # The noise is that of the LR series, white: 0.001.
    np.testing.assert_allclose(np.sqrt(found.noise.sum(axis=0)), 0.001, rtol=0.35)


def test_a_bias_that_stays_in_place_is_learnt_and_taken_off():
    tree, bias = biased(site())
    found = learn(tree)
    assert set(found.kinds) <= {"field", "series"}
    lr = geobox(group(tree, "target"))
    learnt = found.bias(scenes.START + np.timedelta64(45, "D"), lr)
    assert np.sqrt(((learnt - bias) ** 2).mean()) < 0.4 * bias.std()
    # A window of it, also one that reaches beyond the image.
    np.testing.assert_array_equal(found.bias(scenes.START, lr[3:9, 5:20]), found.bias(scenes.START, lr)[:, 3:9, 5:20])
    wide = found.bias(scenes.START, lr.pad(2))
    np.testing.assert_array_equal(wide[:, 2:-2, 2:-2], found.bias(scenes.START, lr))


def test_it_pays():
    good = site()
    tree, _ = biased(good)
    plain, anchored = error(tree, anchor="guides"), error(tree)
    assert anchored < 0.8 * plain
    assert error(good) < 1.02 * error(good, anchor="guides")


def test_a_bias_per_band_alone_is_enough_where_there_is_no_pattern():
    tree = site()
    shifted = scenes.change(tree, target=lambda s: s.assign(reflectance=s["reflectance"] + np.float32(0.03)))
    # The details agree: nothing proves two sensors, and haze looks the same.
    assert set(learn(shifted).kinds) == {"guides"}


def other_sensor(level):
    """A sparse LR series of another sensor, whose details differ anew on every date, among many guides."""
    days = (3, 27, 51, 75, 99, 117)
    tree = scenes.site(n=120, guides=tuple(range(0, 121, 8)), targets=days, cloudy=0.1, noise=0.001)
    shape = group(tree, "target")["reflectance"].shape
    rng = np.random.default_rng(7)
    apart = (level + 0.2 * ndimage.gaussian_filter(rng.normal(0, 1, shape), (0, 0, 0.8, 0.8))).astype(np.float32)
    return scenes.change(tree, target=lambda s: s.assign(reflectance=s["reflectance"] + apart))


@pytest.mark.parametrize("level", [0.0, 0.06])
def test_a_sparse_series_tells_its_level_by_the_guides_around_its_dates(level):
    tree = other_sensor(level)
    layout = SiteLayout.of(tree)
    part = Coarse.read(tree, layout, (slice(0, 24), slice(0, 24)))
    found = believed_level([part])
    halves = [Coarse.read(tree, layout, (rows, slice(0, 24))) for rows in (slice(0, 12), slice(12, 24))]
    assert (believed_level(halves) is None) == (level == 0)
    if level:
        np.testing.assert_allclose(found, level, atol=0.008)
    else:
        assert found is None


def test_a_level_that_is_believed_is_taken_off():
    tree = other_sensor(0.06)
    taken = learn(tree).bias(np.datetime64(scenes.day(51)), pair_of(tree).lr)
    np.testing.assert_allclose(taken.mean(axis=(1, 2)), 0.06, atol=0.01)


def test_an_anchor_survives_pickling_and_lazy_sites_learn_the_same():
    tree, _ = biased(site())
    found = learn(tree)
    again = pickle.loads(pickle.dumps(found))
    lazy = scenes.change(tree, guide=lambda s: s.chunk(time=1, y=50), target=lambda s: s.chunk(time=2))
    box = pair_of(tree).lr
    for other in (again, learn(lazy)):
        assert other.kinds == found.kinds
        np.testing.assert_array_equal(other.noise, found.noise)
        np.testing.assert_array_equal(other.bias(scenes.START, box), found.bias(scenes.START, box))


@pytest.mark.parametrize("guides", [(0,), (0, 20)])
def test_few_guides_tell_nothing(guides):
    tree = scenes.site(n=60, guides=guides, targets=(0, 5, 10, 15, 20), cloudy=0.0)
    found = learn(biased(tree)[0])
    assert set(found.kinds) == {"guides"}


@pytest.mark.parametrize("noise", [0.0, 0.002, 0.005])
def test_the_noise_of_lr_images_far_apart_is_told_by_the_guides(noise):
    # Two months apart, they tell nothing of each other; some have a guide near.
    tree = scenes.site(n=150, guides=tuple(range(0, 250, 20)), targets=(1, 61, 122, 183, 239), noise=noise)
    whole = (slice(0, 30), slice(0, 30))
    white = Disagreement.of(Coarse.read(tree, SiteLayout.of(tree), whole)).white
    found = np.sqrt(white.sum(axis=0) / sum(SPLIT))
    assert (found > 0.75 * noise).all()
    assert (found < 1.1 * noise + 0.001).all()
