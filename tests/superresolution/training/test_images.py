"""What a network is trained on, and what is kept from it. The pixels of the images tell where they come from."""

import dataclasses
import math

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfuse.core.series import make_series
from sitsfuse.core.site import make_site, target_alone
from sitsfuse.errors import InputError
from sitsfuse.operators.updown import down
from sitsfuse.readers import open_series
from sitsfuse.superresolution.training.collection import Collection, is_clear, lr_version
from sitsfuse.superresolution.training.images import BANDS, WINDOW, collect
from sitsfuse.superresolution.training.pairs import Image
from sitsfuse.superresolution.training.sen2venus import open_sen2venus
from sitsfuse.writers import write_geotiffs, write_site
from tests.helpers.make_sen2venus import GROUND, make_v1, make_v2, numbers

START = np.datetime64("2020-06-01")


def series(size=(100, 120), dates=1, bands=("red", "nir"), place=0, pixel=10.0, masked=(), poison=np.nan, **attrs):
    """Images whose first band is place + date / 100, and whose second is the column; those masked are invalid."""
    rows, cols = size
    values = np.empty((dates, len(bands), rows, cols), np.float32)
    values[:] = np.arange(cols)
    values[:, 0] = place + np.arange(dates)[:, None, None] / 100
    valid = np.ones((dates, rows, cols), bool)
    for k in masked:
        valid[k] = False
        values[k] = poison
    box = GeoBox(size, Affine(pixel, 0, 5e5, 0, -pixel, 4e6), "EPSG:32631")
    times = [START + 5 * k for k in range(dates)]
    return make_series(values, valid, times, bands, box, attrs)


def site(ratio=5.0, name="here", target_mtf=0.3, **options):
    guide = series(**options)
    rows, cols = (math.ceil(n / ratio) for n in guide["valid"].shape[1:])
    bands = [str(b) for b in guide["band"].values]
    return make_site(guide, series((rows, cols), bands=bands, pixel=10 * ratio, mtf=target_mtf), name=name, ratio=ratio)


def gather(*sources, factor=None, target="target", bands=BANDS, most=40_000_000, patch=8, seed=0):
    return collect(sources, factor, target, bands, most, patch, seed)


def origins(images):
    """Place + date / 100 of every image, once."""
    return sorted({round(float(v), 2) for i in images for v in np.unique(i.values[0][i.valid])})


# --- how it is read ---


def test_files_of_other_makers_are_read_as_is_asked(tmp_path):
    scene = series(dates=4).isel(band=[0]).assign_coords(band=["red"])
    for k, time in enumerate(scene["time"].values):
        about = {"driver": "GTiff", "height": 100, "width": 120, "dtype": "uint16", "crs": "EPSG:32631"}
        for name, image in (("IMG", np.full((100, 120), 1000 * k + 1000)), ("QA", np.where(np.arange(120) < 12, 9, 4))):
            path = tmp_path / f"{str(time)[:10]}_{name}.tif"
            with rasterio.open(path, "w", count=1, transform=Affine(10, 0, 5e5, 0, -10, 4e6), **about) as file:
                file.write(np.broadcast_to(image, (100, 120)).astype("uint16"), 1)
    reading = {"mask_pattern": "*_QA.tif", "clear": (4,), "scale": 1e-4, "bands": {"red": 1}}
    found = collect([tmp_path], 2.5, "target", BANDS, 40_000_000, 8, 0, reading)
    assert found.bands == ("red",)
    assert origins(found.train + found.held) == [0.1, 0.2, 0.3, 0.4]
    assert sum(i.valid.mean() for i in found.train) / len(found.train) == pytest.approx(0.9)


def test_reading_options_without_a_use_are_refused(tmp_path):
    write_site(site(), tmp_path / "site.zarr")
    with pytest.raises(InputError, match=r"is a Zarr store, .*: clear is of no use"):
        collect([tmp_path / "site.zarr"], None, "target", BANDS, 40_000_000, 8, 0, {"clear": (4,)})


# --- what is held out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("places", "away"), [(3, [2]), (7, [2]), (8, [2, 7])])
def test_of_three_places_or_more_whole_places_are_held_out(places, away):
    found = gather(*(site(place=p, name=f"place {p}", dates=2) for p in range(places)))
    assert origins(found.held) == [p + d for p in away for d in (0, 0.01)]
    assert origins(found.train) == [p + d for p in range(places) if p not in away for d in (0, 0.01)]
    assert found.test is found.held
    assert found.test_data == "other places: " + ", ".join(f"place {p}" for p in away)
    dates = 2 * (places - len(away))
    assert f"({dates} images, 2020-06-01 to 2020-06-06)" in found.data
    learnt = [f"place {p}" for p in range(places) if p not in away]
    names = ", ".join(learnt[:3]) + (f" and {len(learnt) - 3} more" if len(learnt) > 3 else "")
    assert found.data == f"HR images of {names} ({dates} images, 2020-06-01 to 2020-06-06) and their own " + (
        "degraded versions"
    )


def test_places_of_one_name_are_not_one_place():
    found = gather(*(site(place=p, name="guide") for p in range(4)))
    assert (origins(found.train), origins(found.held)) == ([0, 1, 3], [2])


@pytest.mark.parametrize(("dates", "away"), [(3, [2]), (4, [2]), (8, [2, 7]), (12, [2, 7])])
def test_of_three_dates_or_more_whole_dates_are_held_out(dates, away):
    found = gather(site(dates=dates), site(dates=dates, place=1))
    expected = [p + d / 100 for p in (0, 1) for d in away]
    assert origins(found.held) == expected
    assert origins(found.train) == [p + d / 100 for p in (0, 1) for d in range(dates) if d not in away]
    assert found.test_data == "other dates of the same place: " + ", ".join(str(START + 5 * d) for d in away)


@pytest.mark.parametrize("dates", [1, 2])
def test_of_fewer_dates_columns_are_held_out(dates):
    found = gather(site(dates=dates, size=(100, 300)))
    assert found.test_data == "columns in the east"
    west, east = (np.concatenate([i.values[1].ravel() for i in images]) for images in (found.train, found.held))
    assert (west.min(), west.max(), east.min(), east.max()) == (0, 239, 240, 299)
    assert origins(found.train) == origins(found.held) == [d / 100 for d in range(dates)]


def test_the_columns_held_out_hold_a_patch():
    found = gather(site(size=(100, 100)))
    (held,), (train,) = found.held, found.train
    assert held.valid.shape == (100, 40)  # 8 LR pixels, more than a fifth of the image
    assert train.valid.shape == (100, 60)


def test_where_what_would_be_held_out_is_cloudy_something_else_is():
    found = gather(site(dates=4, masked=[2], size=(100, 200)))
    assert found.test_data == "columns in the east"
    assert origins(found.held) == [0, 0.01, 0.03]
    found = gather(*(site(place=p, dates=3, masked=[0, 1, 2] if p == 2 else []) for p in range(4)))
    assert found.test_data == "other dates of the same place: 2020-06-11"
    assert origins(found.held) == [0.02, 1.02, 3.02]


# --- sources -------------------------------------------------------------------------------------------------------


def test_a_site_on_disk_and_in_memory_and_its_guides_alone(tmp_path):
    whole = site(dates=4, target_mtf=[0.2, 0.3])
    write_site(whole, tmp_path / "site.zarr")
    write_geotiffs(whole["guide"].to_dataset(), tmp_path / "guides", int16=False)
    memory = gather(whole)
    assert (memory.factor, memory.bands) == (5.0, ("red", "nir"))
    assert memory.mtf == pytest.approx(0.25)
    stored = gather(tmp_path / "site.zarr")
    assert stored.digest() == memory.digest()
    assert stored.data.startswith("HR images of here ")
    for alone in (tmp_path / "guides", str(tmp_path / "guides"), open_series(tmp_path / "guides")):
        found = gather(alone, factor=5.0)
        assert found.digest() == memory.digest()
        assert found.mtf == 0.3  # nothing is known of the LR sensor
        assert found.data.startswith("HR images of guides ")
    assert gather(whole["guide"].to_dataset(), factor=5.0).data.startswith("HR images of series ")


def test_a_factor_given_beats_that_of_the_sites():
    assert gather(site(dates=3), factor=2.5).factor == 2.5
    assert gather(site(dates=3), site(ratio=4.0, dates=3), factor=2.5).factor == 2.5


def test_bands_in_another_order_are_put_in_the_first_ones():
    swapped = site(dates=3, place=1)
    swapped["guide"] = xr.DataTree(swapped["guide"].to_dataset().isel(band=[1, 0]))
    found = gather(site(dates=3), swapped)
    assert origins(found.train) == [0, 0.01, 1, 1.01]


def test_what_is_not_valid_does_not_come_along():
    """Whether a mask says so or a value that is not a number."""
    clean, poisoned = (site(dates=4, masked=[1], poison=p, size=(100, 200)) for p in (0.0, 1e6))
    assert gather(clean).digest() == gather(poisoned).digest()
    values = clean["guide"]["reflectance"].values.copy()
    values[0, 1, 5, 7] = np.nan
    values[3, 0, 60:, 150:] = np.inf
    holes = clean["guide"].to_dataset().assign(reflectance=clean["guide"]["reflectance"].copy(data=values))
    found = gather(holes, factor=5.0)
    images = [*found.train, *found.held]
    assert all(np.isfinite(i.values).all() for i in images)
    assert sum(int((~i.valid).sum()) for i in images) == 1 + 40 * 50


def test_large_images_are_read_in_windows_up_to_a_number_of_pixels():
    large = series((800, 900), dates=4)
    most = 1_000_000
    found = gather(large, factor=5.0, most=most)
    for images, share in ((found.train, 0.8), (found.held, 0.2)):
        shapes = {i.valid.shape for i in images}
        assert shapes == {(WINDOW, WINDOW)}
        assert len(images) == math.ceil(share * most / WINDOW**2)
    assert [i.values.tobytes() for i in gather(large, factor=5.0, most=most).train] == [
        i.values.tobytes() for i in found.train
    ]
    other = gather(large, factor=5.0, most=most, seed=1)
    assert other.digest() != found.digest()
    # However few are wanted, there is one of each; patches fit into windows.
    few = gather(large, factor=16.0, most=1, patch=30)
    assert [i.valid.shape for i in (*few.train, *few.held)] == [(480, 480)] * 2


def test_the_digest_is_of_every_pixel():
    image = Image(np.zeros((1, 8, 8), np.float32), np.ones((8, 8), bool))

    def digest(*images):
        return Collection(("red",), 2.0, list(images), [image], [image], 0.3, "", "").digest()

    changed = image.values.copy()
    changed[0, 7, 7] = 1
    masked = image.valid.copy()
    masked[0, 0] = False
    others = [
        [dataclasses.replace(image, values=changed)],
        [dataclasses.replace(image, valid=masked)],
        [dataclasses.replace(image, lr=np.zeros((1, 4, 4), np.float32))],
        [dataclasses.replace(image, lr=np.ones((1, 4, 4), np.float32))],
        [image, image],
    ]
    assert len({digest(*images) for images in ([image], *others)}) == 6
    assert digest(image) == digest(dataclasses.replace(image))


# --- LR versions ---------------------------------------------------------------------------------------------------


def test_the_lr_version_of_an_image():
    rng = np.random.default_rng(0)
    image = Image(rng.random((2, 53, 60)).astype(np.float32), np.ones((53, 60), bool))
    grids, values, valid = lr_version(image, 2.5, 0.2)
    assert valid.shape == (21, 24)
    expected, _ = down(image.values, image.valid, grids, 0.2)
    np.testing.assert_array_equal(values, expected)
    real = rng.random((2, 21, 24)).astype(np.float32)
    real[1, 3, 4] = np.nan
    _, values, valid = lr_version(dataclasses.replace(image, lr=real), 2.5, 0.2)
    assert values is real
    assert np.argwhere(~valid).tolist() == [[3, 4]]


def test_an_image_is_clear_if_something_of_its_lr_version_is():
    values, valid = np.zeros((1, 60, 60), np.float32), np.ones((60, 60), bool)
    assert is_clear(Image(values, valid), 5.0, 0.3)
    half = valid.copy()
    half[:, 40:] = False
    assert not is_clear(Image(values, half), 5.0, 0.3)  # 67 % of the pixels
    speckled = valid.copy()
    speckled[::4, ::4] = False
    assert not is_clear(Image(values, speckled), 5.0, 0.3)  # 94 % of the pixels, and no LR pixel
    assert not is_clear(Image(values, valid, np.full((1, 12, 12), np.nan, np.float32)), 5.0, 0.3)


# --- archives ------------------------------------------------------------------------------------------------------

NAMES = ("ALSACE", "ESGISB-1", "ESGISB-3", "NARYN", "SUDOUE-2")
SITES = {name: (("31TCJ", "2019-07-25"), ("31TCJ", f"2019-08-{k + 1:02d}")) for k, name in enumerate(NAMES)}


def sites_of(images, seed=0):
    """Sites whose patches these are, by their pixels."""
    patches = {
        (numbers((name, tile, date, k), BANDS, 5) / np.float32(1e4)).astype(np.float32).tobytes(): name
        for name, dates in SITES.items()
        for tile, date in dates
        for k in range(3)
    }
    return {patches[i.values.tobytes()] for i in images}


@pytest.mark.parametrize("version", [1, 2])
def test_an_archive_is_split_by_site(tmp_path, version):
    (make_v1 if version == 1 else make_v2)(tmp_path, SITES, **({} if version == 1 else {"patches": (0, 1, 2)}))
    found = gather(tmp_path)
    assert (found.factor, found.bands) == (2.0, ("blue", "green", "red", "nir"))
    parts = [sites_of(images) for images in (found.train, found.held, found.test)]
    assert [len(p) for p in parts] == [3, 1, 1]
    assert set.union(*parts) == set(NAMES)
    assert found.test_data == "other sites: " + ", ".join(parts[2])
    assert found.data == "SEN2VENµS, 3 sites"
    # Real pairs, each with its partner.
    assert len(found.train) == 3 * 2 * 3
    by_hr = {}
    for p in open_sen2venus(tmp_path):
        by_hr |= {hr.tobytes(): lr for hr, lr in zip(*p.read(range(p.count)), strict=True)}
    for image in (*found.train, *found.held, *found.test):
        np.testing.assert_array_equal(image.lr, by_hr[image.values.tobytes()])


def test_an_archive_at_another_factor_gives_its_hr_patches(tmp_path):
    make_v1(tmp_path, SITES)
    found = gather(tmp_path, factor=1.6)
    assert all(image.lr is None for image in (*found.train, *found.held, *found.test))
    assert found.data == "SEN2VENµS, 3 sites: its HR patches and their own degraded versions"


def test_two_sites_make_two_parts(tmp_path):
    make_v1(tmp_path, {name: SITES[name] for name in NAMES[:2]})
    found = gather(tmp_path)
    assert found.test is found.held
    assert len(sites_of(found.train)) == len(sites_of(found.held)) == 1
    assert found.data == "SEN2VENµS, 1 site"


def test_of_a_large_archive_patches_are_drawn_evenly(tmp_path):
    make_v1(tmp_path, SITES, count=8)
    pixels = round(GROUND / 5) ** 2
    found = gather(tmp_path, most=3 * 6 * pixels * 10 // 8)
    assert len(found.train) == 3 * 6  # 6 files, 3 of each
    assert len(sites_of_counts(found.train)) == 6


def sites_of_counts(images):
    """Files that patches come from: with 8 patches each, by their pixels."""
    return {
        (name, date)
        for name, dates in SITES.items()
        for tile, date in dates
        for k in range(8)
        if any(np.array_equal(i.values, numbers((name, tile, date, k), BANDS, 5) / np.float32(1e4)) for i in images)
    }


def test_holes_of_an_archive(tmp_path):
    """Patches of HR images without anything are left out, single pixels without anything are masked."""
    import torch

    make_v1(tmp_path, SITES)
    for path in tmp_path.glob("*/*_05m_b2b3b4b8.pt"):
        stored = torch.load(path)
        stored[0] = -10000
        stored[1, 2, 3, 4] = -10000
        torch.save(stored, path)
    found = gather(tmp_path)
    images = [*found.train, *found.held, *found.test]
    assert len(images) == 10 * 2
    assert sum(not i.valid.all() for i in images) == 10
    assert all(np.isfinite(i.values).all() for i in images)
    assert {tuple(np.argwhere(~i.valid)[0]) for i in images if not i.valid.all()} == {(3, 4)}
    for path in tmp_path.glob("*/*_05m_b2b3b4b8.pt"):
        torch.save(torch.full_like(torch.load(path), -10000), path)
    with pytest.raises(InputError, match="has no clear patch of"):
        gather(tmp_path)


# --- what cannot be trained on -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        ([], {}, "training: has no images; give a site"),
        ([series()], {}, "series: is a series, which has no ratio; give factor"),
        ([series()], {"factor": 1.0}, "factor: 1 is not above 1"),
        ([series()], {"factor": math.nan}, "factor: nan is not above 1"),
        ([series()], {"factor": math.inf}, "factor: inf is not above 1"),
        ([site(), site(ratio=4.0, name="there")], {}, "there: has a ratio of 4, and here one of 5; .*as factor"),
        (
            [site(), site(name="there", bands=("red", "swir16"))],
            {},
            "there: has the bands red, swir16, and here has red, nir; give images with the same bands",
        ),
        ([site(), site(name="there", bands=("red",))], {}, "there: has the bands red, and here"),
        (
            [site(), site(name="there", size=(39, 100))],
            {},
            "there: has images of 39 × 100 pixels: too small for 5; give images of at least 40 pixels",
        ),
        ([site(size=(100, 60))], {}, "here: has too few clear pixels .*; give more, larger"),
        ([site(dates=3, masked=[0, 1, 2])], {}, "here: has too few clear pixels to learn from and to judge by"),
        ([site()], {"bands": "b4b5b6b8a"}, "bands: 'b4b5b6b8a' is for a SEN2VENµS archive, .*drop it"),
        ([target_alone(series(), 5.0)], {}, "site: has no HR image; give a site with guides"),
        ([xr.DataTree.from_dict({"guide": series()})], {}, "has no series 'target'"),
    ],
)
def test_what_cannot_be_trained_on(sources, options, message):
    with pytest.raises(InputError, match=message) as error:
        gather(*sources, **options)
    assert "\n" not in str(error.value)


def test_archives_that_cannot_be_trained_on(tmp_path):
    make_v1(tmp_path / "one")
    with pytest.raises(InputError, match=r"one: holds one site \(NARYN\); give two or more"):
        gather(tmp_path / "one")
    with pytest.raises(InputError, match="one: is a SEN2VENµS archive, which goes alone; drop the other paths"):
        gather(series(), tmp_path / "one")
    with pytest.raises(InputError, match="nowhere: does not exist"):
        gather(tmp_path / "nowhere", factor=2.0)
