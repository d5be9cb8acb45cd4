"""The table against numbers worked out by hand and with plain NumPy."""

import math

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfuse.degrade import down, up_mask
from sitsfuse.errors import InputError
from sitsfuse.evaluation import evaluate, summary, write_table
from sitsfuse.grid import GridPair
from sitsfuse.series import make_series

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


def value(table, band, metric, date=None):
    rows = table[(table.band == band) & (table.metric == metric)]
    if date is not None:
        rows = rows[rows.date == np.datetime64(date, "ns")]
    assert len(rows) == 1
    return rows.iloc[0]


def plain(p, r, value_range):
    e = (p.astype(np.float64) - r).ravel()
    return {
        "rmse": np.sqrt(np.mean(e**2)),
        "mae": np.mean(np.abs(e)),
        "bias": np.mean(e),
        "ce90": np.quantile(np.abs(e), 0.9),
        "ce99": np.quantile(np.abs(e), 0.99),
        "psnr": 10 * np.log10(value_range**2 / np.mean(e**2)),
    }


@pytest.mark.parametrize("block", [7, 1024])
@pytest.mark.parametrize("chunks", [None, {"time": 1, "y": 13, "x": 31}])
def test_equals_plain_numpy(block, chunks):
    p, r, t = series(HR, seed=1), series(HR, seed=2), series(LR, seed=3, mtf=[0.2, 0.3, 0.3])
    pair = GridPair(HR, LR)
    opened = [s.chunk(chunks) if chunks else s for s in (p, r, t)]
    table = evaluate(*opened, block=block)
    for k, date in enumerate(DATES):
        pv, rv = p.reflectance.values[k], r.reflectance.values[k]
        ok = p.valid.values[k] & r.valid.values[k] & up_mask(t.valid.values[k], pair)
        want = {b: plain(pv[i][ok], rv[i][ok], 1) for i, b in enumerate(BANDS)}
        want["all"] = plain(pv[:, ok], rv[:, ok], 1)
        nd = [(a[2] - a[1]) / (a[2].astype(np.float64) + a[1]) for a in (pv, rv)]
        want["ndvi"] = plain(nd[0][ok], nd[1][ok], 2)
        for band, numbers in want.items():
            for metric, number in numbers.items():
                row = value(table, band, metric, date)
                assert row.value == pytest.approx(number, rel=1e-6), (band, metric)
                assert row.n_valid == ok.sum()
                assert row.n_reference == r.valid.values[k].sum()
                assert row.coverage == pytest.approx(ok.sum() / r.valid.values[k].sum())
        low, low_ok = down(pv, p.valid.values[k], pair, [0.2, 0.3, 0.3])
        both = low_ok & t.valid.values[k]
        assert 0 < both.sum() < low_ok.sum() < low_ok.size
        for i, b in enumerate(BANDS):
            row = value(table, b, "lr_consistency", date)
            e = low[i][both].astype(np.float64) - t.reflectance.values[k, i][both]
            assert row.value == pytest.approx(np.sqrt(np.mean(e**2)), rel=1e-6)
            assert (row.n_valid, row.n_reference) == (both.sum(), t.valid.values[k].sum())
    assert table.attrs["left_out"] == 0


def test_a_known_offset():
    r = series(HR, seed=2, cloudy=False)
    p = r.assign(reflectance=r.reflectance + np.float32(0.1))
    table = evaluate(p, r)
    for metric, number in {"rmse": 0.1, "mae": 0.1, "bias": 0.1, "ce90": 0.1, "psnr": 20}.items():
        assert value(table, "all", metric, DATES[0]).value == pytest.approx(number, rel=1e-5)
    assert "lr_consistency" not in set(table.metric)


def test_a_prediction_that_is_the_reference_has_no_error():
    r = series(HR, seed=2)
    table = evaluate(r, r)
    assert (table.loc[table.metric != "psnr", "value"] == 0).all()
    assert np.isinf(table.loc[table.metric == "psnr", "value"]).all()


def test_invalid_pixels_are_never_read():
    p, r, t = series(HR, seed=1), series(HR, seed=2), series(LR, seed=3)

    def poisoned(s, value):
        return s.assign(reflectance=s.reflectance.where(s.valid, np.float32(value)))

    plainly = evaluate(p, r, t)
    for poison in (1e6, np.nan):
        pd.testing.assert_frame_equal(plainly, evaluate(*(poisoned(s, poison) for s in (p, r, t))))


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
    p, r = series(HR, seed=1), series(HR, seed=2)
    p.valid[1] = False
    table = evaluate(p, r)
    cloudy = table[table.date == DATES[1].astype("datetime64[ns]")]
    assert cloudy.value.isna().all()
    assert (cloudy.n_valid == 0).all()
    assert np.isfinite(table.loc[table.date != DATES[1].astype("datetime64[ns]"), "value"]).all()


def test_summary_is_the_mean_over_dates():
    table = evaluate(series(HR, seed=1), series(HR, seed=2), series(LR, seed=3))
    wide = summary(table)
    assert list(wide.index) == ["green", "red", "nir", "ndvi", "all"]
    assert list(wide.columns) == ["rmse", "mae", "bias", "ce90", "ce99", "psnr", "lr_consistency"]
    rows = table[(table.band == "red") & (table.metric == "mae")]
    assert wide.loc["red", "mae"] == pytest.approx(rows.value.mean())
    assert math.isnan(wide.loc["ndvi", "lr_consistency"])


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
