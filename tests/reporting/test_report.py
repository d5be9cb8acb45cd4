"""The report of a benchmark tells the numbers of its table, needs nothing else and does without what is missing."""

import base64
import io
import re
import shutil
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sitsfuse.benchmarking.measures import EDGES, NDVI, RMSE, Measure
from sitsfuse.benchmarking.ranking import ranking
from sitsfuse.benchmarking.results import Results
from sitsfuse.benchmarking.scores import Scores
from sitsfuse.drawing.figures import save
from sitsfuse.drawing.html import inline
from sitsfuse.errors import InputError
from sitsfuse.reporting import report
from sitsfuse.reporting.charts import Course, Spread, course_figure, spread_figure
from sitsfuse.reporting.palette import LINES, PALETTE, STRONG, styles, swatch
from sitsfuse.reporting.panels import STRATA, strata_colours, views, webp
from sitsfuse.reporting.scatter import Point, cloud_figure, crowd
from sitsfuse.reporting.tables import coverage, coverage_rows, failure_rows, losses, ranking_table
from sitsfuse.reporting.words import findings, leading
from tests.benchmarking.test_ranking import a_table
from tests.helpers.make_results import DATES, FORECAST, METHODS, error_of, make_results
from tests.preparation.test_page import EVIL, Page, luminance

FEW = ("temporal", "carn", "ddi")
SIZE = 40


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two sites, one ratio, three methods, two protocols and numbers of two bands."""
    path = tmp_path_factory.mktemp("report") / "results"
    results = make_results(path, ratios=(5.0,), methods=FEW, shown=1, size=SIZE)
    table = results.table()
    table[~table["band"].isin(["blue", "green"])].to_parquet(path / "metrics.parquet")
    return results


@pytest.fixture(scope="module")
def steps():
    return []


@pytest.fixture(scope="module")
def page(results, steps):
    return Page(report(results.path, report=lambda *step: steps.append(step)))


@pytest.fixture(scope="module")
def scores(results):
    return Scores.of(results.table(), FEW, results.config.protocols)


def mean_error(method, band="all", *, lost=()):
    """The mean RMSE over both sites and the dates, without some of them."""
    pairs = [(s, d) for s in range(2) for d in range(len(DATES)) if (s, d) not in lost]
    return np.mean([error_of(method, band, "all", 5.0, s, d, "standard") for s, d in pairs])


# --- the page --------------------------------------------------------------------------------------------------


def test_every_section_is_there_and_can_be_reached(page):
    sections = page.sections()
    assert sections == [
        *("ranking", "look", "dates", "distributions", "tradeoffs", "costs", "uncertainty", "protocols"),
        *("predictions", "gradients", "tables", "claims", "failures", "settings"),
    ]
    linked = {a["href"][1:] for a in page.all("a") if a.get("href", "").startswith("#")}
    assert linked == set(sections)


def test_the_ranking_tells_the_means(page):
    rows = page.table("Method")
    assert [row[0] for row in rows[:3]] == ["ddi", "carn", "temporal"]
    cells = {row[0]: row[2] for row in rows[:3]}
    # A pair that carn lost counts for nobody.
    for method, text in cells.items():
        assert text.startswith(f"{mean_error(method, lost=[(0, 1)]):.4f}")
    assert "7 pairs, 2 sites" in page.text
    assert "1 pair is left out" in page.text


def test_the_opening_tells_who_won_by_how_much(page):
    assert "3 methods made 47 predictions of 2 sites at ×5" in page.text
    best, second = (mean_error(m, lost=[(0, 1)]) for m in ("ddi", "carn"))
    assert f"an RMSE of {best:.4f} against {second:.4f} (−23 %, p = 0.031)" in page.text
    assert "1 prediction failed" in page.text


def test_nothing_comes_from_elsewhere(page):
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv"))
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    for name, attributes in page.tags:
        for key in ("src", "href", "xlink:href"):
            assert attributes.get(key, "#").startswith(("#", "data:")), (name, key)
        assert name not in ("link", "iframe", "object", "embed", "base", "form")
    outside = re.findall(r"https?://[\w./-]+", re.sub(r'xmlns(:\w+)?="[^"]*"', "", page.source))
    assert {u for u in outside if "www.w3.org" not in u} == set()
    assert len(page.source) < 15e6


def test_names_are_unique_and_what_is_drawn_is_told(page):
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:url\(|href=")#([\w.-]+)', page.source))
    assert used <= set(ids)
    for name, attributes in page.tags:
        if name == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
        if name == "img":
            assert attributes.get("alt")
    assert "best on average ddi 0.0" in page.source


def test_tables_can_be_sorted_and_saved(page):
    tables = page.all("table")
    assert all("sortable" in t["class"].split() and t["data-csv"] for t in tables)
    assert len({t["data-csv"] for t in tables}) == len(tables) == 8
    for table in page.tables:
        for row in table[1:]:
            for _, attributes, text in row:
                # What looks like no number but is one says which.
                if re.match(r"\s*[×−+≈★*]?\d[\d.]*\s?%?\*?$", text) and not re.fullmatch(r"[\d.]+", text.strip()):
                    assert re.fullmatch(r"-?[\d.]+", attributes["data-value"]), text


def test_all_means_are_listed(page, scores):
    rows = next(t for t in page.tables if len(t) > 50)
    assert len(rows) - 1 == 2 * 3 * 4 * 3
    head = [cell[2] for cell in rows[0]]
    found = {tuple(c[2] for c in row[:5]): row for row in rows[1:]}
    row = found["sudoe-4", "×5", "ddi", "nir", "high"]
    expected = np.mean([error_of("ddi", "nir", "high", 5.0, 1, d, "standard") for d in range(len(DATES))])
    assert row[head.index("rmse")][2] == f"{expected:.4f}"
    assert found["arm", "×5", "carn", "all", "all"][head.index("Dates")][2] == "3"


def test_figures_follow_the_mode_of_the_reader(page):
    drawn = "".join(re.findall(r"<svg.*?</svg>", page.source, re.S))
    assert set(re.findall("#[0-9a-f]{6}", re.sub('base64,[^"]*', "", drawn))) <= {"#000000", "#ffffff"}
    for name in ("line1", "line2", "line4"):
        assert f"var(--{name})" in drawn
        light, dark = LINES[name]
        assert f"--{name}: {light};" in page.source
        assert f"--{name}: {dark};" in page.source


def test_figures_lie_beside_the_page(results, page):
    folder = results.path / "report_figures"
    names = {p.name for p in folder.iterdir()}
    assert {n[:-4] for n in names if n.endswith(".png")} == {n[:-4] for n in names if n.endswith(".svg")}
    kinds = ("dates-x5", "ce90-x5", "rmse-x5", "structural-x5", "gradient_correlation-x5", "tradeoff-x5", "time-x5")
    kinds += ("memory-x5", "reliability-x5", "protocols-x5", "strata-arm", "predictions-arm-target_x5")
    kinds += ("weights-arm-target_x5-ddi",)
    assert {f"{k}.png" for k in kinds} <= names
    for path in folder.glob("*.svg"):
        for element in ElementTree.parse(path).iter():
            for key, value in element.attrib.items():
                assert not key.endswith("href") or value.startswith(("#", "data:"))
    assert matplotlib.image.imread(folder / "dates-x5.png").shape[0] > 400


def test_progress_goes_on_to_the_end(page, steps):
    stages = list(dict.fromkeys(name for name, *_ in steps))
    assert stages == ["rank", "figures", "pictures"]
    for stage in stages:
        done = [(d, total) for name, d, total in steps if name == stage]
        assert done == sorted(done)
        assert done[-1][0] == done[-1][1] > 0


def test_without_samples_other_protocols_and_uncertainty(tmp_path):
    """Names and texts of whoever made the run do no harm."""
    results = make_results(
        tmp_path / "r", sites=1, ratios=(4.0,), methods=("temporal", "spatial"), dates=DATES[:2],
        protocols=("standard",), samples=False, failed=False,
    )  # fmt: skip
    config = results.config
    site = replace(config.sites["arm"], title=EVIL, landscape=EVIL, location=EVIL)
    results.configure(replace(config, sites={"arm": site}, methods={**config.methods, "spatial": {"order": EVIL}}))
    unit = next(u for u in results.units() if u.method == "spatial")
    results.write_failure(unit, EVIL.replace("\ud800", ""))
    table = results.table()
    table = table[table["metric"].isin(["rmse", "ce90"]) & ~table["band"].isin(["red", "nir", "ndvi"])]
    table.drop(columns="megapixels").to_parquet(results.path / "metrics.parquet")
    page = Page(report(results.path, tmp_path / "elsewhere" / "page.html"))
    assert page.sections() == ["ranking", "dates", "distributions", "tables", "claims", "failures", "settings"]
    assert (tmp_path / "elsewhere" / "page_figures" / "dates-x4.png").is_file()
    assert not (results.path / "report.html").exists()
    assert "alert(" in page.text
    assert not [a for a in page.all("img") if a.get("src") == "x"]
    assert len(page.all("script")) == 1
    assert "With 2 pairs of 2 independent scenes (fewer than 6) nothing can be told from chance" in page.text


def test_there_must_be_results(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        report(tmp_path / "nowhere")
    results = make_results(tmp_path / "r", sites=1, samples=False)
    (results.path / "metrics.parquet").unlink()
    with pytest.raises(InputError, match="holds no result of temporal"):
        report(results.path)


# --- words and rows --------------------------------------------------------------------------------------------


def test_protocols_cost_what_they_were_made_to_cost(scores):
    rows = losses(scores, 5.0, "forecast")
    assert [r.method for r in rows] == list(FEW)
    for row in rows:
        assert row.pairs == (7 if row.method == "carn" else 8)
        # The distance of structure from 1 grows as errors do.
        assert list(row.changes.values()) == pytest.approx([FORECAST - 1] * 3)
        assert row.after / row.before == pytest.approx(FORECAST)
        # Six scenes of one sign: 2 / 2^6, times three methods; without chance's help nothing is sure.
        assert (row.scenes, row.sure) == (6, False)


def test_coverage_is_the_mean_over_pairs(scores):
    levels, observed, rows = coverage(scores, 5.0)
    assert levels == [10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99]
    assert set(observed) == {"temporal", "ddi"}
    np.testing.assert_allclose(observed["ddi"], np.array(levels) / 100)
    ddi = next(r for r in rows if r.method == "ddi")
    assert ddi.sharpness == pytest.approx(3.2898 * mean_error("ddi"))
    assert ddi.gap == pytest.approx(0)


def test_coverage_is_told_scene_by_scene():
    """Two scenes, one promised too much and one too little: pooled they look calibrated."""
    table = pd.concat(
        [a_table(np.array([[0.70, 0.90], [1.0, 0.89]]), "coverage90"), a_table(np.ones((2, 2)), "sharpness")]
    )
    found = Scores.of(table)
    _, observed, rows = coverage(found, 5.0)
    assert observed["m0"] == pytest.approx([0.85])
    assert {r.method: (r.kept, r.scenes) for r in rows} == {"m0": (0.0, 2), "m1": (1.0, 2)}
    names, scenes = coverage_rows(found)
    assert names == ["m0", "m1"]
    assert [[cell[1] for cell in row.cells] for row in scenes] == [[False, True], [False, True]]
    assert [row.date for row in scenes] == ["2020-01-01", "2020-01-02"]


def test_failures_of_one_reason_are_one_row(results):
    failures = results.failures()
    many = failures.loc[failures.index.repeat(5)].assign(date=[f"2020-01-0{k}" for k in range(1, 6)])
    (row,) = failure_rows(many, results.config)
    assert (row.method, row.count) == ("carn", 5)
    assert row.where == "arm ×5: 2020-01-01, 2020-01-02, 2020-01-03 and 2 more"
    assert "train it" in row.error


def test_findings_name_what_may_be_chance():
    rng = np.random.default_rng(0)
    base = rng.uniform(1, 2, 10)
    close = np.column_stack([base, base + 0.01 * np.resize([1, -1], 10), base + 1])
    scores = Scores.of(a_table(close, sites=range(10)))
    (text,) = findings([ranking(scores, 5.0)], scores)
    assert "may be chance" in text
    table = ranking_table(ranking(scores))
    assert [row["cells"][0]["mark"] for row in table["rows"]][2] == ""
    assert {row["cells"][0]["mark"] for row in table["rows"][:2]} == {"best", "tied"}


# --- drawing ---------------------------------------------------------------------------------------------------


def lab(colour, matrix):
    """CIE L*a*b* of a colour as an eye sees it; D65."""
    values = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    linear = np.clip(matrix @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(to_xyz @ linear / np.array([0.9505, 1, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
"""Of linear RGB: Machado, Oliveira and Fernandes (2009), severity 1."""


@pytest.mark.parametrize("matrix", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["normal", "deuteranopia", "protanopia"])
@pytest.mark.parametrize("mode", [0, 1])
def test_methods_that_stand_out_are_told_apart_by_every_eye(mode, matrix):
    colours = [lab(PALETTE[s.ink][mode], np.array(matrix)) for s in STRONG.values()]
    apart = [np.linalg.norm(a - b) for k, a in enumerate(colours) for b in colours[:k]]
    assert min(apart) > 10
    for name in LINES:
        low, high = sorted(luminance(PALETTE[n][mode]) for n in (name, "paper"))
        assert (high + 0.05) / (low + 0.05) >= 3, name


def test_no_two_methods_look_alike():
    every = styles([*METHODS, "a", "b", "c", "d", "e", "f", "g", "h"])
    assert len({(s.ink, s.marker, s.dash) for s in every.values()}) == 13
    assert len({s.marker for s in every.values()}) == 13
    assert every["ddi"] == styles(["ddi", "x"])["ddi"]
    assert len({swatch(s) for s in every.values()}) == 13


def test_a_bad_method_that_does_not_stand_out_does_not_squash_the_others():
    dates = np.arange("2020-01-01", "2020-01-05", dtype="datetime64[D]")
    values = np.array([[0.01, 9.0], [0.02, 9.0], [np.nan, 9.0], [0.03, 9.0]])
    course = Course("s", NDVI, dates, values, dates[:0])
    axes = course_figure(course, styles(["ddi", "efast"])).axes[0]
    assert 0.03 < axes.get_ylim()[1] < 0.05
    assert [line.get_xydata().shape for line in axes.lines[:2]] == [(3, 2), (4, 2)]
    alone = course_figure(Course("s", RMSE, dates, values[:, 1:], dates[:0]), styles(["efast"])).axes[0]
    assert alone.get_ylim()[1] > 9


def test_an_axis_holds_the_better_methods():
    """Structure of a real run: the axis held `temporal` alone, for it is drawn strong, and hid what was better."""
    dates = np.array(["2019-03-01", "2019-07-01"], "datetime64[D]")
    values = np.array([[0.72, 0.916, 0.915], [0.79, 0.811, 0.866]])
    course = Course("s", EDGES, dates, values, dates[:0])
    held = styles(["temporal", "difference", "robot"])
    low, high = course_figure(course, held).axes[0].get_ylim()
    assert low < values.min()
    assert high > values.max()
    axes = spread_figure(Spread(EDGES, {"all": values}), held).axes[0]
    assert axes.get_xlim()[0] < values.min() < values.max() < axes.get_xlim()[1]
    # Of two pairs there are no percentiles: two points per method.
    (points,) = axes.collections
    assert sorted(points.get_offsets()[:, 0]) == sorted(values.ravel())


def test_lines_do_not_bridge_months():
    dates = np.array(["2019-03-01", "2019-03-21", "2019-07-01", "2019-07-20"], "datetime64[D]")
    course = Course("s", NDVI, dates, np.full((4, 1), 0.1), dates[:0])
    x = course_figure(course, styles(["ddi"])).axes[0].lines[0].get_xdata()
    assert np.isnan(x).tolist() == [False, False, True, False, False]


def test_costs_begin_at_zero():
    points = [Point("a", 777.0, 0.1), Point("b", 779.5, 0.2)]
    for log, begins in ((False, True), (True, False)):
        axes = cloud_figure(points, styles(["a", "b"]), ("MB", "y"), better="lower left", log=log).axes[0]
        assert (axes.get_xlim()[0] == 0) == begins


def test_a_narrow_axis_has_ticks():
    for far in (1.5, 8, 300, 1e6):
        points = [Point("a", 4.1, 0.1), Point("b", 4.1 * far, 0.2)]
        axes = cloud_figure(points, styles(["a", "b"]), ("s", "y"), better="lower left", log=True).axes[0]
        low, high = axes.get_xlim()
        assert 2 <= sum(low <= t <= high for t in axes.get_xticks()) <= 9


def test_text_and_charts_speak_of_the_same_measures():
    reflectance, index = Measure("rmse", "ndvi"), Measure("ce90", "ndvi")
    assert leading([RMSE, NDVI, Measure("sam", "all"), EDGES]) == [NDVI, RMSE, EDGES]
    assert leading([RMSE, Measure("structural", "nir")]) == [RMSE, Measure("structural", "nir")]
    assert leading([reflectance, index, Measure("structural", "ndvi")])[-1] == Measure("structural", "ndvi")
    assert leading([]) == []


def test_a_figure_is_the_same_file_every_time(tmp_path):
    for name in ("a", "b"):
        save(cloud_figure([Point("ddi", 1, 2)], styles(["ddi"]), ("x", "y")), tmp_path / name / "f.svg")
    first, second = ((tmp_path / name / "f.svg").read_text() for name in ("a", "b"))
    assert first == second
    assert "dc:date" not in first


def test_names_of_points_keep_out_of_each_others_way():
    points = [Point(f"method {k}", x, y) for k, (x, y) in enumerate([(0, 0), (0.1, 0), (0.1, 0.05), (1, 1), (1, 0.95)])]
    figure = cloud_figure(points, styles([p.method for p in points]), ("x", "y"))
    figure.canvas.draw()
    boxes = [t.get_window_extent() for t in figure.axes[0].texts]
    assert len(boxes) == 5
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    inside = figure.axes[0].get_window_extent()
    assert all(b.x0 >= inside.x0 - 2 and b.x1 <= inside.x1 + 2 for b in boxes)


def test_a_crowd_is_shown_apart_from_what_is_far_away():
    near = [Point(f"m{k}", 0.03 + 0.001 * k, 0.94 + 0.002 * (k % 3)) for k in range(6)]
    far = [Point("carn", 0.13, 0.66), Point("spatial", 0.14, 0.67)]
    assert crowd([*near, *far]) == near
    assert crowd(near) == []
    assert crowd(near[:2] + far) == []
    # What lies in the frame belongs to it, though its distance from the median is large among so narrow a crowd.
    best = Point("estarfm", near[0].x, near[2].y)
    tight = [Point(f"t{k}", 0.03 + 0.001 * (k == 0), 0.94 + 0.004 * (k == 1)) for k in range(6)]
    corner = Point("estarfm", 0.031, 0.944)
    assert best in crowd([*near, best, *far])
    held = crowd([*tight, corner, *far])
    xs, ys = ([getattr(p, axis) for p in held] for axis in "xy")
    for point in [*tight, corner]:
        inside = min(xs) <= point.x <= max(xs) and min(ys) <= point.y <= max(ys)
        assert (point in held) == inside
    figure = cloud_figure([*near, *far], styles([p.method for p in [*near, *far]]), ("x", "y"), crowded=near)
    assert {t.get_text() for t in figure.axes[0].texts} == {"carn", "spatial", "enlarged"}


def test_lines_can_be_picked(page):
    drawn = {name for _, a in page.tags if re.search("-way[0-9]+$", name := a.get("id", ""))}
    assert {name.rpartition("-")[2] for name in drawn} == {"way0", "way1", "way2"}
    for k in range(3):
        assert f'main:has(#pick-{k}:checked) [id$="-way{k}"]' in page.source
    assert "ddi" in inline(
        cloud_figure([Point("ddi", 1, 2)], styles(["ddi"]), ("a", "b")), "n", "about", palette=PALETTE
    )


# --- pictures --------------------------------------------------------------------------------------------------


def test_pictures_lie_where_their_pixels_do(results):
    found = views(results, "arm", "target_x5", FEW, {(DATES[0], "ddi"): "told"})
    # The reference stands beside the LR image, never alone at the end.
    assert [p.name for p in found.panels] == ["LR", "reference", *FEW]
    assert found.shape == (SIZE, SIZE)
    low, truth, *predicted = found.panels
    assert low.error is truth.error is None
    ddi = results.prediction(next(u for u in results.units() if u.method == "ddi"))
    apart = (ddi["reflectance"].values - results.sample("arm", "reference")["reflectance"].values[0]).mean(axis=0)
    red, blue = predicted[-1].error[..., 0], predicted[-1].error[..., 2]
    strong = np.abs(apart) > 0.3 * found.end
    assert strong.any()
    assert ((red > blue) == (apart > 0))[strong].all()
    assert low.box == pytest.approx((0, 0, SIZE, SIZE))
    assert low.colours.shape == (SIZE // 5, SIZE // 5, 3)
    assert truth.box == pytest.approx((0, 0, SIZE, SIZE))
    assert low.source.startswith("data:image/png")
    assert truth.source.startswith("data:image/webp")
    assert {p.name: p.note for p in found.panels}["ddi"] == "told"
    rows, cols = found.zoom
    assert rows.stop - rows.start == cols.stop - cols.start == SIZE // 4
    # A prediction with small errors looks like the truth.
    ddi = next(p for p in found.panels if p.name == "ddi")
    assert np.abs(ddi.colours - truth.colours).mean() < 0.1 < np.abs(truth.colours - truth.colours.mean()).mean()


def test_weights_are_those_of_the_guides_that_weigh_most(results):
    (held,) = views(results, "arm", "target_x5", FEW, {}).weights
    assert (held.method, held.band) == ("ddi", "green")
    image = results.prediction(next(u for u in results.units() if u.method == "ddi"))
    share = image["weight"].sel(band="green").mean(("y", "x"))
    most = sorted(str(t)[:10] for t in share["guide_time"].values[np.argsort(-share.values)[:7]])
    assert [p.name for p in held.maps] == most
    assert held.guides == share.size
    nearest = max(held.maps, key=lambda p: float(re.search("mean ([0-9.]+)", p.note)[1]))
    assert nearest.note.startswith(("+10 days", "−10 days"))


def test_a_prediction_that_is_missing_leaves_the_others(results, tmp_path):
    path = tmp_path / "r"
    shutil.copytree(results.path, path, ignore=shutil.ignore_patterns("report*"))
    for file in path.glob("samples/arm/target_x5/standard/carn/*"):
        file.unlink()
    found = views(Results(path), "arm", "target_x5", FEW, {})
    assert [p.name for p in found.panels] == ["LR", "reference", "temporal", "ddi"]
    (path / "samples" / "arm" / "reference.npz").unlink()
    assert views(Results(path), "arm", "target_x5", FEW, {}) is None


def test_strata_have_their_colours():
    drawn = strata_colours(np.array([[0, 1], [2, 3]], np.uint8))
    told = [tuple(int(ink[k : k + 2], 16) for k in (1, 3, 5)) for ink, _ in STRATA.values()]
    assert [tuple(np.rint(255 * c).astype(int)) for c in drawn.reshape(-1, 3)[1:]] == told


def test_compressed_pictures_are_close():
    ramp = np.stack(np.broadcast_arrays(*np.ogrid[0:1:64j, 0:1:64j], 0.5), axis=-1).astype(np.float32)
    image = Image.open(io.BytesIO(base64.b64decode(webp(ramp).partition(",")[2])))
    assert np.abs(np.asarray(image, float) / 255 - ramp).max() < 0.06
