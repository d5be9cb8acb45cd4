"""Harmonisation against known gains: synthetic samples with outliers, simulated scenes, plain NumPy."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfuse import open_series, simulate
from sitsfuse.core.series import geobox
from sitsfuse.errors import InputError
from sitsfuse.operators.series import degrade
from sitsfuse.radiometry.harmonize import Harmonization, Samples, pool, take_samples
from sitsfuse.radiometry.lines import Line, combine_weights, fit_line

DAY = np.datetime64("2019-06-01")
BANDS = ("blue", "green", "red", "nir")


def land(n, rng, bands=1):
    """(band, n) reflectances of four kinds of fields; bands are alike but not the same."""
    kind = np.array([0.04, 0.09, 0.15, 0.22])[rng.integers(0, 4, n)]
    return np.array([(0.6 + 0.2 * b) * kind + 0.02 * rng.standard_normal(n) for b in range(bands)])


def seen(truth, gain, offset, rng, noise=0.002):
    """What an LR sensor sees of it that ``gain`` and ``offset`` make right again."""
    shape = (-1,) + (1,) * (np.ndim(truth) - 1)
    gain, offset = np.reshape(gain, shape), np.reshape(offset, shape)
    return (truth - offset) / gain + noise * rng.standard_normal(truth.shape)


CHANGES = {
    "missed clouds": lambda x, rng: x + rng.uniform(0.05, 0.4, x.size),
    "bright clouds": lambda x, rng: 0.5 + 0.05 * rng.standard_normal(x.size),
    "haze": lambda x, rng: x + 0.03,
    "shadows": lambda x, rng: x * rng.uniform(0.4, 0.8, x.size),
    "harvested fields": lambda x, rng: 0.6 * x + 0.02,
    "other fields": lambda x, rng: rng.permutation(x),
    "saturated": lambda x, rng: np.full(x.size, 0.3),
}


@pytest.mark.parametrize("share", [0.1, 0.3])
@pytest.mark.parametrize("change", CHANGES)
def test_changed_pixels_do_not_matter(change, share):
    rng = np.random.default_rng(3)
    truth = land(5000, rng)[0]
    x, y = seen(truth, 1.06, 0.008, rng), truth + 0.002 * rng.standard_normal(truth.size)
    changed = rng.random(truth.size) < share
    x[changed] = CHANGES[change](x[changed], rng)
    line = fit_line(x, y)
    assert line.ok
    assert line.gain == pytest.approx(1.06, rel=0.01)
    assert line.offset == pytest.approx(0.008, abs=0.002)
    assert 0.9 * (1 - share) < line.used < 1.02 - 0.5 * share
    # Clouds in the HR image are none the better.
    assert fit_line(y, x).gain == pytest.approx(1 / 1.06, rel=0.01)


def test_noise_of_the_same_share_on_both_sides_does_not_bias():
    rng = np.random.default_rng(4)
    truth = 0.1 + 0.03 * rng.standard_normal(50000)
    x = truth + 0.012 * rng.standard_normal(truth.size)
    y = 1.5 * truth - 0.02 + 1.5 * 0.012 * rng.standard_normal(truth.size)
    assert np.polyfit(x, y, 1)[0] < 1.35, "least squares along y would not do"
    line = fit_line(x, y)
    assert line.gain == pytest.approx(1.5, rel=0.01)
    assert line.offset == pytest.approx(-0.02, abs=0.002)


def test_figures_are_those_of_the_samples():
    rng = np.random.default_rng(5)
    x = land(2000, rng)[0]
    y = 1.1 * x - 0.01 + rng.uniform(-0.003, 0.003, x.size)  # no tails: nothing is dropped
    line = fit_line(x, y)
    assert (line.count, line.used) == (2000, 1)
    assert line.correlation == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert line.bias_before == pytest.approx(np.mean(x - y))
    assert line.rmse_before == pytest.approx(np.sqrt(np.mean((x - y) ** 2)))
    assert line.rmse_after == pytest.approx(np.sqrt(np.mean((line.gain * x + line.offset - y) ** 2)))
    # The orthogonal line after scaling to unit variance, from the first principal component.
    scaled = np.stack([x / x.std(), y / y.std()])
    slope = np.divide(*np.linalg.eigh(np.cov(scaled))[1][::-1, -1])
    assert line.gain == pytest.approx(slope * y.std() / x.std())


@given(st.floats(0.2, 5), st.floats(-0.2, 0.2), st.floats(1e-4, 1e4))
@settings(max_examples=30)
def test_units_and_sides_do_not_matter(gain, offset, unit):
    rng = np.random.default_rng(6)
    x = land(400, rng)[0]
    y = gain * x + offset
    exact = fit_line(unit * x, y)
    assert exact.used == 1
    assert (exact.gain * unit, exact.offset) == pytest.approx((gain, offset), rel=1e-6, abs=1e-6)
    y += 0.05 * np.std(y) * rng.standard_normal(x.size)
    ahead, back, other = fit_line(x, y), fit_line(y, x), fit_line(unit * x, y)
    assert (ahead.gain, ahead.offset) == pytest.approx((1 / back.gain, -back.offset / back.gain), rel=1e-6, abs=1e-6)
    assert (ahead.gain, ahead.offset) == pytest.approx((other.gain * unit, other.offset), rel=1e-6, abs=1e-6)


def test_of_many_samples_some_are_looked_at():
    rng = np.random.default_rng(7)
    truth = land(1_000_000, rng)[0]
    # The last tenth of the rows is cloudy.
    x = seen(truth, 0.93, -0.004, rng).astype(np.float32)
    x[900_000:] += 0.2
    first, second = fit_line(x, truth), fit_line(x, truth)
    assert first == second
    assert first.count == 1_000_000
    assert first.used == pytest.approx(0.9, abs=0.01)
    assert first.gain == pytest.approx(0.93, rel=0.002)


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (np.arange(29.0), np.arange(29.0), "only 29 samples"),
        ([], [], "only 0 samples"),
        (np.full(99, 0.2), np.linspace(0, 1, 99), "the samples do not vary"),
        (np.linspace(0, 1, 99), np.full(99, 0.2), "the samples do not vary"),
        (np.linspace(0, 1, 99), -np.linspace(0, 1, 99), "one does not rise with the other"),
        (*np.random.default_rng(8).random((2, 500)), "the correlation is only"),
        (np.full(99, np.nan), np.linspace(0, 1, 99), "only 0 samples"),
    ],
)
def test_without_a_line_nothing_is_changed(x, y, reason):
    line = fit_line(x, y)
    assert (line.ok, line.gain, line.offset) == (False, 1, 0)
    assert reason in line.reason


def test_samples_are_means_of_valid_windows():
    rng = np.random.default_rng(9)
    lr, hr = rng.random((2, 3, 12, 9)).astype(np.float32)
    valid = rng.random((2, 12, 9)) > 0.1
    for image, ok in zip((lr, hr), valid, strict=True):
        image[:, ~ok] = rng.choice([np.nan, 1e6], (~ok).sum())
    lr[1, 3, 3] = np.nan  # says valid, is not
    valid[:, 3, 3] = True
    hr[:, 0, :2], valid[1, 0, :2] = (np.inf, -np.inf), False
    found = take_samples(DAY, lr, valid[0], hr, valid[1])
    rows = []
    for y in range(1, 11):
        for x in range(1, 8):
            window = np.s_[y - 1 : y + 2, x - 1 : x + 2]
            if valid[(slice(None), *window)].all() and np.isfinite(lr[(slice(None), *window)]).all():
                rows.append([a[(slice(None), *window)].mean(axis=(1, 2)) for a in (lr, hr)])
    assert len(rows) > 5
    assert np.abs(found.lr.T - [r[0] for r in rows]).max() < 1e-6
    assert np.abs(found.hr.T - [r[1] for r in rows]).max() < 1e-6
    assert take_samples(DAY, lr[:, :2], valid[0, :2], hr[:, :2], valid[1, :2]).lr.shape == (3, 0)


@pytest.mark.parametrize("ratio", [2.5, 5])
def test_simulated_dates_are_right_within_a_percent(ratio):
    site = simulate(size=240, ratio=ratio, seed=1, gain=0.05, offset=0.01, guides=5, targets=4, target_shift=0.05)
    target, truth = site["target"].to_dataset(), site["reference"].to_dataset()
    hr = degrade(truth, geobox(target), list(target.attrs["mtf"]))
    assert not target["valid"].values.all(), "clouds are part of it"
    for k in range(4):
        images = [s[n].values[k] for s in (target, hr) for n in ("reflectance", "valid")]
        samples = take_samples(target["time"].values[k], *images)
        lines = pool([samples], BANDS).lines
        gain, offset = target["gain"].values[k], target["offset"].values[k]
        assert [lines[b].gain for b in BANDS] == pytest.approx(1 / gain, rel=0.01)
        assert [lines[b].offset for b in BANDS] == pytest.approx(-offset / gain, abs=0.002)


def dates(rng, shifts, counts, gains=(1.05, 0.95), date_gains=None):
    """Samples of dates whose LR images are shifted as a whole, of two bands; 20 % of them changed."""
    out = []
    for k, (shift, n) in enumerate(zip(shifts, counts, strict=True)):
        hr = land(n, rng, 2) + 0.01 * k
        lr = seen(hr, np.array(gains) * (1 if date_gains is None else date_gains[k]), [0.003, -0.003], rng) + shift
        lr[:, : n // 5] += rng.uniform(0.05, 0.4, n // 5)
        out.append(Samples(DAY + k, lr.astype(np.float32), hr.astype(np.float32)))
    return out


def test_what_shifts_whole_images_is_no_gain():
    # The brighter the date, the higher its shift: one line through all would be too flat.
    shifts = np.array([-0.02, -0.01, 0, 0.01, 0.02])
    samples = dates(np.random.default_rng(10), shifts, [800] * 5)
    together = fit_line(*(np.concatenate([getattr(s, n)[0] for s in samples]) for n in ("lr", "hr")))
    assert abs(together.gain - 1.05) > 0.05
    found = pool(samples, ("red", "nir"))
    assert [found.lines[b].gain for b in ("red", "nir")] == pytest.approx([1.05, 0.95], rel=0.01)
    assert [found.lines[b].offset for b in ("red", "nir")] == pytest.approx([0.003, -0.003], abs=0.002)
    assert found.lines["red"].count == 4000


def test_the_clearest_date_does_not_outweigh_the_others():
    samples = dates(np.random.default_rng(11), [0, 0, 0.01], [500, 500, 50000])
    found = pool(samples, ("red", "nir")).lines["red"]
    assert found.offset == pytest.approx(0.003 - 1.05 * 0.01 / 3, abs=0.001)
    # Nor does one odd date of several bend the gain.
    odd = dates(np.random.default_rng(12), [0] * 5, [800] * 5, date_gains=[1, 1, 1.2, 1, 1])
    assert pool(odd, ("red", "nir")).lines["red"].gain == pytest.approx(1.05, rel=0.01)


def test_dates_of_their_own():
    counts = [800, 900, 150, 0]
    samples = dates(np.random.default_rng(13), [0, 0.02, 0.02, 0], counts, date_gains=[1, 1.04, 1.04, 1])
    found = pool(samples, ("red", "nir"), "per-date")
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
    # Where bands are not mixed, the matrix is all but diagonal.
    plain = pool(dates(rng, [0, 0.01, 0], [2000] * 3), ("red", "nir"), "mixing")
    assert np.array(plain.matrix) == pytest.approx(np.diag([1.05, 0.95]), abs=0.02)
    assert plain.offsets == pytest.approx([0.003, -0.003], abs=0.004)


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
    image = np.random.default_rng(16).random((2, 3, 3)).astype(np.float32)
    for samples in ([], [nothing]):
        found = pool(samples, ("red", "nir"), mode)
        assert [(line.ok, line.reason) for line in found.lines.values()] == [(False, "only 0 samples")] * 2
        assert found.apply(image, DAY) == pytest.approx(image)


def test_samples_too_few_on_every_date_are_fitted_together():
    samples = dates(np.random.default_rng(17), [0] * 6, [20] * 6)
    line = pool(samples, ("red", "nir")).lines["red"]
    assert line.ok
    assert line.gain == pytest.approx(1.05, rel=0.03)


def test_all_of_it_fits_into_json():
    samples = dates(np.random.default_rng(18), [0, 0], [800, 20])
    for mode in ("pooled", "per-date", "mixing"):
        found = pool([*samples, Samples(DAY + 5, *np.full((2, 2, 50), np.nan))], ("red", "nir"), mode)
        told = json.loads(json.dumps(found.to_mapping(), allow_nan=False))
        assert told["lines"]["red"]["gain"] == found.lines["red"].gain
        assert (told["matrix"] is None) == (mode != "mixing")
        assert set(told["dates"]) == (set(found.dates) if mode == "per-date" else set())
    assert pool([], ("red",)).to_mapping()["lines"]["red"]["correlation"] is None


def test_wrong_words_are_told():
    with pytest.raises(InputError, match="'linear' is not known; choose among pooled, per-date, mixing"):
        pool([], ("red",), "linear")
    with pytest.raises(ValueError, match="must have the 1 bands red"):
        pool(dates(np.random.default_rng(19), [0], [50]), ("red",))


@pytest.mark.parametrize("weights", [(0.3, 0.7), (0.0, 1.0), (0.5, 0.5)])
def test_weights_of_combined_bands(weights):
    rng = np.random.default_rng(20)
    parts = land(4000, rng, 2) + 0.001 * rng.standard_normal((2, 4000))
    whole = 1.08 * (weights @ parts) + 0.01 + 0.002 * rng.standard_normal(4000)
    whole[:800] += rng.uniform(0.05, 0.4, 800)
    parts[0, 800:900] = np.nan
    found = combine_weights(parts, whole)
    assert found.sum() == pytest.approx(1)
    assert found == pytest.approx(weights, abs=0.02)


def test_weights_are_equal_where_nothing_tells():
    rng = np.random.default_rng(21)
    band = land(500, rng)[0]
    assert combine_weights([band, band, band], 0.9 * band + 0.01) == pytest.approx([1 / 3] * 3, abs=1e-6)
    assert combine_weights(rng.random((2, 20)), rng.random(20)) == pytest.approx([0.5, 0.5])
    assert combine_weights(rng.random((2, 500)), rng.random(500)) == pytest.approx([0.5, 0.5])


@pytest.mark.real
def test_two_sensors_come_closer(real_data):
    guide, target = (open_series(real_data / "s2_l8_belgium" / name).load() for name in ("guide", "target"))
    hr = degrade(guide, geobox(target))
    samples = []
    for k, time in enumerate(target["time"].values):
        j = int(np.abs(hr["time"].values - time).argmin())
        if abs(hr["time"].values[j] - time) < np.timedelta64(132, "h"):
            images = [s[n].values[i] for s, i in ((target, k), (hr, j)) for n in ("reflectance", "valid")]
            samples.append(take_samples(time, *images))
    lines = pool(samples, [str(b) for b in target["band"].values]).lines
    assert all(line.ok and 0.9 < line.gain < 1.15 and line.correlation > 0.9 for line in lines.values()), lines
    assert all(lines[b].rmse_after < 0.75 * lines[b].rmse_before for b in ("swir16", "swir22")), lines
