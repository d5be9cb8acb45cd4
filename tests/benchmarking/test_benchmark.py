"""The benchmark: rows that an independent computation confirms, whatever was killed or failed on the way."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr

import sitsfuse
from sitsfuse.benchmarking.configuration import Configuration, PlannedSite, PlannedTarget
from sitsfuse.benchmarking.plan import thinned
from sitsfuse.benchmarking.pool import finished
from sitsfuse.benchmarking.results import Results, Unit
from sitsfuse.benchmarking.units import Job
from sitsfuse.errors import InputError
from sitsfuse.methods import METHODS
from sitsfuse.methods.temporal import Temporal
from sitsfuse.readers import open_series
from sitsfuse.runtime import memory
from sitsfuse.simulator import SITES
from sitsfuse.writers import write_geotiffs, write_series, write_site
from tests.helpers import scenes

COSTS = ["seconds", "cpu_seconds", "seconds_evaluation", "peak_rss"]
QUICK = ("temporal", "difference")


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """Two sites; the second has two ratios and, among its guides, the reference of its second date."""
    folder = tmp_path_factory.mktemp("sites")
    one = sitsfuse.simulate(size=60, guides=4, targets=3, seed=1)
    write_site(one, folder / "one.zarr")
    two = sitsfuse.simulate(size=60, guides=4, targets=3, seed=2)
    coarse = sitsfuse.simulate(size=60, guides=4, targets=3, seed=2, ratio=2.5)["target"].to_dataset()
    reference, guide = two["reference"].to_dataset(), two["guide"].to_dataset()
    for role, series in (("target_x5", two["target"].to_dataset()), ("target_x2.5", coarse), ("reference", reference)):
        write_series(series, folder / "two" / role)
    answer = reference.isel(time=[1])[["reflectance", "valid"]]
    plain = guide[["reflectance", "valid"]].drop_vars(["shift_x", "shift_y"])
    both = xr.concat([plain, answer.drop_vars(["shift_x", "shift_y"], errors="ignore")], "time")
    write_series(both.sortby("time").assign_attrs(guide.attrs), folder / "two" / "guide")
    return [folder / "one.zarr", folder / "two"]


@pytest.fixture(scope="module")
def table(sites, tmp_path_factory):
    """Of all sites; its folder is in attrs."""
    out = tmp_path_factory.mktemp("made") / "results"
    made = sitsfuse.benchmark(sites, out, methods=QUICK, keep=True, jobs=0)
    made.attrs["folder"] = out
    return made


def same(a, b):
    key = ["site", "target", "protocol", "method", "date", "band", "stratum", "metric"]
    a, b = (t.drop(columns=COSTS).sort_values(key, ignore_index=True) for t in (a, b))
    a.attrs, b.attrs = {}, {}
    pd.testing.assert_frame_equal(a, b)


def value(table, **where):
    for column, wanted in where.items():
        table = table[table[column] == wanted]
    assert len(table) == 1
    return float(table["value"].iloc[0])


def test_every_date_of_every_site_and_ratio(table):
    units = table.drop_duplicates(["site", "target", "method", "date"])
    assert units.groupby(["site", "target", "method"]).size().tolist() == [3] * 6
    assert set(zip(units["target"], units["ratio"], strict=True)) == {
        ("target", 5.0),
        ("target_x5", 5.0),
        ("target_x2.5", 2.5),
    }
    assert units["same_day"].all()
    assert (units["seconds"] > 0).all()
    assert (units["cpu_seconds"] > 0).all()
    assert (units["peak_rss"] > 50).all()
    assert table.attrs["failures"] == 0
    stored = Results(table.attrs["folder"]).table()
    pd.testing.assert_frame_equal(stored, table.reset_index(drop=True), check_like=False)


def test_a_guide_of_the_day_is_not_used(table):
    """The reference itself stands among the guides: whoever used it would make no error."""
    there = Results(table.attrs["folder"]).config.sites["two"]
    date = there.targets["target_x5"].dates[1]
    assert date in there.guides
    chosen = table[(table["site"] == "two") & (table["date"] == date) & (table["method"] == "temporal")]
    assert (chosen["nearest_guide"] >= 1).all()
    assert value(chosen, target="target_x5", band="all", metric="rmse", stratum="all") > 1e-3


def test_numbers_agree_with_the_written_images(table, sites):
    """RMSE, CE90 and gradient correlation by NumPy alone, from the GeoTIFFs and the arrays of the site."""
    site = sitsfuse.open_site(sites[0])
    clear = site["target"]["valid"].values
    for k, time in enumerate(site["reference"]["time"].values):
        day = str(time)[:10]
        path = table.attrs["folder"] / "predictions/one/target/standard/difference" / f"{day.replace('-', '')}.tif"
        with rasterio.open(path) as file:
            image = file.read().astype(np.float64)
        truth = site["reference"]["reflectance"].values[k].astype(np.float64)
        seen = np.repeat(np.repeat(clear[k], 5, axis=0), 5, axis=1) & np.isfinite(image).all(axis=0)
        rows = table[(table["site"] == "one") & (table["method"] == "difference") & (table["date"] == time)]
        error = (image - truth)[2][seen]
        inner = seen[1:-1, 1:-1] & seen[2:, 1:-1] & seen[:-2, 1:-1] & seen[1:-1, 2:] & seen[1:-1, :-2]

        def steep(a):
            return np.hypot(a[1:-1, 2:] - a[1:-1, :-2], a[2:, 1:-1] - a[:-2, 1:-1])

        correlation = np.corrcoef(steep(image[2])[inner], steep(truth[2])[inner])[0, 1]
        for metric, own in (
            ("rmse", np.sqrt(np.mean(error**2))),
            ("ce90", np.quantile(np.abs(error), 0.9)),
            ("gradient_correlation", correlation),
        ):
            assert value(rows, band="red", stratum="all", metric=metric) == pytest.approx(own, abs=1e-6)
        counted = rows[(rows["band"] == "red") & (rows["stratum"] == "all") & (rows["metric"] == "rmse")]
        assert counted["n_valid"].tolist() == [seen.sum()]


def test_kept_images_are_a_series(table):
    series = open_series(table.attrs["folder"] / "predictions/two/target_x2.5/standard/difference")
    assert series.sizes["time"] == 3


def test_samples_are_windows_of_what_was_predicted(table, sites):
    results = Results(table.attrs["folder"])
    entry = results.config.sites["two"]
    date = entry.shown[0]
    unit = Unit("two", "target_x5", date, "standard", "difference")
    sample = results.prediction(unit)
    whole = open_series(results.path / "predictions/two/target_x5/standard/difference").sel(time=date).squeeze()
    np.testing.assert_allclose(sample["reflectance"], whole["reflectance"], rtol=2**-11, atol=1e-7)
    assert results.sample("two", "guide").sizes["time"] == 5
    assert results.sample("two", "target_x2.5", "target").sizes["y"] == 24
    reference = results.sample("two", "reference")
    assert [str(t)[:10] for t in reference["time"].values] == list(entry.shown)
    share = (reference["stratum"] == 3).mean()
    assert 0.2 < share < 0.27  # the highest quarter of what lies within the border


def test_interrupted_and_resumed(table, sites, tmp_path):
    """The same table as in one go; what was done is not done again."""
    out = tmp_path / "results"

    def stop(stage, done, total):
        if stage == "predict" and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sitsfuse.benchmark(sites[:1], out, methods=QUICK, jobs=0, report=stop)
    parts = {p: p.stat().st_mtime_ns for p in (out / "parts").rglob("*.parquet")}
    assert len(parts) == 4
    steps = []
    made = sitsfuse.benchmark(sites[:1], out, methods=QUICK, jobs=0, report=lambda *s: steps.append(s))
    assert ("predict", 4, 6) in steps
    same(made, table[table["site"] == "one"])
    assert all(p.stat().st_mtime_ns == before for p, before in parts.items())
    assert not (out / "work").exists()


def test_more_methods_later(table, sites, tmp_path):
    """In two runs as in one; other options than those that are there are refused."""
    out = tmp_path / "results"
    for methods in (("difference",), ("temporal",)):
        made = sitsfuse.benchmark(sites[:1], out, methods=methods, jobs=0)
    same(made, table[table["site"] == "one"])
    with pytest.raises(InputError, match=r"\(sites\.one\.dates\.target is"):
        sitsfuse.benchmark(sites[:1], out, methods=["temporal"], max_dates=1, jobs=0)
    options = {"efast": {"window": 60}}
    sitsfuse.benchmark(sites[:1], tmp_path / "efast", methods=["efast"], max_dates=1, options=options, jobs=0)
    with pytest.raises(InputError, match=r"\(methods\.efast\.window is 60.* there and 30.* here\)"):
        sitsfuse.benchmark(sites[:1], tmp_path / "efast", methods=["efast"], max_dates=1, jobs=0)
    again = sitsfuse.benchmark(sites[:1], out, methods=["temporal"], max_dates=1, jobs=0, overwrite=True)
    assert again["date"].nunique() == 1
    assert set(again["method"]) == {"temporal"}


@dataclass(frozen=True)
class Failing(Temporal):
    """Raises on one date."""

    name: ClassVar[str] = "failing"

    def study(self, site):
        def fit(study, date):
            if date == site["target"]["time"].values[1]:
                raise ZeroDivisionError("no luck")
            return study.fit(date)

        return scenes.Watched(super().study(site), fit)


def test_a_failing_method_fails_alone(sites, tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "failing", Failing)
    out = tmp_path / "results"
    made = sitsfuse.benchmark(sites[:1], out, methods=["failing", "temporal"], jobs=0)
    assert made.attrs["failures"] == 1
    counts = made.drop_duplicates(["method", "date"])["method"].value_counts()
    assert counts.to_dict() == {"temporal": 3, "failing": 2}
    (failure,) = Results(out).failures().to_dict("records")
    assert failure["error"] == "ZeroDivisionError: no luck"
    assert "in fit" in failure["detail"]
    # Mended, it is tried again.
    monkeypatch.setattr(Failing, "study", Temporal.study)
    assert sitsfuse.benchmark(sites[:1], out, methods=["failing"], jobs=0).attrs["failures"] == 0


@dataclass(frozen=True)
class Greedy(Temporal):
    """Needs more guides than there are."""

    name: ClassVar[str] = "greedy"
    min_guides: ClassVar[int] = 99


def test_a_method_that_a_simulated_site_does_not_suit_fails_alone(tmp_path, monkeypatch):
    """The error names a path among the results, as an error of writing them does."""
    monkeypatch.setitem(METHODS, "greedy", Greedy)
    monkeypatch.setattr("sitsfuse.benchmarking.SITES", {"arm": SITES["arm"]})
    made = sitsfuse.benchmark((), tmp_path / "r", methods=["greedy", "temporal"], max_dates=1, size=64, jobs=0)
    assert set(made["method"]) == {"temporal"}
    failures = Results(tmp_path / "r").failures()
    assert failures["error"].str.contains("sites/arm.zarr/guide: holds 16 images").all()
    assert len(failures) == 2


def live_or_die(job):
    """A job's function that takes its process down for one of them."""
    if job.unit.method == "deadly":
        os._exit(9)
    Results(job.results).write_rows(job.unit, pd.DataFrame({"value": [1.0]}))


@pytest.mark.slow
def test_a_dying_process_is_one_failure(tmp_path):
    results = Results(tmp_path / "results")
    methods = ["a", "deadly", "b"]
    site = PlannedSite(targets={"target": PlannedTarget(dates=("2019-05-01",))})
    results.configure(Configuration(sites={"s": site}, methods={m: {} for m in methods}, protocols=("standard",)))
    jobs = [Job(results.path, unit, site, {}, 1, 64, False, 1) for unit in results.units()]
    assert {j.unit.method for j in finished(jobs, 2, live_or_die)} == set(methods)
    assert len(results.collect()) == 2
    assert results.failures()["method"].tolist() == ["deadly"]


def tell_the_process(job):
    Results(job.results).write_rows(job.unit, pd.DataFrame({"method": [job.unit.method], "process": [os.getpid()]}))


@pytest.mark.slow
def test_no_method_inherits_the_memory_of_another(tmp_path):
    """What a process has loaded stays in it: two methods never share one, and one method need not start anew."""
    results = Results(tmp_path / "results")
    site = PlannedSite(targets={"target": PlannedTarget(dates=("2019-05-01", "2019-05-11", "2019-05-21"))})
    results.configure(Configuration(sites={"s": site}, methods={"a": {}, "b": {}}, protocols=("standard",)))
    jobs = [Job(results.path, unit, site, {}, 1, 64, False, 1) for unit in results.units()]
    assert len(list(finished(jobs, 1, tell_the_process))) == 6
    made = results.collect()
    assert made.groupby("process")["method"].nunique().tolist() == [1, 1]


def test_the_peak_is_that_of_what_comes():
    """Neither what was freed before counts, nor what free memory the allocator holds back."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux forgets a peak")
    pieces = [np.ones(8000) for _ in range(2000)]  # 128 MB in pieces that the allocator keeps
    kept = pieces[::100]
    before = memory.peak()
    del pieces
    memory.reset_peak()
    assert memory.peak() < before - 60
    assert len(kept) == 20


def test_protocols_judge_the_same_pixels(sites, tmp_path):
    out = tmp_path / "results"
    made = sitsfuse.benchmark(sites[:1], out, methods=["difference"], protocols=["standard", "no-lr"], jobs=0)
    rows = made[(made["band"] == "all") & (made["metric"] == "rmse") & (made["stratum"] == "all")]
    wide = rows.pivot(index="date", columns="protocol", values="n_valid").dropna()
    assert len(wide) == 1  # the first and the last date have no LR image on one side
    assert (wide["standard"] == wide["no-lr"]).all()
    errors = rows[rows["date"].isin(wide.index)].set_index("protocol")["value"]
    assert errors["no-lr"] > errors["standard"]


def test_simulated_sites(tmp_path, monkeypatch):
    """Without a site, simulated ones are made; not of another size than those that are there."""
    assert len(SITES) == 6
    monkeypatch.setattr("sitsfuse.benchmarking.SITES", {name: SITES[name] for name in ("arm", "sudoe-4")})
    out = tmp_path / "results"
    made = sitsfuse.benchmark((), out, methods=["temporal"], max_dates=1, size=64, jobs=0)
    assert set(made["site"]) == {"arm", "sudoe-4"}
    assert sorted(made["ratio"].unique()) == [2.5, 5.0]
    with pytest.raises(InputError, match="give size=64"):
        sitsfuse.benchmark((), out, methods=["temporal"], max_dates=1, size=80, jobs=0)


def test_thinned():
    days = [f"{k:02d}" for k in range(10)]
    assert thinned(days, None) == thinned(days, 10) == tuple(days)
    assert thinned(days, 3) == ("01", "05", "08")
    assert thinned(days, 1) == ("05",)
    assert thinned(days, 9)[0] == "00"
    assert thinned(days, 9)[-1] == "09"


def test_bad_input(sites, tmp_path):
    def message(paths, out=None, **options):
        with pytest.raises(InputError) as caught:
            sitsfuse.benchmark(paths, out or tmp_path / "results", jobs=0, **{"methods": ["spatial"], **options})
        return str(caught.value)

    assert "does not exist" in message([tmp_path / "none"])
    assert "is unknown" in message(sites[:1], methods=["magic"])
    assert "'ddi'" in message(sites[:1], options={"ddi": {"steps": 3}})
    assert "protocols: " in message(sites[:1], protocols=["gaps"])
    assert "name of another site" in message([sites[0], sites[0]])
    assert "choose a target: target_x2.5, target_x5" in message(sites[1:], targets=["target_x3"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    assert "is not an output of `sitsfuse benchmark`" in message(sites[:1], tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "notes.txt").exists()
    assert "is a file" in message(sites[:1], tmp_path / "mine" / "notes.txt")
    (tmp_path / "mine" / "sites").mkdir()
    (tmp_path / "mine" / "benchmark.json").write_text("{}")
    assert "is not an output of `sitsfuse benchmark`" in message([], tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "sites").is_dir()
    bare = tmp_path / "bare"
    for role in ("guide", "target"):
        series = open_series(sites[0] / role)
        write_geotiffs(series.drop_vars({"gain", "offset"} & set(series.coords)), bare / role)
    assert "has no reference/" in message([bare])
    assert not (tmp_path / "results").exists()


def test_sites_of_other_makers_are_read_as_is_asked(tmp_path):
    scene = sitsfuse.simulate(size=40, guides=2, targets=1, cloud_cover=0.0, missed_clouds=0.0, seed=4)
    for role, times in (("guide", 1), ("reference", 1), ("target", 10)):
        write_geotiffs(scene[role].to_dataset()[["reflectance", "valid"]], tmp_path / "plain" / role)
        (tmp_path / "numbers" / role).mkdir(parents=True)
        for path in (tmp_path / "plain" / role).glob("????????.tif"):
            with rasterio.open(path) as file:
                numbers, profile, names = file.read().astype("int32") * times, file.profile, file.descriptions
            profile |= {"dtype": "int32", "nodata": profile["nodata"] * times}
            with rasterio.open(tmp_path / "numbers" / role / path.name, "w", **profile) as file:
                file.write(numbers)
                file.descriptions = names
    reading = {"reading": {"scale": 1e-4}, "target_reading": {"scale": 1e-5}}
    plain, numbers = (
        sitsfuse.benchmark([tmp_path / kind], tmp_path / f"r-{kind}", methods=["difference"], jobs=0, **how)
        for kind, how in (("plain", {}), ("numbers", reading))
    )
    np.testing.assert_allclose(numbers["value"], plain["value"], rtol=1e-3, atol=1e-5)
    kept = Results(tmp_path / "r-numbers").earlier().site("numbers")
    assert (kept.reading, kept.target_reading) == ({"scale": 1e-4}, {"scale": 1e-5})
