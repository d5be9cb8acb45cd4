"""Clouds that masks miss: told by `prepare`, masked on request, also by a run that was killed meanwhile."""

import json

import numpy as np
import pytest

from sitsfuse.core.site import group
from sitsfuse.preparation import make_config, masks, prepare
from sitsfuse.preparation.masks import masks_verdict
from sitsfuse.radiometry.screening import screen
from sitsfuse.readers import open_site
from sitsfuse.readers.products.flags import FLAGS
from sitsfuse.writers import write_site
from tests.radiometry.test_screening import clouded, contrasted, site, with_guide


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A site with a cloud that a mask misses, and a guide that is wrong altogether."""
    tree = with_guide(with_guide(site(), 1, clouded), 3, contrasted)
    path = tmp_path_factory.mktemp("raw") / "raw.zarr"
    write_site(tree, path)
    return tree, path


def made(path, out, **changes):
    content = {"guide": {"path": path / "guide"}, "target": {"path": path / "target"}}
    content |= {"registration": {"model": "none"}, "harmonization": {"mode": "none"}} | changes
    return prepare(make_config(content, "test"), out), open_site(out)


def test_what_masks_miss_is_told_and_left(raw, tmp_path):
    tree, path = raw
    done, prepared = made(path, tmp_path / "s.zarr")
    cloud, wrong = screen(tree).findings
    assert [(f["index"], f["whole"]) for f in done["masks"]["findings"]] == [(1, False), (3, True)]
    assert done["masks"]["findings"][0]["share"] == pytest.approx(cloud.wrong, abs=1e-4)
    (verdict,) = (v for v in done["verdicts"] if v["of"] == "Masks of the guides")
    assert verdict["state"] == "doubtful"
    assert f"{str(wrong.time)[:10]} (all of it)" in verdict["why"]
    assert verdict["text"] in done["summary"]
    assert verdict["why"] in (tmp_path / "s.zarr" / "prepare.html").read_text()
    notes = [i["note"] for i in done["images"] if i["role"] == "guide"]
    assert ["mask misses" in n for n in notes] == [False, True, False, True, False]
    assert (group(prepared, "guide").valid.values == group(tree, "guide").valid.values).all()


def test_on_request_it_is_masked_and_nothing_else(raw, tmp_path):
    tree, path = raw
    done, prepared = made(path, tmp_path / "s.zarr", mask_missed_clouds=True)
    assert done["verdicts"][-1]["state"] == "applied"
    was, now = group(tree, "guide"), group(prepared, "guide").load()
    kept = [0, 1, 2, 4]
    assert (now.valid.values[kept] == group(screen(tree).apply(tree), "guide").valid.values).all()
    assert not now.valid.values[3].any()
    lost = was.valid.values & ~now.valid.values
    assert lost[1].any()
    assert ((now["flags"].values & FLAGS["cloud"]) > 0)[lost].all()
    assert np.isnan(now.reflectance.transpose("time", "y", "x", "band").values[lost]).all()
    same = np.broadcast_to(now.valid.values[:, None], now.reflectance.shape)
    assert (now.reflectance.values[same] == was.reflectance.values[same]).all()


def test_a_run_that_is_killed_while_it_masks_goes_on(raw, tmp_path, monkeypatch):
    _, path = raw
    whole, _ = made(path, tmp_path / "whole.zarr", mask_missed_clouds=True)
    real, calls = masks._mask, []

    def mask(*given):
        calls.append(given)
        real(*given)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(masks, "_mask", mask)
    with pytest.raises(KeyboardInterrupt):
        made(path, tmp_path / "s.zarr", mask_missed_clouds=True)
    done, prepared = made(path, tmp_path / "s.zarr", mask_missed_clouds=True)
    assert done["masks"] == whole["masks"] == json.loads((tmp_path / "s.zarr" / "prepare.json").read_text())["masks"]
    assert (
        prepared["guide"]
        .to_dataset()
        .identical(open_site(tmp_path / "whole.zarr")["guide"].to_dataset().assign_attrs(prepared["guide"].attrs))
    )


def test_without_evidence_nothing_is_claimed():
    text = masks_verdict({"guides": 2, "judged": 0, "findings": [], "masked": False}).text
    assert text.startswith("Masks of the guides: not checked; too few guides have an LR image near in time")
    good = masks_verdict({"guides": 9, "judged": 7, "findings": [], "masked": False}).text
    assert good.startswith("Masks of the guides: in order; none of the 7 guides")


def test_many_findings_are_cut_short():
    found = [{"guide": f"2020-01-{i:02d}", "index": i, "whole": False, "share": 0.004} for i in range(1, 10)]
    text = masks_verdict({"guides": 9, "judged": 9, "findings": found, "masked": False}).text
    assert "2020-01-06 (< 1 %) and 3 more" in text
    assert "2020-01-07" not in text
