"""What lies on the web or in an archive is said to, whatever pathlib has made of its address."""

from pathlib import Path

import pytest

from sitsfuse.errors import InputError
from sitsfuse.readers import open_series, open_site
from sitsfuse.runtime.claims import check_apart


@pytest.mark.parametrize("read", [open_series, open_site])
@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("s3://bucket/guide", "^s3://bucket/guide: is not on this machine, .*; give STAC items"),
        (Path("https://example.org/guide"), "^https://example.org/guide: is not on this machine"),
        ("/vsis3/bucket/guide", "^/vsis3/bucket/guide: is not on this machine"),
        ("/vsizip/guide.zip/inner", "^/vsizip/guide.zip/inner: lies in an archive, .*; unpack it"),
    ],
)
def test_a_place_whose_files_cannot_be_listed(read, place, words):
    with pytest.raises(InputError, match=words):
        read(place)


def test_a_folder_may_be_called_like_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:" / "bucket").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no GeoTIFF"):
        open_series("s3:/bucket")


def test_no_output_makes_a_folder_of_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is an address, and outputs are written to disks"):
        check_apart(Path("s3://bucket/out"), [])
