"""Harmonisation against known gains: synthetic dates that differ as real ones do, simulated scenes, real series."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from sitsfuse import open_series, simulate
from sitsfuse.core.series import geobox
from sitsfuse.errors import InputError
from sitsfuse.operators.series import degrade
from sitsfuse.radiometry.harmonize import Harmonization, pool
from sitsfuse.radiometry.lines import Line, fit_line
from sitsfuse.radiometry.samples import Samples, between, together, window_means
from tests.helpers.radiometry import land, seen

DAY = np.datetime64("2019-06-01")
BANDS = ("blue", "green", "red", "nir")


@pytest.mark.parametrize("ratio", [2.5, 5])
def test_simulated_dates_are_right_within_a_percent(ratio):
    site = simulate(size=240, ratio=ratio, seed=1, gain=0.05, offset=0.01, guides=5, targets=4, target_shift=0.05)
    target, truth = site["target"].to_dataset(), site["reference"].to_dataset()
    hr = degrade(truth, geobox(target), list(target.attrs["mtf"]))
    assert not target["valid"].values.all(), "clouds are part of it"
    for k in range(4):
        lr, high = (window_means(s["reflectance"].values[k], s["valid"].values[k]) for s in (target, hr))
        samples = together(target["time"].values[k], lr, high)
        lines = [fit_line(x, y) for x, y in zip(samples.lr, samples.hr, strict=True)]
        gain, offset = target["gain"].values[k], target["offset"].values[k]
        assert [v.gain for v in lines] == pytest.approx(1 / gain, rel=0.01)
        assert [v.offset for v in lines] == pytest.approx(-offset / gain, abs=0.002)


def dates(rng, shifts, counts, gains=(1.05, 0.95), date_gains=None, offsets=(0.003, -0.003)):
    """Samples of dates whose LR images are shifted as a whole, of two bands; 20 % of them changed."""
    out = []
    for k, (shift, n) in enumerate(zip(shifts, counts, strict=True)):
        hr = land(n, rng, 2) + 0.01 * k
        lr = seen(hr, np.array(gains) * (1 if date_gains is None else date_gains[k]), offsets, rng) + shift
        lr[:, : n // 5] += rng.uniform(0.05, 0.4, n // 5)
        out.append(Samples(DAY + k, lr.astype(np.float32), hr.astype(np.float32)))
    return out


def test_what_shifts_whole_images_is_no_gain():
    # The brighter the date, the higher its shift: one line through all would be too flat.
    shifts = np.array([-0.02, -0.01, 0, 0.01, 0.02])
    samples = dates(np.random.default_rng(10), shifts, [800] * 5)
    joined = fit_line(*(np.concatenate([getattr(s, n)[0] for s in samples]) for n in ("lr", "hr")))
    assert abs(joined.gain - 1.05) > 0.05
    found = pool(samples, ("red", "nir"), judge=False)
    assert [found.lines[b].gain for b in ("red", "nir")] == pytest.approx([1.05, 0.95], rel=0.01)
    assert found.lines["red"].count == 4000


def test_a_true_gain_and_offset_are_found_and_said_to_gain():
    found = pool(dates(np.random.default_rng(11), [0.001, -0.001, 0, 0.001, -0.001, 0], [800] * 6), ("red", "nir"))
    assert found.verdict.state == "applied"
    assert found.verdict.gained > 0.3
    assert found.verdict.after < 0.7 * found.verdict.before
    assert [found.lines[b].gain for b in ("red", "nir")] == pytest.approx([1.05, 0.95], rel=0.01)
    assert [found.lines[b].offset for b in ("red", "nir")] == pytest.approx([0.003, -0.003], abs=0.001)
    assert found.changes


def test_the_clearest_date_does_not_outweigh_the_others():
    # Nor does one odd date of several bend the gain.
    odd = dates(np.random.default_rng(12), [0] * 5, [800, 800, 20000, 800, 800], date_gains=[1, 1, 1.2, 1, 1])
    assert pool(odd, ("red", "nir"), judge=False).lines["red"].gain == pytest.approx(1.05, rel=0.01)


def test_sensors_that_are_alike_stay_as_they_are_however_much_their_dates_differ():
    # Each date has a gain and a shift of its own, as haze and the view make them; on average there are none. Every
    # other date is of the same kind, so that neighbours agree.
    changed = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        gains = np.exp(0.15 * rng.standard_normal(6).repeat(2))
        samples = dates(rng, 0.01 * rng.standard_normal(12), [400] * 12, (1, 1), gains, (0, 0))
        samples = [replace(s, interval=str(k // 2)) for k, s in enumerate(samples)]
        found = pool(samples, ("red", "nir"))
        changed.append(found.changes)
        if not found.changes:
            assert all((v.gain, v.offset, v.ok) == (1, 0, False) for v in found.lines.values())
            image = rng.random((2, 5, 5)).astype(np.float32)
            assert found.apply(image, DAY) is image, "pixels are not even computed anew"
    # Where all dates happen to lie on one side, nothing tells.
    assert sum(changed) <= 4


def test_dates_between_the_same_guides_are_one_piece_of_evidence():
    samples = [replace(s, interval="the same") for s in dates(np.random.default_rng(13), [0] * 6, [800] * 6)]
    found = pool(samples, ("red", "nir"))
    assert found.verdict.state == "not applied"
    assert "none is left to judge by" in found.verdict.reason


def test_a_gain_that_no_two_sensors_have_is_refused_unless_asked_for():
    samples = dates(np.random.default_rng(14), [0] * 5, [800] * 5, (1.4, 0.95))
    found = pool(samples, ("red", "nir"))
    assert (found.verdict.state, found.changes) == ("not applied", False)
    assert "gains of red 1." in found.verdict.reason
    assert pool(samples, ("red", "nir"), sensible=(0.5, 2)).lines["red"].gain == pytest.approx(1.4, rel=0.01)


def test_what_is_known_of_the_bands_pulls_at_a_gain():
    noisy = dates(np.random.default_rng(15), [0] * 4, [800] * 4, date_gains=[0.97, 1.03, 1.0, 1.02])
    free, tight = (pool(noisy, ("red", "nir"), judge=False, likely=[v] * 2).lines["red"].gain for v in (1.0, 0.01))
    assert 1 < tight < 0.6 * free + 0.4


def test_dates_of_their_own():
    counts = [800, 900, 150, 0]
    samples = dates(np.random.default_rng(13), [0, 0.02, 0.02, 0], counts, date_gains=[1, 1.04, 1.04, 1])
    found = pool(samples, ("red", "nir"), "per-date", judge=False)
    assert set(found.dates) == {"2019-06-01", "2019-06-02", "2019-06-03"}
    own = found.dates["2019-06-02"]["red"]
    assert (own.gain, own.reason) == (pytest.approx(1.05 * 1.04, rel=0.01), "")
    few = found.dates["2019-06-03"]["red"]
    assert (few.gain, few.offset) == (found.lines["red"].gain, found.lines["red"].offset)
    assert few.reason == "that of all dates: only 150 samples"
    # An image of no such date has the common line, whatever its hour.
    image = np.full((2, 1, 1), 0.1, np.float32)
    at_noon = found.apply(image, np.datetime64("2019-06-02T12:00"))[0, 0, 0]
    assert at_noon == pytest.approx(own.gain * 0.1 + own.offset)
    common = found.lines["red"]
    assert found.apply(image, np.datetime64("2018-01-01"))[0, 0, 0] == pytest.approx(common.gain * 0.1 + common.offset)


def test_bands_that_are_mixed_are_told_apart():
    rng = np.random.default_rng(14)
    mix = np.array([[0.9, 0.1, 0.0], [0.0, 0.85, 0.2], [0.05, 0.0, 1.0]])
    offsets = np.array([0.01, -0.005, 0.0])

    def pair(k, noise=0.001):
        spectra = np.array([[0.04, 0.08, 0.3], [0.1, 0.05, 0.2], [0.06, 0.2, 0.1], [0.2, 0.22, 0.26]])
        lr = (rng.dirichlet([0.5] * 4, 3000) @ spectra + 0.01 * rng.standard_normal((3000, 3))).T
        hr = mix @ lr + offsets[:, None]
        hr[:, :600] += rng.uniform(0.05, 0.4, 600)
        return Samples(DAY + k, lr + noise * rng.standard_normal(lr.shape), hr)

    found = pool([pair(k) for k in range(3)], BANDS[:3], "mixing")
    new = pair(9, 0.0)
    image = new.lr[:, 600:, None].astype(np.float32)
    error = found.apply(image, DAY)[..., 0] - new.hr[:, 600:]
    alone = pool([pair(k) for k in range(3)], BANDS[:3]).apply(image, DAY)[..., 0] - new.hr[:, 600:]
    assert (np.sqrt((error**2).mean(axis=1)) < 0.3 * np.sqrt((alone**2).mean(axis=1))).all()
    assert np.array(found.matrix) == pytest.approx(mix, abs=0.06)
    # Where bands are not mixed, lines do as well.
    plain = pool(dates(rng, [0, 0.001, 0, 0.001], [2000] * 4), ("red", "nir"), "mixing")
    assert plain.matrix is None
    assert "a matrix of bands would gain" in plain.verdict.reason
    assert plain.lines["red"].gain == pytest.approx(1.05, rel=0.01)


def test_harmonising_an_image():
    lines = {"red": Line(1.1, -0.01), "nir": Line(0.9, 0.02)}
    image = np.random.default_rng(15).random((2, 4, 5)).astype(np.float32)
    image[:, 1, 2] = np.nan
    for found in (Harmonization(lines), Harmonization(lines, {}, ((1.1, 0.0), (0.0, 0.9)), (-0.01, 0.02))):
        out = found.apply(image, DAY)
        assert out.dtype == np.float32
        assert np.isnan(out).sum() == 2
        assert out == pytest.approx(image * [[[1.1]], [[0.9]]] + [[[-0.01]], [[0.02]]], nan_ok=True, abs=1e-6)


@pytest.mark.parametrize("mode", ["pooled", "per-date", "mixing"])
def test_without_samples_nothing_is_changed(mode):
    nothing = Samples(DAY, np.empty((2, 0), np.float32), np.empty((2, 0), np.float32))
    few = dates(np.random.default_rng(17), [0] * 6, [20] * 6)
    image = np.random.default_rng(16).random((2, 3, 3)).astype(np.float32)
    for samples, reason in (([], "only 0 samples"), ([nothing], "only 0 samples"), (few, "no date has enough samples")):
        found = pool(samples, ("red", "nir"), mode)
        assert [(line.ok, line.reason) for line in found.lines.values()] == [(False, reason)] * 2
        assert found.apply(image, DAY) is image


def test_all_of_it_fits_into_json():
    samples = dates(np.random.default_rng(18), [0, 0], [800, 20])
    for mode in ("pooled", "per-date", "mixing"):
        found = pool([*samples, Samples(DAY + 5, *np.full((2, 2, 50), np.nan))], ("red", "nir"), mode, judge=False)
        told = json.loads(json.dumps(found.to_mapping(), allow_nan=False))
        assert told["lines"]["red"]["gain"] == found.lines["red"].gain
        assert (told["matrix"] is None) == (mode != "mixing")
        assert set(told["dates"]) == (set(found.dates) if mode == "per-date" else set())
        assert told["verdict"]["state"] == "doubtful", "there is only one date"
    assert pool([], ("red",)).to_mapping()["lines"]["red"]["correlation"] is None


def test_wrong_words_are_told():
    with pytest.raises(InputError, match="'linear' is not known; choose among pooled, per-date, mixing"):
        pool([], ("red",), "linear")
    with pytest.raises(ValueError, match="must have the 1 bands red"):
        pool(dates(np.random.default_rng(19), [0], [50]), ("red",))


def real_samples(guide, target):
    """Samples of a real site, of guides on the day or around it."""
    low = degrade(guide, geobox(target), list(target.attrs.get("mtf", [0.3] * target.sizes["band"])))
    high, lr = (
        [window_means(v, ok) for v, ok in zip(s["reflectance"].values, s["valid"].values, strict=True)]
        for s in (low, target)
    )
    days = low["time"].values
    out = []
    for means, time in zip(lr, target["time"].values, strict=True):
        gap = (days - time) / np.timedelta64(1, "D")
        near = int(np.abs(gap).argmin())
        before, after = np.flatnonzero((gap < 0) & (gap > -30)), np.flatnonzero((gap > 0) & (gap < 30))
        if abs(gap[near]) <= 1:
            out.append(together(time, means, high[near]))
        elif before.size and after.size:
            i, j = before[-1], after[0]
            out.append(between(time, means, (days[i], high[i]), (days[j], high[j])))
    return out


@pytest.mark.real
@pytest.mark.parametrize("name", ["s2_portugal_1", "s2_portugal_2", "s2_portugal_3", "s2_romania_hills"])
def test_targets_degraded_from_the_same_sensor_stay_as_they_are(real_data, name):
    guide, target = (open_series(real_data / name / part).load() for part in ("guide", "target_x5"))
    found = pool(real_samples(guide, target), BANDS)
    assert (found.verdict.state, found.changes) == ("not applied", False)


@pytest.mark.real
def test_two_sensors_come_closer(real_data):
    guide, target = (open_series(real_data / "hls_viirs_saltonsea" / name).load() for name in ("guide", "target"))
    found = pool(real_samples(guide, target), ("nir",))
    assert found.verdict.state == "applied"
    assert 0.3 < found.verdict.gained < 0.6
    assert 0.9 < found.lines["nir"].gain < 1
    assert math.isfinite(found.lines["nir"].gain_error)
