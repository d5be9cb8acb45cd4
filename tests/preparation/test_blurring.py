"""The PSF of the LR images: measured, used and recorded, unless one is given."""

import pytest

import sitsfuse
from sitsfuse.core.site import make_site
from sitsfuse.preparation import make_config, plan_site, prepare
from sitsfuse.preparation.blurring import fit_blur
from sitsfuse.preparation.placed import Placed, Placing
from sitsfuse.preparation.placing import key
from sitsfuse.readers import open_site
from sitsfuse.runtime.progress import silent
from sitsfuse.writers import write_site


@pytest.fixture(scope="module")
def blurred(tmp_path_factory):
    """A simulated site whose LR images are more blurred than they say."""
    made = sitsfuse.simulate(
        size=128, ratio=2.5, guides=4, targets=5, guide_shift=0, target_shift=0, cloud_cover=0.1, target_mtf=0.02,
        guide_noise=0.001, target_noise=0.001, gain=0, offset=0, seed=3, lazy=False,
    )  # fmt: skip
    guide, target = (made[role].to_dataset().isel(band=[2, 3]) for role in ("guide", "target"))
    guide.attrs["mtf"], target.attrs["mtf"] = [0.3, 0.3], [0.3, 0.3]
    path = tmp_path_factory.mktemp("blurred") / "raw.zarr"
    write_site(make_site(guide, target, name="raw"), path)
    return path


def config(blurred, **told):
    return make_config(
        {
            "guide": {"path": blurred / "guide"},
            "target": {"path": blurred / "target", **told},
            "registration": {"model": "none"},
            "harmonization": {"mode": "none"},
        }
    )


def test_the_psf_that_guides_bear_out_is_used_and_recorded(blurred, tmp_path):
    done = prepare(config(blurred), tmp_path / "site.zarr")
    verdict = next(v for v in done["verdicts"] if v["of"] == "PSF of the LR sensor")
    assert verdict["state"] == "applied", verdict
    assert "red 0.02 for 0.30" in verdict["why"]
    for mtf in (open_site(tmp_path / "site.zarr")["target"].attrs["mtf"], [r["mtf"] for r in done["psf"]["bands"]]):
        assert all(0.012 <= m <= 0.03 for m in mtf), mtf


@pytest.mark.parametrize(
    ("told", "state", "site", "own"),
    [
        ({"mtf": 0.2}, "off", 0.2, 0.2),
        ({"fit_mtf": False}, "off", 0.3, 0.3),
        # What images are degraded to is as asked for; what they are compared on is measured.
        ({"degrade": 25.0, "mtf": 0.25}, "applied", 0.25, 0.02),
    ],
)
def test_an_mtf_that_is_given_holds(blurred, told, state, site, own):
    settled = config(blurred, **told)
    found = plan_site(settled)
    placed = Placing({key(c): Placed() for c in (*found.chosen, *found.others)}, {})
    blur = fit_blur(settled, found, placed, silent)
    assert blur.verdict.state == state
    of_site, of_own = blur.used_by(found)
    assert of_site == pytest.approx([site] * 2)
    assert of_own == pytest.approx([own] * 2, abs=0.008)
