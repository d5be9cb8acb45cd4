"""EFAST against a slow version of its formula, and what it is said to do."""

import numpy as np
import pytest

from sitsfuse.core.dates import days
from sitsfuse.core.site import group, pair_of
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods import make_method
from sitsfuse.methods.efast import LEAST_SCORE, cloud_score
from sitsfuse.operators.matrices import nearest_index, separable, up_matrix
from sitsfuse.operators.updown import down, up
from tests.helpers import scenes

DAY = [scenes.day(14)]


def in_time(values, valid, offsets):
    """(band,) at day 0: linear between the nearest valid days before and after; None if there is none."""
    before = [i for i in np.flatnonzero(valid) if offsets[i] <= 0]
    after = [i for i in np.flatnonzero(valid) if offsets[i] > 0]
    if not before and not after:
        return None
    if not before or not after:
        return values[before[-1] if before else after[0]].astype(float)
    i, j = before[-1], after[0]
    share = -offsets[i] / (offsets[j] - offsets[i])
    return (1 - share) * values[i].astype(float) + share * values[j].astype(float)


def series_at(target, date):
    """(band, y, x) and (y, x): the target series at a date, LR pixel by LR pixel."""
    values, valid = target["reflectance"].values, target["valid"].values
    offsets = days(target["time"].values, date)
    image, ok = np.full(values.shape[1:], np.nan, np.float32), np.zeros(valid.shape[1:], bool)
    for y, x in np.ndindex(*ok.shape):
        found = in_time(values[:, :, y, x], valid[:, y, x], offsets)
        if found is not None:
            image[:, y, x], ok[y, x] = found, True
    return image, ok


def slow_score(valid, pair, ramp):
    """The score of the LR pixels, by all distances."""
    iy, ix = nearest_index(pair.y), nearest_index(pair.x)
    shape = pair.y.n_lr, pair.x.n_lr
    cloudy = np.zeros(shape, bool)
    for y, x in np.argwhere(~valid):
        if iy[y] >= 0 and ix[x] >= 0:
            cloudy[iy[y], ix[x]] = True
    clouds = np.argwhere(cloudy)
    score = np.ones(shape, np.float32)
    for at in np.ndindex(*shape):
        if len(clouds):
            score[at] = np.clip((np.hypot(*(clouds - at).T).min() - 1) / ramp, 0, 1)
    return score


def series_or_guide(target, time, image, ok, pair, gap):
    """The target series at a guide's date; the degraded guide where no clear image is near enough."""
    values, known = series_at(target, time)
    near = np.abs(days(target["time"].values, time)) <= gap
    own, has_own = down(image, ok, pair)
    for y, x in np.argwhere(has_own):
        if not target["valid"].values[near, y, x].any():
            values[:, y, x], known[y, x] = own[:, y, x], True
    return values, known


def slow(tree, date, sigma, window, ramp, gap):
    guide, target, pair = group(tree, "guide"), group(tree, "target"), pair_of(tree)
    today, seen = up(*series_at(target, date), pair)  # type: ignore[call-arg]
    weights, details = 0.0, 0.0
    for k, time in enumerate(guide["time"].values):
        away = float(days([time], date)[0])
        if abs(away) >= window:
            continue
        ok = guide["valid"].values[k]
        lr, clear = series_or_guide(target, time, guide["reflectance"].values[k], ok, pair, gap)
        then, known = up(lr, clear, pair)
        score = separable(slow_score(ok, pair, ramp), up_matrix(pair.y), up_matrix(pair.x))
        inside = np.clip(score, LEAST_SCORE, 1)
        weight = np.exp(-(away**2) / (2 * sigma**2)) * inside * ok
        weights = weights + weight
        sharp = np.where(ok, guide["reflectance"].values[k], 0)
        details = details + weight * (sharp - np.where(seen & known, then, 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weights > 0, np.where(seen, today, 0) + details / weights, np.nan)


@pytest.mark.parametrize("grid", [{}, {"ratio": 2.5}, {"ratio": 4.0, "offset": (0.0, 8.0), "n": 64}])
@pytest.mark.parametrize("options", [{}, {"gap": 99.0}, {"sigma": 6.0, "window": 18.0, "ramp": 2.0, "gap": 4.0}])
def test_it_is_the_formula(options, grid):
    tree = scenes.site(seed=7, cloudy=0.3, **grid)
    out = fuse(tree, method="efast", options=options, dates=DAY).isel(time=0)
    wanted = slow(tree, np.datetime64(DAY[0]), **{"sigma": 20.0, "window": 30.0, "ramp": 15.0, "gap": 1.0, **options})
    np.testing.assert_array_equal(out["valid"].values, np.isfinite(wanted).all(axis=0))
    assert out["valid"].values.mean() > 0
    np.testing.assert_allclose(out["reflectance"].values, wanted, rtol=0, atol=1e-5)


def test_clouds_weigh_nothing_and_what_lies_far_from_them_all():
    pair = pair_of(scenes.site())
    valid = np.ones((60, 60), bool)
    assert (cloud_score(valid, pair, 3.0) == 1).all()
    valid[:5, :5] = False  # one LR pixel
    score = cloud_score(valid, pair, 3.0)
    assert (score[:5, :5] == 0).all()
    assert (score[2, 5:7] == np.float32(LEAST_SCORE)).all()
    assert score[2, 12] == pytest.approx(1 / 3, abs=0.05)
    assert (score[30:, 30:] > 0.999).all()


def test_without_change_a_guide_comes_back():
    # The target shows the same image at all dates, so that nothing is added to the guide.
    tree = scenes.site(seed=8, cloudy=0.0)
    still = scenes.change(tree, target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + s["reflectance"][0]))
    first = scenes.change(still, guide=lambda s: s.isel(time=[0]))
    out = fuse(first, method="efast", options={"gap": 99.0}, dates=DAY)
    np.testing.assert_allclose(
        out["reflectance"].values[0], group(first, "guide")["reflectance"].values[0], rtol=0, atol=1e-6
    )


def test_a_change_that_is_the_same_everywhere_is_added():
    tree = scenes.site(seed=8, cloudy=0.0)
    change = np.linspace(0, 0.1, group(tree, "target").sizes["time"], dtype=np.float32)[:, None, None, None]
    moving = scenes.change(
        tree,
        guide=lambda s: s.isel(time=[0]),
        target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + s["reflectance"][0] + change),
    )
    target = group(moving, "target")
    out = fuse(moving, method="efast", options={"gap": 99.0}, dates=DAY)
    there = int(np.flatnonzero(target["time"].values == out["time"].values[0])[0])
    first, _ = series_at(target, group(moving, "guide")["time"].values[0])
    added = (target["reflectance"].values[there] - first).mean()
    wanted = group(moving, "guide")["reflectance"].values[0] + added
    np.testing.assert_allclose(out["reflectance"].values[0], wanted, rtol=0, atol=1e-5)


def test_guides_too_far_away_leave_the_pixel_invalid():
    out = fuse(scenes.site(seed=1, guides=(0, 60)), method="efast", options={"window": 10.0}, dates=DAY)
    assert not out["valid"].values.any()


def test_the_choices_name_the_weights_in_time():
    tree = scenes.site(seed=1, guides=(0, 20, 60))
    predictor = make_method("efast").study(tree).fit(np.datetime64(scenes.day(10)))
    degraded = "degraded guide"
    assert predictor.choices == {"time_weights": [0.8825, 0.8825], "lr_at_guides": [degraded, degraded]}
    predictor = make_method("efast", {"gap": "5"}).study(tree).fit(np.datetime64(scenes.day(10)))
    assert predictor.choices["lr_at_guides"] == ["target, degraded guide in its gaps", degraded]


@pytest.mark.parametrize("option", ["sigma", "window", "ramp"])
def test_options_must_be_positive(option):
    with pytest.raises(InputError, match=f"options.{option}: .*more than 0"):
        make_method("efast", {option: "0"})
