"""The table against numbers worked out by hand and with plain NumPy."""

import math

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy import ndimage

from sitsfuse.core.grid import GridPair
from sitsfuse.core.series import geobox, make_series
from sitsfuse.errors import InputError
from sitsfuse.evaluation import evaluate, summary, write_table
from sitsfuse.metrics import METRICS
from sitsfuse.operators.matrices import separable, up_matrix
from sitsfuse.operators.updown import down, up_mask
from sitsfuse.stats import quantiles
from tests.helpers.plain_metrics import plain_strata, plain_table

HR = GeoBox((60, 55), Affine(10, 0, 500_000, 0, -10, 4_000_000), "EPSG:32631")
LR = GeoBox((14, 13), Affine(45, 0, 499_985, 0, -45, 4_000_010), "EPSG:32631")
BANDS = ["green", "red", "nir"]
DATES = np.array(["2021-03-01", "2021-03-11", "2021-03-21"], "datetime64[D]")


def series(box, dates=DATES, bands=BANDS, seed=0, cloudy=True, **attrs):
    rng = np.random.default_rng(seed)
    valid = np.ones((len(dates), *box.shape), bool)
    for image in valid if cloudy else ():
        y, x = (int(rng.integers(0, n // 2)) for n in box.shape)
        image[y : y + box.shape[0] // 4, x : x + box.shape[1] // 3] = False
    values = rng.uniform(0.05, 0.5, (len(dates), len(bands), *box.shape)).astype(np.float32)
    return make_series(values, valid, dates, bands, box, attrs)


def value(table, band, metric, date=None, stratum="all"):
    rows = table[(table.band == band) & (table.metric == metric) & (table.stratum == stratum)]
    if date is not None:
        rows = rows[rows.date == np.datetime64(date, "ns")]
    assert len(rows) == 1
    return rows.iloc[0]


def with_uncertainty(s, seed=5):
    sigma = np.random.default_rng(seed).uniform(0.05, 0.3, s.reflectance.shape).astype(np.float32)
    sigma[:, :, :4] = np.nan
    return s.assign(uncertainty=(s.reflectance.dims, sigma))


@pytest.mark.parametrize(("mode", "chunks"), [("mean", None), ("norm", {"time": 1, "y": 13, "x": 31})])
def test_equals_plain_numpy(mode, chunks):
    p, r, t = with_uncertainty(series(HR, seed=1)), series(HR, seed=2), series(LR, seed=3, mtf=[0.2, 0.3, 0.3])
    # Negative light has no index, and some light nearly none.
    p.reflectance[0, 1:, 20:24] = -0.01
    pair = GridPair(HR, LR)
    opened = [s.chunk(chunks) if chunks else s for s in (p, r, t)]
    table = evaluate(*opened, mode=mode)
    found = {(row.date, row.band, row.stratum, row.metric): row for row in table.itertuples()}
    for k, date in enumerate(DATES):
        clear = up_mask(t.valid.values[k], pair)
        pv, rv, p_ok, r_ok = (a.values[k] for a in (p.reflectance, r.reflectance, p.valid, r.valid))
        want = plain_table(pv, rv, p_ok, r_ok, clear, BANDS, p.uncertainty.values[k], mode, ratio=4.5)
        strata = plain_strata(rv, r_ok, r_ok & clear, mode)
        counts = {"all": r_ok.sum(), "low": (strata == 1).sum(), "high": (strata == 3).sum()}
        for (band, stratum, metric), (number, n) in want.items():
            row = found.pop((pd.Timestamp(date), band, stratum, metric))
            assert row.value == pytest.approx(number, rel=1e-6, abs=1e-12), (band, stratum, metric)
            assert row.n_valid == n, (band, stratum, metric)
            assert row.n_reference == counts[stratum]
            assert row.coverage == pytest.approx(n / counts[stratum])
        low, low_ok = down(pv, p.valid.values[k], pair, [0.2, 0.3, 0.3])
        both = low_ok & t.valid.values[k]
        assert 0 < both.sum() < low_ok.sum() < low_ok.size
        e = low[:, both].astype(np.float64) - t.reflectance.values[k][:, both]
        for band, errors in [*zip(BANDS, e, strict=True), ("all", e)]:
            row = found.pop((pd.Timestamp(date), band, "all", "lr_consistency"))
            assert row.value == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-6)
            assert (row.n_valid, row.n_reference) == (both.sum(), t.valid.values[k].sum())
    # What is left is tested below.
    assert {metric for _, _, _, metric in found} == {"frr", "fro", "fru"}
    assert {stratum for _, _, stratum, _ in found} == {"all"}
    assert {band for _, band, _, _ in found} == set(BANDS)
    assert table.attrs["left_out"] == 0


LARGE = GeoBox((403, 290), Affine(10, 0, 500_000, 0, -10, 4_000_000), "EPSG:32631")


def large(ratio, seed=0):
    """A rough scene, what a prediction makes of it, and its LR image, with holes in all of them."""
    rng = np.random.default_rng(seed)
    # Origins differ by a fraction of a pixel, and the LR image ends before the HR one.
    low = GeoBox(
        (int(390 / ratio), int(300 / ratio)), Affine(10 * ratio, 0, 499_993, 0, -10 * ratio, 4_000_004), LARGE.crs
    )
    rough = rng.normal(size=(1, 3, *LARGE.shape)).cumsum(axis=-1).cumsum(axis=-2)
    truth = (0.2 + 0.1 * rough / np.abs(rough).max() + 0.01 * rng.normal(size=rough.shape)).astype(np.float32)
    images = []
    for k, values in enumerate((truth + 0.01 * rng.normal(size=truth.shape).astype(np.float32), truth)):
        valid = np.ones((1, *LARGE.shape), bool)
        valid[0, 100 + 60 * k : 140 + 60 * k, 120:135] = False
        valid[0, 40:50, 250 - 80 * k :] = False
        images.append(make_series(values, valid, DATES[:1], BANDS, LARGE))
    values, valid = down(truth[0], np.ones(LARGE.shape, bool), GridPair(LARGE, low), 0.3)
    valid[3:9, 10:14] = False
    valid[-5:] = False
    return with_uncertainty(images[0]), images[1], make_series(values[None], valid[None], DATES[:1], BANDS, low)


@pytest.mark.parametrize("ratio", [2.5, 16])
def test_blocks_give_what_the_whole_gives(ratio):
    p, r, t = large(ratio)
    whole = evaluate(p, r, t)
    assert np.isfinite(whole.value).all()
    assert whole.n_valid.min() > 0
    lazily = [s.chunk(y=60, x=50) for s in (p, r, t)]
    for other in (evaluate(p, r, t, block=128), evaluate(*lazily, block=1, workers=3)):
        pd.testing.assert_frame_equal(other, whole, rtol=1e-9, atol=1e-12)
    alone = evaluate(p, r)
    pd.testing.assert_frame_equal(evaluate(p, r, block=200, workers=2), alone, rtol=1e-9, atol=1e-12)
    # Without a target there is more to compare, and neither what needs it.
    assert set(whole.metric) - set(alone.metric) == {"ergas", "lr_consistency", "frr", "fro", "fru"}


def test_threads_change_nothing():
    p, r, t = large(5)
    pd.testing.assert_frame_equal(evaluate(p, r, t, block=128, workers=4), evaluate(p, r, t, block=128))


def test_many_pixels(monkeypatch):
    """Beyond what is kept, quantiles and thresholds come from histograms, in blocks as in the whole."""
    p, r, t = large(5)
    exact = evaluate(p, r, t)
    monkeypatch.setattr(quantiles, "EXACT", 20_000)
    whole, blocks = evaluate(p, r, t), evaluate(p, r, t, block=128)
    pd.testing.assert_frame_equal(blocks, whole, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(whole.value, exact.value, rtol=1e-3, atol=1e-5)
    ce = whole.metric.isin(["ce90", "ce99"]) & (whole.stratum == "all")
    np.testing.assert_allclose(whole.value[ce], exact.value[ce], rtol=2**-13)
    assert (whole.value[ce] != exact.value[ce]).any()
    same = whole.metric.isin(["rmse", "sam", "uiqi", "lr_consistency"]) & (whole.stratum == "all")
    np.testing.assert_allclose(whole.value[same], exact.value[same], rtol=1e-12)


def plain_rates(t, p, i):
    """FRR, FRO and FRU of stacks of blocks."""
    window = np.outer(np.hanning(130)[1:-1], np.hanning(130)[1:-1])
    radius = np.rint(np.hypot(np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128)) * 128)
    profiles = []
    for blocks in (t, p, i):
        blocks = blocks.astype(np.float64)
        spectra = [np.abs(np.fft.rfft2((b - np.average(b, weights=window)) * window)) for b in blocks]
        mean = [np.mean(spectra, axis=0)[radius == k].mean() for k in range(1, 65)]
        profiles.append(20 * np.log10(mean / mean[0]))
    t, p, i = profiles
    base = np.minimum(t, i).sum()
    frr = 100 * (np.maximum(np.minimum(p, t), np.minimum(i, t)).sum() - base) / (t.sum() - base)
    return frr, 100 * (t.sum() - np.maximum(p, t).sum()) / t.sum(), 100 * (i - np.minimum(p, i)).sum() / i.sum()


def test_frequencies():
    """Rates of whole blocks; one with too many holes does not count."""
    p, r, t = large(5)
    for s in (p, r, t):
        s.valid[:] = True
    p.reflectance[:] = ndimage.gaussian_filter(r.reflectance.values, (0, 0, 0.5, 0.5))
    t = t.assign(reflectance=t.reflectance.fillna(0.2))
    p.valid[0, :128, 128:200] = False
    p.valid[0, 200:230, 20:40] = False
    p.reflectance[0, :, 200:230, 20:40] = np.nan
    table = evaluate(p, r, t)
    pair = GridPair(LARGE, geobox(t))
    between = separable(t.reflectance.values[0].astype(np.float64), up_matrix(pair.y), up_matrix(pair.x))
    ok = p.valid.values[0] & up_mask(t.valid.values[0], pair)
    assert not ok[-13:].any()  # the LR image ends before
    places = [(y, x) for y in (0, 128, 256, 275) for x in (0, 128, 162)]
    places = [(y, x) for y, x in places if ok[y : y + 128, x : x + 128].mean() >= 0.75]
    assert len(places) == 10
    for k, band in enumerate(BANDS):
        images = r.reflectance.values[0, k], p.reflectance.values[0, k], between[k]
        filled = [np.where(ok, image, between[k]) for image in images]
        want = plain_rates(*(np.stack([image[y : y + 128, x : x + 128] for y, x in places]) for image in filled))
        for metric, number in zip(("frr", "fro", "fru"), want, strict=True):
            row = value(table, band, metric)
            assert row.value == pytest.approx(number, rel=1e-4, abs=1e-4)
            assert (row.n_valid, row.n_reference) == (ok.sum(), ok.size)
    frr = table[table.metric == "frr"].value
    assert ((frr > 10) & (frr < 95)).all()


def test_frequencies_of_too_little():
    p, r, t = large(5)
    p.valid[0, 20:] = False
    rows = evaluate(p, r, t)
    rows = rows[rows.metric.isin(["frr", "fro", "fru"])]
    assert len(rows) == 9
    assert rows.value.isna().all()
    assert (rows.n_valid == 0).all()


def test_strata_do_not_depend_on_the_prediction():
    """They are those of the reference's pixels under a clear target, whatever is predicted."""
    r, t = series(HR, seed=2), series(LR, seed=3)
    p, less = series(HR, seed=1, cloudy=False), series(HR, seed=1, cloudy=False)
    less.valid[:, :40] = False
    whole, part = (value(evaluate(s, r, t), "red", "rmse", DATES[0], "low") for s in (p, less))
    assert part.n_reference == whole.n_reference
    assert part.n_valid < 0.6 * whole.n_valid


def test_a_known_offset():
    r = series(HR, seed=2, cloudy=False)
    p = r.assign(reflectance=r.reflectance + np.float32(0.1))
    table = evaluate(p, r)
    for metric, number in {"rmse": 0.1, "mae": 0.1, "bias": 0.1, "ce90": 0.1, "psnr": 20}.items():
        assert value(table, "all", metric, DATES[0]).value == pytest.approx(number, rel=1e-5)
    assert not {"lr_consistency", "ergas", "frr", "sharpness"} & set(table.metric)


def test_a_prediction_that_is_the_reference_has_no_error():
    r = series(HR, seed=2)
    table = evaluate(r, r)
    best = {"psnr": np.inf, "structural": 1, "uiqi": 1, "gradient_correlation": 1}
    for metric, group in table.groupby("metric"):
        assert group.value.to_numpy() == pytest.approx(best.get(metric, 0), abs=1e-5), metric


def test_invalid_pixels_are_never_read():
    p, r, t = series(HR, seed=1), series(HR, seed=2), series(LR, seed=3)

    def poisoned(s, value):
        return s.assign(reflectance=s.reflectance.where(s.valid, np.float32(value)))

    plainly = evaluate(p, r, t)
    for poison in (1e6, np.nan, np.inf):
        pd.testing.assert_frame_equal(plainly, evaluate(*(poisoned(s, poison) for s in (p, r, t))))
    sure = with_uncertainty(p)
    unsure = sure.assign(uncertainty=sure.uncertainty.where(sure.valid, np.float32(np.nan)))
    pd.testing.assert_frame_equal(evaluate(sure, r, t), evaluate(unsure, r, t))


def test_pixels_that_claim_to_be_valid_but_are_not_finite_do_not_count():
    p, r = series(HR, seed=1, cloudy=False), series(HR, seed=2, cloudy=False)
    p.reflectance[0, 1, :10] = np.nan
    r.reflectance[0, 2, -5:] = np.inf
    row = value(evaluate(p, r), "green", "rmse", DATES[0])
    assert row.n_valid == 45 * 55
    assert math.isfinite(row.value)


def test_dates_pair_with_the_nearest_one():
    r = series(HR, dates=np.array(["2021-03-01T23:00", "2021-03-10", "2021-04-20"], "datetime64[m]"), seed=2)
    p = series(HR, dates=np.array(["2021-02-28", "2021-03-01", "2021-03-12"], "datetime64[D]"), seed=1)
    table = evaluate(p, r, max_days=2)
    found = table[["date", "predicted", "days"]].drop_duplicates()
    assert found.days.tolist() == [0, 2]
    assert [str(d)[:10] for d in found.predicted] == ["2021-03-01", "2021-03-12"]
    assert [str(d)[:10] for d in found.date] == ["2021-03-01", "2021-03-10"]
    assert table.attrs["left_out"] == 1
    ok = p.valid.values[2] & r.valid.values[1]
    e = (p.reflectance.values[2] - r.reflectance.values[1])[:, ok].astype(np.float64)
    assert value(table, "all", "rmse", "2021-03-10").value == pytest.approx(np.sqrt(np.mean(e**2)), rel=1e-6)


def test_no_common_date_says_which_are_closest():
    p = series(HR, dates=DATES[:1])
    r = series(HR, dates=DATES[1:])
    with pytest.raises(InputError, match=r"2021-03-01, reference 2021-03-11.*max_days to 10"):
        evaluate(p, r)
    evaluate(p, r, max_days=10)


def test_a_date_without_a_target_is_left_out():
    p, r = series(HR, seed=1), series(HR, seed=2)
    t = series(LR, dates=DATES[1:], seed=3)
    table = evaluate(p, r, t)
    assert table.date.nunique() == 2
    assert table.attrs["left_out"] == 1
    with pytest.raises(InputError, match="of the target"):
        evaluate(p.isel(time=[0]), r, t)


def test_bands_that_both_have_are_compared_by_name():
    p, r = series(HR, seed=1), series(HR, bands=["nir", "blue", "green"], seed=2)
    table = evaluate(p, r)
    assert list(table.band.unique()) == ["green", "nir", "all"]
    ok = p.valid.values[0] & r.valid.values[0]
    e = (p.reflectance.values[0, 2] - r.reflectance.values[0, 0])[ok]
    assert value(table, "nir", "bias", DATES[0]).value == pytest.approx(e.astype(np.float64).mean(), rel=1e-4)
    with pytest.raises(InputError, match="swir16"):
        evaluate(p, series(HR, bands=["swir16"]))


def test_another_grid_is_refused():
    with pytest.raises(InputError, match="another grid"):
        evaluate(series(HR), series(HR.translate_pix(0.5, 0)))


def test_a_date_without_a_common_pixel_yields_nan():
    p, r = with_uncertainty(series(HR, seed=1)), series(HR, seed=2)
    p.valid[1] = False
    table = evaluate(p, r)
    cloudy = table[table.date == DATES[1].astype("datetime64[ns]")]
    assert cloudy.value.isna().all()
    assert (cloudy.n_valid == 0).all()
    assert np.isfinite(table.loc[table.date != DATES[1].astype("datetime64[ns]"), "value"]).all()


def test_nothing_valid_at_all():
    for k in range(3):
        given = [with_uncertainty(series(HR, seed=1)), series(HR, seed=2), series(LR, seed=3)]
        given[k].valid[:] = False
        table = evaluate(*given)
        own = table[table.metric != "lr_consistency"] if k == 1 else table
        assert own.value.isna().all()
        assert (own.n_valid == 0).all()
        assert (own.coverage.isna() | (own.coverage == 0)).all()


def test_one_band():
    p, r, t = (series(box, bands=["nir"], seed=k) for k, box in enumerate((HR, HR, LR)))
    table = evaluate(p, r, t)
    assert set(table.band) == {"nir", "all"}
    assert set(table.metric) == {*METRICS, "ergas", "lr_consistency", "frr", "fro", "fru"}
    for metric in METRICS:
        assert value(table, "nir", metric, DATES[0]).value == value(table, "all", metric, DATES[0]).value
    square = value(table, "nir", "rmse", DATES[0]).value ** 2
    ok = p.valid.values[0] & r.valid.values[0] & up_mask(t.valid.values[0], GridPair(HR, LR))
    mean = r.reflectance.values[0, 0][ok].mean(dtype=np.float64)
    assert value(table, "all", "ergas", DATES[0]).value == pytest.approx(100 / 4.5 * np.sqrt(square) / mean)


def test_a_series_of_the_index_itself():
    p, r = (series(HR, bands=["red", "nir", "ndvi"], seed=k) for k in range(2))
    table = evaluate(p, r)
    assert list(table.band.unique()) == ["red", "nir", "ndvi", "all"]
    # A band as it stands, not worked out.
    ok = p.valid.values[0] & r.valid.values[0]
    e = (p.reflectance.values[0, 2] - r.reflectance.values[0, 2].astype(np.float64))[ok]
    assert value(table, "ndvi", "rmse", DATES[0]).value == pytest.approx(np.sqrt(np.mean(e**2)))
    alone = evaluate(p.sel(band=["ndvi"]), r.sel(band=["ndvi"]))
    assert value(alone, "ndvi", "psnr", DATES[0]).value == value(table, "ndvi", "psnr", DATES[0]).value


@pytest.mark.parametrize("option", [{"block": 0}, {"workers": 0}, {"mode": "sum"}])
def test_options_out_of_range(option):
    with pytest.raises(InputError, match=next(iter(option))):
        evaluate(series(HR), series(HR), **option)


def test_summary_is_the_mean_over_dates():
    table = evaluate(series(HR, seed=1), series(HR, seed=2), series(LR, seed=3))
    wide = summary(table)
    assert list(wide.index) == ["green", "red", "nir", "ndvi", "all"]
    assert list(wide.columns) == [*METRICS, "sam", "ergas", "lr_consistency", "frr", "fro", "fru"]
    rows = table[(table.band == "red") & (table.metric == "mae")]
    assert wide.loc["red", "mae"] == pytest.approx(rows[rows.stratum == "all"].value.mean())
    assert math.isnan(wide.loc["ndvi", "lr_consistency"])
    assert summary(table, "low").loc["red", "mae"] == pytest.approx(rows[rows.stratum == "low"].value.mean())


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_written_table_reads_back(tmp_path, suffix):
    table = evaluate(series(HR, seed=1), series(HR, seed=2))
    path = tmp_path / f"metrics{suffix}"
    write_table(table, path)
    write_table(table, path)
    again = pd.read_csv(path, parse_dates=["date", "predicted"]) if suffix == ".csv" else pd.read_parquet(path)
    pd.testing.assert_frame_equal(again, table, check_dtype=False, check_like=False)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_failed_write_leaves_the_old_table(tmp_path, monkeypatch):
    table = evaluate(series(HR, seed=1), series(HR, seed=2))
    path = tmp_path / "metrics.csv"
    path.write_text("old")

    def fails(self, target, **_):
        target.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fails)
    with pytest.raises(OSError, match="disk full"):
        write_table(table, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.csv"]


def test_tables_go_to_csv_or_parquet_in_a_folder_that_exists(tmp_path):
    table = pd.DataFrame({"value": [1.0]})
    with pytest.raises(InputError, match="parquet"):
        write_table(table, tmp_path / "metrics.xlsx")
    with pytest.raises(InputError, match="folder"):
        write_table(table, tmp_path / "no" / "metrics.csv")
