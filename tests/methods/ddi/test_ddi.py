"""DDI as a whole: what it starts from, what it tells, and what it is good for."""

import json
import subprocess
import sys

import numpy as np
import pytest

from sitsfuse.core.site import group
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods.ddi import DDI
from sitsfuse.methods.ddi.closed import Problem
from sitsfuse.methods.ddi.regression import Penalty
from sitsfuse.methods.registry import make_method
from sitsfuse.simulator import simulate
from tests.helpers import scenes

QUICK = scenes.QUICK["ddi"]
DAY = [scenes.day(14)]


def choices_of(out):
    return json.loads(out.attrs["provenance"])["dates"][DAY[0]]["choices"]


@pytest.fixture
def nothing_learnt(monkeypatch):
    """Held-out pixels choose not to leave temporal interpolation."""
    choose = Problem.choose
    monkeypatch.setattr(Problem, "choose", lambda self, v, _=None: choose(self, v, (Penalty(1e9, 0.0),)))


@pytest.mark.usefixtures("nothing_learnt")
def test_without_anything_learnt_it_is_difference_interpolation():
    tree = scenes.site(seed=1)
    untrained = fuse(tree, options={**QUICK, "networks": "never"}, dates=DAY)
    plain = fuse(tree, method="difference", dates=DAY)
    for name in ("reflectance", "valid", "filled"):
        np.testing.assert_allclose(untrained[name].values, plain[name].values, rtol=0, atol=1e-6, err_msg=name)


def test_strength_scales_the_residual():
    tree = scenes.site(seed=1, noise=0.005)
    images = [fuse(tree, options={**QUICK, "strength": s}, dates=DAY)["reflectance"].values for s in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(images[1], (images[0] + images[2]) / 2, rtol=0, atol=1e-6)
    assert np.nanmax(np.abs(images[2] - images[0])) > 1e-3
    without = fuse(tree, options={**QUICK, "strength": 1.0, "iterations": 0}, dates=DAY)["reflectance"].values
    np.testing.assert_array_equal(without, images[0])


@pytest.mark.usefixtures("nothing_learnt")
def test_the_image_is_the_weighted_sum_of_the_guides():
    tree = scenes.site(seed=2)
    out = fuse(tree, options={**QUICK, "strength": 0.0, "networks": "never"}, dates=DAY, weights=True)
    weights = out["weight"].values[0]
    guide = group(tree, "guide")
    values = np.where(guide["valid"].values[:, None], guide["reflectance"].values, 0)
    total = (weights * values).sum(axis=0)
    keep = np.broadcast_to(out["valid"].values[0], total.shape)
    np.testing.assert_allclose(out["reflectance"].values[0][keep], total[keep], rtol=0, atol=1e-5)
    assert out["weight"].dims == ("time", "guide_time", "band", "y", "x")
    np.testing.assert_array_equal(out["guide_time"].values, guide["time"].values)


def test_a_seed_repeats_and_another_differs():
    tree = scenes.site(seed=3)
    options = {**QUICK, "networks": "always", "steps": 20}
    first, again, other = (
        fuse(tree, options={**options, "seed": s}, dates=DAY)["reflectance"].values for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.nanmax(np.abs(first - other)) > 1e-5


def test_the_choices_are_told():
    tree = scenes.site(n=90, cloudy=0.2, seed=3)
    choices = choices_of(fuse(tree, options=QUICK, dates=DAY))
    assert choices["head"] in {"closed form", "closed form + networks"}
    assert choices["penalty"] in choices["held_out_error"]
    assert choices["held_out_error"][choices["penalty"]] == min(choices["held_out_error"].values())
    assert f"{choices['caution']:g}" in choices["left_out_error"]
    assert len(choices["noise"]) == 2
    assert choices["training_pixels"] > 50
    assert choices["final_error"] <= choices["temporal_error"] * 1.001
    forced = choices_of(fuse(tree, options={**QUICK, "networks": "always", "strength": 0.25}, dates=DAY))
    assert forced["head"] == "closed form + networks"
    assert forced["networks"] > 0
    assert forced["networks_left_out_error"]["0"] == 1
    assert forced["noise"] == [0, 0]


def test_networks_have_a_share_in_the_image_and_in_the_weights():
    tree = scenes.site(seed=3)
    outs = [
        fuse(tree, options={**QUICK, "networks": n, "steps": 30}, dates=DAY, weights=True) for n in ("never", "always")
    ]
    for name in ("reflectance", "weight", "uncertainty"):
        assert np.nanmax(np.abs(outs[1][name].values - outs[0][name].values)) > 1e-4, name
    np.testing.assert_array_equal(outs[0]["valid"].values, outs[1]["valid"].values)


def test_too_few_pixels_to_learn_from_is_difference_interpolation():
    tree = scenes.site(n=30, ratio=5, seed=4)
    out, plain = fuse(tree, dates=DAY), fuse(tree, method="difference", dates=DAY)
    np.testing.assert_allclose(out["reflectance"].values, plain["reflectance"].values, rtol=0, atol=1e-6)
    assert choices_of(out)["head"] is None


@pytest.mark.parametrize(
    "options", [{"block": 40}, {"folds": 30}, {"networks": "always", "steps": 1, "hidden": (4, 4, 4)}]
)
def test_odd_options_work(options):
    out = fuse(scenes.site(seed=5), options={**QUICK, **options}, dates=DAY)
    assert np.isfinite(out["reflectance"].values[0][:, out["valid"].values[0]]).all()


@pytest.mark.parametrize("scene", [{"guides": (0, 30)}, {"guides": tuple(range(0, 60, 3))}, {"n_bands": 1}])
def test_few_and_many_guides_and_one_band_work(scene):
    tree = scenes.site(seed=5, **scene)
    out = fuse(tree, options=QUICK, dates=DAY)
    assert out["valid"].values.any()
    assert np.isfinite(out["reflectance"].values[0][:, out["valid"].values[0]]).all()


@pytest.mark.parametrize(
    ("options", "mend"),
    [
        ({"folds": 1}, "at least 2"),
        ({"block": 0}, "at least 1"),
        ({"strength": 1.5}, "at most 1"),
        ({"steps": 0}, "at least 1"),
        ({"iterations": -1}, "at least 0"),
        ({"hidden": ()}, "one hidden layer"),
        ({"hidden": (8, 0)}, "at least 1"),
        ({"rate": "quick"}, "a number"),
        ({"seed": -1}, "at least 0"),
        ({"networks": "maybe"}, "choose among auto, always, never"),
    ],
)
def test_impossible_options_are_refused_by_name(options, mend):
    (name,) = options
    for make in (lambda: DDI(**options), lambda: make_method("ddi", options), lambda: make_method("carn+ddi", options)):
        with pytest.raises(InputError, match=rf"^(options\.)?{name}: .*{mend}") as refusal:
            make()
        assert "\n" not in str(refusal.value)


def test_options_may_come_as_text():
    made = make_method("ddi", {"hidden": "16,8", "folds": "3", "strength": "0.5"})
    assert made == DDI(hidden=(16, 8), folds=3, strength=0.5)


def test_unknown_devices_are_named():
    with pytest.raises(InputError, match="abacus"):
        fuse(scenes.site(), options={"device": "abacus"}, dates=DAY)


BLOCKED = """
import json, sys
asked = []
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            asked.append(name)
            raise ImportError("torch is blocked")
sys.meta_path.insert(0, NoTorch())
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from tests.helpers import scenes
told = {}
for networks in ("never", "auto", "always"):
    options = {**scenes.QUICK["ddi"], "networks": networks}
    try:
        out = fuse(scenes.site(seed=3), options=options, dates=[scenes.day(14)])
        told[networks] = json.loads(out.attrs["provenance"])["dates"][scenes.day(14)]["choices"]["head"]
    except InputError as error:
        told[networks] = str(error)
    if networks == "never":
        assert not asked, "torch was imported in vain"
print(json.dumps(told))
"""


def test_without_torch_the_closed_form_works_alone_and_says_so():
    done = subprocess.run([sys.executable, "-c", BLOCKED], check=True, capture_output=True, text=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["never"] == "closed form"
    assert told["auto"] == "closed form (no networks without PyTorch)"
    assert told["always"].count("\n") == 0
    assert 'pip install "sitsfuse[torch]"' in told["always"]


@pytest.mark.parametrize("error", [ImportError, OSError])
def test_a_torch_that_does_not_load_counts_as_missing(monkeypatch, error):
    def broken(_):
        raise error("libtorch.so: cannot open shared object file")

    monkeypatch.setattr("sitsfuse.methods.ddi.pick_device", broken)
    assert DDI().study(scenes.site()).options.training is None
    with pytest.raises(InputError, match=r"sitsfuse\[torch\]"):
        DDI(networks="always").study(scenes.site())


def rmse(out, tree):
    real = group(tree, "reference").sel(time=out["time"])["reflectance"].values
    return float(np.sqrt(np.nanmean((out["reflectance"].values - real) ** 2)))


def test_ddi_beats_the_trivial_methods_on_a_simulated_scene():
    tree = simulate(size=160, guides=8, targets=3, seed=1, missed_clouds=0)
    dates = [str(group(tree, "target")["time"].values[1])[:10]]
    errors = {name: rmse(fuse(tree, method=name, dates=dates), tree) for name in ("temporal", "spatial", "difference")}
    ddi = rmse(fuse(tree, method="ddi", dates=dates, options={"networks": "never"}), tree)
    assert all(ddi < 0.9 * e for e in errors.values()), (ddi, errors)


def test_the_uncertainty_is_of_the_errors_size_and_ranks_them():
    tree = simulate(size=160, guides=8, targets=3, seed=6)
    dates = [str(group(tree, "target")["time"].values[1])[:10]]
    out = fuse(tree, options={"networks": "never"}, dates=dates)
    real = group(tree, "reference").sel(time=out["time"])["reflectance"].values
    keep = np.broadcast_to(out["valid"].values[:, None], real.shape)
    error = np.abs(out["reflectance"].values - real)[keep]
    told = out["uncertainty"].values[keep]
    assert 0.3 < np.sqrt((error**2).mean()) / np.sqrt((told**2).mean()) < 3
    low, high = np.quantile(told, [0.25, 0.75])
    assert error[told > high].mean() > 1.5 * error[told < low].mean()
