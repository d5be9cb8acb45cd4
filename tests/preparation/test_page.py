"""The page of a prepared site holds what the record says, needs nothing from elsewhere and shows what is there."""

import base64
import copy
import io
import itertools
import re
import sys
from html.parser import HTMLParser

import matplotlib.dates
import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from sitsfuse.drawing.text import finite, number, pair, percent, printable
from sitsfuse.drawing.theme import THEME
from sitsfuse.errors import InputError
from sitsfuse.preparation.page import draw_timeline, prepare_page, timeline
from sitsfuse.preparation.page.plots import block_side, checkerboard, regression, shift_panel, shifts
from sitsfuse.preparation.page.summary import facts, gain_of_rmse, revisit, sentences

VOID = {"meta", "img", "br", "link", "input"}
BANDS = ["red", "nir"]
EVIL = "$\\frac$ <script>alert('x')</script>\"><img src=x onerror=y> {{ 7*7 }} & \x00\ud800\u202e"
"""What no string of a record may do to the page."""


class Page(HTMLParser):
    """Tags with their attributes, the text, and tables as rows of cells."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags, self.open, self.words, self.tables, self.titles = [], [], [], [], 0
        self.feed(self.source)
        self.close()
        assert not self.open, f"left open: {self.open}"
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append([tag, dict(attrs), ""])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.words.append(" ")

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1][2] += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    def table(self, heading):
        """Rows of texts of the first table whose head begins with a word, without the head."""
        found = next(t for t in self.tables if t[0][0][2].startswith(heading))
        return [[" ".join(cell[2].split()) for cell in row] for row in found[1:]]

    def sections(self):
        return [attrs["id"] for attrs in self.all("section")]


def day(offset):
    return str(np.datetime64("2020-01-03") + np.timedelta64(offset, "D"))


def an_image(role, k, offset, pixel):
    """The k-th image of a role, as it was prepared."""
    dx, dy = 0.1 * (k + 1), -0.05 * k
    image = {"role": role, "date": day(offset), "id": f"{role}_{offset:03}", "platform": "P1", "clear": 0.5 + 0.07 * k}
    image |= {"shift_x": dx * pixel, "shift_y": dy * pixel, "shift_px": [dx, dy], "spread": 0.031 + 0.01 * k}
    image |= {"tie_points": 40 + k, "found": 57, "quality": "good", "against": day(30), "note": ""}
    return image | {"correlation_before": 0.811, "correlation_after": 0.934}


def a_record():
    """4 guides, 6 targets (2 of a guide's day), 1 reference, 2 images that are not used."""
    images = [an_image("guide", k, offset, 5.0) for k, offset in enumerate((0, 30, 64, 90))]
    images += [an_image("target", k, offset, 25.0) for k, offset in enumerate((0, 10, 15, 30, 48, 71))]
    images += [an_image("reference", 0, 50, 5.0)]
    planned = ("role", "date", "id", "platform", "clear")
    plan = [{k: i[k] for k in planned} | {"paired": None, "same_day": False, "reason": None} for i in images]
    plan += [
        {"date": day(5), "role": "skipped", "series": "lr", "id": "cloudy", "clear": 0.02, "reason": "too cloudy"},
        {"date": day(7), "role": "skipped", "id": "somewhere", "clear": None, "coverage": None, "reason": "elsewhere"},
    ]
    nothing = {"shift_x": 0.0, "shift_y": 0.0, "shift_px": [0.0, 0.0]}
    images[1] |= {"quality": "reference", **nothing}
    images[5] |= {"quality": "doubtful", "note": "the tie points disagree"}
    images[7] |= {"quality": "failed", "spread": None, **nothing}
    line = {"gain": 0.9731, "offset": -0.00214, "correlation": 0.9562, "rmse_before": 0.02, "rmse_after": 0.012}
    line |= {"bias_before": 0.0087, "count": 41233, "used": 0.934, "ok": True, "reason": ""}
    bands = [{"band": "red", **line}, {"band": "nir", **line, "rmse_before": 0.04, "rmse_after": 0.03}]
    grid = {"crs": "EPSG:32631", "bands": BANDS}
    return {
        "name": "somewhere else",
        "landscape": "fields",
        "location": "here",
        "version": "1.2.3",
        "made": "2024-05-06T07:08:09",
        "ratio": 5.0,
        "hr": {"sensor": "SHARP", "pixel": 5.0, "size": [400, 300], **grid},
        "lr": {"sensor": "DENSE", "pixel": 25.0, "size": [80, 60], **grid},
        "plan": plan,
        "images": images,
        "registration": {"model": "shift", "reference": day(30)},
        "harmonization": {
            "mode": "per-date",
            "bands": bands,
            "dates": {day(10): bands},
            "matrix": None,
            "pairs": [{"lr": day(0), "hr": day(0), "days": 0, "count": 1777}],
        },
        "combined": {"nir": {"B10": 0.37, "B11": 0.63}},
        "problems": [{"path": "a/b.zip", "problem": "is cut short"}],
        "config": {"guide": {"path": "in/guide"}, "select": {"revisit": 23, "deep": {"er": [1, 2]}}},
    }


def some_samples():
    rng = np.random.default_rng(0)
    x = rng.uniform(0.05, 0.4, 3000).astype(np.float32)
    out = {}
    for band in BANDS:
        out |= {f"x_{band}": x, f"y_{band}": 0.97 * x + rng.normal(0, 0.01, 3000).astype(np.float32)}
    scene = rng.uniform(0, 0.3, (3, 60, 50)).astype(np.float32)
    scene[:, :7, :9] = np.nan
    return out | {"checker_hr": scene, "checker_before": scene + 0.05, "checker_after": scene + 0.002}


@pytest.fixture(scope="module")
def record():
    return a_record()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("site") / "prepare.html"
    prepare_page(a_record(), some_samples(), path)
    assert [p.name for p in path.parent.iterdir()] == ["prepare.html"]
    return Page(path)


def markers(figure):
    """Places (days since 1970, height) of the markers of a figure by their name."""
    found = {}
    for axes in figure.axes:
        for drawn in axes.collections:
            if drawn.get_gid():
                found[drawn.get_gid()] = np.asarray(drawn.get_offsets())
    return found


# --- what the page says ----------------------------------------------------------------------------------------


def test_the_numbers_that_matter_come_first(page):
    head = page.text[: page.text.index("Dates")]
    for told in (
        "somewhere else",
        "4 guides (SHARP, 5 m) and 6 targets (DENSE, 25 m)",
        "3 January 2020 to 2 April 2020",
        "1 reference kept aside",
        "2 images not used",
        "2 guides have a target of the same day",
        "Targets are 15 days apart (median); the longest gap is 23 days, from 20 February 2020",
        "The registration of 2 of 11 images is doubtful or failed",
        "from 0.0300 to 0.0210 (−30 %, mean of 2 bands)",
        "1 file has a problem",
    ):
        assert told in head


def test_every_image_has_a_row_with_its_numbers(page, record):
    rows = {row[0]: row for row in page.table("Date and product")}
    assert len(rows) == len(record["images"])
    for image in record["images"]:
        row = rows[f"{image['date']}{image['id']}"]
        assert row[1] == image["role"]
        assert row[2] == f"{round(100 * image['clear'])} %"
        if image["quality"] != "failed":
            x, y = (f"{v:+.2f}".replace("-", "−") if v else "0.00" for v in image["shift_px"])
            assert row[3].startswith(f"{x}, {y} px")
            assert row[4] == f"{image['spread']:.2f} px"
        else:
            assert row[3:5] == ["–", "–"]
        assert row[5] == f"{image['tie_points']} of 57"
        assert row[6] == "0.9340.811 before"
        assert row[7].endswith(image["note"])
    assert "▲ doubtful" in rows[f"{day(10)}target_010"][7]
    assert [row[0] for row in page.table("Date and product")] == sorted(rows)


def test_bands_pairs_and_reasons_are_told(page):
    red, nir = page.table("Band")
    assert red == ["red", "0.973", "−0.0021", "0.956", "0.0200", "0.0120", "−40 %", "+0.0087", "41,233", "93 %"]
    assert nir[4:7] == ["0.0400", "0.0300", "−25 %"]
    assert page.table("LR image") == [[day(0), day(0), "0", "1,777"]]
    skipped = next(t for t in page.tables if t[0][-1][2] == "Why")
    assert [row[-1][2] for row in skipped[1:]] == ["too cloudy", "elsewhere"]
    grids = page.table("Grid")
    assert grids[1] == ["Low resolution", "DENSE", "25 m", "80 × 60 px, 2 × 1.5 km", "EPSG:32631", "red, nir"]


def test_settings_weights_and_problems_are_told(page):
    assert page.table("Setting") == [["guide.path", "in/guide"], ["select.revisit", "23"], ["select.deep.er", "[1, 2]"]]
    assert "nir = 0.370 B10 + 0.630 B11" in page.text
    assert "a/b.zip is cut short" in page.text
    assert "Made 2024-05-06 07:08:09 by sitsfuse 1.2.3" in page.text


def test_a_band_matrix_is_shown_with_its_offsets(tmp_path, record):
    given_ = record["harmonization"] | {"matrix": [[0.91, 0.04], [-0.02, 1.03]], "offsets": [0.0012, -0.0034]}
    prepare_page({"harmonization": given_}, {}, tmp_path / "a.html")
    assert Page(tmp_path / "a.html").table("Harmonised") == [
        ["red", "0.910", "0.040", "+0.0012"],
        ["nir", "−0.020", "1.030", "−0.0034"],
    ]


def test_why_nothing_was_harmonised_is_told():
    said = sentences(
        {"harmonization": {"mode": "pooled", "bands": [], "note": "no pair"}, "registration": {"model": "none"}}
    )
    assert said[1:] == ["Images were not registered.", "The sensors were not harmonised: no pair."]


# --- the page by itself ----------------------------------------------------------------------------------------


def check_form(page):
    """What holds of every page: nothing from elsewhere, nothing that runs, names for what cannot be seen."""
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert not {name for name, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for name, attrs in page.tags:
        for key, value in attrs.items():
            assert not key.startswith("on")
            assert key not in ("src", "href", "action", "srcset") or value.startswith(("#", "data:image/png;base64,"))
            assert all(address.startswith("#") for address in re.findall(r"url\((.*?)\)", value or ""))
            if (key == "href" and value.startswith("#")) or "url(#" in (value or ""):
                assert re.search(r"#([\w-]+)", value)[1] in ids
        if name == "img":
            assert attrs["alt"]
        if name == "svg":
            assert attrs["role"] == "img"
            assert attrs["aria-label"]
            assert len(attrs["viewBox" if "viewBox" in attrs else "viewbox"].split()) == 4
    assert not re.search(r"@import|url\(", page.source.partition("<style>")[2].partition("</style>")[0])
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    for table in page.tables:
        assert all(cell[0] == "th" and cell[1]["scope"] == "col" for cell in table[0])
        assert all(row[0][0] == "th" and row[0][1]["scope"] == "row" for row in table[1:])
        assert {len(row) for row in table} == {len(table[0])}
    levels = [int(name[1]) for name, _ in page.tags if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))


def test_the_page_needs_nothing_and_names_everything(page):
    check_form(page)
    assert page.sections() == ["dates", "registration", "radiometry", "sidebyside", "images", "problems", "settings"]
    assert [a["href"][1:] for a in page.all("a")] == ["problems", *page.sections()]


def test_pictures_can_be_decoded_and_show_something(page):
    sources = [a["src"] for a in page.all("img")] + [a["href"] for a in page.all("image")]
    assert len(sources) == 2 + len(BANDS)
    for source in sources:
        decoded = matplotlib.image.imread(io.BytesIO(base64.b64decode(source.partition("base64,")[2])), format="png")
        assert decoded.std() > 0
    assert [(a["width"], a["height"]) for a in page.all("img")] == [("50", "60")] * 2


def test_colours_follow_the_mode_of_the_reader(page):
    drawn = page.source.partition("<body>")[2]
    assert not set(re.findall("#[0-9a-f]{6}", re.sub('base64,[^"]*', "", drawn))) - {"#000000", "#ffffff"}
    for name in ("guide", "target", "reference", "ink", "doubtful"):
        assert f"var(--{name})" in drawn


def luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return np.dot(linear, (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize("mode", [0, 1])
def test_text_has_the_contrast_that_wcag_asks_for(mode):
    for name in set(THEME) - {"paper", "panel", "rule"}:
        for ground in ("paper", "panel"):
            low, high = sorted(luminance(THEME[n][mode]) for n in (name, ground))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)


def test_no_string_of_the_record_does_harm(tmp_path):
    def poison(value):
        if isinstance(value, dict):
            return {k: poison(v) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(v) for v in value]
        kept = ("guide", "target", "reference", "skipped", "lr", "good", "doubtful", "failed")
        dated = isinstance(value, str) and re.match(r"\d{4}-", value)
        return value + EVIL if dated else EVIL if isinstance(value, str) and value not in kept else value

    record = poison(a_record())
    record["config"] |= {EVIL: EVIL}
    record["combined"] = {EVIL: {EVIL: 1.0}}
    samples = {f"{axis}_{EVIL}": np.linspace(0, 1, 50, dtype=np.float32) for axis in "xy"}
    prepare_page(record, samples, tmp_path / "a.html")
    page = Page(tmp_path / "a.html")
    check_form(page)
    shown = printable(EVIL)
    assert "\x00" not in shown
    assert page.text.count(shown) > 50
    assert page.table("Setting")[-1] == [shown, shown]
    assert "49" not in page.text.partition("{{ 7*7 }}")[0]
    draw_timeline(record, tmp_path / "a.png")


@pytest.mark.parametrize(
    "missing",
    ["plan", "images", "registration", "harmonization", "hr", "lr", "problems", "config", "combined", "ratio", "name"],
)
@pytest.mark.parametrize("how", ["left out", "None"])
def test_sections_without_content_are_left_out(tmp_path, record, monkeypatch, missing, how):
    import sitsfuse.preparation.page.page as module

    # What is drawn is tested elsewhere, and takes most of the time.
    for name in ("inline", "timeline", "shift_panel", "shift_dates", "regression"):
        monkeypatch.setattr(module, name, lambda *_: "<b>drawn</b>")
    given_ = {k: v for k, v in record.items() if k != missing} | ({missing: None} if how == "None" else {})
    prepare_page(given_, some_samples() if missing == "plan" else {}, tmp_path / "a.html")
    page = Page(tmp_path / "a.html")
    check_form(page)
    gone = {"problems": "problems", "images": "images"}
    assert gone.get(missing) not in page.sections()
    assert ("registration" in page.sections()) == (missing != "images")


def test_a_bare_site_has_a_page(tmp_path):
    prepare_page({}, {}, tmp_path / "new" / "a.html")
    page = Page(tmp_path / "new" / "a.html")
    check_form(page)
    assert page.sections() == []
    assert "no images" in page.text


def test_unknown_numbers_are_dashes(tmp_path):
    image = {"role": "guide", "date": "2020-01-01", "clear": float("nan"), "spread": "nan", "shift_px": [None, 0.1]}
    prepare_page({"images": [image]}, {}, tmp_path / "a.html")
    page = Page(tmp_path / "a.html")
    assert page.table("Date and product")[0] == ["2020-01-01", "guide", "–", "–", "–", "–", "–", "–"]
    assert page.sections() == ["dates", "images"]


def test_the_same_record_makes_the_same_page(tmp_path, page):
    prepare_page(a_record(), some_samples(), tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == page.source


# --- files -----------------------------------------------------------------------------------------------------


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(InputError, match=r"taken\.html.*cannot be written"):
        prepare_page({}, {}, tmp_path / "taken.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        prepare_page({}, {}, tmp_path / "file" / "a.html")
    with pytest.raises(InputError, match="cannot be written"):
        draw_timeline({}, tmp_path / "file" / "a.png")
    with pytest.raises(InputError, match="png"):
        draw_timeline({}, tmp_path / "a.xyz")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "taken.html"]


def test_a_missing_library_names_the_extra(tmp_path, record, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(InputError, match=r"jinja2.*sitsfuse\[report\]"):
        prepare_page({}, {}, tmp_path / "a.html")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"matplotlib.*sitsfuse\[report\]"):
        timeline(record)
    assert list(tmp_path.iterdir()) == []


# --- figures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [9.4, 3.9])
def test_the_timeline_has_a_marker_per_image(record, width):
    found = markers(timeline(record, width))
    listed = {
        gid: sorted(
            (matplotlib.dates.date2num(np.datetime64(e["date"])), height(e))
            for e in record["plan"]
            if (e["role"] if e["role"] != "skipped" else f"skipped{e.get('series', '')}") == gid
        )
        for gid in ("guide", "target", "reference", "skippedlr", "skipped")
    }
    assert found.keys() == listed.keys()
    for gid, places in listed.items():
        np.testing.assert_allclose(sorted(map(tuple, found[gid])), places)


def height(entry):
    return entry["clear"] if entry["clear"] is not None else 0.0


def test_references_given_apart_are_in_the_timeline(record):
    planned = record | {"plan": [e for e in record["plan"] if e["role"] != "reference"]}
    assert len(markers(timeline(planned))["reference"]) == 1
    assert "reference" not in markers(timeline({"plan": planned["plan"]}))


def test_an_unknown_clear_share_is_no_share():
    figure = timeline(
        {"plan": [{"date": "2020-01-01", "role": "guide"}, {"date": "2020-01-09", "role": "guide", "clear": 0.0}]}
    )
    (drawn,) = [c for a in figure.axes for c in a.collections if c.get_gid() == "guide"]
    faces = np.asarray(drawn.get_facecolor())
    filled = faces[:, 3] if len(faces) > 1 else faces
    np.testing.assert_array_equal(filled, [0, 1])
    np.testing.assert_array_equal(np.asarray(drawn.get_offsets())[:, 1], [0.5, 0.0])


def test_days_with_both_series_are_joined(record):
    figure = timeline(record)
    (lines,) = figure.axes[0].collections
    joined = sorted(float(segment[0][0]) for segment in lines.get_segments())  # type: ignore[attr-defined]
    assert joined == [float(np.datetime64(day(k)).astype(int)) for k in (0, 30)]


def test_markers_of_the_page_tell_their_image(page, record):
    for svg in re.findall('<svg.*?aria-label="Timeline.*?</svg>', page.source, flags=re.S):
        told = re.findall("<title>(.*?)</title>", svg)
        assert len(told) == len(record["plan"])
        assert sum("too cloudy" in t for t in told) == 1
        assert {t[:10] for t in told} == {e["date"] for e in record["plan"]}


def test_nothing_in_the_timeline_overlaps(record):
    for width in (9.4, 3.9):
        figure = timeline(record, width)
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        boxes = [t.get_window_extent(renderer) for t in figure.texts]
        boxes += [t.get_window_extent(renderer) for legend in figure.legends for t in legend.get_texts()]
        boxes += [t.get_window_extent(renderer) for t in figure.axes[-1].get_xticklabels() if t.get_text()]
        wide, high = figure.get_size_inches() * figure.dpi
        for a, b in itertools.combinations(boxes, 2):
            assert not (min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1)
        assert all(b.x0 >= -1 and b.y0 >= -1 and b.y1 <= high + 1 for b in boxes)
        assert all(t.get_window_extent(renderer).x1 <= wide for t in figure.texts)


def test_a_drawn_timeline_is_no_blank(tmp_path, record):
    draw_timeline(record, tmp_path / "new" / "a.png")
    drawn = matplotlib.image.imread(tmp_path / "new" / "a.png")[..., :3]
    assert drawn.std() > 0.02
    for role in ("guide", "target", "reference"):
        ink = np.array([int(THEME[role][0][k : k + 2], 16) for k in (1, 3, 5)]) / 255
        assert (np.abs(drawn - ink).max(axis=2) < 0.02).sum() > 10


def test_displacements_are_drawn_where_they_are(record):
    found = shifts(record, "lr")
    expected = [i["shift_px"] for i in record["images"] if i["role"] == "target" and i["quality"] != "failed"]
    np.testing.assert_allclose([(s.x, s.y) for s in found], expected)
    drawn = markers(shift_panel(found))
    assert drawn.keys() == {"good", "doubtful"}
    np.testing.assert_allclose(sorted(map(tuple, np.concatenate([*drawn.values()]))), sorted(map(tuple, expected)))
    assert [s.role for s in shifts(record, "hr")] == ["guide", "guide", "reference", "guide", "guide"]


def test_displacements_in_metres_serve_as_well(record):
    given_ = copy.deepcopy(record)
    for image in given_["images"]:
        del image["shift_px"]
    for series in ("hr", "lr"):
        np.testing.assert_allclose(
            [(s.x, s.y) for s in shifts(given_, series)], [(s.x, s.y) for s in shifts(record, series)]
        )


def test_circles_enclose_every_displacement(record):
    for far in (0.03, 0.3, 0.9, 4.0, 700.0):
        image = {"role": "guide", "date": "2020-01-01", "shift_px": [far, -far / 2]}
        (axes,) = shift_panel(shifts({"images": [image]}, "hr")).axes
        radii = [p.get_radius() for p in axes.patches]  # type: ignore[attr-defined]
        assert axes.get_xlim()[1] == axes.get_ylim()[1] > np.hypot(far, far / 2)
        assert all(0 < r < axes.get_xlim()[1] for r in radii)
        assert radii or far > 100
        assert sorted(f"{r:g}" for r in radii) == sorted(t.get_text() for t in axes.texts)


def test_the_density_lies_where_the_samples_do():
    x = np.repeat(np.float32([0.1, 0.3, np.nan]), 500)
    y = np.repeat(np.float32([0.4, 0.2, 0.3]), 500)
    (axes,) = regression(x, y, (0.5, 0.1, 0.9)).axes
    (drawn,) = axes.get_images()
    left, right, bottom, _ = drawn.get_extent()
    alpha = np.asarray(drawn.get_array())[..., 3]
    rows, cols = np.nonzero(alpha)
    step = (right - left) / alpha.shape[0]
    places = sorted(
        (round(left + (c + 0.5) * step, 2), round(bottom + (r + 0.5) * step, 2))
        for r, c in zip(rows, cols, strict=True)
    )
    np.testing.assert_allclose(places, [(0.1, 0.4), (0.3, 0.2)], atol=0.006)
    assert drawn.origin == "lower"
    identity, line = (np.transpose(drawn.get_data()) for drawn in axes.lines)
    np.testing.assert_allclose(identity[:, 0], identity[:, 1])
    np.testing.assert_allclose(line[:, 1], 0.5 * line[:, 0] + 0.1)
    assert axes.texts[0].get_text() == "gain 0.500\noffset +0.1000\nr 0.900"
    (without,) = regression(x, y, None).axes
    assert len(without.lines) == 1
    assert without.texts[0].get_text() == "no line"


@pytest.mark.parametrize("values", [[], [np.nan] * 5, [0.2] * 5])
def test_samples_without_spread_do_no_harm(values):
    figure = regression(np.float32(values), np.float32(values), (1.0, 0.0, None))
    FigureCanvasAgg(figure).draw()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_checkerboard_takes_turns(channels):
    rng = np.random.default_rng(4)
    hr, lr = rng.uniform(0, 0.5, (2, channels, 10, 13)).astype(np.float32)
    hr[0, 1, 2] = lr[-1, 1, 5] = np.nan
    drawn = checkerboard(hr, lr, hr, 4)
    clear = np.isfinite(hr).all(axis=0)
    for y, x, c in itertools.product(range(10), range(13), range(3)):
        k = min(c, channels - 1)
        seen = (hr, lr)[(y // 4 + x // 4) % 2]
        low, high = np.percentile(hr[k][clear], (1, 99))
        value = min(max((seen[k, y, x] - low) / (high - low), 0), 1) ** 0.8
        assert drawn[y, x, c] == pytest.approx(value if np.isfinite(seen[:, y, x]).all() else 0.75, abs=1e-5)
    assert drawn[1, 2, 0] == drawn[1, 5, 0] == 0.75


def test_a_checkerboard_of_nothing_is_grey():
    nothing = np.full((3, 4, 4), np.nan, np.float32)
    assert (checkerboard(nothing, nothing, nothing, 2) == 0.75).all()


@given(st.integers(1, 2000), st.integers(1, 2000), st.none() | st.floats(1, 60))
def test_blocks_hold_whole_lr_pixels(rows, cols, ratio):
    side = block_side((3, rows, cols), ratio)
    assert side >= 1
    if ratio:
        assert side % round(ratio) == 0


# --- numbers ---------------------------------------------------------------------------------------------------


@given(st.floats(-1e6, 1e6), st.integers(0, 4), st.booleans())
def test_numbers_can_be_read_back(value, digits, sign):
    text = number(value, digits, sign=sign)
    assert float(text.replace("−", "-").replace(",", "")) == pytest.approx(value, abs=0.51 * 10.0**-digits)
    assert "-" not in text
    assert text not in ("−0", "+0", "−0.00", "+0.00")
    if sign and float(text.replace("−", "-").replace(",", "")) > 0:
        assert text.startswith("+")


def test_what_is_no_number_is_a_dash():
    for value in (None, float("nan"), float("inf"), "nan", "x", [], {}):
        assert finite(value) is None
        assert number(value) == percent(value) == "–"
        assert pair(value) == pair([value, value]) == "–"
    assert number(np.float32(2.5), 1) == "2.5"
    assert pair([0.5, None], 1) == "+0.5, –"
    assert percent(0.125, 1, sign=True) == "+12.5 %"


@given(st.lists(st.integers(0, 300), min_size=1, max_size=12))
def test_revisit_is_that_of_the_days_with_an_image(offsets):
    from sitsfuse.preparation.page.timeline import entries

    images = entries({"plan": [{"date": day(k), "role": "target"} for k in offsets]})
    days = sorted(set(offsets))
    gaps = [b - a for a, b in itertools.pairwise(days)]
    found = revisit(images, "target")
    if not gaps:
        assert found is None
        return
    assert found.median == sorted(gaps)[len(gaps) // 2] or len(gaps) % 2 == 0
    assert found.longest == max(gaps)
    assert str(found.since) == day(days[gaps.index(max(gaps))])


def test_bands_without_a_line_have_no_say_in_the_gain(record):
    rows = record["harmonization"]["bands"]
    worse = rows[0] | {"ok": False, "rmse_after": 9.0}
    gain = gain_of_rmse({"harmonization": {"bands": [*rows, worse, {"band": "x", "rmse_before": None}]}})
    assert (gain.before, gain.after, gain.bands) == pytest.approx((0.03, 0.021, 2))
    assert gain.change == pytest.approx(-0.3)
    assert gain_of_rmse({"harmonization": {"bands": [worse]}}) is None


def test_facts_are_those_that_are_known(record):
    assert [f.label for f in facts({})] == ["Guides", "Targets", "References"]
    told = {f.label: f for f in facts(record)}
    assert (told["Ratio"].value, told["Ratio"].note) == ("5", "25 m to 5 m")
    sizes = {
        series: [
            np.hypot(*i["shift_px"])
            for i in record["images"]
            if i["role"] in roles and i["quality"] in ("good", "doubtful")
        ]
        for series, roles in (("hr", ("guide", "reference")), ("lr", ("target",)))
    }
    shift = told["Median shift [px]"]
    assert shift.value == f"{np.median(sizes['hr']):.2f} · {np.median(sizes['lr']):.2f}"
    assert shift.note == "HR · LR; 2 flagged"
    assert told["RMSE"].value == "−30 %"
