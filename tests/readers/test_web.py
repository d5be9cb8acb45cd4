"""STAC items straight from a search, their rasters on the web: a server on the loopback."""

import subprocess
import sys

import numpy as np
import pytest

from sitsfuse.errors import InputError
from sitsfuse.readers import open_pair, open_series

pystac = pytest.importorskip("pystac")
pytest.importorskip("odc.stac")
DAYS = ("2021-07-04", "2021-07-09")


SERVER = """
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

class Ranges(SimpleHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range")
        if wanted is None or not Path(self.translate_path(self.path)).is_file():
            return super().do_GET()
        content = Path(self.translate_path(self.path)).read_bytes()
        start, end = wanted.removeprefix("bytes=").split("-")
        part = content[int(start) : int(end) + 1 if end else len(content)]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{int(start) + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Ranges(*a, directory=sys.argv[1]))
print(server.server_port, flush=True)
server.serve_forever()
"""
"""Serves files and parts of them, as GDAL asks for; in a process of its own, since GDAL may wait and hold this one."""


@pytest.fixture
def address(tmp_path):
    """Address of a server of the files in tmp_path."""
    command = [sys.executable, "-c", SERVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.kill()


@pytest.fixture
def found(tmp_path, tif, address):
    """Items as a search gives them, and the numbers of their rasters."""
    rng, items, numbers = np.random.default_rng(0), [], []
    for day in DAYS:
        values = rng.integers(1100, 6000, (2, 20, 20)).astype(np.uint16)
        scl = np.full((1, 10, 10), 4, np.uint8)
        scl[0, :3] = 9
        tif(tmp_path / f"{day}_B04.tif", values[:1])
        tif(tmp_path / f"{day}_B08.tif", values[1:])
        tif(tmp_path / f"{day}_SCL.tif", scl, pixel=20.0)
        place = {"proj:shape": [20, 20], "proj:transform": [10, 0, 500000, 0, -10, 4000000]}
        coarse = {"proj:shape": [10, 10], "proj:transform": [20, 0, 500000, 0, -20, 4000000]}
        scaled = {"raster:bands": [{"nodata": 0, "scale": 1e-4, "offset": -0.1}]}
        bands = {name: {"eo:bands": [{"name": n, "common_name": name}]} for name, n in (("red", "B04"), ("nir", "B08"))}
        assets = {
            "red": {"href": f"{address}/{day}_B04.tif", "roles": ["data"], **place, **scaled, **bands["red"]},
            "nir": {"href": f"{address}/{day}_B08.tif", "roles": ["data"], **place, **scaled, **bands["nir"]},
            "scl": {"href": f"{address}/{day}_SCL.tif", "roles": ["data"], **coarse},
        }
        kind = "image/tiff; application=geotiff"
        items.append(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "stac_extensions": [
                    "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
                    "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
                    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
                ],
                "id": f"S2A_{day}",
                "geometry": {"type": "Point", "coordinates": [0, 0]},
                "bbox": [0, 0, 0, 0],
                "properties": {"datetime": f"{day}T10:57:10Z", "platform": "sentinel-2a", "proj:epsg": 32631},
                "links": [],
                "assets": {key: {"type": kind, **value} for key, value in assets.items()},
            }
        )
        numbers.append(values)
    return items, np.stack(numbers)


@pytest.mark.parametrize("form", ["dictionaries", "items", "collection", "generator"])
def test_items_of_a_search_are_a_series(found, form):
    documents, numbers = found
    items = [pystac.Item.from_dict(d) for d in documents]
    given = {
        "dictionaries": documents,
        "items": items[::-1],  # a search gives the newest first
        "collection": pystac.ItemCollection(items),
        "generator": (i for i in items),
    }[form]
    series = open_series(given)
    assert [str(t)[:10] for t in series["time"].values] == list(DAYS)
    assert list(series["product"].values) == [f"S2A_{day}" for day in DAYS]
    ok = series["valid"].values
    # Clouds in the upper three rows of 20 m pixels.
    assert not ok[:, :6].any()
    assert ok[:, -1].all()
    for band in (0, 1):
        real = numbers[:, band] * 1e-4 - 0.1
        np.testing.assert_allclose(series["reflectance"].values[:, band][ok], real[ok], atol=1e-6)


def test_items_make_a_pair(found, tif, tmp_path):
    documents, _ = found
    tif(tmp_path / "guide" / "20210701.tif", np.full((2, 40, 40), 0.2, np.float32), ["red", "nir"], pixel=5.0)
    site = open_pair(tmp_path / "guide", iter(documents), target_options={"bands": ["red", "nir"]})
    assert site["target"].sizes["time"] == 2


def test_what_is_wrong_with_items_is_a_line(found):
    documents, _ = found
    with pytest.raises(InputError, match=r"^the items: holds products"):
        open_series(documents, mask_pattern="*_SCL.tif")
    documents[0]["assets"]["red"]["href"] += ".lost.tif"
    with pytest.raises(InputError, match=r"^S2A_2021-07-04: cannot be read .* 404"):
        open_series(documents[:1]).load()
    with pytest.raises(InputError, match="is a list"):
        open_series([1, 2])
