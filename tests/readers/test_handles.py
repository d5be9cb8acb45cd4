"""Raster files that stay open."""

import numpy as np
import pytest
import rasterio

from sitsfuse.errors import InputError
from sitsfuse.readers import handles
from sitsfuse.readers.opening import opened


@pytest.fixture(autouse=True)
def _none_open():
    handles._kept.files.clear()


def test_a_file_is_opened_once(tif, tmp_path):
    path = tif(tmp_path / "a.tif", np.ones((1, 8, 8), np.int16))
    calls = []
    for _ in range(3):
        source = handles.kept(path, lambda: calls.append(0) or rasterio.open(path))
        assert source.read().sum() == 64
    assert len(calls) == 1


def test_a_file_that_was_replaced_is_opened_anew(tif, tmp_path):
    path = tif(tmp_path / "a.tif", np.ones((1, 8, 8), np.int16))
    with opened(path) as source:
        assert source.read().sum() == 64
    tif(tmp_path / "b.tif", np.full((1, 8, 8), 2, np.int16))
    (tmp_path / "b.tif").replace(path)
    with opened(path) as source:
        assert source.read().sum() == 128
    assert len(handles._kept.files) == 1


def test_few_files_are_open(tif, tmp_path, monkeypatch):
    monkeypatch.setattr(handles, "MOST", 3)
    paths = [tif(tmp_path / f"{i}.tif", np.full((1, 8, 8), i, np.int16)) for i in range(5)]
    for i, path in enumerate(paths):
        with opened(path) as source:
            assert (source.read() == i).all()
    assert [key[0] for key in handles._kept.files] == [str(p) for p in paths[2:]]


def test_a_file_that_cannot_be_read_does_not_stay_open(tif, tmp_path):
    path = tif(tmp_path / "a.tif", np.arange(64, dtype=np.int16).reshape(1, 8, 8), compress="deflate")
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    with pytest.raises(InputError, match="cannot be read"), opened(path) as source:
        source.read()
    assert not handles._kept.files
