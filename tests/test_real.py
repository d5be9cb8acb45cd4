"""Real series through the command line: fusion has to pay where nobody made up the scene."""

import sys

import pandas as pd
import pytest

from sitsfuse.cli import main

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
            found = pd.read_csv(table).query("band == 'all' and metric == 'rmse'")
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


def test_ddi_is_not_worse_than_the_best_where_two_sensors_disagree(errors):
    # Radiometry differs and there are 484 LR pixels: on one of the two dates difference interpolation is better.
    rmse = errors("s2_l8_belgium", ("2018-10-21", "2019-06-18"))
    assert rmse["ddi"] < 1.03 * rmse.drop("ddi").min(), rmse
