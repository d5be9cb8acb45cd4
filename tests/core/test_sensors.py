"""Band pairing against published tables and boxcar responses summed up nanometre by nanometre."""

import itertools

import numpy as np
import pytest

from sitsfuse.core.sensors import SENSORS, find_sensor, gain_spread, pairing
from sitsfuse.errors import InputError

NM = np.arange(400, 2400, 0.1)


def response(band):
    """Boxcar response on a fine grid of wavelengths."""
    return np.abs(NM - band.wavelength) < band.width / 2


def alike(a, b):
    return (response(a) & response(b)).sum() / (response(a) | response(b)).sum()


def table(hr, lr, wanted=None):
    return {p.common: ("+".join(p.hr), p.lr) for p in pairing(SENSORS[hr], SENSORS[lr], wanted)}


PUBLISHED = {
    ("venus", "sentinel2"): {
        "coastal": ("B2", "B1"),
        "blue": ("B3", "B2"),
        "green": ("B4", "B3"),
        "red": ("B7", "B4"),
        "rededge1": ("B8", "B5"),
        "rededge2": ("B9", "B6"),
        "rededge3": ("B10", "B7"),
        "nir": ("B10+B11", "B8"),
        "nir08": ("B11", "B8A"),
    },
    # That of the Harmonized Landsat and Sentinel-2 product.
    ("sentinel2", "landsat8-9"): {
        "coastal": ("B1", "SR_B1"),
        "blue": ("B2", "SR_B2"),
        "green": ("B3", "SR_B3"),
        "red": ("B4", "SR_B4"),
        "nir08": ("B8A", "SR_B5"),
        "swir16": ("B11", "SR_B6"),
        "swir22": ("B12", "SR_B7"),
    },
    ("sentinel2", "landsat7"): {
        "blue": ("B2", "SR_B1"),
        "green": ("B3", "SR_B2"),
        "red": ("B4", "SR_B3"),
        "nir": ("B8", "SR_B4"),
        "swir16": ("B11", "SR_B5"),
        "swir22": ("B12", "SR_B7"),
    },
    ("superdove", "sentinel2"): {
        "coastal": ("coastal_blue", "B1"),
        "blue": ("blue", "B2"),
        "green": ("green", "B3"),
        "red": ("red", "B4"),
        "rededge1": ("rededge", "B5"),
        "nir": ("nir", "B8"),
    },
    # The red band of the first Doves reaches from orange to red.
    ("venus", "planetscope"): {
        "blue": ("B3", "blue"),
        "green": ("B4", "green"),
        "red": ("B7", "red"),
        "nir": ("B11", "nir"),
    },
    ("planetscope", "sentinel2"): {
        "blue": ("blue", "B2"),
        "green": ("green", "B3"),
        "red": ("red", "B4"),
        "nir": ("nir", "B8"),
    },
}


@pytest.mark.parametrize("sensors", PUBLISHED, ids="-".join)
def test_the_published_table(sensors):
    assert table(*sensors) == PUBLISHED[sensors]


LAND = ("venus", "sentinel2", "landsat8-9", "landsat7", "landsat5")


@pytest.mark.parametrize(("hr", "lr"), list(itertools.permutations(LAND, 2)))
def test_single_bands_are_each_others_likest(hr, lr):
    fine, coarse = SENSORS[hr].bands, SENSORS[lr].bands
    # A boxcar has a likest one on either side; B5 and B6 of Venµs are the same and count once.
    likeness = np.array([[alike(h, b) for b in coarse] for h in fine])
    mutual = {
        (h.name, b.name)
        for (i, h), (j, b) in itertools.product(enumerate(fine), enumerate(coarse))
        if likeness[i, j] > 0 and i == likeness[:, j].argmax() and j == likeness[i].argmax()
    }
    found = pairing(SENSORS[hr], SENSORS[lr])
    together = {p.lr for p in found if len(p.hr) > 1}
    assert {(p.hr[0], p.lr) for p in found if len(p.hr) == 1} == {m for m in mutual if m[1] not in together}
    for p in found:
        covered = np.any([response(b) for b in fine if b.name in p.hr], axis=0)
        target = response(SENSORS[lr].band(p.lr))
        best = max((response(b) & target).sum() for b in fine)
        if len(p.hr) > 1:
            assert best < 0.5 * target.sum(), "one band would do"
            assert (covered & target).sum() > best, "several bands must gain something"


@pytest.mark.parametrize(("hr", "lr"), list(itertools.combinations(SENSORS, 2)))
def test_single_pairs_read_the_same_both_ways(hr, lr):
    def single(a, b):
        return {(p.hr[0], p.lr) for p in pairing(SENSORS[a], SENSORS[b]) if len(p.hr) == 1}

    ahead, back = single(hr, lr), {(h, n) for n, h in single(lr, hr)}
    made_of_several = {p.lr for a, b in ((hr, lr), (lr, hr)) for p in pairing(SENSORS[a], SENSORS[b]) if len(p.hr) > 1}
    assert {p for p in ahead ^ back if not made_of_several & set(p)} == set()


def test_wanted_bands_come_in_the_order_asked_for():
    assert [p.lr for p in pairing(SENSORS["venus"], SENSORS["sentinel2"], ["nir", "red"])] == ["B8", "B4"]
    # The one NIR band of PlanetScope lies in both of Sentinel-2's.
    assert table("superdove", "sentinel2", ["nir08"]) == {"nir08": ("nir", "B8A")}


def test_a_sensor_has_each_name_once():
    platforms = [n for s in SENSORS.values() for n in {s.name, *s.platforms}]
    assert len(platforms) == len(set(platforms))
    for sensor in SENSORS.values():
        assert all(find_sensor(n) is sensor for n in (sensor.name, *sensor.platforms))
        for names in ([b.name for b in sensor.bands], [b.common for b in sensor.bands]):
            assert len(names) == len(set(names))
        waves = [b.wavelength for b in sensor.bands]
        assert waves == sorted(waves)
        assert all(0 < b.mtf < 1 and b.gsd > 0 for b in sensor.bands)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("SENTINEL2A", "sentinel2"),
        ("Sentinel-2B", "sentinel2"),
        ("VENUS", "venus"),
        ("VENµS", "venus"),
        ("VENμS", "venus"),
        ("LANDSAT_8", "landsat8-9"),
        ("landsat-5", "landsat5"),
        ("PSB.SD", "superdove"),
        ("PS2.SD", "planetscope-r"),
    ],
)
def test_platforms_as_products_write_them(written, name):
    assert find_sensor(written).name == name


def test_what_is_not_known_lists_what_is():
    with pytest.raises(InputError, match=r"'pleiades' is not known; choose among venus, sentinel2, landsat8-9"):
        find_sensor("pleiades")
    with pytest.raises(InputError, match=r"venus and sentinel2 share no 'swir16'; choose among .*nir"):
        pairing(SENSORS["venus"], SENSORS["sentinel2"], ["red", "swir16"])
    with pytest.raises(InputError, match=r"sentinel2: has no band 'B13'; choose among B1 \(coastal\)"):
        SENSORS["sentinel2"].band("B13")


def test_bands_by_either_name():
    sensor = SENSORS["sentinel2"]
    assert sensor.band("B8A") is sensor.band("nir08")
    # 0.32, 0.26, 0.28, 0.24… of Lanaras et al. (2017).
    assert [sensor.band(b).mtf for b in ("B1", "B2", "B3", "B4", "B8", "B12")] == [0.32, 0.26, 0.28, 0.24, 0.26, 0.23]
    # An EIFOV of 44.7 m and pixels of 30 m.
    assert SENSORS["landsat5"].band("red").mtf == pytest.approx(0.5 ** (44.7 / 30) ** 2, abs=0.01)


def test_the_more_alike_bands_are_the_nearer_their_gain_is_to_one():
    same, near, other = (gain_spread("sentinel2", lr, "red") for lr in ("S2B", "landsat8-9", "unknown"))
    assert (same, other) == (pytest.approx(0.02), 0.1)
    # From 649.1 to 680.1 nm and from 636 to 673 nm.
    assert near == pytest.approx(0.02 + 0.08 * (1 - (673 - 649.1) / (680.1 - 636)))
    assert gain_spread("sentinel2", "landsat8-9", "ndvi") == 0.1
