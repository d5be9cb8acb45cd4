"""The options for reading files of other makers, from the command line to the numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio

from sitsfuse.errors import InputError
from sitsfuse.readers import open_series
from sitsfuse.readers.reading import Reading

RNG = np.random.default_rng(3)
DAYS = ("20200101", "20200111", "20200121")


@pytest.fixture
def foreign(tmp_path, tif):
    """A guide in DN with a scene classification, and a target in reflectance with an inverted mask."""
    base = RNG.integers(500, 4000, (2, 4, 4)).astype(np.int16).repeat(5, 1).repeat(5, 2)
    for k, day in enumerate(DAYS):
        sharp = base + RNG.integers(0, 60, (2, 20, 20)).astype(np.int16) + np.int16(30 * k)
        scl = np.full((1, 10, 10), 4, np.uint8)
        scl[0, 2:4, 5:7] = 9
        tif(tmp_path / "guide" / f"T31_{day}_BGRN.tif", sharp, ["red", "nir"])
        tif(tmp_path / "guide" / f"T31_{day}_SCL.tif", scl, pixel=20.0)
        coarse = sharp.reshape(2, 4, 5, 4, 5).mean((2, 4)) * 1e-4
        clear = np.ones((1, 4, 4), np.uint8)
        clear[0, 3, 3] = 0
        tif(tmp_path / "target" / f"{day}.tif", coarse.astype(np.float32), ["red", "nir"], pixel=50.0)
        tif(tmp_path / "target" / f"{day}_mask.tif", clear, pixel=50.0)
    return tmp_path


def test_fuse_with_scale_and_masks_of_both(foreign, cli):
    guide, target, out = foreign / "guide", foreign / "target", foreign / "out"
    given = ("--scale", "0.0001", "--target-scale", "1", "--target-clear", "1")
    done = cli("fuse", guide, target, "-o", out, "--method", "difference", "-q", *given)
    assert done.code == 0, done.err
    assert "masks are read as a scene classification" in done.err
    with rasterio.open(out / "20200111.tif") as fused, rasterio.open(guide / "T31_20200111_BGRN.tif") as sharp:
        image, truth = fused.read(), sharp.read() * 1e-4
    assert np.nanmedian(np.abs(image - truth)) < 0.05  # of values up to .4: units and masks are right
    without = cli("fuse", guide, target, "-o", foreign / "no", "--method", "difference", "-q", "--target-clear", "1")
    assert without.code == 2
    assert "times as large as those of the target" in without.err
    assert "--scale 0.0001" in without.err


def test_info_of_a_pair(foreign, cli):
    done = cli("info", foreign / "guide", foreign / "target", "--target-clear", "1")
    assert done.code == 0, done.err
    text = " ".join(done.out.split())
    assert "ratio 5 (target)" in text
    assert "times as large as those of the target" in text
    assert "96 % on average" in text  # 4 of 100 pixels of the classification are cloud
    assert "94 % on average" in text  # 1 of 16 of the inverted mask
    done = cli("info", foreign / "guide", foreign / "target", "--scale", "1e-4", "--target-scale", "1")
    assert "times as large" not in " ".join(done.out.split())


def test_prepare_takes_them_too(foreign, cli):
    given = ("--scale", "0.0001", "--target-scale", "1", "--target-clear", "1", "--register", "none")
    done = cli("prepare", foreign / "guide", foreign / "target", "-o", foreign / "s.zarr", "-q", *given)
    assert done.code == 0, done.err
    site = open_series(foreign / "s.zarr" / "guide")
    with rasterio.open(foreign / "guide" / "T31_20200101_BGRN.tif") as sharp:
        truth = sharp.read() * 1e-4
    values, valid = site.reflectance.values[0], site.valid.values[0]
    order = [str(b) for b in site.band.values]
    np.testing.assert_allclose(values[order.index("red")][valid], truth[0][valid], atol=1e-5)
    assert (~valid).sum() == 16


def test_evaluate_takes_them_too(foreign, cli):
    done = cli("evaluate", foreign / "guide", foreign / "guide", "--scale", "0.0001", "--cloudy", "3,8,9,10")
    assert done.code == 0, done.err
    assert "0.00000" in done.out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--clear", "4,x"), "--clear: '4,x' is not whole numbers"),
        (("--clear", "4", "--cloudy", "3"), "cloudy: is given beside clear"),
        (("--mask-pattern", "*_FMASK.tif"), "holds no file whose name matches '*_FMASK.tif'"),
        (("--same-day", "best"), "'best' is unknown"),
        (("--scale", "0"), "scale: is 0"),
        (("--mask-band", "7", "--clear", "1"), "has no band '7'"),
    ],
)
def test_what_cannot_be_meant(foreign, cli, given, message):
    done = cli("info", foreign / "guide", *given)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert len(done.err.splitlines()) == 1


def test_an_unknown_option_is_named():
    with pytest.raises(InputError, match="option 'maks': is unknown"):
        Reading.of({"maks": 1})
    assert json.dumps(Reading().given()) == "[]"
