"""Guides that show what was not there are found; genuine changes of the land are not."""

import numpy as np
import pytest
import xarray as xr

from sitsfuse.core.site import group, make_site
from sitsfuse.fusion.fuse import fuse
from sitsfuse.operators.coarse import Coarse
from sitsfuse.radiometry.evidence import CHANGE, EACH, NEAR, ONE_SIDED, REACH, SHRINK, Usual, distances
from sitsfuse.radiometry.screening import screen
from tests.helpers import scenes

DAYS = tuple(range(0, 100, 20))
LR_DAYS = tuple(range(3, 100, 8))


def site(**changes):
    return scenes.site(guides=DAYS, targets=LR_DAYS, **({"cloudy": 0.2, "noise": 0.002} | changes))


def with_guide(tree, k, alter):
    """The site with guide ``k`` altered by a function of its values (band, y, x)."""
    guide = group(tree, "guide").copy(deep=True)
    guide["reflectance"].values[k] = alter(guide["reflectance"].values[k])
    return make_site(guide, group(tree, "target"), group(tree, "reference"))


def clouded(image):
    out = image.copy()
    out[:, :, :20] = 0.6
    return out


def contrasted(image):
    return np.float32(0.2) + np.float32(2.5) * (image[:, ::-1, ::-1] - np.float32(0.2))


@pytest.mark.parametrize("changes", [{}, {"ratio": 2.5}, {"n_bands": 1, "offset": (1.5, 2.0)}])
def test_nothing_is_found_in_good_guides(changes):
    tree = site(**changes)
    found = screen(tree)
    assert found.findings == ()
    assert [v.judged > 0.5 for v in found.verdicts[1:-1]] == [True] * 3
    assert found.apply(tree) is tree


@pytest.mark.parametrize("k", range(len(DAYS)))
def test_a_cloud_that_the_mask_misses_is_left_out_and_nothing_else(k):
    tree = with_guide(site(), k, clouded)
    found = screen(tree)
    (verdict,) = found.findings
    assert verdict.time == group(tree, "guide")["time"].values[k]
    assert not verdict.whole
    before, after = (group(t, "guide")["valid"].values for t in (tree, found.apply(tree)))
    others = np.arange(len(DAYS)) != k
    assert (after[others] == before[others]).all()
    lost = before[k] & ~after[k]
    shown = np.zeros_like(lost)
    shown[:, :20] = before[k][:, :20]
    assert (lost & shown).sum() > 0.9 * shown.sum()
    # Not further than the PSF and two LR pixels from the cloud.
    assert not lost[:, 40:].any()


def test_lazy_and_loaded_sites_are_cleared_alike():
    tree = with_guide(site(), 2, clouded)
    lazy = make_site(group(tree, "guide").chunk(time=2, y=17, x=23), group(tree, "target").chunk(time=3))
    loaded, found = (group(screen(t).apply(t), "guide")["valid"] for t in (tree, lazy))
    assert found.chunks is not None
    assert (found.values == loaded.values).all()


def test_a_guide_of_wrong_radiometry_is_left_out_by_every_method_and_named():
    good, told = site(), []
    bad = with_guide(good, 2, contrasted)
    without = make_site(group(good, "guide").isel(time=[0, 1, 3, 4]), group(good, "target"))
    fused = fuse(bad, method="temporal", on_screening=told.append)
    xr.testing.assert_equal(fused.drop_attrs(), fuse(without, method="temporal").drop_attrs())
    assert [(str(v.time)[:10], v.whole) for v in told[0].findings] == [("2020-06-10", True)]
    assert '"left_out_guides": [{"guide": "2020-06-10", "whole": true' in fused.attrs["provenance"]
    kept = fuse(bad, method="temporal", keep_all_guides=True)
    assert np.abs(kept["reflectance"].values - fused["reflectance"].values).max() > 0.1


def test_a_change_that_the_lr_series_shows_as_well_is_believed():
    tree = site(cloudy=0.0)
    parts = {n: group(tree, n).copy(deep=True) for n in ("guide", "target")}
    day = scenes.START + np.timedelta64(39, "D")
    # A harvest over half of the image, just before the third guide.
    for series, cols in ((parts["guide"], slice(0, 30)), (parts["target"], slice(0, 6))):
        later = series["time"].values > day
        series["reflectance"].values[later, :, :, cols] += np.float32(0.25)
    assert screen(make_site(parts["guide"], parts["target"])).findings == ()


def test_guides_are_believed_where_no_lr_image_is_near():
    tree = with_guide(site(), 2, contrasted)
    offsets = (group(tree, "target")["time"].values - scenes.START) / np.timedelta64(1, "D")
    far = group(tree, "target").isel(time=offsets > 70)
    assert screen(make_site(group(tree, "guide"), far)).findings == ()


def test_a_guide_after_the_last_lr_image_is_believed():
    # The others lie on the days of LR images, and agree with these to the last digit.
    tree = scenes.site(n=30, ratio=3, guides=(0, 10, 20), targets=(0, 5, 10), cloudy=0.0)
    assert screen(tree).findings == ()


def test_distances_are_those_of_a_plain_loop():
    rng = np.random.default_rng(3)
    t, s, b, n = 5, 14, 2, 6
    part = Coarse(
        rng.normal(0.2, 0.05, (t, b, n, n)).astype(np.float32),
        rng.random((t, n, n)) > 0.3,
        rng.normal(0.2, 0.05, (s, b, n, n)).astype(np.float32),
        rng.random((s, n, n)) > 0.4,
        scenes.START + np.array([0, 20, 41, 60, 95], "timedelta64[D]"),
        scenes.START + np.sort(rng.choice(90, s, replace=False)).astype("timedelta64[D]"),
    )
    a, b, c = (np.array(pair, np.float32) for pair in ((0.01, -0.02), (0.01, 0.02), (1e-5, 4e-5)))
    usual = Usual(a, b, c, 2.0)
    found, judged = distances(part, usual)
    excess = part.excess(NEAR)
    gaps = (part.dates[None] - part.times[:, None]) / np.timedelta64(1, "D")
    for k, y, x in np.ndindex(t, n, n):
        told = [e for e in excess[:, :, y, x] if np.isfinite(e).all()]
        own = np.median(told, axis=0) if told else usual.excess
        bias = usual.excess + (own - usual.excess) * len(told) / (len(told) + SHRINK)
        before = [i for i in np.argsort(-gaps[k]) if -REACH <= gaps[k, i] <= 0 and part.clear[i, y, x]][:EACH]
        after = [i for i in np.argsort(gaps[k]) if 0 <= gaps[k, i] <= REACH and part.clear[i, y, x]][:EACH]
        guides = [i for i in range(k - 1, -1, -1) if part.valid[i, y, x]][:1]
        guides += [i for i in range(k + 1, t) if part.valid[i, y, x]][:1]
        both = bool(before and after)
        near = np.abs(gaps[k]).min() <= NEAR and max(len(before), len(after)) >= EACH
        evidence = part.valid[k, y, x] and (both or near) and bool(guides)
        assert judged[k, y, x] == evidence
        if not evidence:
            assert found[k, y, x] == 0
            continue
        allowed = np.array(
            [part.series[i, :, y, x] - bias for i in before + after] + [part.guide[i, :, y, x] for i in guides]
        )
        low, high = allowed.min(axis=0), allowed.max(axis=0)
        value = part.guide[k, :, y, x]
        outside = np.maximum(np.maximum(low - value, value - high), 0)
        a, b = (np.abs(gaps[k][side]).min(initial=np.inf) for side in (gaps[k] <= 0, gaps[k] >= 0))
        lag = min(a, b) if np.isinf(max(a, b)) else a * b / (a + b) if min(a, b) else 0
        scatter = np.sqrt(usual.scatter**2 + usual.drift * max(lag - usual.lag, 0))
        expected = (outside / (scatter + (high - low) / CHANGE)).max() / (1 if both else ONE_SIDED)
        assert found[k, y, x] == pytest.approx(expected, rel=1e-4, abs=1e-5)
