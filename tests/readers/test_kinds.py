"""Every reading option × every kind of input: used, or refused in one line that says what could be given."""

import re

import numpy as np
import pytest

import sitsfuse
from sitsfuse import InputError
from sitsfuse.readers import open_pair, open_series, open_site, open_target
from sitsfuse.writers import write_geotiffs, write_site
from tests.helpers.make_muscate import make_muscate

VALUES = {
    "date_pattern": "%Y%m%d",
    "bands": ["red", "nir"],
    "chunk": 16,
    "usable": ("snow",),
    "dilation": 0.0,
    "colour": "blue",
}
"""Options that some reader has, and one that none has."""
USED = {
    "series": set(),
    "zarr": set(),
    "products": {"bands", "chunk", "usable", "dilation"},
    "geotiffs": {"date_pattern", "bands", "chunk"},
}


@pytest.fixture(scope="module")
def site():
    return sitsfuse.simulate(size=40, guides=3, targets=2)


@pytest.fixture(scope="module")
def sources(site, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    write_site(site, folder / "site.zarr")
    for role, node in site.children.items():
        write_geotiffs(node.to_dataset(), folder / "tifs" / role)
    make_muscate(folder / "products")
    return {
        "series": site["guide"].to_dataset(),
        "zarr": folder / "site.zarr" / "guide",
        "products": folder / "products",
        "geotiffs": folder / "tifs" / "guide",
    }


@pytest.mark.parametrize("option", VALUES)
@pytest.mark.parametrize("kind", USED)
def test_an_option_is_used_or_refused(sources, kind, option):
    source, given = sources[kind], {option: VALUES[option]}
    if option in USED[kind]:
        found = open_series(source, **given)
        if option == "bands":
            assert list(found["band"].values) == VALUES["bands"]
        return
    with pytest.raises(InputError, match=f"{option} is of no use; drop {option}") as caught:
        open_series(source, **given)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    for known in USED[kind]:
        assert re.search(rf"give .*\b{known}\b", text)
    with pytest.raises(InputError, match="of no use"):
        open_target(source, 2.0, **given)


def test_an_option_for_all_serves_those_that_have_a_use_for_it(sources, site):
    tifs = sources["geotiffs"].parent
    names = {name: index + 1 for index, name in enumerate(site["guide"]["band"].values)}
    pair = open_pair(sources["zarr"], tifs / "target", bands=names, date_pattern="%Y%m%d")
    assert pair["target"].sizes["time"] == 2
    with pytest.raises(InputError, match=r"guide: is a Zarr store, .*: bands is of no use; drop bands, or give scale"):
        open_pair(sources["zarr"], site["target"].to_dataset(), bands=["red"])
    with pytest.raises(InputError, match=r"target_options\.bands is of no use"):
        open_pair(sources["geotiffs"], site["target"].to_dataset(), target_options={"bands": ["red"]})


@pytest.mark.parametrize("command", ["fuse", "info", "evaluate"])
def test_no_option_is_ignored_for_zarr(sources, tmp_path, cli, command):
    site = sources["zarr"].parent
    arguments = {
        "fuse": ["fuse", site, "-o", tmp_path / "out", "--method", "temporal"],
        "info": ["info", site],
        "evaluate": ["evaluate", site / "reference", site / "reference"],
    }[command]
    done = cli(*arguments, "--bands", "foo=1")
    assert done.code == 2, done
    assert done.err.endswith("--bands is of no use; drop --bands, or give --scale or --offset or --quantity\n")
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_option_of_a_target_that_is_not_there(sources, cli):
    site = sources["zarr"].parent
    done = cli("evaluate", site / "reference", site / "reference", "--target-bands", "red=1")
    assert done.err == "sitsfuse: --target-bands: is given without a target; give --target, or drop it\n"


def test_a_site_of_geotiffs_takes_their_options(sources):
    tifs = sources["geotiffs"].parent
    found = open_site(tifs, bands=["nir"], chunk=16)
    assert all(list(node["band"].values) == ["nir"] for node in found.children.values())
    assert np.isfinite(found["guide"]["reflectance"].values).any()
