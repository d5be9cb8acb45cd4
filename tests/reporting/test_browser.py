"""The report in a real browser: what readers do is seen to work, with the pointer, with keys, on a phone, on paper."""

import csv
import io
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from sitsfuse.benchmarking.protocols import STANDARD
from sitsfuse.benchmarking.results import Unit
from sitsfuse.drawing.html import _environment
from sitsfuse.reporting import report as write_report
from sitsfuse.reporting.palette import PALETTE
from sitsfuse.reporting.viewer import viewer
from tests.helpers.make_results import make_results

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium in PATH")

QUIET = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
ARGUMENTS = [*QUIET.split(), "--disable-component-update", "--disable-sync"]
METHODS = ("temporal", "carn", "ddi")
SLOW = 60_000
"""Milliseconds to wait for what must come: a machine may have other work."""
SIZE = 40
ROWS = [("ddi", "0.0123456", "0.012"), ('say "a, b"', "12.5", "12.500"), ("starfm", "3", "3.000"), ("none", None, "–")]
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>Report</title><style>:root {
{% for name, (light, dark) in palette.items() %} --{{ name }}: {{ light }};{% endfor %} }
{% include "style.css.j2" %}{% include "viewer.css.j2" %}{% include "tables.css.j2" %}</style></head><body>
<section>{% include "viewer.html.j2" %}</section>
<div class="scroll"><table class="sortable" data-csv="methods">
<thead><tr><th scope="col" rowspan="2">Method</th><th scope="colgroup" colspan="2">Error</th></tr>
<tr><th scope="col" class="num">RMSE</th><th scope="col" class="num">Rank, all</th></tr></thead><tbody>
{% for name, value, text in rows %}
<tr><th scope="row">{{ name }}</th><td {% if value %}data-value="{{ value }}"{% endif %}>{{ text }}</td><td>7</td></tr>
{% endfor %}
</tbody></table></div>
<script>{% include "viewer.js.j2" %}</script><script>{% include "tables.js.j2" %}</script></body></html>"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return make_results(tmp_path_factory.mktemp("results"), methods=METHODS, shown=3, size=SIZE)


@pytest.fixture(scope="module")
def report(results, tmp_path_factory):
    """Address of the page."""
    return write_page(tmp_path_factory.mktemp("page") / "report.html", results)


def write_page(path, results):
    context = {"viewer": viewer(results, results.table()), "palette": PALETTE, "rows": ROWS}
    path.write_text(_environment("sitsfuse.reporting").from_string(PAGE).render(context), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Address of the whole report of a small benchmark."""
    small = {"sites": 1, "ratios": (5.0,), "protocols": (STANDARD,), "shown": 2, "size": 40}
    results = make_results(tmp_path_factory.mktemp("small"), methods=METHODS, **small)
    return write_report(results.path, tmp_path_factory.mktemp("whole") / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, report):
    """Opens the page; at the end nothing may have gone wrong, and nothing have been asked of the network."""
    contexts, wrong = [], []

    def visit(width=1280, height=900, address=report, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SLOW)
        expect.set_options(timeout=SLOW)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        allowed = (address, "blob:", "data:")
        page.on("request", lambda r: None if r.url.startswith(allowed) else wrong.append(r.url))
        page.goto(address)
        if options.get("java_script_enabled", True):
            page.wait_for_selector("#viewer[data-drawn]")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not wrong


def part(page, name):
    return page.locator(f'[data-v="{name}"]')


def canvas(page, side):
    """The canvas of a layer as (y, x, 4)."""
    text = page.evaluate(
        """(side) => {
        const canvas = document.querySelector(`[data-v="layer-${side}"] canvas`);
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
        return JSON.stringify([canvas.height, canvas.width, [...data]]);
    }""",
        side,
    )
    rows, cols, values = json.loads(text)
    return np.array(values).reshape(rows, cols, 4)


def choose(page, name, value):
    """Choose and wait until that is drawn."""
    part(page, name).select_option(value)
    index = {"site": 0, "target": 1, "a": 3, "b": 4, "composite": 5}[name]
    drawn = re.compile(rf"^(\S+ ){{{index}}}{re.escape(value)}(\s|$)")
    expect(page.locator("#viewer")).to_have_attribute("data-drawn", drawn)


def screen(page, x, y):
    """Colour of the screen at a share of the stage."""
    from PIL import Image

    image = np.asarray(Image.open(io.BytesIO(part(page, "stage").screenshot())).convert("RGB")).astype(int)
    return image[int(y * image.shape[0]), int(x * image.shape[1])]


# --- pictures --------------------------------------------------------------------------------------------------


def test_pictures_show_the_samples(visit, results):
    page = visit()
    assert part(page, "label-a").inner_text() == "A low resolution"
    assert part(page, "label-b").inner_text() == "B ddi"
    date = page.evaluate("JSON.parse(document.getElementById('viewer-data').textContent).sites[0].dates[0]")
    low, reference = results.sample("arm", "target_x5", "target"), results.sample("arm", "reference")
    bands = ["red", "green", "blue"]
    truth = reference["reflectance"].sel(band=bands).values[np.broadcast_to(
        reference["valid"].values[:, None], (3, 3, SIZE, SIZE))].reshape(3, 3, -1)  # fmt: skip
    black, white = (np.percentile(truth, q, axis=(0, 2))[:, None, None] for q in (2, 98))

    def colours(image):
        values = image["reflectance"].sel(time=date).sel(band=bands).values if "time" in image.dims else (
            image["reflectance"].sel(band=bands).values)  # fmt: skip
        return np.moveaxis(255 * np.clip((values - black) / (white - black), 0, 1) ** 0.8, 0, -1)

    shown = canvas(page, "a")
    valid = low["valid"].sel(time=date).values
    np.testing.assert_array_equal(shown[..., 3] == 255, valid)
    assert np.abs(shown[..., :3] - colours(low))[valid].mean() < 12
    prediction = results.prediction(Unit("arm", "target_x5", date, STANDARD, "ddi"))
    assert np.abs(canvas(page, "b")[..., :3] - colours(prediction)).mean() < 16
    box = part(page, "layer-a").locator("canvas").bounding_box()
    stage = part(page, "stage").bounding_box()
    # LR pixels are five times as large as HR pixels.
    assert box["width"] / shown.shape[1] == pytest.approx(5 * stage["width"] / SIZE, rel=1e-3)
    # What a prediction has more than the reference is seen to be more.
    choose(page, "a", "reference")
    choose(page, "b", "p:temporal")
    prediction = results.prediction(Unit("arm", "target_x5", date, STANDARD, "temporal"))
    more = (prediction["reflectance"] - reference["reflectance"].sel(time=date)).sel(band=bands).values.mean(axis=0)
    brighter = (canvas(page, "b") - canvas(page, "a"))[..., :3].mean(axis=-1)
    assert np.corrcoef(brighter.ravel(), more.ravel())[0, 1] > 0.5


def test_error_maps_are_white_where_there_is_none(visit, results):
    page = visit()
    choose(page, "a", "e:temporal")
    colours = canvas(page, "a")[..., :3].astype(float)
    data = page.evaluate("JSON.parse(document.getElementById('viewer-data').textContent).sites[0]")
    prediction = results.prediction(Unit("arm", "target_x5", data["dates"][0], STANDARD, "temporal"))
    error = prediction["reflectance"].values.mean(axis=0)
    error = error - results.sample("arm", "reference")["reflectance"].sel(time=data["dates"][0]).values.mean(axis=0)
    redness = colours[..., 0] - colours[..., 2]
    assert np.corrcoef(redness.ravel(), error.ravel())[0, 1] > 0.8
    assert redness[error > 0.6 * data["errors"]["mean"]].min() > 0
    assert redness[error < -0.6 * data["errors"]["mean"]].max() < 0
    legend = part(page, "legends").inner_text()
    assert f"+{data['errors']['mean']:g}" in legend
    assert "prediction − reference, mean of red, green, blue, nir" in legend


def test_ways_to_colour(visit, results):
    page = visit()
    choose(page, "a", "reference")
    true = canvas(page, "a")
    choose(page, "composite", "1")
    false = canvas(page, "a")
    # Red stands for near infrared, green for red: what was red is green now.
    assert np.corrcoef(false[..., 1].ravel(), true[..., 0].ravel())[0, 1] > 0.99
    choose(page, "composite", "2")
    date = page.evaluate("JSON.parse(document.getElementById('viewer-data').textContent).sites[0].dates[0]")
    truth = results.sample("arm", "reference").sel(time=date)["reflectance"]
    red, nir = truth.sel(band="red").values, truth.sel(band="nir").values
    dark = -canvas(page, "a")[..., :3].sum(axis=-1)
    # The more NDVI, the darker.
    assert np.corrcoef(dark.ravel(), ((nir - red) / (nir + red)).ravel())[0, 1] > 0.9
    choose(page, "b", "e:ddi")
    assert "NDVI" in part(page, "legends").inner_text()
    assert "prediction − reference, NDVI" in part(page, "legends").inner_text()


def test_every_layer_is_drawn(visit):
    page = visit()
    names = part(page, "a").locator("option").evaluate_all("all => all.map((o) => o.value)")
    assert {"lr", "reference", "before", "after"} < set(names)
    assert {f"{kind}:{m}" for kind in "pe" for m in METHODS} < set(names)
    assert "u:ddi" in names
    for name in names:
        choose(page, "a", name)
        drawn = canvas(page, "a")
        assert drawn[..., 3].any(), name
        assert drawn[..., :3][drawn[..., 3] > 0].std() > 0 or name.startswith("u:"), name
    choose(page, "site", "1")
    assert "simulated SUDOE-4" in part(page, "site").locator("option:checked").inner_text()
    choose(page, "target", "1")
    assert canvas(page, "b").shape == (SIZE, SIZE, 4)


def test_what_is_missing_is_done_without(visit, tmp_path):
    results = make_results(tmp_path, methods=("ddi", "carn"), ratios=(5.0,), shown=2, size=24)
    samples = tmp_path / "samples"
    for path in ("arm/guide.npz", "arm/reference.npz", "arm/target_x5/target.npz"):
        (samples / path).unlink()
    next((samples / "arm/target_x5/standard/carn").glob("*.npz")).unlink()
    config = results.config
    site = replace(config.sites["sudoe-4"], bands=("nir",))
    results.configure(replace(config, sites={**config.sites, "sudoe-4": site}))
    page = visit(address=write_page(tmp_path / "report.html", results))
    assert part(page, "a").locator("option").evaluate_all("all => all.map((o) => o.value)")[0].startswith("p:")
    assert "e:ddi" not in part(page, "a").inner_html()
    choose(page, "b", "p:carn")
    said = set()
    for key in ("Home", "End"):
        part(page, "time").press(key)
        page.wait_for_selector(f'#viewer[data-drawn^="0 0 {int(key == "End")}"]')
        said.add("none on this date" in part(page, "label-b").inner_text())
    assert said == {True, False}
    part(page, "stage").press("Enter")
    page.wait_for_selector(".vchart svg")
    assert len(points(page, "p:carn")) == 1
    choose(page, "site", "1")
    assert part(page, "composite").locator("option").all_inner_texts() == ["nir"]
    assert part(page, "band").locator("option").all_inner_texts() == ["nir"]
    choose(page, "a", "e:ddi")
    assert "prediction − reference, nir" in part(page, "legends").inner_text()
    part(page, "stage").press("Enter")
    page.wait_for_selector('.vchart svg[aria-label^="nir"]')


# --- swipe, time and zoom --------------------------------------------------------------------------------------


def test_border_moves_by_drag_and_by_keys(visit):
    page = visit()
    handle, layer = part(page, "handle"), part(page, "layer-b")
    box = part(page, "stage").bounding_box()
    before = screen(page, 0.35, 0.55)
    middle = box["y"] + box["height"] * 0.3
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, middle, steps=3)
    page.mouse.up()
    assert float(handle.get_attribute("aria-valuenow")) == pytest.approx(25, abs=1)
    clipped = layer.evaluate("e => e.style.clipPath").rpartition(" ")[2].rstrip("%)")
    assert float(clipped) == pytest.approx(25, abs=1)
    after = screen(page, 0.35, 0.55)
    assert np.abs(after - before).max() > 3
    assert part(page, "picked").is_hidden()
    handle.focus()
    for key, value in (("ArrowRight", 27), ("ArrowLeft", 25), ("End", 100), ("Home", 0), ("PageUp", 10)):
        page.keyboard.press(key)
        assert float(handle.get_attribute("aria-valuenow")) == pytest.approx(value, abs=1)
    page.keyboard.press("End")
    np.testing.assert_array_equal(screen(page, 0.35, 0.55), before)


def test_dates_change_pictures_and_words(visit, results):
    page = visit()
    dates = page.evaluate("JSON.parse(document.getElementById('viewer-data').textContent).sites[0].dates")
    time = part(page, "time")
    first = canvas(page, "b")
    assert part(page, "date").inner_text().startswith(f"{int(dates[0][8:])} April {dates[0][:4]}")
    time.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector('#viewer[data-drawn^="0 0 1"]')
    assert np.abs(canvas(page, "b") - first).mean() > 1
    assert time.get_attribute("aria-valuetext") in part(page, "date").inner_text()
    page.keyboard.press("End")
    page.wait_for_selector('#viewer[data-drawn^="0 0 2"]')
    assert str(int(dates[2][8:])) in part(page, "date").inner_text()
    page.keyboard.press("ArrowRight")  # there is no further one
    assert page.locator('#viewer[data-drawn^="0 0 2"]').count() == 1
    # By the pointer, to the date that is nearest.
    box = time.bounding_box()
    page.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    page.wait_for_selector('#viewer[data-drawn^="0 0 0"]')
    assert int(time.input_value()) > 0  # guides begin before
    marks = part(page, "marks").locator("i:not(.shown)").count()
    assert marks == results.sample("arm", "guide").sizes["time"]


def test_both_layers_zoom_together(visit):
    page = visit()
    stage = part(page, "stage")
    place = "() => [...document.querySelectorAll('.vworld')].map((e) => e.style.transform)"
    part(page, "in").click()
    one, other = page.evaluate(place)
    assert one == other
    assert "scale(1.5)" in one
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 120)
    page.mouse.down()
    page.mouse.move(box["x"] + 20, box["y"] + 100, steps=4)
    page.mouse.up()
    assert page.evaluate(place)[0] != one
    assert part(page, "picked").is_hidden()  # that was a pan, no click
    part(page, "all").click()
    assert "scale(1)" in page.evaluate(place)[0]
    scrolled = "() => window.scrollY"
    page.mouse.wheel(0, -200)
    assert "scale(1)" not in page.evaluate(place)[0]  # the button within the picture has the focus
    stage.focus()
    page.keyboard.press("0")
    page.keyboard.press("+")
    assert "scale(1.5)" in page.evaluate(place)[0]
    assert page.evaluate(scrolled) == 0


# --- series ----------------------------------------------------------------------------------------------------


def points(page, key):
    """Values by date of a curve of the chart."""
    found = page.locator(f'.vchart g[data-key="{key}"] [data-date]')
    return dict(found.evaluate_all("all => all.map((e) => [e.dataset.date, Number(e.dataset.value)])"))


def test_series_of_the_pixel_that_is_clicked(visit, results):
    page = visit()
    data = page.evaluate("JSON.parse(document.getElementById('viewer-data').textContent).sites[0]")
    box = part(page, "stage").bounding_box()
    row, col = 14.5, 9.5
    page.mouse.click(box["x"] + box["width"] * (col + 0.5) / SIZE, box["y"] + box["height"] * (row + 0.5) / SIZE)
    page.wait_for_selector(".vchart svg")
    rows, cols = np.array(data["series"]["rows"]), np.array(data["series"]["cols"])
    y, x = rows[np.abs(rows - row).argmin()], cols[np.abs(cols - col).argmin()]
    part(page, "band").select_option("3")
    expect(page.locator(".vchart svg")).to_have_attribute("aria-label", re.compile("^nir"))
    assert f"row {y}, column {x}." in page.locator(".vchart svg").get_attribute("aria-label")
    step = (data["series"]["span"][1][3] - data["series"]["span"][0][3]) / 252

    def truth(series, row, col):
        one = series.sel(band="nir")
        return {
            str(t)[:10]: float(one["reflectance"].values[k, row, col])
            for k, t in enumerate(one["time"].values) if one["valid"].values[k, row, col]
        }  # fmt: skip

    low = results.sample("arm", "target_x5", "target")
    expected = {
        "guide": truth(results.sample("arm", "guide"), y, x),
        "reference": truth(results.sample("arm", "reference"), y, x),
        "lr": truth(low, y // 5, x // 5),
        "p:ddi": {
            d: float(
                results.prediction(Unit("arm", "target_x5", d, STANDARD, "ddi"))["reflectance"].sel(band="nir")[y, x]
            )
            for d in data["dates"]
        },
    }
    for key, values in expected.items():
        assert points(page, key) == pytest.approx(values, abs=0.51 * step), key
    # Uncertainty, and where on the map this is.
    assert part(page, "where").inner_text().startswith(f"Row {y}, column {x} · x ")
    ddi = results.prediction(Unit("arm", "target_x5", data["dates"][0], STANDARD, "ddi"))
    sigma = float(ddi["uncertainty"].sel(band="nir")[y, x])
    bars = page.locator('.vchart g[data-key="p:ddi"] .sigma')
    assert float(bars.first.evaluate("e => e.dataset.sigma")) == pytest.approx(sigma, rel=0.02)
    # Only the methods that are compared, until one asks for more.
    assert not points(page, "p:carn")
    page.locator('.vkey button[data-key="p:carn"]').click()
    page.wait_for_selector('.vchart g[data-key="p:carn"]')
    assert len(points(page, "p:carn")) >= 2
    assert page.locator('.vkey button[data-key="p:carn"]').get_attribute("aria-pressed") == "true"
    part(page, "band").select_option("ndvi")
    expect(page.locator(".vchart svg")).to_have_attribute("aria-label", re.compile("^NDVI"))
    image = results.sample("arm", "reference").isel(time=0)["reflectance"]
    red, nir = (float(image.sel(band=b)[y, x]) for b in ("red", "nir"))
    assert points(page, "reference")[data["dates"][0]] == pytest.approx((nir - red) / (nir + red), abs=0.03)


def test_keyboard_alone(visit):
    page = visit()
    part(page, "stage").focus()
    page.keyboard.press("ArrowRight")
    assert part(page, "cross").is_visible()
    place = part(page, "cross").evaluate("e => e.style.left")
    page.keyboard.press("ArrowRight")
    assert float(part(page, "cross").evaluate("e => e.style.left")[:-1]) > float(place[:-1])
    page.keyboard.press("Enter")
    page.wait_for_selector(".vchart svg")
    assert "Series of the pixel. Row" in part(page, "live").text_content()
    # Zooming by keys leaves the crosshair where it is, in sight.
    before = part(page, "cross").bounding_box()
    part(page, "stage").focus()
    for _ in range(4):
        page.keyboard.press("+")
    after, stage = part(page, "cross").bounding_box(), part(page, "stage").bounding_box()
    assert (after["x"], after["y"]) == pytest.approx((before["x"], before["y"]), abs=1.5)
    assert stage["x"] <= after["x"] <= stage["x"] + stage["width"]
    page.keyboard.press("0")
    page.locator(".vchart svg").focus()
    page.keyboard.press("Home")
    first = part(page, "readout").inner_text()
    page.keyboard.press("End")
    last = part(page, "readout").inner_text()
    assert first != last
    assert re.fullmatch(
        r"\d+ \w+ \d{4}( · (low resolution|ddi|reference|guides) [<>]?−?\d\.\d{3}( ± \d\.\d{3})?)+", last
    )
    assert part(page, "live").text_content() == last
    part(page, "b").focus()
    page.keyboard.type("carn")
    expect(part(page, "label-b")).to_contain_text("carn")
    assert "carn" in part(page, "live").text_content()


def test_old_browsers_are_told(browser, report):
    page = browser.new_page()
    page.add_init_script("delete window.DecompressionStream")
    page.goto(report)
    page.wait_for_selector("#viewer[data-drawn]")
    part(page, "stage").click(position={"x": 30, "y": 60})
    assert "DecompressionStream" in page.locator(".vempty").inner_text()
    page.close()


# --- screens and paper -----------------------------------------------------------------------------------------


def test_phone(visit):
    page = visit(390, 844, color_scheme="dark", has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    stage = part(page, "stage").bounding_box()
    assert stage["width"] > 300
    page.touchscreen.tap(stage["x"] + 60, stage["y"] + 90)
    page.wait_for_selector(".vchart svg")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for button in page.locator(".viewer button:visible, .viewer select:visible").all():
        assert button.bounding_box()["height"] >= 28


def test_paper_shows_both(visit):
    page = visit()
    page.emulate_media(media="print")
    a, b = (part(page, f"layer-{side}").bounding_box() for side in "ab")
    assert a["width"] > 200
    assert a["width"] == pytest.approx(b["width"])
    assert b["x"] >= a["x"] + a["width"]
    assert a["y"] == b["y"]
    assert part(page, "layer-b").evaluate("e => getComputedStyle(e).clipPath") == "none"
    for name in ("handle", "time", "site"):
        assert part(page, name).is_hidden()
    assert part(page, "date").is_visible()
    assert page.locator(".tabletools").is_hidden()


def test_without_script_one_picture_is_left(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("#viewer").is_hidden()
    assert "Switch JavaScript on" in page.locator("body").inner_text()
    assert page.locator("noscript img, figure img").first.is_visible()


# --- tables ----------------------------------------------------------------------------------------------------


def test_headers_sort(visit):
    page = visit()
    names = page.locator("table.sortable tbody th")
    header = page.locator("th", has=page.get_by_role("button", name="RMSE"))
    page.get_by_role("button", name="RMSE").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert names.all_inner_texts() == ["ddi", "starfm", 'say "a, b"', "none"]
    page.get_by_role("button", name="RMSE").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert names.all_inner_texts() == ['say "a, b"', "starfm", "ddi", "none"]  # what is unknown stays last
    page.get_by_role("button", name="Rank, all").click()
    assert names.all_inner_texts() == ['say "a, b"', "starfm", "ddi", "none"]  # all equal: the order stays
    page.get_by_role("button", name="Method", exact=True).click()
    assert names.all_inner_texts() == ["ddi", "none", 'say "a, b"', "starfm"]
    assert page.locator("[aria-sort]").count() == 1


def test_tables_can_be_saved(visit):
    page = visit()
    page.get_by_role("button", name="Method", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the table methods as CSV").click()
    assert download.value.suggested_filename == "methods.csv"
    text = download.value.path().read_bytes().decode("utf-8")
    assert text.count("\r\n") == 5
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[0] == ["Method", "Error RMSE", "Error Rank, all"]
    full = {name: [name, value or text, "7"] for name, value, text in ROWS}
    assert rows[1:] == [full[name] for name in ("ddi", "none", 'say "a, b"', "starfm")]


# --- the whole report ------------------------------------------------------------------------------------------


def test_the_whole_report(visit, whole):
    page = visit(address=whole)
    assert part(page, "label-b").inner_text() == "B ddi"
    part(page, "handle").focus()
    page.keyboard.press("Home")
    assert part(page, "handle").get_attribute("aria-valuenow") == "0"
    part(page, "stage").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".vchart svg")

    def column(table, index):
        cells = table.locator(f"tbody tr > :nth-child({index + 1})")
        return cells.evaluate_all(
            "all => all.map((c) => c.dataset.value ?? c.textContent.replace(/\\s+/g, ' ').trim())"
        )

    tables = page.locator("table.sortable")
    assert tables.count() >= 4
    ranking = tables.first
    header = ranking.locator("thead th").nth(2)
    for down in (False, True):
        header.locator("button").click()
        found = [float(v) for v in column(ranking, 2)]
        assert found == sorted(found, reverse=down)
        assert len(found) == len(METHODS)
    for table in tables.all():
        name = table.get_attribute("data-csv")
        if not table.is_visible():
            continue  # in details that are closed
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Save the table {name} as CSV", exact=True).click()
        text = download.value.path().read_bytes().decode("utf-8")
        rows = list(csv.reader(io.StringIO(text, newline="")))[1:]
        assert rows
        for index in range(len(rows[0])):
            assert [row[index] for row in rows] == column(table, index), (name, index)
    page.emulate_media(media="print")
    a, b = (part(page, f"layer-{side}").bounding_box() for side in "ab")
    assert b["x"] >= a["x"] + a["width"]
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
