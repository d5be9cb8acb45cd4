"""Real series: fusion has to pay where nobody made up the scene."""

import functools
import sys

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfuse.cli.main import main
from sitsfuse.core.series import geobox, make_series
from sitsfuse.core.site import group, make_site
from sitsfuse.evaluation import evaluate
from sitsfuse.fusion.fuse import fuse
from sitsfuse.readers import open_series, open_site

METHODS = ("ddi", "difference", "temporal", "spatial")

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture
def errors(real_data, tmp_path, monkeypatch, capsys):
    """Fuses a site with every method and evaluates: pooled RMSE, mean over the dates, by method."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["sitsfuse", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 0, capsys.readouterr().err

    def fuse_and_evaluate(name, dates, target="target", clear_only=True):
        site, means = real_data / name, {}
        for method in METHODS:
            out, table = tmp_path / method, tmp_path / f"{method}.csv"
            run("fuse", site, "--target", target, "--dates", ",".join(dates), "--method", method, "-o", out, "-q")
            run("evaluate", out, site / "reference", "-o", table, *(["--target", site / target] * clear_only))
            found = pd.read_csv(table).query("band == 'all' and stratum == 'all' and metric == 'rmse'")
            assert len(found) == len(dates)
            assert (found["coverage"] > 0.4).all()
            means[method] = found["value"].mean()
        return pd.Series(means)

    return fuse_and_evaluate


def test_ddi_is_the_best_on_a_sentinel_2_scene(errors):
    rmse = errors("s2_portugal_1", ("2017-07-25", "2017-09-08", "2017-10-13"), "target_x5")
    assert rmse.idxmin() == "ddi", rmse
    assert rmse["ddi"] < 0.007


def test_ddi_is_the_best_from_modis_to_landsat(errors):
    # The reference lies two days before an LR image: the date is interpolated.
    rmse = errors("l8_modis_ndvi", ("2015-10-14",), clear_only=False)
    assert rmse.idxmin() == "ddi", rmse


def test_ddi_is_not_worse_than_the_best_where_two_sensors_disagree(real_data):
    # Radiometry differs and there are 484 LR pixels: on some of the dates difference interpolation is better.
    site = open_site(real_data / "s2_l8_belgium")
    dates = group(site, "reference")["time"].values
    dates = dates[dates <= group(site, "target")["time"].values[-1]][::4]
    rmse = {}
    for method in ("ddi", "difference"):
        fused = fuse(site, method=method, dates=dates)
        table = evaluate(fused, group(site, "reference"), group(site, "target"), max_days=5)
        found = table.query("band == 'all' and stratum == 'all' and metric == 'rmse'")
        rmse[method] = found["value"].mean()
    assert len(found) >= 2
    assert rmse["ddi"] < 1.01 * rmse["difference"], rmse


def boreas(data):
    """The Landsat-7 and MODIS triplet: site of the first and last date, and the Landsat image in between.

    The MODIS images are displaced by 6 rows and 16 columns of HR pixels.
    """
    guide, target = (open_series(data / "l7_modis_boreas" / name) for name in ("guide", "target"))
    box = geobox(target)
    moved = GeoBox(box.shape, Affine.translation(16 * 30, -6 * 30) * box.affine, box.crs)
    values, valid = target["reflectance"].values, target["valid"].values
    bands = [str(b) for b in target["band"].values]
    target = make_series(values, valid, target["time"].values, bands, moved)
    return make_site(guide.isel(time=[0, 2]), target), guide["reflectance"].values[1]


@pytest.mark.parametrize(
    ("method", "published"),
    [("starfm", (0.0038, 0.0041, 0.0140)), ("estarfm", (0.0048, 0.0042, 0.0157))],
)
def test_as_good_as_the_cpp_library_on_its_classical_triplet(real_data, method, published):
    # RMSE of green, red and NIR in the middle that ImageFusion reaches, rounded to four digits.
    site, truth = boreas(real_data)
    image = fuse(site, method=method, dates=["2001-07-11"])["reflectance"].values[0]
    rmse = np.sqrt(((image - truth)[:, 50:350, 50:350] ** 2).mean(axis=(1, 2)))
    assert (rmse < np.array(published) + 0.00005).all(), rmse


@pytest.fixture(scope="module")
def rmse():
    """Fuses two dates of a scene with a method, once; all bands pooled, mean over the dates."""

    @functools.cache
    def errors(site, method):
        tree = open_site(site, "target_x5")
        out = fuse(tree, method=method, dates=["2017-07-17", "2017-09-20"])
        table = evaluate(out, group(tree, "reference"), group(tree, "target"))
        return table.query("band == 'all' and stratum == 'all' and metric == 'rmse'")["value"].mean()

    return errors


@pytest.mark.parametrize("method", ["starfm", "estarfm", "fitfc", "fsdaf", "vipstf", "robot"])
def test_window_methods_beat_interpolation_on_a_sentinel_2_scene(real_data, rmse, method):
    site = real_data / "s2_portugal_2"
    assert rmse(site, method) < 0.75 * min(rmse(site, "temporal"), rmse(site, "spatial"))
