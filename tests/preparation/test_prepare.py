"""From products and series to a site: what is chosen, corrected and written, and what is left out with a word."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as displaced

import sitsfuse
from sitsfuse import preparation
from sitsfuse.errors import InputError
from sitsfuse.preparation import make_config, plan_site, prepare, read_config, writing
from sitsfuse.readers import open_series, open_site
from sitsfuse.readers.description import describe
from tests.helpers.make_muscate import make_muscate, pack

HR_DAYS = ("2019-03-01", "2019-03-21", "2019-04-10", "2019-04-30")
LR_DAYS = ("2019-03-01", "2019-03-21", "2019-04-10", "2019-04-30")
SIZE = 240
MOVED = {"2019-03-21": (0.8, -1.3), "2019-04-10": (-2.2, 0.4), "2019-04-30": (0.0, 0.0)}
"""Displacements of Venµs images towards higher rows and columns, in pixels; the first date has none."""
LR_MOVED = (0.6, -0.3)
"""Of all Sentinel-2 images, in their pixels."""
GAIN, OFFSET = 1.06, -0.008
"""Of Sentinel-2: seen = gain * true + offset."""
BANDS = {"blue": ("B3", "B2"), "green": ("B4", "B3"), "red": ("B7", "B4")}
"""Native names in Venµs and Sentinel-2."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Folders of Venµs and Sentinel-2 products of simulated farmland, displaced and with another radiometry."""
    folder = tmp_path_factory.mktemp("archive")
    scene = sitsfuse.simulate(
        size=SIZE, guides=4, targets=1, cloud_cover=0.15, guide_shift=0, guide_noise=0.001, seed=2
    )
    for i, day in enumerate(HR_DAYS):
        image = scene["guide"]["reflectance"].values[i]
        cloud = np.where(scene["guide"]["valid"].values[i], 0, 3).astype(np.uint8)
        moved = [displaced(b, MOVED.get(day, (0, 0)), order=3, mode="mirror") for b in image[:3]]
        numbers = {BANDS[b][0]: np.rint(v * 10000).astype(np.int16) for b, v in zip(BANDS, moved, strict=True)}
        make_muscate(
            folder / "venus", numbers, {"CLM": cloud}, platform="VENUS", time=f"{day}T10:50:00.0", shape=(SIZE, SIZE),
            origin=(600005.0, 4900015.0), bands=tuple(numbers), kinds=("FRE",),
        )  # fmt: skip
        # Sentinel-2's grid begins a Venµs pixel further up and left: the images are half a pixel aside.
        wide = np.pad(image[:3], [(0, 0), (1, 1), (1, 1)], "reflect")[:, :SIZE, :SIZE]
        # A gaussian PSF of MTF 0.3 at Nyquist, of which the mean of 2 × 2 pixels is a part (of variance 1/4).
        sigma = np.sqrt((2 * np.sqrt(-2 * np.log(0.3)) / np.pi) ** 2 - 0.25)
        wide = np.stack([gaussian_filter(b, sigma, mode="mirror") for b in wide])
        low = wide.reshape(3, SIZE // 2, 2, SIZE // 2, 2).mean((2, 4))
        low = [GAIN * displaced(b, LR_MOVED, order=3, mode="mirror") + OFFSET for b in low]
        numbers = {BANDS[b][1]: np.rint(v * 10000).astype(np.int16) for b, v in zip(BANDS, low, strict=True)}
        make_muscate(
            folder / "sentinel2", numbers, time=f"{day}T10:56:00.000Z", shape=(SIZE // 2, SIZE // 2),
            origin=(600000.0, 4900020.0), bands=tuple(numbers), kinds=("FRE",),
        )  # fmt: skip
    return folder


def config(archive, **changes):
    content = {"guide": {"path": archive / "venus"}, "target": {"path": archive / "sentinel2", "mtf": 0.3}}
    for place, value in changes.items():
        table, _, field = place.partition("__")
        if field:
            content.setdefault(table, {})[field] = value
        else:
            content[place] = value
    return make_config(content, "test")


@pytest.fixture(scope="module")
def made(archive, tmp_path_factory):
    site = tmp_path_factory.mktemp("made") / "site.zarr"
    return prepare(config(archive), site), site


def test_a_site_is_what_methods_need(made):
    _, path = made
    site = open_site(path)
    guide, target = site["guide"].to_dataset(), site["target"].to_dataset()
    assert dict(guide.sizes) == {"time": 4, "band": 3, "y": SIZE, "x": SIZE}
    assert [str(b) for b in guide.band.values] == ["blue", "green", "red"] == [str(b) for b in target.band.values]
    assert site.attrs["ratio"] == 2
    assert list(target.platform.values) == ["SENTINEL2A"] * 4
    fused = sitsfuse.fuse(site, method="difference", dates=["2019-03-21"])
    assert fused.valid.mean() > 0.9


def test_images_are_put_where_they_belong(made):
    done, path = made
    images = {(i["role"], i["date"]): i for i in done["images"]}
    anchor = done["registration"]["measured_by"]
    # Of no account is where the whole lies: at the robust mean of the HR images.
    zero = images["guide", "2019-03-01"]
    assert np.hypot(zero["shift_x"], zero["shift_y"]) < 2.5
    for day in HR_DAYS:
        found, known = images["guide", day], MOVED.get(day, (0, 0))
        wanted = (zero["shift_x"] + 5 * known[1], zero["shift_y"] - 5 * known[0])
        assert found["quality"] == ("reference" if day == anchor else "good")
        assert (found["shift_x"], found["shift_y"]) == pytest.approx(wanted, abs=0.5)  # a tenth of a pixel
    for day in LR_DAYS:
        found = images["target", day]
        wanted = (zero["shift_x"] + 10 * LR_MOVED[1], zero["shift_y"] - 10 * LR_MOVED[0])
        assert (found["shift_x"], found["shift_y"]) == pytest.approx(wanted, abs=1)  # a tenth of a pixel
        assert found["correlation_after"] > found["correlation_before"]
    assert [v["state"] for v in done["verdicts"]] == ["applied", "applied", "off", "applied", "in order"]
    assert all(v["text"] in done["summary"] for v in done["verdicts"])
    assert all(v["gained"] > 0.3 for v in done["verdicts"] if v["state"] == "applied")
    series = open_site(path)["target"].to_dataset()
    assert series.shift_x.values == pytest.approx([images["target", d]["shift_x"] for d in LR_DAYS])


def test_radiometry_is_that_of_the_guides(made):
    done, path = made
    for row in done["harmonization"]["bands"]:
        assert row["gain"] == pytest.approx(1 / GAIN, rel=0.01)
        assert row["offset"] == pytest.approx(-OFFSET / GAIN, abs=0.003)
        assert row["rmse_after"] < 0.9 * row["rmse_before"]
    target = open_site(path)["target"].to_dataset()
    assert target.gain.values == pytest.approx(np.tile([r["gain"] for r in done["harmonization"]["bands"]], (4, 1)))


def test_what_is_written_says_how_it_was_made(made):
    done, path = made
    assert json.loads((path / "prepare.json").read_text()) == json.loads(json.dumps(done))
    target = open_site(path)["target"].to_dataset()
    assert json.loads(target.attrs["provenance"])["config"]["registration"]["model"] == "shift"
    assert "<html" in (path / "prepare.html").read_text()
    assert set(target.flags.attrs["flag_meanings"].split()) >= {"nodata", "cloud"}


def test_the_store_opens_without_a_warning(made, recwarn):
    _, path = made
    tree = xr.open_datatree(path, engine="zarr")
    assert set(tree.children) == {"guide", "target"}
    assert not [w for w in recwarn if "Object at" in str(w.message)]


def test_degrading_is_part_of_the_same_resampling(archive, made, tmp_path):
    # Truth: the guide of that date, itself put in place, degraded with the same MTF.
    from sitsfuse.operators.series import degrade

    prepare(config(archive, target__degrade=20), tmp_path / "site.zarr")
    site = open_site(tmp_path / "site.zarr")
    guide, target = site["guide"].to_dataset(), site["target"].to_dataset()
    assert abs(float(target.x[1] - target.x[0])) == 20
    wanted = degrade(guide, target.odc.geobox)
    both = wanted.valid.values & target.valid.values
    error = (wanted.reflectance.values - target.reflectance.values).transpose(1, 0, 2, 3)[:, both]
    assert both.mean() > 0.5
    assert np.sqrt((error**2).mean()) < 0.004


def test_a_killed_run_goes_on(archive, made, tmp_path, monkeypatch):
    out, wrote = tmp_path / "site.zarr", []
    real = writing._block

    def block(found, chosen, *rest):
        if len(wrote) == 3:
            raise KeyboardInterrupt
        wrote.append(chosen.image.id)
        return real(found, chosen, *rest)

    monkeypatch.setattr(writing, "_block", block)
    with pytest.raises(KeyboardInterrupt):
        prepare(config(archive), out)
    for read in (lambda: open_site(out), lambda: open_series(out / "guide")):
        with pytest.raises(InputError, match=r"is half made: .sitsfuse prepare. has not finished it; run that command"):
            read()
    assert any("is half made" in warning for warning in describe(out).warnings)
    again = []
    monkeypatch.setattr(
        writing, "_block", lambda found, chosen, *rest: again.append(chosen.image.id) or real(found, chosen, *rest)
    )
    from sitsfuse.preparation import placing

    monkeypatch.setattr(placing, "register_images", lambda *_, **__: pytest.fail("registers again"))
    prepare(config(archive), out)
    assert len(again) == 5
    for role in ("guide", "target"):
        one, other = (open_site(p)[role].to_dataset().load() for p in (out, made[1]))
        xr.testing.assert_equal(one.reflectance, other.reflectance)
    next(p for p in (out / "guide/reflectance/c").rglob("*") if p.is_file()).unlink()
    with pytest.raises(InputError, match="lacks the chunk"):
        open_series(out / "guide").load()


def test_another_configuration_needs_another_place(archive, made):
    with pytest.raises(InputError, match=r"\(harmonization\.mode is .pooled. there and .none. here\)"):
        prepare(config(archive, harmonization__mode="none"), made[1])


def test_a_place_that_is_taken_is_refused_before_images_are_looked_at(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "survey", lambda *_: pytest.fail("looks at images"))
    (tmp_path / "note.txt").write_text("mine")
    for taken, words in ((tmp_path, "holds note.txt"), (tmp_path / "note.txt", "is a file")):
        with pytest.raises(InputError, match=words):
            prepare(config(archive), taken)
    with pytest.raises(InputError, match="an input of this run"):
        prepare(config(archive), archive, overwrite=True)


def test_a_foreign_folder_is_left_alone(archive, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "love.txt").write_text("dear")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"holds love\.txt and is not an output of"):
            prepare(config(archive), tmp_path / "letters", overwrite=overwrite)
    assert (tmp_path / "letters" / "love.txt").read_text() == "dear"


@pytest.fixture
def copy(archive, tmp_path):
    """An archive to damage, in links."""
    for role in ("venus", "sentinel2"):
        shutil.copytree(archive / role, tmp_path / "copy" / role)
    return tmp_path / "copy"


def product(archive, role, day):
    return next((archive / role).glob(f"*{day.replace('-', '')}*"))


def truncate(archive):
    path = pack(product(archive, "sentinel2", "2019-03-21"))
    path.write_bytes(path.read_bytes()[:-200])
    return path, "truncated"


def lose_a_band(archive):
    path = product(archive, "sentinel2", "2019-03-21")
    next(path.glob("*FRE_B4.tif")).unlink()
    return path, "B4"


def lose_the_scale(archive):
    path = next(product(archive, "venus", "2019-03-21").glob("*MTD_ALL.xml"))
    text = path.read_text()
    path.write_text(text.replace("REFLECTANCE_QUANTIFICATION_VALUE", "SOMETHING_ELSE"))
    return path, "QUANTIFICATION"


def shrink_a_mask(archive):
    import rasterio

    path = next(product(archive, "venus", "2019-03-21").glob("MASKS/*CLM*"))
    with rasterio.open(path) as source:
        profile, values = source.profile, source.read()
    with rasterio.open(path, "w", **profile | {"height": 100}) as out:
        out.write(values[:, :100])
    return path, "CLM"


def move_away(archive):
    path = product(archive, "sentinel2", "2019-03-21")
    shutil.rmtree(path)
    far = make_muscate(
        archive / "sentinel2", time="2019-03-21T10:56:00.000Z", shape=(40, 40), origin=(700000.0, 4800000.0),
        bands=("B2", "B3", "B4"), kinds=("FRE",),
    )  # fmt: skip
    return far, "does not overlap the site"


@pytest.mark.parametrize("damage", [truncate, lose_a_band, lose_the_scale, shrink_a_mask, move_away])
def test_a_bad_product_is_left_out_or_ends_the_run(copy, tmp_path, damage):
    path, words = damage(copy)
    with pytest.raises(InputError, match=words) as error:
        prepare(config(copy, on_error="stop"), tmp_path / "stop.zarr")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "stop.zarr").exists()
    done = prepare(config(copy, registration__model="none", harmonization__mode="none"), tmp_path / "site.zarr")
    (problem,) = done["problems"]
    assert words in f"{problem['path']} {problem['problem']}"
    role = "target" if "sentinel2" in str(path) else "guide"
    assert [i["date"] for i in done["images"] if i["role"] == role] == ["2019-03-01", "2019-04-10", "2019-04-30"]
    assert json.loads((tmp_path / "site.zarr" / "prepare.json").read_text())["problems"] == [problem]


def test_of_two_satellites_on_one_date_the_better_is_taken(copy, tmp_path):
    worse = np.zeros((SIZE // 2, SIZE // 2), np.uint8)
    worse[:50] = 1
    make_muscate(
        copy / "sentinel2", None, {"CLM": worse}, platform="SENTINEL2B", time="2019-03-21T11:06:00.000Z",
        shape=worse.shape, origin=(600000.0, 4900020.0), bands=("B2", "B3", "B4"), kinds=("FRE",), place="T31TCK",
    )  # fmt: skip
    found = plan_site(config(copy))
    assert sum(c.image.time.astype("datetime64[D]") == np.datetime64("2019-03-21") for c in found.of("target")) == 1
    (skipped,) = [r for r in found.plan.table() if r["role"] == "skipped"]
    assert "T31TCK" in skipped["id"]
    assert "same" in skipped["reason"] or "day" in skipped["reason"]


def test_two_products_of_one_date_are_one_image(copy, tmp_path):
    worse = np.zeros((SIZE // 2, SIZE // 2), np.uint8)
    worse[:50] = 1
    make_muscate(
        copy / "sentinel2", None, {"CLM": worse}, time="2019-03-21T11:06:00.000Z", shape=worse.shape,
        origin=(600000.0, 4900020.0), bands=("B2", "B3", "B4"), kinds=("FRE",), place="T31TCK",
    )  # fmt: skip
    found = plan_site(config(copy))
    assert not [r for r in found.plan.table() if r["role"] == "skipped"]
    # What one of them has clear is clear, though half of the other is cloudy.
    done = prepare(config(copy, registration__model="none", harmonization__mode="none"), tmp_path / "site.zarr")
    assert not done["problems"]
    target = open_site(tmp_path / "site.zarr")["target"].to_dataset()
    clear = target.valid.mean(("y", "x")).values
    days = [str(t)[:10] for t in target.time.values]
    assert clear[days.index("2019-03-21")] >= 0.9


def test_a_file_that_breaks_off_leaves_its_date_without_pixels(copy, tmp_path):
    path = next(product(copy, "sentinel2", "2019-03-21").glob("*FRE_B4.tif"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = prepare(config(copy, registration__model="none", harmonization__mode="none"), tmp_path / "site.zarr")
    assert any("FRE_B4" in p["path"] for p in done["problems"])
    target = open_site(tmp_path / "site.zarr")["target"].to_dataset()
    days = [str(t)[:10] for t in target.time.values]
    if "2019-03-21" in days:  # found out while it was written
        assert not target.valid.sel(time="2019-03-21").any()
    assert target.valid.sel(time="2019-04-10").all()


def test_benchmark_takes_references_out_of_the_guides(archive):
    found = plan_site(config(archive, selection__mode="benchmark", selection__revisit=40, selection__guides=2))
    guides = {c.image.id for c in found.of("guide")}
    references = {c.image.id for c in found.of("reference")}
    assert len(guides) == 2
    assert references
    assert not guides & references
    assert all(p.same_day for p in found.plan.pairs)


def test_a_configuration_file_with_paths_beside_it(archive, tmp_path):
    (tmp_path / "data").symlink_to(archive)
    (tmp_path / "site.toml").write_text(
        'name = "here"\n[guide]\npath = "data/venus"\nbands = ["red", "green"]\n[target]\npath = "data/sentinel2"\n'
    )
    found = plan_site(read_config(tmp_path / "site.toml"))
    assert found.bands == ("red", "green")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[guide\n", "not valid TOML"),
        ('[guide]\npath = "a"\n', "target: Field required"),
        ('[guide]\npath = "a"\n[target]\npath = "b"\ndegrad = 2\n', "target.degrad is unknown; choose among .*degrade"),
        (
            '[guide]\npath = "a"\n[target]\npath = "b"\n[selection]\nrevisit = -3\n',
            "selection.revisit: .*greater than 0",
        ),
        (
            '[guide]\npath = "a"\nusable = ["fog"]\n[target]\npath = "b"\n',
            "'fog' is not a flag; choose among nodata, cloud",
        ),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path, text, words):
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(InputError, match=words):
        read_config(tmp_path / "site.toml")


def test_examples_are_valid():
    examples = sorted((Path(__file__).parents[2] / "examples" / "sites").glob("*.toml"))
    read = [read_config(e) for e in examples]
    # Guides and targets of the six sites, from the study.
    assert [(c.name, c.selection.guides, c.selection.targets) for c in read] == [
        ("ARM", 16, 23),
        ("ESGISB-2", 10, 14),
        ("FR-BIL", 12, 16),
        ("FR-LQ1", 9, 27),
        ("MAD-AMBO", 17, 39),
        ("SUDOE-4", 10, 14),
    ]
