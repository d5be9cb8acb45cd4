"""The demo writes what it says, its table is right, and a second run computes nothing."""

import dataclasses
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio

from sitsfuse.demonstration import SOME, clearest, demo
from sitsfuse.errors import InputError
from sitsfuse.methods import METHODS, find_method, known_methods
from sitsfuse.readers import open_series

QUICK = {"networks": "never", "folds": 2}
TINY = {"size": 100, "guides": 4, "targets": 2, "options": {"ddi": QUICK}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tiny demo, and what it reported."""
    calls = []
    out = tmp_path_factory.mktemp("demo") / "out"
    return demo(out, **TINY, report=lambda *call: calls.append(call)), calls


def stamps(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def read(path):
    with rasterio.open(path) as source:
        return source.read().astype(float) * source.scales[0]


def test_it_writes_what_it_says(made):
    result, _ = made
    text = str(result)
    for path in re.findall(rf"^{re.escape(str(result.folder))}\S*", text, re.MULTILINE):
        assert Path(path).exists()
    assert {m for m in METHODS if re.search(rf"^ *{re.escape(m)} ", text, re.MULTILINE)} == set(SOME)
    for role, count in (("guide", 4), ("target", 2), ("reference", 2)):
        assert len([p for p in (result.folder / "raw" / role).glob("*.tif") if p.stem.isdigit()]) == count
    days = [p.name for p in (result.folder / "raw" / "target").glob("????????.tif")]
    for method in SOME:
        for day in days:
            for name in (day, day.replace(".", "_mask."), day.replace(".", "_uncertainty.")):
                assert (result.folder / method / name).is_file()
    assert result.figure.stat().st_size > 10_000
    assert "ddi" in result.page.read_text(encoding="utf-8")
    assert (result.folder / "site.zarr" / "prepare.html").is_file()


def test_the_table_is_right(made):
    result, _ = made
    table = pd.read_csv(result.folder / "metrics.csv", parse_dates=["date"])
    assert list(table["method"].unique()) == list(SOME)
    site = result.folder / "raw"
    prepared = open_series(result.folder / "site.zarr" / "target")
    errors = []
    for path in sorted((site / "reference").glob("????????.tif")):
        # Where the prepared LR image is clear: 5 × 5 HR pixels per LR pixel.
        clear = prepared["valid"].sel(time=f"{path.stem[:4]}-{path.stem[4:6]}-{path.stem[6:]}").values.squeeze()
        ok = np.kron(clear, np.ones((5, 5))).astype(bool)
        ok &= read(result.folder / "difference" / path.name.replace(".", "_mask."))[0] == 0
        error = read(result.folder / "difference" / path.name) - read(path)
        errors.append(np.sqrt((error[:, ok] ** 2).mean()))
        rows = table[(table.method == "difference") & (table.band == "all") & (table.metric == "rmse")]
        rows = rows[rows.stratum == "all"]
        row = rows[rows["date"].dt.strftime("%Y%m%d") == path.stem]
        assert row["value"].item() == pytest.approx(errors[-1], rel=1e-5)
    assert result.summary.loc["difference", "RMSE"] == pytest.approx(np.mean(errors), rel=1e-5)


def test_every_stage_is_reported_to_its_end(made):
    _, calls = made
    stages = list(dict.fromkeys(stage for stage, _, _ in calls))
    assert stages == ["simulate", "prepare", *(f"fuse {m}" for m in SOME), "evaluate", "weights", "draw", "report"]
    for stage in stages:
        steps = [(done, total) for name, done, total in calls if name == stage]
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1] > 0


def test_a_second_run_computes_nothing(made, monkeypatch):
    result, _ = made
    before = stamps(result.folder)

    def forbidden(*_args, **_kwargs):
        raise AssertionError("computed again")

    for name in ("simulate", "prepare", "evaluate", "draw_comparison", "benchmark", "write_report"):
        monkeypatch.setattr(sys.modules[demo.__module__], name, forbidden)
    monkeypatch.setattr("sitsfuse.methods.ddi.DDI.study", forbidden)
    again = demo(result.folder, **TINY)
    assert stamps(result.folder) == before
    pd.testing.assert_frame_equal(again.summary, result.summary)
    assert str(again) == str(result)


def test_what_is_missing_is_made_again(made):
    result, _ = made
    lost = [next((result.folder / "temporal").glob("????????.tif")), result.figure]
    kept = next((result.folder / "ddi").glob("????????.tif"))
    was = read(lost[0])
    before = stamps(result.folder)
    for path in lost:
        path.unlink()
    demo(result.folder, **TINY)
    after = stamps(result.folder)
    np.testing.assert_array_equal(read(lost[0]), was)
    assert after[kept] == before[kept]
    assert all(path in after for path in lost)
    assert after[result.folder / "metrics.csv"] > before[result.folder / "metrics.csv"]


def test_the_figure_shows_the_clearest_date(made):
    series = open_series(made[0].folder / "site.zarr" / "target")
    shares = [series["valid"].isel(time=i).values.mean() for i in range(2)]
    assert clearest(series) == series["time"].values[int(np.argmax(shares))]


def test_it_leaves_foreign_folders_alone(made, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not an output of `sitsfuse demo`"):
        demo(tmp_path, **TINY)
    with pytest.raises(InputError, match=r"another configuration \(simulation\.size is"):
        demo(made[0].folder, **{**TINY, "size": 120})
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("method", METHODS)
def test_the_documentation_names_every_option_and_its_default(method):
    pages = [p.read_text(encoding="utf-8") for p in (Path(__file__).parents[1] / "docs" / "methods").glob("*.md")]
    page = next(text for text in pages if re.match(rf"# .*`{re.escape(method)}`\n", text))
    documented = dict(re.findall(r"^\| `(\w+)` \| `?((?:\\\||[^|`])+?)`? \|", page, re.MULTILINE))
    cls = find_method(method)
    # What a method takes over from another one stands there.
    elsewhere = {
        f.name for other in cls.__mro__[1:] if other in known_methods().values() for f in dataclasses.fields(other)
    }
    defaults = {f.name: f.default for f in dataclasses.fields(cls) if f.name not in elsewhere}
    assert documented == {
        name: ",".join(str(v) for v in value) if isinstance(value, tuple) else str(value) or '""'
        for name, value in defaults.items()
    }
