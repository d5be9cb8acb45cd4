"""SEN2VENµS: patches come back as stored, damaged or incomplete archives are refused with a word on what is wrong."""

import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from sitsfuse.errors import InputError
from sitsfuse.superresolution.training.patches import Patches
from sitsfuse.superresolution.training.sen2venus import is_sen2venus, open_sen2venus, split_sites
from tests.helpers.make_sen2venus import make_v1, make_v2, numbers

SITES = {
    "SUDOUE-4": [("31TCJ", "2019-05-01"), ("30TYP", "2018-04-03")],
    "NARYN": [("43TFG", "2019-07-25")],
    "ALSACE": [("32ULU", "2018-02-14")],
}
ORDER = [
    ("ALSACE", "32ULU", "2018-02-14"),
    ("NARYN", "43TFG", "2019-07-25"),
    ("SUDOUE-4", "30TYP", "2018-04-03"),
    ("SUDOUE-4", "31TCJ", "2019-05-01"),
]
MAKERS = {
    "v1": (make_v1, [0, 1, 2]),
    "v2": (make_v2, [0, 2, 11]),
    "v2 unpacked": (lambda folder, *args, **more: make_v2(folder, *args, zipped=False, **more), [0, 2, 11]),
}
"""How to make an archive, and the numbers of its patches."""
GROUPS = {
    "b2b3b4b8": ("b2b3b4b8", 10, ("blue", "green", "red", "nir")),
    "b4b5b6b8a": ("b5b6b7b8a", 20, ("rededge1", "rededge2", "rededge3", "nir08")),
    "b5b6b7b8a": ("b5b6b7b8a", 20, ("rededge1", "rededge2", "rededge3", "nir08")),
}
V1 = "NARYN/NARYN_C__43TFG_2019-07-25_{}_b2b3b4b8.pt"
V2 = "NARYN/2019-07-25/b2b3b4b8/{0}/NARYN_2_2019-07-25_43TFG_b2b3b4b8_{0}.tif"


def fails(path, *parts, bands="b2b3b4b8", read=False):
    """What opening, or reading, complains about."""

    def look():
        found = open_sen2venus(path, bands)
        return [patches.read(range(patches.count)) for patches in found if read]

    with pytest.raises(InputError) as caught:
        look()
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bands", GROUPS)
@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("version", MAKERS)
def test_patches_come_back_as_reflectance(tmp_path, version, index, bands):
    make, numbered = MAKERS[version]
    found = open_sen2venus(make(tmp_path, SITES, index=index), bands)
    assert [(p.site, p.tile, str(p.date)) for p in found] == ORDER
    group, pixel, names = GROUPS[bands]
    for patches in found:
        assert (patches.bands, patches.hr_pixel, patches.lr_pixel) == (names, 5, pixel)
        assert (patches.count, patches.ratio) == (3, pixel / 5)
        chosen = [2, 0, 2]
        for values, size in zip(patches.read(chosen), (5, pixel), strict=True):
            place = patches.site, patches.tile, str(patches.date)
            stored = np.stack([numbers((*place, numbered[k]), group, size) for k in chosen])
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values, (stored.astype(np.float64) / 10000).astype(np.float32))
        hr, lr = patches.read([])
        assert hr.shape == (0, 4, 16, 16)
        assert lr.shape == (0, 4, 80 // pixel, 80 // pixel)


@pytest.mark.parametrize("version", MAKERS)
def test_the_folder_of_a_site_will_do(tmp_path, version):
    make, _ = MAKERS[version]
    make(tmp_path, SITES)
    (tmp_path / "LICENCE").touch()
    (site,) = open_sen2venus(tmp_path / "NARYN")
    assert (site.site, site.count) == ("NARYN", 3)
    # Unpacking into a folder of its own nests the folder of the site.
    nested = tmp_path / "again" / "NARYN"
    nested.mkdir(parents=True)
    (tmp_path / "NARYN").rename(nested / "NARYN")
    np.testing.assert_array_equal(open_sen2venus(nested.parent)[0].read([1])[0], pickled(nested).read([1])[0])


def pickled(path):
    """The first patches of a folder, as another process gets them."""
    return pickle.loads(pickle.dumps(open_sen2venus(path)[0]))


@pytest.mark.parametrize("version", MAKERS)
def test_no_data_is_nan(tmp_path, version, monkeypatch):
    make, _ = MAKERS[version]
    holes = [(0, 3, 1), (1, 0, 0)]

    def punctured(*args):
        values = numbers(*args)
        for hole in holes:
            values[hole] = -10000
        return values

    monkeypatch.setitem(make_v1.__globals__, "numbers", punctured)
    hr, lr = open_sen2venus(make(tmp_path))[0].read([1])
    for values in (hr[0], lr[0]):
        assert sorted(map(tuple, np.argwhere(np.isnan(values)).tolist())) == holes


def test_a_geotiff_may_declare_its_own_nodata(tmp_path, monkeypatch):
    monkeypatch.setitem(make_v2.__globals__, "numbers", lambda *args: np.clip(numbers(*args), 0, 3000))
    hr, _ = open_sen2venus(make_v2(tmp_path, nodata=3000, dtype="uint16"))[0].read([0])
    stored = np.clip(numbers(("NARYN", "43TFG", "2019-07-25", 0), "b2b3b4b8", 5), 0, 3000)
    np.testing.assert_array_equal(np.isnan(hr[0]), stored == 3000)
    assert np.isnan(hr).any()


def test_no_more_is_read_than_asked_for(tmp_path, monkeypatch):
    """Patches that are not asked for may be anything."""
    (patches,) = open_sen2venus(make_v2(tmp_path / "v2", zipped=False))
    (tmp_path / "v2" / V2.format("05m")).unlink()
    assert np.isfinite(patches.read([0, 2])[0]).all()
    with pytest.raises(InputError, match=r"NARYN_2_.*_05m\.tif: does not exist"):
        patches.read([1])
    (patches,) = open_sen2venus(make_v1(tmp_path / "v1"))
    asked = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **more: asked.append(more) or load(*args, **more))
    patches.read([0])
    assert [(more["mmap"], more["weights_only"]) for more in asked] == [(True, True)] * 2


@pytest.mark.parametrize("version", MAKERS)
def test_the_index_is_what_counts(tmp_path, version):
    make, _ = MAKERS[version]
    make(tmp_path, SITES)
    index = tmp_path / "SUDOUE-4" / "index.csv"
    head, *rows = index.read_text().splitlines()
    index.write_text("\n".join([head, *(row for row in rows if "2019-05-01" in row)]))
    assert [(p.site, str(p.date)) for p in open_sen2venus(tmp_path)][2:] == [("SUDOUE-4", "2019-05-01")]
    index.unlink()
    assert len(open_sen2venus(tmp_path)) == len(ORDER)


def test_a_group_that_the_index_leaves_out_is_not_there(tmp_path):
    make_v1(tmp_path)
    rewritten(lambda text: text.replace("_b5b6b7b8a", ""))(tmp_path / "NARYN")
    fails(tmp_path, "no HR and LR patches of b4b5b6b8a; choose among b2b3b4b8", bands="b4b5b6b8a")
    with pytest.raises(InputError, match=r"among b2b3b4b8$"):
        open_sen2venus(tmp_path, "b5b6b7b8a")


def test_an_index_of_patches_may_leave_some_out(tmp_path):
    make_v2(tmp_path)
    index = tmp_path / "NARYN" / "index.csv"
    head, first, _, last = index.read_text().splitlines()
    index.write_text("\n".join([head, last, first]))
    (patches,) = open_sen2venus(tmp_path)
    assert patches.count == 2
    stored = numbers(("NARYN", "43TFG", "2019-07-25", 11), "b2b3b4b8", 10)
    np.testing.assert_allclose(patches.read([1])[1][0], stored / 10000, rtol=1e-6)


def rewritten(change):
    """Changes the text of the index."""

    def edit(site):
        index = site / "index.csv"
        index.write_text(change(index.read_text()))

    return edit


@pytest.mark.parametrize(
    ("edit", "parts"),
    [
        (rewritten(lambda text: text.replace("\t", ",")), ["lacks the columns", "tensor_05m_b2b3b4b8"]),
        (rewritten(lambda text: text.replace("tensor_", "file_").replace("m_b", "-b")), ["lacks the columns"]),
        (rewritten(lambda text: ""), ["not a tab-separated table"]),
        (rewritten(lambda text: text.splitlines()[0]), ["has no HR and LR patches of b2b3b4b8"]),
        (rewritten(lambda text: text.replace("05m_b2b3b4b8.pt", "05m_b2b3b4b8x.pt")), ["names 1 files", "x.pt"]),
        (lambda site: (site / "index.csv").write_bytes(b"\xff\xfe\x00"), ["not a tab-separated table"]),
        (lambda site: (site.parent / V1.format("10m")).unlink(), ["index.csv", "not there", "10m_b2b3b4b8.pt"]),
    ],
)
def test_a_bad_index(tmp_path, edit, parts):
    edit(make_v1(tmp_path) / "NARYN")
    fails(tmp_path, *parts)


def test_half_a_row(tmp_path):
    rewritten(lambda text: text.replace(V1.format("10m").split("/")[1], ""))(make_v1(tmp_path) / "NARYN")
    fails(tmp_path, "05m_b2b3b4b8.pt: has no partner of 10 m", "download")


class Trap:
    """Runs when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("save", [torch.save, lambda trap, path: path.write_bytes(pickle.dumps(trap))])
def test_nothing_in_a_file_is_run(tmp_path, save):
    make_v1(tmp_path)
    mark = tmp_path / "ran"
    save(Trap(mark), tmp_path / V1.format("05m"))
    fails(tmp_path, V1.format("05m"), "more than a tensor")
    assert not mark.exists()
    if save is torch.save:
        torch.load(tmp_path / V1.format("05m"), weights_only=False)
        assert mark.exists(), "the trap does not work"


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (lambda good: {"patches": good}, ["holds dict"]),
        (lambda good: good.numpy(), ["more than a tensor"]),
        (lambda good: good[0], ["torch.int16 of 3 dimensions"]),
        (lambda good: good.float(), ["torch.float32 of 4 dimensions"]),
        (lambda good: good[:2].clone(), ["holds 2 patches, its partner of 10 m 3"]),
        (lambda good: good[:, :3].clone(), ["(3, 16, 16) at 5 m", "4 bands"]),
        (lambda good: good[..., :15].clone(), ["(4, 16, 15) at 5 m and (4, 8, 8) at 10 m"]),
    ],
)
def test_a_tensor_of_something_else(tmp_path, content, parts):
    path = make_v1(tmp_path) / V1.format("05m")
    torch.save(content(torch.load(path)), path)
    fails(tmp_path, path.name, *parts)


@pytest.mark.parametrize("length", [0, 1, 100, 1500, -1])
def test_a_truncated_tensor(tmp_path, length):
    path = make_v1(tmp_path) / V1.format("10m")
    path.write_bytes(path.read_bytes()[:length])
    fails(tmp_path, str(path), "truncated", "download")


@pytest.mark.parametrize("pixel", ["05m", "10m"])
@pytest.mark.parametrize(("make", "name"), [(make_v1, V1), (MAKERS["v2 unpacked"][0], V2)])
def test_a_missing_partner(tmp_path, make, name, pixel):
    sites = {"NARYN": [("43TFG", "2019-07-25"), ("43TFG", "2019-08-04")]}
    (make(tmp_path, sites, index=False) / name.format(pixel)).unlink()
    left, lost = ("10m", "5 m") if pixel == "05m" else ("05m", "10 m")
    fails(tmp_path, Path(name.format(left)).name, f"has no partner of {lost}")


def test_damaged_geotiffs(tmp_path):
    path = make_v2(tmp_path, zipped=False) / V2.format("05m")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    fails(tmp_path, path.name, "cannot be read", read=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=4, width=16, height=16, dtype="float32", transform=Affine(5, 0, 0, 0, -5, 0)
    ):
        pass
    fails(tmp_path, path.name, "of float32", read=True)
    shutil.copy(tmp_path / V2.format("10m"), path)
    fails(tmp_path, path.name, "(4, 8, 8) of int16, not (4, 16, 16)", read=True)


def test_damaged_zips(tmp_path):
    path = make_v2(tmp_path) / "NARYN" / "NARYN_2019-07-25_43TFG_b2b3b4b8_05m.zip"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    fails(tmp_path, path.name, "truncated")
    path.write_bytes(whole)
    with zipfile.ZipFile(path) as old:
        kept = {n: old.read(n) for n in old.namelist()[:2]}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in kept.items():
            new.writestr(name, content)
    fails(tmp_path, "index.csv", "names 1 files that are not there")
    (tmp_path / "NARYN" / "index.csv").unlink()
    fails(tmp_path, "_10m.zip/b2b3b4b8/10m/NARYN_", "has no partner of 5 m")


def test_what_there_is(tmp_path):
    fails(tmp_path / "none", "does not exist")
    fails(tmp_path, "holds no patches of SEN2VENµS", "unpacked")
    for version, (make, _) in MAKERS.items():
        for index in (True, False):
            path = make(tmp_path / f"{version} {index}", index=index)
            fails(path, "no HR and LR patches of b3b4", "choose among b2b3b4b8, b5b6b7b8a", bands="b3b4")
            fails(path, "no HR and LR patches of b11b12", "choose among b2b3b4b8, b5b6b7b8a", bands="b11b12")
    for file in (tmp_path / "v2 False" / "NARYN").glob("*_05m.zip"):
        file.unlink()
    fails(tmp_path / "v2 False", "no HR and LR patches of b2b3b4b8", "both pixel sizes")


def test_known_by_names_alone(tmp_path):
    assert not is_sen2venus(tmp_path)
    assert not is_sen2venus(tmp_path / "none")
    (tmp_path / "guide").mkdir()
    for name in ("20190501.tif", "index.csv", "model.pt", "NARYN_43TFG_2019-07-25_05m.tif"):
        (tmp_path / "guide" / name).touch()
    assert not is_sen2venus(tmp_path)
    for version, (make, _) in MAKERS.items():
        path = make(tmp_path / version)
        for file in path.rglob("*.*"):
            if file.is_file():
                file.write_bytes(b"")
        assert is_sen2venus(path)
        assert is_sen2venus(path / "NARYN")
    assert is_sen2venus(tmp_path)
    assert not is_sen2venus(tmp_path / "v1" / "NARYN" / "index.csv")


def test_torch_is_for_tensors_only(tmp_path, monkeypatch):
    make_v1(tmp_path / "v1")
    make_v2(tmp_path / "v2")
    monkeypatch.setitem(sys.modules, "torch", None)
    fails(tmp_path / "v1", 'pip install "sitsfuse[torch]"')
    assert open_sen2venus(tmp_path / "v2")[0].read([0])[0].shape == (1, 4, 16, 16)


def made_up(counts):
    """Patches of sites with some dates each, without files."""
    days = np.datetime64("2019-01-01") + np.arange(max(counts, default=0))
    return [
        Patches(f"SITE-{k}", "31TCJ", day, ("red",), 5, 10, 1, (8, 8), ("a.pt",), ("b.pt",))
        for k, n in enumerate(counts)
        for day in days[:n]
    ]


@given(
    st.lists(st.integers(1, 4), min_size=3, max_size=29),
    st.integers(0, 9),
    st.floats(0.01, 0.49),
    st.floats(0.01, 0.49),
    st.randoms(use_true_random=False),
)
def test_sites_are_split_as_wholes(counts, seed, validation, test, random):
    patches = made_up(counts)
    shuffled = random.sample(patches, len(patches))
    split = split_sites(shuffled, seed, validation, test)
    assert list(split) == ["train", "validation", "test"]
    assert split == split_sites(patches, seed, validation, test)
    sites = {part: {p.site for p in here} for part, here in split.items()}
    assert all(sites.values())
    assert sum(map(len, sites.values())) == len(counts) == len(set.union(*sites.values()))
    assert sorted(p.site for here in split.values() for p in here) == sorted(p.site for p in patches)
    for part, share in (("validation", validation), ("test", test)):
        assert len(sites[part]) < share * len(counts) + 1


def test_the_seed_matters():
    patches = made_up([1] * 20)
    tests = {tuple(p.site for p in split_sites(patches, seed)["test"]) for seed in range(10)}
    assert len(tests) > 5
    assert all(len(t) == 3 for t in tests)


def test_parts_that_are_not_asked_for_stay_empty():
    split = split_sites(made_up([2, 3]), test=0)
    assert [len({p.site for p in split[part]}) for part in ("train", "validation", "test")] == [1, 1, 0]
    assert len(split_sites(made_up([3]), validation=0, test=0)["train"]) == 3


@pytest.mark.parametrize(
    ("counts", "shares", "part"),
    [
        ([4], (0.15, 0.15), "1 (SITE-0) cannot be split into train, validation, test"),
        ([4, 4], (0.15, 0.15), "2 (SITE-0, SITE-1) cannot be split into train, validation, test"),
        ([4], (0, 0.15), "1 (SITE-0) cannot be split into train, test"),
        ([], (0, 0), "0 (none) cannot be split into train"),
        ([1] * 9, (0.5, 0.5), "leave none for training"),
        ([1] * 9, (-0.1, 0.5), "from 0 on"),
    ],
)
def test_sites_that_cannot_be_split(counts, shares, part):
    with pytest.raises(InputError) as caught:
        split_sites(made_up(counts), 0, *shares)
    assert part in str(caught.value)


def test_depth_is_bounded(tmp_path):
    place = tmp_path.joinpath(*"abcdef")
    make_v1(place)
    assert not is_sen2venus(tmp_path)
    assert is_sen2venus(place.parent)
