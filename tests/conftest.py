"""Tiny files on disk, written with plain rasterio: a truth that does not depend on the package."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import settings

from sitsfuse.cli.main import main
from tests.helpers.running import Done

# How long an example takes says nothing on a machine that does other work beside.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(wrapper=True)  # xdist reads the groups in a hook of the same name, which would come first
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, object, object]:
    """Workers take the tests of a file together, since they share its fixtures; those of a file marked `spread` share
    none, and workers take them function by function and grid by grid."""
    for item in items:
        group = item.nodeid.split("::")[0]
        if item.get_closest_marker("spread") and isinstance(item, pytest.Function):
            grid = item.callspec.params.get("grid", "") if hasattr(item, "callspec") else ""
            group = f"{group}::{item.originalname}[{grid}]"
        item.add_marker(pytest.mark.xdist_group(group))
    return (yield)


def pytest_collection_finish() -> None:
    """Thousands of tests and their modules stay until the end: collecting garbage need not look at them each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _short_rehearsal(request: pytest.FixtureRequest) -> Iterator[None]:
    """Uncertainties are calibrated in earnest, but by one guide only, unless a module asks for the full rehearsal."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.node.get_closest_marker("full_rehearsal"):
            patch.setattr("sitsfuse.methods.shared.rehearsal.LEFT_OUT", 1)
        yield


@pytest.fixture
def real_data() -> Path:
    """The folder of the real series beside the checkout."""
    if not REAL.is_dir():
        pytest.skip("the real series (../shared/data beside the checkout) are not here")
    return REAL


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs the command line in this process."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["sitsfuse", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        return Done(int(stop.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def tif() -> Callable[..., Path]:
    """Writes a GeoTIFF of raw values (band, y, x), as given."""

    def write(
        path: Path,
        values: Any,
        bands: list[str] | None = None,
        *,
        pixel: float = 10.0,
        origin: tuple[float, float] = (500000.0, 4000000.0),
        crs: str | None = "EPSG:32631",
        transform: Affine | None = None,
        nodata: float | None = None,
        scales: list[float] | None = None,
        offsets: list[float] | None = None,
        **profile: Any,
    ) -> Path:
        values = np.asarray(values)
        path.parent.mkdir(parents=True, exist_ok=True)
        transform = transform or Affine(pixel, 0, origin[0], 0, -pixel, origin[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(
                path,
                "w",
                driver="GTiff",
                count=values.shape[0],
                height=values.shape[1],
                width=values.shape[2],
                dtype=values.dtype,
                crs=crs,
                transform=transform,
                nodata=nodata,
                **profile,
            ) as out:
                out.write(values)
                if bands:
                    out.descriptions = bands
                if scales:
                    out.scales = scales
                if offsets:
                    out.offsets = offsets
        return path

    return write


@pytest.fixture
def site_folder(tmp_path: Path, tif: Callable[..., Path]) -> Path:
    """A site of GeoTIFFs: 3 guides of 20×20 px at 10 m, 5 targets of 4×4 px at 50 m, 1 reference; 2 bands."""
    rng = np.random.default_rng(1)
    site = tmp_path / "site"

    def image(n: int) -> Any:
        return rng.integers(100, 4000, (2, n, n)).astype(np.int16)

    for role, days, n, pixel in (
        ("guide", (1, 11, 21), 20, 10.0),
        ("target", (1, 6, 11, 16, 21), 4, 50.0),
        ("reference", (16,), 20, 10.0),
    ):
        for day in days:
            tif(
                site / role / f"202006{day:02}.tif",
                image(n),
                ["red", "nir"],
                pixel=pixel,
                nodata=-32768,
                scales=[1e-4] * 2,
            )
    mask = np.zeros((1, 20, 20), np.uint8)
    mask[0, :5] = 1
    tif(site / "guide" / "20200611_mask.tif", mask)
    return site
