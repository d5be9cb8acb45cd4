"""Uncertainties calibrated by rehearsal."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

from sitsfuse.core import loading
from sitsfuse.core.site import group, pair_of, target_alone
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods import make_method
from sitsfuse.methods.base import result
from sitsfuse.methods.shared import rehearsal
from sitsfuse.methods.shared.calibrated import Calibrated, Calibration
from sitsfuse.methods.shared.rehearsal import Rehearsal, Rehearsed
from sitsfuse.methods.temporal import Temporal
from sitsfuse.operators.updown import up_mask
from sitsfuse.simulator import simulate
from tests.helpers import scenes

pytestmark = pytest.mark.full_rehearsal

DATE = np.datetime64(scenes.day(14))


def coverage(out, tree, filled):
    """Share of errors within the 90 % interval, of pixels that are filled or not."""
    real = group(tree, "reference").sel(time=out["time"])["reflectance"].values
    keep = out["valid"].values & (out["filled"].values == filled)
    keep = np.broadcast_to(keep[:, None], real.shape)
    error = np.abs(out["reflectance"].values - real)[keep]
    return (error <= 1.6449 * out["uncertainty"].values[keep]).mean()


# --- what it is for


@pytest.fixture(scope="module")
def scene():
    return simulate(size=200, guides=8, targets=8, seed=104, missed_clouds=0)


@pytest.mark.parametrize("name", ["difference", "spatial", "temporal"])
def test_intervals_hold_nine_tenths_of_the_errors(name, scene):
    dates = [str(t)[:10] for t in group(scene, "target")["time"].values[2:7:2]]
    out = fuse(scene, method=name, dates=dates)
    assert 0.82 < coverage(out, scene, filled=name == "temporal") < 0.98


def test_no_prediction_changes(scene, monkeypatch):
    dates = [str(group(scene, "target")["time"].values[3])[:10]]
    with_it = fuse(scene, method="difference", dates=dates)
    monkeypatch.setattr(rehearsal.Rehearsal, "calibrate", lambda *_: None)
    without = fuse(scene, method="difference", dates=dates)
    for name in ("reflectance", "valid", "filled"):
        np.testing.assert_array_equal(with_it[name].values, without[name].values)
    assert not np.array_equal(with_it["uncertainty"].values, without["uncertainty"].values)


# --- a method of which the error is known


@dataclass(frozen=True)
class Off(Rehearsed):
    """Predicts the guide nearest in time, off by noise; claims a tenth of its size."""

    clear: float = 0.01
    filled: float = 0.03
    name = "off"
    paper = ""
    min_guides = 1

    def halo(self, ratio):
        return 0

    def examine(self, site, found):
        return OffPlain(group(site, "guide")["time"].values, self)


@dataclass(frozen=True)
class OffPlain:
    guides: np.ndarray
    method: Off

    def prepare(self, date, target):
        return OffPredictor(self.guides, np.array([date], self.guides.dtype), self.method)


@dataclass(frozen=True)
class OffPredictor:
    guides: np.ndarray
    targets: np.ndarray
    method: Off
    choices = {}  # noqa: RUF012

    def __call__(self, tile):
        values, valid = tile.guide_arrays()
        seen = up_mask(tile.target_arrays()[1], tile.grids)
        size = np.where(seen, self.method.clear, self.method.filled).astype(np.float32)
        noise = np.random.default_rng(7).standard_normal(values.shape[1:], dtype=np.float32)
        near = np.argmin(np.abs(self.guides - self.targets[0]))
        ok = valid.all(axis=0)
        clean = np.nan_to_num(values[near]) + size * noise
        return result(tile, clean, ok, np.broadcast_to(0.1 * size, clean.shape), ~seen)


def rehearse(method, tree):
    return Rehearsal(method, group(tree, "guide"), group(tree, "target")).calibrate(DATE)


def unchanging(**more):
    """A scene that never changes, seen without noise."""
    tree = scenes.site(guides=(0, 10, 20, 30), cloudy=0.0, **more)
    return scenes.change(
        tree,
        guide=lambda s: s.assign(reflectance=s["reflectance"] * 0 + s["reflectance"].isel(time=0, drop=True)),
        target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + s["reflectance"].isel(time=0, drop=True)),
    )


def half_cloudy(tree):
    valid = group(tree, "target")["valid"].copy()
    valid[:, :6] = False
    return scenes.change(tree, target=lambda s: s.assign(valid=valid))


def test_the_size_of_known_errors_is_found_for_clear_and_filled_pixels():
    tree = half_cloudy(unchanging())
    found = rehearse(Off(), tree)
    for model, size in ((found.clear, 0.01), (found.filled, 0.03)):
        told = np.sqrt(model[:, 0] * (0.1 * size) ** 2 + model[:, 1])
        np.testing.assert_allclose(told, size, rtol=0.1)
    out = fuse(tree, method=Off(), dates=[scenes.day(14)])
    told, filled = out["uncertainty"].values[0], out["filled"].values[0]
    np.testing.assert_allclose(told[:, filled], 0.03, rtol=0.1)
    np.testing.assert_allclose(told[:, ~filled], 0.01, rtol=0.1)


def test_what_no_date_changes_is_made_once(monkeypatch):
    """The window is read and degraded for the first date; the others, under the same clouds, find all of it there."""
    tree = unchanging()
    reads, examined = [], []

    class Watched(Off):
        def examine(self, site, found):
            examined.append(group(site, "guide").sizes["time"])
            return super().examine(site, found)

    real = loading.read
    monkeypatch.setattr(rehearsal, "read", lambda *a: reads.append(a) or real(*a))
    rehearsed = Rehearsal(Watched(), group(tree, "guide"), group(tree, "target"))
    first = rehearsed.calibrate(DATE)
    count = len(reads)
    assert examined == [3] * rehearsal.LEFT_OUT
    second = rehearsed.calibrate(DATE + np.timedelta64(1, "D"))
    assert len(reads) == count
    assert len(examined) == rehearsal.LEFT_OUT
    np.testing.assert_array_equal(first.clear, second.clear)


def test_without_clouds_a_quarter_is_taken_for_cloudy():
    found = rehearse(Off(), unchanging())
    told = np.sqrt(found.filled[:, 0] * 0.003**2 + found.filled[:, 1])
    np.testing.assert_allclose(told, 0.03, rtol=0.15)


def test_clouds_of_the_guides_take_no_part():
    tree = scenes.site(seed=5)
    wild = scenes.change(tree, guide=lambda s: scenes.poison(s, 1e6), target=lambda s: scenes.poison(s, np.nan))
    for name in ("difference", "efast"):
        a, b = (rehearse(make_method(name), t) for t in (tree, wild))
        np.testing.assert_array_equal(a.clear, b.clear)
        np.testing.assert_array_equal(a.filled, b.filled)


def test_where_nothing_can_be_left_out_the_rule_stands():
    tree = scenes.site()
    single = scenes.change(tree, guide=lambda s: s.isel(time=[0]))
    none = target_alone(group(tree, "target"), 5.0)
    for site in (single, none):
        found = make_method("spatial").study(site).fit(DATE)
        assert found.calibration is None  # type: ignore[attr-defined]
        out, plain = (fuse(site, method=m, dates=[scenes.day(14)]) for m in ("spatial", Plain()))
        assert out["uncertainty"].equals(plain["uncertainty"])


class Plain(type(make_method("spatial"))):
    """Spatial interpolation without calibration."""

    def study(self, site):
        return scenes.Watched(None, lambda _, date: scenes.prepared(self, site, date))


def test_a_window_without_guides_gives_way_to_others():
    # The middle of the image is never clear.
    tree = scenes.site(n=400, ratio=5, cloudy=0.0, n_bands=1)
    gap = np.zeros((400, 400), bool)
    gap[120:280, 120:280] = True
    holed = scenes.change(tree, guide=lambda s: s.assign(valid=s["valid"] & ~gap))
    first, second = list(rehearsal._windows(pair_of(tree)))[:2]
    assert gap[first].all()
    assert not gap[second].all()
    assert rehearse(Temporal(), holed) is not None


# --- the calibrated predictor


def test_variance_is_scaled_and_a_constant_added():
    model = Calibration(np.array([[4.0, 9e-4]]), np.array([[0.0, 1e-4]]), 0.0)
    told = model(np.full((1, 1, 2), 0.02, np.float32), np.array([[False, True]]), 5.0)
    np.testing.assert_allclose(told[0, 0], [0.05, 0.01], rtol=1e-6)
    assert told.dtype == np.float32


def test_the_constant_vanishes_at_the_date_of_a_guide():
    model = Calibration(np.array([[1.0, 1e-4]]), np.array([[1.0, 1e-4]]), 20.0)
    gaps = np.array([[0.0, 1.0, 2.0, 30.0, np.inf]], np.float32)
    told = model(np.zeros((1, 1, 5), np.float32), np.zeros((1, 5), bool), gaps)
    np.testing.assert_allclose(told[0, 0], [0, 0.005, 0.01, 0.01, 0.01], rtol=1e-6)


def test_it_is_what_it_wraps_but_for_the_uncertainty():
    tree = scenes.site(seed=2)
    found = make_method("difference").study(tree).fit(DATE)
    inner = scenes.prepared(make_method("difference"), tree, DATE)
    assert isinstance(found, Calibrated)
    np.testing.assert_array_equal(found.guides, inner.guides)
    np.testing.assert_array_equal(found.targets, inner.targets)
    assert found.choices == inner.choices
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.calibration.clear, found.calibration.clear)
