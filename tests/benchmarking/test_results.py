"""The folder of results: what is written comes back, whole or not at all."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import sitsfuse
from sitsfuse.benchmarking.configuration import Configuration, PlannedSite, PlannedStudy, PlannedTarget
from sitsfuse.benchmarking.results import Results, Unit
from sitsfuse.core.series import geobox
from sitsfuse.errors import InputError

CONFIG = Configuration(
    version="1",
    protocols=("standard", "guide-gap:60"),
    methods={"spatial": {}, "ddi": {"steps": 5}},
    sites={
        "a": PlannedSite(targets={"target": PlannedTarget(dates=("2019-04-01", "2019-05-01"))}),
        "b": PlannedSite(
            targets={
                "target_x5": PlannedTarget(dates=("2019-04-02",), impossible={"guide-gap:60": {"2019-04-02": "no"}})
            }
        ),
    },
)


@pytest.fixture
def results(tmp_path):
    made = Results(tmp_path / "results")
    made.configure(CONFIG)
    return made


def test_units(results):
    units = list(results.units())
    # 2 dates × 2 protocols × 2 methods, and 1 × 1 × 2: a gap makes the only date of b impossible
    assert len(units) == 10
    assert units[0] == Unit("a", "target", "2019-04-01", "standard", "spatial")
    assert units[-1] == Unit("b", "target_x5", "2019-04-02", "standard", "ddi")
    assert len({u.place for u in units}) == 10
    assert not any(":" in part for u in units for part in u.place.parts)


def test_rows_failures_and_table(results):
    first, second, third, *_ = results.units()
    results.write_failure(second, "broken \udcff", "Traceback …")
    results.write_failure(third, "broken", "Traceback …")
    results.write_rows(third, pd.DataFrame({"site": ["a"], "value": [3.0]}))
    results.write_rows(first, pd.DataFrame({"site": ["a"], "value": [1.0]}))
    table = results.collect()
    assert table["value"].tolist() == [1.0, 3.0]  # in the order of the units, whenever they were made
    pd.testing.assert_frame_equal(results.table(), table)
    # What succeeds later is not a failure.
    assert results.failures()[["date", "method", "error"]].values.tolist() == [["2019-04-01", "ddi", "broken ?"]]


def test_nothing_yet(results, tmp_path):
    assert results.collect().empty
    with pytest.raises(InputError, match="holds no result of spatial, ddi yet"):
        results.table()
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match=r"sitsfuse benchmark"):
            _ = Results(path).config


def test_samples(results):
    site = sitsfuse.simulate(size=40, guides=3, targets=2)
    guide = site["guide"].to_dataset().load()
    results.write_sample(guide, "a", "guide")
    found = results.sample("a", "guide")
    assert set(found.variables) == set(guide.variables)
    # float16 has 11 bits
    np.testing.assert_allclose(found["reflectance"], guide["reflectance"], rtol=2**-11, atol=1e-7)
    xr.testing.assert_equal(found["valid"], guide["valid"])
    assert geobox(found) == geobox(guide)
    assert (found["time"].values == guide["time"].values).all()
    assert found["band"].values.tolist() == ["blue", "green", "red", "nir"]
    assert found.attrs["sensor"] == "simulated HR"
    assert results.sample("b", "guide") is None


def test_a_damaged_sample_is_none(results):
    series = xr.Dataset({"reflectance": (("y", "x"), np.ones((4, 4), np.float32))})
    results.write_sample(series, "a", "guide")
    path = results.path / "samples" / "a" / "guide.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert results.sample("a", "guide") is None


def test_what_was_asked_for_comes_back(results):
    """As types, from JSON: an earlier version may have said less, and what is damaged is told."""
    study = PlannedStudy("scale", 2, {"a@2": ("a", 2.0)}, {"scale": (1.0, 2.0)})
    site = PlannedSite("/a", bands=("red",), shape=(60, 40), guides=("2019-04-01",), targets=CONFIG.sites["b"].targets)
    asked = replace(CONFIG, sites={"a": site}, study=study, max_days=float("inf"))
    results.configure(asked)
    back = results.config
    assert repr(back) == repr(asked)  # NaN, the ratio that nobody knows, equals nothing
    held = json.loads((results.path / "benchmark.json").read_text())
    assert held["sites"]["a"]["shape"] == [60, 40]
    assert held["study"] == {"kind": "scale", "seeds": 2, "bases": {"a@2": ["a", 2.0]}, "levels": {"scale": [1.0, 2.0]}}
    for target in held["sites"]["a"]["targets"].values():
        for name in ("ratio", "references", "lr_dates", "impossible"):
            del target[name]
    (results.path / "benchmark.json").write_text(json.dumps(held))
    (target,) = results.config.sites["a"].targets.values()
    assert target == PlannedTarget(target.ratio, dates=("2019-04-02",))
    assert target.reference_of("2019-04-02") == "2019-04-02"
    (results.path / "benchmark.json").write_text('{"sites": 3}')
    with pytest.raises(InputError, match=r"benchmark\.json: is damaged"):
        _ = results.config
